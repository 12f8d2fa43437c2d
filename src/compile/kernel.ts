import type { DeviceDType } from "../base/dtype.ts";
import type { ReduceName } from "../graph/node.ts";
import { type Expr, walk } from "./expr.ts";
import type { ValueId } from "./value.ts";

/** One result of a kernel: `value[index] = expr` for each point of the grid. */
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

/** Generated: for each point of the grid reduce over `inner` (if any), then store. */
export interface LoopKernel {
  readonly kind: "loop";
  readonly grid: readonly Axis[];
  readonly inner: readonly Axis[];
  readonly accumulators: readonly Accumulator[];
  readonly stores: readonly Store[];
}

/** An accumulator of a row, with the number that expressions know it by. */
export interface RowAccumulator extends Accumulator {
  readonly index: number;
}

/** Reductions over a row, side by side. What `before` stores for each element is loaded again later in the kernel. */
export interface Pass {
  readonly before: readonly Store[];
  readonly accumulators: readonly RowAccumulator[];
}

/**
 * Generated: for each row, reductions over `inner` one pass after the other, each using the results of earlier
 * ones; then `stores` once, and `elements` for each element of the row.
 */
export interface RowKernel {
  readonly kind: "row";
  readonly grid: readonly Axis[];
  readonly inner: readonly Axis[];
  readonly passes: readonly Pass[];
  readonly stores: readonly Store[];
  readonly elements: readonly Store[];
}

/** Template: accumulator 0 is the sum of a * b over `inner`; a knows (batch, row, inner), b (batch, inner, column). */
export interface MatmulKernel {
  readonly kind: "matmul";
  readonly dtype: "float32" | "float64";
  readonly batch: Axis;
  readonly row: Axis;
  readonly column: Axis;
  readonly inner: Axis;
  readonly a: Expr;
  readonly b: Expr;
  readonly stores: readonly Store[];
}

/** Template: in each lane one after the other, running sums of `expr`. */
export interface ScanKernel {
  readonly kind: "scan";
  readonly dtype: DeviceDType;
  readonly lane: Axis;
  readonly position: Axis;
  readonly expr: Expr;
  readonly value: ValueId;
  readonly index: Expr;
}

/** Template: in each lane copies `initial`, then adds the sources one after the other at `target`. */
export interface ScatterKernel {
  readonly kind: "scatter";
  readonly dtype: DeviceDType;
  readonly lane: Axis;
  /** Positions of the result, and of `initial`. */
  readonly position: Axis;
  readonly initial: Expr;
  /** Positions of the source. */
  readonly source: Axis;
  readonly target: Expr;
  readonly addend: Expr;
  readonly value: ValueId;
  /** Index into the result, by lane and position. */
  readonly index: Expr;
}

export type Kernel = LoopKernel | RowKernel | MatmulKernel | ScanKernel | ScatterKernel;

/** All expressions of a kernel. */
export function expressionsOf(kernel: Kernel): Expr[] {
  switch (kernel.kind) {
    case "loop":
      return [
        ...kernel.accumulators.map(({ expr }) => expr),
        ...kernel.stores.flatMap(({ index, expr }) => [index, expr]),
      ];
    case "row":
      return [
        ...kernel.passes.flatMap(({ accumulators }) => accumulators.map(({ expr }) => expr)),
        ...[...kernel.passes.flatMap(({ before }) => before), ...kernel.stores, ...kernel.elements].flatMap(
          ({ index, expr }) => [index, expr],
        ),
      ];
    case "matmul":
      return [kernel.a, kernel.b, ...kernel.stores.flatMap(({ index, expr }) => [index, expr])];
    case "scan":
      return [kernel.expr, kernel.index];
    case "scatter":
      return [kernel.initial, kernel.target, kernel.addend, kernel.index];
    default:
      return kernel satisfies never;
  }
}

/** Stores that fill parts of values. */
export function partsOf(kernel: Kernel): Store[] {
  if (kernel.kind === "scan" || kernel.kind === "scatter") return [];
  return kernel.stores.filter(({ part }) => part);
}

/** The values a finished kernel needs: those it loads and does not make itself. */
export function reads(kernel: Kernel): Set<ValueId> {
  const found = new Set<ValueId>();
  walk(expressionsOf(kernel), (e) => {
    if (e.kind === "load") found.add(e.value);
  });
  for (const value of writesOf(kernel)) found.delete(value);
  return found;
}

/** The values a kernel writes. */
export function writesOf(kernel: Kernel): ValueId[] {
  switch (kernel.kind) {
    case "loop":
    case "matmul":
      return kernel.stores.map(({ value }) => value);
    case "row":
      return [...kernel.stores, ...kernel.elements].map(({ value }) => value);
    case "scan":
    case "scatter":
      return [kernel.value];
    default:
      return kernel satisfies never;
  }
}
