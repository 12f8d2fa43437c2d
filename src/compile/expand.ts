import { internal } from "../base/errors.ts";
import { type ExpandedRow, makeNode, type Node } from "../graph/node.ts";
import { type Expr, Expressions, operandsOf } from "./expr.ts";
import { deviceDType } from "./lower.ts";

const known = new Map<ExpandedRow, Expr>();

/** What a row is made of, as an expression of its arguments: accumulators of float32, numbered in order. */
export function expansionOf(row: ExpandedRow): Expr {
  let expansion = known.get(row);
  if (!expansion) {
    const args = Array.from({ length: row.arity }, (_, index) =>
      makeNode({ kind: "input", index }, [], [], "float32"),
    );
    expansion = expressionOf(row.expand(...args), new Expressions());
    known.set(row, expansion);
  }
  return expansion;
}

function expressionOf(root: Node, e: Expressions): Expr {
  const made = new Map<Node, Expr>();
  const of = (node: Node): Expr => {
    let expr = made.get(node);
    if (!expr) {
      expr = compute(node);
      made.set(node, expr);
    }
    return expr;
  };
  const compute = (node: Node): Expr => {
    const { operation, inputs } = node;
    switch (operation.kind) {
      case "input":
        return e.accumulator(operation.index, "float32");
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
    for (const part of operandsOf(e)) {
      const before = uses.get(part) ?? 0;
      uses.set(part, before + 1);
      if (before === 0) count(part);
    }
  };
  count(root);
  return uses;
}
