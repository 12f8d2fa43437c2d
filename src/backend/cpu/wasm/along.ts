import { type Expr, walk } from "../../../compile/expr.ts";
import type { Axis } from "../../../compile/kernel.ts";
import { axisAs, type Step } from "../../../compile/steps.ts";

export const none: Axis = { name: "", extent: 1 };

/** Which loop the four lanes of a vector run along. */
export type Along = "grid" | "inner" | "nothing";

/** The loop that lanes run along by the steps. */
export function alongOf(steps: readonly Step[], grid: readonly Axis[]): Along {
  const lanes = axisAs(steps, "lanes");
  if (!lanes) return "nothing";
  return lanes.axis === grid[grid.length - 1]?.name ? "grid" : "inner";
}

/** The axis that lanes run along, so many vectors at a time. */
export function lanesAxis(along: Along, last: Axis, innermost: Axis, vectors = 0) {
  const axis = along === "grid" ? last : along === "inner" ? innermost : undefined;
  if (!axis) return undefined;
  const { name, extent } = axis;
  return { name, extent, exact: extent % 4 === 0, whole: extent === 4 * vectors };
}

/** The innermost axis as lanes run along it, and the axis around it, two points at a time where it is even. */
export function nearLanes(inner: readonly Axis[], vectors: number) {
  const [around = none, innermost = none] = inner.slice(-2);
  const lanes = lanesAxis("inner", none, inner.length > 1 ? innermost : around, vectors)!;
  const pairs = inner.length > 1 && lanes.whole && around.extent % 2 === 0 ? around.name : undefined;
  return { ...lanes, pairs };
}

/** Can all of it be computed in lanes of 32 bits? */
export function fitsLanes(roots: readonly Expr[]): boolean {
  let fits = true;
  walk(roots, (e) => {
    if (e.dtype === "float64") fits = false;
  });
  return fits;
}
