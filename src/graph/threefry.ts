import { add, bitwiseOr, bitwiseXor, leftShift, rightShift } from "./elementwise.ts";
import type { Node } from "./node.ts";

const rotations = [13, 15, 26, 6, 17, 29, 16, 24] as const;

/**
 * Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): two random
 * uint32 words for a key and a counter of two words each.
 */
export function threefry([k0, k1]: readonly [Node, Node], [c0, c1]: readonly [Node, Node]): [Node, Node] {
  const keys = [k0, k1, bitwiseXor(bitwiseXor(k0, k1), 0x1bd11bda)];
  let x = add(c0, k0);
  let y = add(c1, k1);
  for (let round = 0; round < 20; round++) {
    const turn = rotations[round % 8]!;
    x = add(x, y);
    y = bitwiseXor(bitwiseOr(leftShift(y, turn), rightShift(y, 32 - turn)), x);
    if (round % 4 === 3) {
      const group = (round + 1) / 4;
      x = add(x, keys[group % 3]!);
      y = add(add(y, keys[(group + 1) % 3]!), group);
    }
  }
  return [x, y];
}
