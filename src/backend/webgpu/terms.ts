import { type Expr, walk } from "../../compile/expr.ts";
import type { Accumulator, Store } from "../../compile/kernel.ts";
import type { Level } from "../../compile/place.ts";
import { printQuad } from "./elements.ts";
import type { Bindings } from "./shader.ts";
import { update, updateFour } from "./sums.ts";
import { write } from "./text.ts";

// What reductions take in, one element at a time or four.

/** What the steps of a loop add to accumulators: one element each, or four. */
export interface Terms {
  readonly declarations: readonly string[];
  /** Elements of a quad are those of one result, or of four results. */
  readonly quads: "elements" | "results" | undefined;
  statements(level: Level): readonly string[];
  updates(sums: readonly string[]): readonly string[];
}

export interface TermOptions {
  /** The loops in which they stand. */
  readonly levels: ReadonlyMap<string, Level>;
  readonly name?: string;
  readonly quads?: {
    readonly of: "elements" | "results";
    readonly variable: string;
    readonly others: readonly string[];
    /** What is stored for each element on the way: terms that load it have it at hand. */
    readonly before?: readonly Store[];
  };
}

export function printTerms(
  accumulators: readonly Accumulator[],
  { levels, name = "term", quads }: TermOptions,
  bindings: Bindings,
): Terms {
  const exprs = accumulators.map(({ expr }) => expr);
  const depth = Math.max(0, ...levels.values());
  if (quads) {
    const { of, before = [], ...around } = quads;
    const core = { name: (index: number) => `r${index}`, four: false };
    const known = new Map<Expr, Expr>();
    walk(exprs, (e) => {
      const stored =
        e.kind === "load" && before.find(({ value, index }) => value === e.value && index === e.index);
      if (stored) known.set(e, stored.expr);
    });
    const quad = printQuad(
      { exprs: [...exprs, ...before.map(({ expr }) => expr)], name, ...around, core, levels, known },
      bindings,
      before.map(({ index }) => index),
    );
    const kept = before.map(({ value }, i) => quad.store(value, i, exprs.length + i));
    return {
      declarations: quad.declarations,
      quads: of,
      statements: quad.statements,
      updates: (sums) => [...kept, ...accumulators.map((a, i) => updateFour(a, sums[i]!, quad.values(i)))],
    };
  }
  const text = write(
    exprs.map((expr) => ({ expr, at: depth })),
    bindings,
    { levels },
  );
  return {
    declarations: [],
    quads: undefined,
    statements: (level) => text.statements(level),
    updates: (sums) => accumulators.map((a, i) => update(a, sums[i]!, text.text(a.expr))),
  };
}
