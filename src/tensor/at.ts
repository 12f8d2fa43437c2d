import {
  checkArgument,
  integer,
  isIntegerIn,
  isPlainObject,
  refuseFurther,
  show,
} from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { describe, type Shape } from "../base/shape.ts";
import { meet, onDevice } from "../graph/cast.ts";
import * as ops from "../graph/elementwise.ts";
import { expand, flip, reshape } from "../graph/movement.ts";
import type { Node } from "../graph/node.ts";
import { type Region, region, update } from "../graph/update.ts";
import { checkInt32, fromEither } from "./indices.ts";

/** A length of an axis from a start that may be known only when a program runs. */
export interface Window<S> {
  /** Negative ones count from the end; one of a device is taken so that the window fits. */
  readonly start: number | S;
  readonly length: number;
}

/**
 * What picks elements along an axis, by NumPy's basic rules: an integer, which drops the axis; `[start, stop, step]`, of
 * which each may be left out or null; a window; "..." for all axes that are not named; null for a new axis of length 1.
 * S is what a start known when a program runs may be.
 */
export type AtIndex<S> = number | S | readonly (number | null | undefined)[] | Window<S> | "..." | null;

/** Where the picked elements lie, and how they are shown. */
interface Place {
  readonly region: Region;
  /** Of the region: a length for each axis. */
  readonly lengths: Shape;
  /** Axes that run backwards. */
  readonly flipped: readonly number[];
  /** Of what is picked: without dropped axes, with new ones. */
  readonly shape: Shape;
}

/** Makes tensors of nodes, and nodes of operands. */
interface Maker<T, O> {
  wrap(node: Node): T;
  nodeOf(operation: string, operand: O): Node;
}

/** Picked elements of a tensor: to be read, or replaced in a new tensor. Made by `Tensor.at`. */
export class At<T, O> {
  readonly #base: Node;
  readonly #place: Place;
  readonly #maker: Maker<T, O>;

  /** @internal */
  constructor(base: Node, index: readonly AtIndex<HasNode>[], maker: Maker<T, O>) {
    this.#base = onDevice(base);
    this.#place = placeOf(this.#base, index);
    this.#maker = maker;
  }

  /** The picked elements. */
  get(): T {
    return this.#maker.wrap(this.#get());
  }

  /** The tensor with `value` in their place, which broadcasts to their shape. */
  set(value: O): T {
    return this.#replace("at.set", value, (_, node) => node);
  }

  /** The tensor with `value` added to them. */
  add(value: O): T {
    return this.#replace("at.add", value, ops.add);
  }

  /** The tensor with them multiplied by `value`. */
  mul(value: O): T {
    return this.#replace("at.mul", value, ops.mul);
  }

  /** The tensor with the smaller of each and `value`. */
  min(value: O): T {
    return this.#replace("at.min", value, ops.minimum);
  }

  /** The tensor with the larger of each and `value`. */
  max(value: O): T {
    return this.#replace("at.max", value, ops.maximum);
  }

  #get(): Node {
    const { region: where, lengths, flipped, shape } = this.#place;
    return reshape(flip(region(this.#base, lengths, where), flipped), shape);
  }

  #replace(operation: string, value: O, combine: (old: Node, node: Node) => Node): T {
    const { region: where, lengths, flipped, shape } = this.#place;
    const given = meet(this.#maker.nodeOf(operation, value), this.#base.dtype, operation);
    if (given.dtype !== this.#base.dtype)
      throw new ShapeError(
        `${operation}: ${describe(this.#base)} takes values of its dtype; given ${describe(given)}. Cast with .astype("${this.#base.dtype}").`,
      );
    const node = combine(this.#get(), expand(given, shape, operation));
    return this.#maker.wrap(update(this.#base, flip(reshape(node, lengths), flipped), where));
  }
}

refuseFurther(At.prototype, {});

/** A tensor, as far as an index needs it. */
interface HasNode {
  readonly node: Node;
  readonly dtype: string;
}

function placeOf(base: Node, given: readonly AtIndex<HasNode>[]): Place {
  const items = named(base, given);
  const place = {
    start: [] as number[],
    step: [] as number[],
    moving: [] as number[],
    starts: [] as Node[],
    lengths: [] as number[],
    flipped: [] as number[],
    shape: [] as number[],
  };
  const pick = (start: number, length: number, step = 1) => {
    place.start.push(start);
    place.step.push(step);
    place.lengths.push(length);
  };
  const move = (start: HasNode, length: number) => {
    const axis = place.lengths.length;
    place.moving.push(axis);
    place.starts.push(movingStart(start, length, base.shape[axis]!));
    pick(0, length);
  };
  for (const item of items) {
    const axis = place.lengths.length;
    const whole = base.shape[axis]!;
    if (item === null) place.shape.push(1);
    else if (typeof item === "number") pick(within(base, axis, item, 1), 1);
    else if (Array.isArray(item)) {
      const { start, count, step } = range(item as readonly (number | null | undefined)[], whole);
      if (step < 0) place.flipped.push(axis);
      pick(step < 0 ? start + (count - 1) * step : start, count, Math.abs(step));
      place.shape.push(count);
    } else if (isPlainObject(item)) {
      const { start, length } = item as unknown as Window<HasNode>;
      checkArgument("at", "length", length, integer(0, whole));
      if (typeof start === "number") pick(within(base, axis, start, length), length);
      else move(start, length);
      place.shape.push(length);
    } else move(item as HasNode, 1);
  }
  const { start, step, moving, starts, lengths, flipped, shape } = place;
  return { region: { start, step, moving, starts }, lengths, flipped, shape };
}

/** An index for each axis, with new axes between. */
function named(base: Node, given: readonly AtIndex<HasNode>[]): Exclude<AtIndex<HasNode>, "...">[] {
  for (const item of given)
    if (!isIndex(item)) throw new ValueError(`at: takes ${expected}; given ${show(item)}.`);
  const rank = base.shape.length;
  const count = given.filter((item) => item !== null && item !== "...").length;
  const dots = given.filter((item) => item === "...").length;
  if (count > rank || dots > 1)
    throw new ShapeError(
      dots > 1
        ? 'at: "..." stands for all axes that are not named; it can be given once.'
        : `at: ${describe(base)} has ${rank} axes; given indices for ${count}.`,
    );
  const rest = new Array<readonly never[]>(rank - count).fill([]);
  const all = dots === 0 ? [...given, "..." as const] : given;
  return all.flatMap((item): Exclude<AtIndex<HasNode>, "...">[] => (item === "..." ? rest : [item]));
}

const expected =
  'integers, ranges [start, stop, step], windows { start, length }, scalar tensors, "..." and null for each axis';

function isIndex(item: unknown): boolean {
  if (item === null || item === "...") return true;
  if (typeof item === "number") return Number.isSafeInteger(item);
  if (Array.isArray(item))
    return (
      item.length <= 3 && [...item].every((n) => n === null || n === undefined || Number.isSafeInteger(n))
    );
  if (isPlainObject(item)) return isStart(item.start) && Object.keys(item).length === 2 && "length" in item;
  return isStart(item);
}

const isStart = (value: unknown): boolean =>
  typeof value === "number"
    ? Number.isSafeInteger(value)
    : typeof value === "object" && value !== null && "node" in value;

/** A start from 0 on of `length` elements. */
function within(base: Node, axis: number, start: number, length: number): number {
  const whole = base.shape[axis]!;
  if (!isIntegerIn(start, -whole, whole - 1) && !(length === 0 && start === whole))
    throw new ValueError(
      `at: index ${start} is out of range: axis ${axis} of ${describe(base)} has length ${whole}.`,
    );
  const from = start < 0 ? start + whole : start;
  if (from + length > whole)
    throw new ValueError(
      `at: ${length} elements from ${start} on do not fit: axis ${axis} of ${describe(base)} has length ${whole}.`,
    );
  return from;
}

/** The elements of `[start, stop, step]`: bounds beyond the axis are cut to it. */
function range([start, stop, by]: readonly (number | null | undefined)[], length: number) {
  const step = by ?? 1;
  if (step === 0) throw new ValueError("at: the step of a range is 0; it is another integer.");
  const [least, most] = step > 0 ? [0, length] : [-1, length - 1];
  const bound = (value: number | null | undefined, otherwise: number) =>
    value === null || value === undefined
      ? otherwise
      : Math.min(Math.max(value < 0 ? value + length : value, least), most);
  const from = bound(start, step > 0 ? least : most);
  const to = bound(stop, step > 0 ? most : least);
  return { start: from, count: Math.max(0, Math.ceil((to - from) / step)), step };
}

/** A start of the host that is checked when a program runs, or one of a device. */
function movingStart(start: HasNode, length: number, whole: number): Node {
  const { node } = start;
  if (node.shape.length > 0)
    throw new ShapeError(
      `at: an index is ${describe(node)}; one that is known when a program runs is a scalar.`,
    );
  if (node.dtype !== "number") checkInt32("at", "an index", start);
  return meet(fromEither("at: index", node, whole, length), "int32", "at: an index");
}
