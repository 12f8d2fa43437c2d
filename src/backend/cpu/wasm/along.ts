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

/** The axis that lanes run along. */
export function lanesAxis(along: Along, last: Axis, innermost: Axis) {
  const axis = along === "grid" ? last : along === "inner" ? innermost : undefined;
  return axis && { name: axis.name, extent: axis.extent, exact: axis.extent % 4 === 0 };
}

/** Can all of it be computed in lanes of 32 bits? */
export function fitsLanes(roots: readonly Expr[]): boolean {
  let fits = true;
  walk(roots, (e) => {
    if (e.dtype === "float64") fits = false;
  });
  return fits;
}
