import { internal } from "../base/errors.ts";
import { type Draft, expressionsOf, variables } from "./draft.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import type { Axis, Kernel, Store } from "./kernel.ts";
import { nestOf } from "./nest.ts";
import { rowBody, sideBySide } from "./rows.ts";

/**
 * Gives a draft its loops. A flat position that is only ever divided along a chain of lengths becomes one loop
 * for each link, which makes indices sums of products: contiguous elementwise work keeps a single loop.
 */
export function finish(draft: Draft, e: Expressions): Kernel {
  const { core, size } = draft;
  switch (core.kind) {
    case "none":
    case "reduce":
    case "rows": {
      const exprs = expressionsOf(draft);
      const grid = split(variables.position, size, exprs, "i", e);
      const inner = core.kind === "none" ? noSplit : split(variables.inner, core.inner, exprs, "k", e);
      const replace = substitution([grid, inner], e);
      const reduced = core.kind === "none" ? [] : core.accumulators;
      const accumulators = reduced.map((a) => ({ ...a, expr: replace(a.expr) }));
      const once = stores(draft, replace, e);
      if (core.kind !== "rows")
        return nestOf({ grid: grid.axes, inner: inner.axes, accumulators, stores: once });
      const index = replace(
        e.combine([
          [core.inner, e.variable(variables.position, size)],
          [1, e.variable(variables.inner, core.inner)],
        ]),
      );
      const each = [...core.elements].map(([value, expr]) => ({ value, index, expr: replace(expr) }));
      const body = rowBody(inner.axes, sideBySide(accumulators), once, each, e);
      return { kind: "nest", grid: grid.axes, body };
    }
    case "matmul": {
      const { batch, row, column } = core;
      const position = e.combine([
        [row.extent * column.extent, e.variable(batch.name, batch.extent)],
        [column.extent, e.variable(row.name, row.extent)],
        [1, e.variable(column.name, column.extent)],
      ]);
      const replace = substitution([{ name: variables.position, axes: [], value: position }], e);
      return { ...core, stores: stores(draft, replace, e) };
    }
    case "whole":
      return core.kernel;
    case "loop":
      return internal("the body of a loop is compiled where all is");
    default:
      return core satisfies never;
  }
}

function stores(draft: Draft, replace: (expr: Expr) => Expr, e: Expressions): Store[] {
  const index = replace(e.variable(variables.position, draft.size));
  return [...draft.stores].map(([value, expr]): Store => {
    const placed = draft.placed?.get(value);
    return placed
      ? { value, index: replace(placed.index), expr: replace(expr), part: { over: placed.over } }
      : { value, index, expr: replace(expr) };
  });
}

interface Split {
  readonly name: string;
  readonly axes: readonly Axis[];
  /** The flat variable in terms of the axes. */
  readonly value: Expr;
}

const noSplit = { name: "", axes: [], value: undefined };

function substitution(splits: readonly (Split | typeof noSplit)[], e: Expressions): (expr: Expr) => Expr {
  const memo = new Map<Expr, Expr>();
  const by = new Map(splits.map(({ name, value }) => [name, value]));
  return (expr) =>
    e.rewrite(expr, (part) => (part.kind === "variable" ? by.get(part.name) : undefined), memo);
}

function split(
  name: string,
  extent: number,
  expressions: readonly Expr[],
  prefix: string,
  e: Expressions,
): Split {
  const cuts = new Set<number>();
  walk(expressions, (part) => {
    if (part.kind === "digit" && part.arg.kind === "variable" && part.arg.name === name)
      for (const cut of [part.low, part.high]) if (cut > 1 && cut < extent) cuts.add(cut);
  });
  const lengths = [1, ...[...cuts].sort((a, b) => a - b), extent];
  const isChain = lengths.every((length, i) => i === 0 || length % lengths[i - 1]! === 0);
  if (!isChain) lengths.splice(1, lengths.length - 2);
  const axes: Axis[] = [];
  const terms: [number, Expr][] = [];
  for (let i = lengths.length - 1; i > 0; i--) {
    const axis = { name: `${prefix}${axes.length}`, extent: lengths[i]! / lengths[i - 1]! };
    if (axis.extent === 1 && lengths.length > 2) continue;
    axes.push(axis);
    terms.push([lengths[i - 1]!, e.variable(axis.name, axis.extent)]);
  }
  return { name, axes, value: e.combine(terms) };
}
