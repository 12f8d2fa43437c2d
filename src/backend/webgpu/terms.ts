import { type Expr, walk } from "../../compile/expr.ts";
import type { Accumulator, Axis, Store } from "../../compile/kernel.ts";
import type { Level } from "../../compile/place.ts";
import { printQuad } from "./elements.ts";
import type { Bindings } from "./shader.ts";
import { blockedLoop, declareSum, flatAxis, fold, type Lanes, update, updateFour } from "./sums.ts";
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

/** Declares the results, and what a loop adds to them; four elements side by side are added up in the end. */
export function printSums(
  accumulators: readonly Accumulator[],
  names: readonly string[],
  terms: Terms,
  loop: (sums: readonly string[]) => readonly string[],
): string[] {
  const folded = terms.quads === "elements";
  const sums = folded ? names.map((name) => `${name}_`) : names;
  return [
    ...accumulators.map((a, i) => declareSum(a, sums[i]!, terms.quads !== undefined)),
    "{",
    ...terms.statements(0),
    ...loop(sums),
    "}",
    ...(folded ? accumulators.map((a, i) => `var ${names[i]} = ${fold(a, sums[i]!)};`) : []),
  ];
}

/** A loop over inner axes as one. */
export function flatLoop(
  inner: readonly Axis[],
  accumulators: readonly Accumulator[],
  sums: readonly string[],
  terms: Terms,
  lanes: Lanes,
): string[] {
  const wide = terms.quads !== undefined;
  const { unpack, ...loop } = flatAxis(inner, lanes, wide);
  return blockedLoop({ ...loop, accumulators, sums, wide }, (inside) => [
    ...unpack,
    ...terms.statements(1),
    ...terms.updates(inside),
  ]);
}
