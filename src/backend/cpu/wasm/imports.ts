import { type Expr, walk } from "../../../compile/expr.ts";
import { scalarOps } from "../../../graph/scalar.ts";
import type { Module } from "./assemble.ts";
import { hasScalar } from "./operations.ts";

/** Evaluations of operations in float64, by name. */
export const evaluators: Record<string, (x: number, y: number, z: number) => number> = {};
for (const [name, { row }] of scalarOps) evaluators[name] = (x, y, z) => row.evaluate(x, y, z, "float64");

/** The row's evaluation in JavaScript: three float64 to one. */
export function importRow(module: Module, name: string): number {
  return module.import(name, { params: ["f64", "f64", "f64"], results: ["f64"] });
}

/** Rows of float64 that expressions call in JavaScript, to be imported before functions are defined. */
export function importRows(module: Module, roots: readonly Expr[]): void {
  walk(roots, (e) => {
    if (e.kind !== "apply") return;
    const dtype = e.args[e.args.length - 1]!.dtype;
    if (dtype === "float64" && !hasScalar(e.row, dtype)) importRow(module, e.row.name);
  });
}
