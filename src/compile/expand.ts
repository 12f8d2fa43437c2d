import type { DeviceDType } from "../base/dtype.ts";
import { internal } from "../base/errors.ts";
import { getOrInsert } from "../base/group.ts";
import { makeNode, type Node } from "../graph/node.ts";
import { type Expr, Expressions } from "./expr.ts";
import { deviceDType } from "./lower.ts";

type Formula = (...args: readonly Node[]) => Node;

const known = new Map<Formula, Expr>();

/** What an operation is made of, as an expression of its arguments: accumulators, numbered in order. */
export function expansionOf(formula: Formula, arity: number, dtype: DeviceDType = "float32"): Expr {
  return getOrInsert(known, formula, () => {
    const args = Array.from({ length: arity }, (_, index) =>
      makeNode({ kind: "input", index }, [], [], dtype),
    );
    return expressionOf(formula(...args), new Expressions(), dtype);
  });
}

function expressionOf(root: Node, e: Expressions, dtype: DeviceDType): Expr {
  const made = new Map<Node, Expr>();
  const of = (node: Node): Expr => getOrInsert(made, node, () => compute(node));
  const compute = (node: Node): Expr => {
    const { operation, inputs } = node;
    switch (operation.kind) {
      case "input":
        return e.accumulator(operation.index, dtype);
      case "constant":
        return e.constant(operation.value, deviceDType(node));
      case "scalar":
        return e.apply(operation.op.row, inputs.map(of), deviceDType(node));
      case "cast":
        return e.cast(of(inputs[0]!), deviceDType(node));
      default:
        return internal(`${operation.kind} in the expansion of an operation`);
    }
  };
  return of(root);
}

/** How often each part of an expression is used. */
export function usesOf(root: Expr): ReadonlyMap<Expr, number> {
  const uses = new Map<Expr, number>([[root, 1]]);
  const count = (e: Expr) => {
    for (const part of e.operands) {
      const before = uses.get(part) ?? 0;
      uses.set(part, before + 1);
      if (before === 0) count(part);
    }
  };
  count(root);
  return uses;
}
