import { cast } from "./cast.ts";
import { abs, add, bitcast, bitwiseAnd, eq, gt, ne, sub, where } from "./elementwise.ts";
import type { Node } from "./node.ts";

/**
 * A float64 as a float32 that rounds to fewer bits as the float64 does: where it is not exact, the neighbour whose last bit
 * is 1, which is never halfway (S. Boldo and G. Melquiond 2008, "Emulation of FMA and correctly rounded sums"). Any other
 * float as its float32.
 */
export function toOdd(x: Node): Node {
  const near = cast(x, "float32");
  if (x.dtype !== "float64") return near;
  const back = cast(near, "float64");
  const bits = bitcast(near);
  const moved = where(gt(abs(x), abs(back)), add(bits, 1), sub(bits, 1));
  const even = eq(bitwiseAnd(bits, 1), 0);
  return where(bitwiseAnd(ne(back, x), even), bitcast(moved), near);
}
