import type { ScalarRow } from "../graph/node.ts";
import { type Expr, walk } from "./expr.ts";

// What expressions cost, in one unit: an addition. Whoever weighs work against work, on any target, counts here.

/** Additions that an operation is worth, as its row in the table has it. */
export function additionsOf({ cost = 1 }: ScalarRow): number {
  return cost;
}

/** The work of expressions, shared parts once; `beside` says what counts beside operations: by default nothing. */
export function workOf(roots: readonly Expr[], beside: (e: Expr) => number = () => 0): number {
  let work = 0;
  walk(roots, (e) => {
    work += e.kind === "apply" ? additionsOf(e.row) : beside(e);
  });
  return work;
}

/** The work of an expression that is done anew at each point of loops over the variables: what does not change there is done once before. */
export function workAlong(root: Expr, variables: ReadonlySet<string>): number {
  const changing = new Set<Expr>();
  let work = 0;
  walk([root], (e) => {
    const changes =
      e.kind === "variable" ? variables.has(e.name) : e.operands.some((part) => changing.has(part));
    if (!changes) return;
    changing.add(e);
    if (e.kind === "apply") work += additionsOf(e.row);
  });
  return work;
}

/** Distinct expressions: the size of the code, and the time that it takes to compile. */
export function sizeOf(roots: Iterable<Expr>): number {
  let size = 0;
  walk(roots, () => size++);
  return size;
}
