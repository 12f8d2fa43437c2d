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
  /** The number that expressions know its result by. */
  readonly index: number;
  readonly name: ReduceName;
  readonly dtype: DeviceDType;
  readonly expr: Expr;
}

/** What a nest does at a point, in order. */
export type Statement = For | Accumulate | Keep | Combine | Write | At;

/** Runs its body for each point of the axes, outer ones first. */
export interface For {
  readonly kind: "for";
  readonly over: readonly Axis[];
  readonly body: readonly Statement[];
  /** Given where the first axis is run over in part only. */
  readonly share?: Share;
}

/** What a part has of an axis: so many elements, one part after the other; the last one also has what is left. */
export interface Share {
  readonly part: Axis;
  readonly length: number;
}

/**
 * Takes an element each into results that begin where the loop around it does; after that loop they are known by number. What
 * follows in the loop knows them as they are so far.
 */
export interface Accumulate {
  readonly kind: "accumulate";
  readonly accumulators: readonly Accumulator[];
}

/** Leaves results, as far as they have come in a part of their loop, for a nest that combines them. */
export interface Keep {
  readonly kind: "keep";
  readonly accumulators: readonly Accumulator[];
}

/** Joins what parts have kept for each point of the axes, in order, into results. */
export interface Combine {
  readonly kind: "combine";
  readonly accumulators: readonly Accumulator[];
  readonly over: readonly Axis[];
}

/** Stores; all are computed before the first is made. What is stored may be loaded again, and stored over, later in the nest. */
export interface Write {
  readonly kind: "write";
  readonly stores: readonly Store[];
}

/**
 * Runs its body with an axis, which has no loop, at an index; not at all where that lies beyond its extent. Points of the grid
 * around it are at indices of their own, elements of a loop around it may come to one again.
 */
export interface At {
  readonly kind: "at";
  readonly axis: Axis;
  readonly index: Expr;
  readonly body: readonly Statement[];
}

/**
 * A kernel that is generated as a whole: the body for each point of the grid, which are independent. Elementwise work
 * writes at the point; a reduction accumulates in a loop, then writes; a row, such as that of softmax, has several loops
 * over the same axes; a scan writes in the loop what has run up so far; a scatter writes where an index points.
 */
export interface Nest {
  readonly kind: "nest";
  readonly grid: readonly Axis[];
  readonly body: readonly Statement[];
}

/** A nest that reduces at most once and stores at the grid only: its sums need not be where all that works on a row can have them. */
export interface Loop {
  readonly grid: readonly Axis[];
  readonly inner: readonly Axis[];
  readonly accumulators: readonly Accumulator[];
  readonly stores: readonly Store[];
}

/** The nest as a loop, if it is one. */
export function asLoop({ grid, body }: Nest): Loop | undefined {
  const results = body[body.length - 1];
  const [loop, only] = body.length === 2 ? body : [];
  if (results?.kind !== "write") return undefined;
  if (body.length === 1) return { grid, inner: [], accumulators: [], stores: results.stores };
  if (loop?.kind !== "for" || only !== results) return undefined;
  const [sums, ...others] = loop.body;
  if (sums?.kind !== "accumulate" || others.length > 0) return undefined;
  return { grid, inner: loop.over, accumulators: sums.accumulators, stores: results.stores };
}

/** A loop as a nest. */
export function nestOf({ grid, inner, accumulators, stores }: Loop): Nest {
  const sums: Statement[] = accumulators.length > 0 ? [loopOver(inner, accumulate(accumulators))] : [];
  return { kind: "nest", grid, body: [...sums, write(stores)] };
}

export const loopOver = (over: readonly Axis[], ...body: readonly Statement[]): For => ({
  kind: "for",
  over,
  body,
});
export const accumulate = (accumulators: readonly Accumulator[]): Accumulate => ({
  kind: "accumulate",
  accumulators,
});
export const write = (stores: readonly Store[]): Write => ({ kind: "write", stores });

/** Visits statements in order, wholes before their parts, with the axes at hand. */
export function visitNest(
  { grid, body }: Nest,
  visit: (statement: Statement, axes: readonly Axis[]) => void,
): void {
  const go = (statements: readonly Statement[], axes: readonly Axis[]) => {
    for (const statement of statements) {
      visit(statement, axes);
      if (statement.kind === "for") go(statement.body, [...axes, ...statement.over]);
      else if (statement.kind === "at") go(statement.body, [...axes, statement.axis]);
    }
  };
  go(body, grid);
}

/** The results that are accumulated, by those that run side by side. */
export function passesOf(nest: Nest): (readonly Accumulator[])[] {
  const found: (readonly Accumulator[])[] = [];
  visitNest(nest, (s) => {
    if (s.kind === "accumulate") found.push(s.accumulators);
  });
  return found;
}

/** The stores that are made once for each point of the grid, and those that are made in loops. */
export function storesOfNest(nest: Nest): {
  readonly once: readonly Store[];
  readonly each: readonly Store[];
} {
  const [once, each]: [Store[], Store[]] = [[], []];
  for (const s of nest.body) if (s.kind === "write") once.push(...s.stores);
  visitNest(nest, (s) => {
    if (s.kind === "write" && !nest.body.includes(s)) each.push(...s.stores);
  });
  return { once, each };
}

/** Whether what happens at each element of a loop happens after what happened at the one before. */
export function isOrdered({ body }: For): boolean {
  return body.some(({ kind }, i) => kind === "at" || (kind === "accumulate" && i < body.length - 1));
}

/** The axes of a nest's loops where it works on a row: all loops run over the same ones and none in a promised order. */
export function rowAxes({ body }: Nest): readonly Axis[] | undefined {
  const loops = body.filter((s) => s.kind === "for");
  const over = loops[0]?.over;
  return loops.every((loop) => loop.over === over && !isOrdered(loop)) ? over : undefined;
}

/** The nest with its stores replaced. */
export function mapStores({ grid, body }: Nest, f: (store: Store) => Store): Nest {
  const go = (s: Statement): Statement => {
    if (s.kind === "write") return write(s.stores.map(f));
    return s.kind === "for" || s.kind === "at" ? { ...s, body: s.body.map(go) } : s;
  };
  return { kind: "nest", grid, body: body.map(go) };
}

/**
 * A reduction in two nests: of the parts of one reduced axis, with the axes outside of it, each of which keeps what it comes
 * to; and of the results, which combine them.
 *
 * @param whole What all parts but the last have is a multiple of this.
 */
export function cutLoop(
  { grid, inner, accumulators, stores }: Loop,
  axis: string,
  into: number,
  whole = 1,
): readonly [parts: Nest, results: Nest] {
  const depth = inner.findIndex(({ name }) => name === axis);
  const own = { name: "part", extent: into };
  const over = [...inner.slice(0, depth), own];
  const share = { part: own, length: Math.floor(inner[depth]!.extent / whole / into) * whole };
  const part: Nest = {
    kind: "nest",
    grid: [...grid.slice(0, -1), ...over, lastOf(grid)],
    body: [
      { ...loopOver(inner.slice(depth), accumulate(accumulators)), share },
      { kind: "keep", accumulators },
    ],
  };
  return [part, { kind: "nest", grid, body: [{ kind: "combine", accumulators, over }, write(stores)] }];
}

/** No loop, where the last of none is asked for. */
export const none: Axis = { name: "", extent: 1 };

export const lastOf = (axes: readonly Axis[]): Axis => axes[axes.length - 1] ?? none;

export const exprsOf = (list: readonly { readonly expr: Expr }[]): Expr[] => list.map(({ expr }) => expr);

/** What stores compute: where they store, and what. */
export const computedBy = (stores: readonly Store[]): Expr[] =>
  stores.flatMap(({ index, expr }) => [index, expr]);

/** The stores that statements make at their own point. */
export const storesIn = (body: readonly Statement[]): Store[] =>
  body.flatMap((s) => (s.kind === "write" ? s.stores : []));

export function product(axes: readonly Axis[]): number {
  return axes.reduce((count, { extent }) => count * extent, 1);
}
