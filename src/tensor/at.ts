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
import { constant, type Node } from "../graph/node.ts";
import { type Region, region, update } from "../graph/update.ts";
import { valuesAtHand } from "../runtime/evaluate.ts";
import {
  type Change,
  change,
  checkMask,
  type Picks,
  pick,
  picksOf,
  placesOf,
  shapeOf,
} from "./at-tensors.ts";
import { checkInt32, fromEither } from "./indices.ts";

/** A length of an axis from a start that may be known only when a program runs. */
export interface Window<S> {
  /** Negative ones count from the end; one of a device is taken so that the window fits. */
  readonly start: number | S;
  readonly length: number;
}

/**
 * What picks elements along an axis, by NumPy's rules: an integer, which drops the axis; `[start, stop, step]`, of which each
 * may be left out or null; a window; "..." for all axes that are not named; null for a new axis of length 1; a tensor of
 * int32; or a mask, which stands for as many axes as it has. S is what tensors may be.
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
  /** Tensors that index what lies at the place. */
  readonly #picks: Picks | undefined;
  /** What is picked by truth that only the device knows. */
  readonly #mask: Mask | undefined;
  readonly #maker: Maker<T, O>;

  /** @internal */
  constructor(base: Node, index: readonly AtIndex<HasNode>[], maker: Maker<T, O>) {
    this.#base = onDevice(base);
    const names = named(this.#base, index);
    this.#mask = maskAlone(this.#base, names);
    const { items, picks } = this.#mask
      ? { items: this.#base.shape.map(() => []) }
      : split(this.#base, names);
    this.#place = placeOf(this.#base, items);
    this.#picks = picks?.(this.#place.shape);
    this.#maker = maker;
  }

  /** The picked elements. */
  get(): T {
    if (this.#mask) placesOf(this.#mask.node); // says that they are not known
    const found = this.#get();
    return this.#maker.wrap(this.#picks ? pick(found, this.#picks) : found);
  }

  /**
   * The tensor with `value` in their place, which broadcasts to their shape; the last, where tensors name a place again. How
   * many a computed mask picks is not known: there it is one for all, with the axes behind the mask at most.
   */
  set(value: O): T {
    return this.#replace("set", value, (_, node) => node);
  }

  /** The tensor with `value` added to them; where tensors name a place again, all of its values, as with `mul`, `min` and `max`. */
  add(value: O): T {
    return this.#replace("add", value, ops.add);
  }

  /** The tensor with them multiplied by `value`. */
  mul(value: O): T {
    return this.#replace("mul", value, ops.mul);
  }

  /** The tensor with the smaller of each and `value`. */
  min(value: O): T {
    return this.#replace("min", value, ops.minimum);
  }

  /** The tensor with the larger of each and `value`. */
  max(value: O): T {
    return this.#replace("max", value, ops.maximum);
  }

  #get(): Node {
    const { region: where, lengths, flipped, shape } = this.#place;
    return reshape(flip(region(this.#base, lengths, where), flipped), shape);
  }

  #replace(how: Change, value: O, combine: (old: Node, node: Node) => Node): T {
    const operation = `at.${how}`;
    const { region: where, lengths, flipped, shape } = this.#place;
    const given = meet(this.#maker.nodeOf(operation, value), this.#base.dtype, operation);
    if (given.dtype !== this.#base.dtype)
      throw new ShapeError(
        `${operation}: ${describe(this.#base)} takes values of its dtype; given ${describe(given)}. Cast with .astype("${this.#base.dtype}").`,
      );
    const [old, picks, mask] = [this.#get(), this.#picks, this.#mask];
    if (mask && given.shape.length > mask.behind) placesOf(mask.node);
    const made = picks
      ? change(how, old, expand(given, shapeOf(picks), operation), picks)
      : combine(old, expand(given, shape, operation));
    const node = mask ? ops.where(expand(mask.over, shape), made, old) : made;
    return this.#maker.wrap(update(this.#base, flip(reshape(node, lengths), flipped), where));
  }
}

refuseFurther(At.prototype, {});

/** A tensor, as far as an index needs it. */
interface HasNode {
  readonly node: Node;
  readonly dtype: string;
}

/** Of each axis, or a new one. */
type Item = Exclude<AtIndex<HasNode>, "...">;

/** An index for each axis, with new axes between; where others lie between tensors is said by `dots`. */
interface Named {
  readonly items: readonly Item[];
  /** Before which item the axes that are not named begin, if they were asked for. */
  readonly dots: number | undefined;
}

/** A mask of which only the device knows the elements. */
interface Mask {
  readonly node: Node;
  /** With an axis for each of the tensor. */
  readonly over: Node;
  /** How many axes come after it. */
  readonly behind: number;
}

/** The mask among indices that pick all of every other axis, if it is computed. */
function maskAlone(base: Node, { items }: Named): Mask | undefined {
  const at = items.findIndex((item) => hasNode(item) && item.dtype === "bool");
  const others = items.filter((_, i) => i !== at);
  if (
    at < 0 ||
    others.some((item) => !Array.isArray(item) || item.some((n) => (n ?? undefined) !== undefined))
  )
    return undefined;
  const { node } = items[at] as HasNode;
  if (valuesAtHand(node)) return undefined;
  checkMask(node, base, at);
  const ones = others.map(() => 1);
  const over = reshape(node, [...ones.slice(0, at), ...node.shape, ...ones.slice(at)]);
  return { node, over, behind: others.length - at };
}

const isTensor = (item: unknown): boolean =>
  hasNode(item) && (item.dtype === "bool" || item.node.shape.length > 0);

/** What tensors pick, and what is left: the items in which their axes are whole. */
function split(
  base: Node,
  { items, dots }: Named,
): { readonly items: readonly Item[]; readonly picks?: (shape: Shape) => Picks } {
  if (!items.some(isTensor)) return { items };
  const left: Item[] = [];
  const tensors: Node[] = [];
  /** In what is left: the axes of the tensors, and of the items from the first to the last of them, how many there are. */
  const axes: number[] = [];
  const where: number[] = [];
  let [axis, shown] = [0, 0];
  items.forEach((item, i) => {
    if (item === null) {
      left.push(item);
      shown++;
      return;
    }
    // Beside tensors an integer is one.
    if (typeof item !== "number" && !hasNode(item)) {
      left.push(item);
      axis++;
      shown++;
      return;
    }
    const mask = hasNode(item) && item.dtype === "bool";
    if (mask) checkMask(item.node, base, axis);
    else if (hasNode(item) && item.dtype !== "number") checkInt32("at", "an index", item);
    const indices = mask ? placesOf(item.node) : [indexNode(base, axis, item)];
    for (const index of indices) {
      left.push([]);
      tensors.push(index);
      axes.push(shown);
      axis++;
      shown++;
    }
    where.push(i);
  });
  const [first, last] = [where[0]!, where[where.length - 1]!];
  const together = last - first === where.length - 1 && (dots === undefined || dots <= first || dots > last);
  const before = together ? axes[0]! : 0;
  return { items: left, picks: (shape) => picksOf(shape, axes, tensors, before) };
}

function indexNode(base: Node, axis: number, item: number | HasNode): Node {
  if (typeof item !== "number")
    return item.dtype === "number" ? meet(item.node, "int32", "at: an index") : item.node;
  return constant(within(base, axis, item, 1), "int32");
}

function placeOf(base: Node, items: readonly Item[]): Place {
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
      pick(start, count, Math.abs(step));
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

function named(base: Node, given: readonly AtIndex<HasNode>[]): Named {
  for (const item of given)
    if (!isIndex(item)) throw new ValueError(`at: takes ${expected}; given ${show(item)}.`);
  const rank = base.shape.length;
  const count = given.reduce((sum: number, item) => {
    if (item === null || item === "...") return sum;
    return sum + (hasNode(item) && item.dtype === "bool" ? item.node.shape.length : 1);
  }, 0);
  const dots = given.filter((item) => item === "...").length;
  if (count > rank || dots > 1)
    throw new ShapeError(
      dots > 1
        ? 'at: "..." stands for all axes that are not named; it can be given once.'
        : `at: ${describe(base)} has ${rank} axes; given indices for ${count}.`,
    );
  const rest = new Array<readonly never[]>(rank - count).fill([]);
  const all = dots === 0 ? [...given, "..." as const] : given;
  return {
    items: all.flatMap((item): readonly Item[] => (item === "..." ? rest : [item])),
    dots: dots === 0 ? undefined : all.indexOf("..."),
  };
}

const expected =
  'integers, ranges [start, stop, step], windows { start, length }, tensors of int32, masks, "..." and null for each axis';

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
  typeof value === "number" ? Number.isSafeInteger(value) : hasNode(value);

function hasNode(value: unknown): value is HasNode {
  return typeof value === "object" && value !== null && "node" in value;
}

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

/** The elements of `[start, stop, step]`, from the lowest place on: bounds beyond the axis are cut to it. */
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
  const count = Math.max(0, Math.ceil((to - from) / step));
  // What has no elements begins where the axis does, as the place before it may lie outside.
  return { start: count === 0 ? 0 : Math.min(from, from + (count - 1) * step), count, step };
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
