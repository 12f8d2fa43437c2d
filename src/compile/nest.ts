import type { DeviceDType } from "../base/dtype.ts";
import type { ReduceName } from "../graph/node.ts";
import type { Expr } from "./expr.ts";
import type { ValueId } from "./value.ts";

// Kernels that are generated as a whole: loops around expressions.

/** One result of a kernel: `value[index] = expr` for each point of the loops around it. */
export interface Store {
  readonly value: ValueId;
  readonly index: Expr;
  readonly expr: Expr;
  /** Given where the store fills a part of its value only. */
  readonly part?: Part;
}

/**
 * Whose the rest of a value is that a kernel fills in part: that of another value, whose place it takes over; where that
 * is undefined, the part is the first of several that make a value together.
 */
export interface Part {
  readonly over: ValueId | undefined;
}

/** A loop variable; an extent of 1 has none. */
export interface Axis {
  readonly name: string;
  readonly extent: number;
}

export interface Accumulator {
  readonly name: ReduceName;
  readonly dtype: DeviceDType;
  readonly expr: Expr;
}

/** An accumulator with the number that expressions know its result by. */
export interface NumberedAccumulator extends Accumulator {
  readonly index: number;
}

/** Reductions side by side. What `before` stores for each element is loaded again later in the kernel. */
export interface Pass {
  readonly before: readonly Store[];
  readonly accumulators: readonly NumberedAccumulator[];
}

/**
 * For each point of the grid reductions over `inner`, pass after pass, each using the results of earlier ones; then
 * `stores` once, and `elements` for each point of `inner`. Elementwise work has no pass, a reduction has one, a row such as
 * that of softmax several.
 */
export interface Nest {
  readonly kind: "nest";
  readonly grid: readonly Axis[];
  readonly inner: readonly Axis[];
  readonly passes: readonly Pass[];
  readonly stores: readonly Store[];
  readonly elements: readonly Store[];
}

/** A nest that reduces at most once and stores at the grid only: its sums need not be where all that works on a row can have them. */
export interface Loop {
  readonly grid: readonly Axis[];
  readonly inner: readonly Axis[];
  readonly accumulators: readonly Accumulator[];
  readonly stores: readonly Store[];
}

/** The nest as a loop, if it is one. */
export function asLoop({ grid, inner, passes, stores, elements }: Nest): Loop | undefined {
  const [pass, ...rest] = passes;
  if (rest.length > 0 || elements.length > 0 || (pass && pass.before.length > 0)) return undefined;
  return { grid, inner, accumulators: pass?.accumulators ?? [], stores };
}

/** A loop as a nest. */
export function nestOf({ grid, inner, accumulators, stores }: Loop): Nest {
  const numbered = accumulators.map((a, index) => ({ ...a, index }));
  const passes = numbered.length > 0 ? [{ before: [], accumulators: numbered }] : [];
  return { kind: "nest", grid, inner, passes, stores, elements: [] };
}

export function product(axes: readonly Axis[]): number {
  return axes.reduce((count, { extent }) => count * extent, 1);
}
