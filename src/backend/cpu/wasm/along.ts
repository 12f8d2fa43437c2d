import { type Expr, walk } from "../../../compile/expr.ts";
import type { Axis } from "../../../compile/kernel.ts";
import type { Loop } from "./grid.ts";
import { hasVector } from "./operations.ts";
import { strideIn } from "./strides.ts";

/** Which loop the four lanes of a vector run along. */
export type Along = "grid" | "inner" | "nothing";

/** Work of a function's unit in nanoseconds. */
export function costOf(elements: number, roots: readonly Expr[], along: Along): number {
  return elements * countNodes(roots) * (along === "nothing" ? 0.6 : 0.2) + 5;
}

/** The axis that lanes run along. */
export function lanesAxis(along: Along, last: Axis, innermost: Axis) {
  const axis = along === "grid" ? last : along === "inner" ? innermost : undefined;
  return axis && { name: axis.name, extent: axis.extent, exact: axis.extent % 4 === 0 };
}

export function countNodes(roots: readonly Expr[]): number {
  let count = 0;
  walk(roots, (e) => {
    count += e.kind === "apply" ? (e.row.cost ?? 1) : 1;
  });
  return count;
}

/** Can all of it be computed in lanes of 32 bits along `axis`? */
export function fitsLanes(roots: readonly Expr[]): boolean {
  let fits = true;
  walk(roots, (e) => {
    if (e.dtype === "float64") fits = false;
    if (e.kind === "apply" && !hasVector(e.row, e.args[e.args.length - 1]!.dtype)) fits = false;
  });
  return fits;
}

export function chooseLanes(
  { accumulators, stores }: Loop,
  last: Axis,
  innermost: Axis,
  roots: readonly Expr[],
): Along {
  if (!fitsLanes(roots)) return "nothing";
  const contiguous = stores.every(({ index }) => last.extent === 1 || strideIn(index, last.name) === 1);
  if (accumulators.length === 0) return contiguous && last.extent > 1 ? "grid" : "nothing";
  const cost = (axis: Axis) =>
    laneCost(
      accumulators.map(({ expr }) => expr),
      axis,
    );
  const options: [Along, number][] = [];
  if (contiguous && last.extent > 1) options.push(["grid", cost(last)]);
  if (innermost.extent > 1) options.push(["inner", cost(innermost) + 8 / innermost.extent]);
  options.sort((a, b) => a[1] - b[1]);
  return options[0]?.[0] ?? "nothing";
}

/** Rough work for an element when lanes run along `axis`: loads that are not whole vectors cost most. */
export function laneCost(exprs: readonly Expr[], axis: Axis): number {
  let sum = 0;
  walk(exprs, (e) => {
    if (e.kind === "apply") sum += e.row.cost ?? 1;
    if (e.kind !== "load") return;
    const stride = strideIn(e.index, axis.name);
    sum += stride === 1 || stride === 0 ? 1 : stride === undefined ? 10 : 6;
  });
  return sum * ((Math.ceil(axis.extent / 4) * 4) / axis.extent);
}
