import { ShapeError, ValueError } from "../base/errors.ts";
import { broadcastShapes, describe, numel, type Shape, strides } from "../base/shape.ts";
import * as ops from "../graph/elementwise.ts";
import { expand, permute, reshape, zeros } from "../graph/movement.ts";
import { iota, type Node } from "../graph/node.ts";
import { gather, reduce, scatterAdd } from "../graph/reduce.ts";
import { valuesAtHand } from "../runtime/evaluate.ts";
import { hostNode } from "../runtime/storage.ts";
import { fromEither } from "./indices.ts";

// Indices by tensors of integers or of truth, by NumPy's rules for them: they broadcast to one shape, which stands where they
// did, or in front where other axes lie between them. Axes that they index are one axis here, in front of the others.

/** Tensors that index axes of a value. */
export interface Picks {
  /** Of the value: the axes that are indexed, then the others. */
  readonly order: readonly number[];
  /** The lengths of both. */
  readonly lengths: Shape;
  readonly rest: Shape;
  /** What the tensors broadcast to, and how many of the other axes come before it in the result. */
  readonly shape: Shape;
  readonly before: number;
  /** Places on the axes that are indexed, as one, in a row; one beyond the last where an index is out of range. */
  readonly index: Node;
  /** The places, where the host knows them. */
  readonly known: Int32Array | undefined;
}

/** Indices of one mask for each of its axes: where it holds. */
export function placesOf(mask: Node): Node[] {
  const values = valuesAtHand(mask);
  if (!values)
    throw new ValueError(
      `at: how many elements the mask ${describe(mask)} picks is known only when it is computed. Await its data and make a tensor of that, or take where(mask, value, x).`,
    );
  const places = Array.from(values, (value, i) => (value ? i : -1)).filter((i) => i >= 0);
  return strides(mask.shape).map((stride, axis) =>
    hostNode(
      Int32Array.from(places, (place) => Math.floor(place / stride) % mask.shape[axis]!),
      [places.length],
      "int32",
    ),
  );
}

/** @param axes Of the value, one for each tensor. @param before How many other axes come before the result's own. */
export function picksOf(
  value: Shape,
  axes: readonly number[],
  tensors: readonly Node[],
  before: number,
): Picks {
  const others = value.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const lengths = axes.map((axis) => value[axis]!);
  const shape = tensors.reduce<Shape>((all, { shape }) => broadcastShapes("at", all, shape), []);
  const stride = strides(lengths);
  const marked = tensors.map((index, i) => fromEither("at: index", index, lengths[i]!));
  const host = tensors.map((index) => valuesAtHand(index));
  const count = numel(shape);
  const common = {
    order: [...axes, ...others],
    lengths,
    rest: others.map((axis) => value[axis]!),
    shape,
    before,
  };
  if (host.every((values) => values !== undefined)) {
    const known = new Int32Array(count);
    tensors.forEach((index, i) => {
      const own = strides(index.shape);
      const missing = shape.length - index.shape.length;
      for (let at = 0; at < count; at++) {
        let [left, from] = [at, 0];
        for (let axis = shape.length - 1; axis >= missing; axis--) {
          if (index.shape[axis - missing] !== 1) from += (left % shape[axis]!) * own[axis - missing]!;
          left = Math.floor(left / shape[axis]!);
        }
        const place = host[i]![from]!;
        known[at]! += (place < 0 ? place + lengths[i]! : place) * stride[i]!;
      }
    });
    return { ...common, known, index: hostNode(known, [count], "int32") };
  }
  const inside = marked
    .map((index, i) => ops.bitwiseAnd(ops.ge(index, 0), ops.lt(index, lengths[i]!)))
    .reduce((all, one) => ops.bitwiseAnd(all, one));
  const flat = marked.map((index, i) => ops.mul(index, stride[i]!)).reduce((sum, part) => ops.add(sum, part));
  const place = ops.where(inside, flat, numel(lengths));
  return { ...common, known: undefined, index: reshape(expand(place, shape), [count]) };
}

/** The value as [places, all other axes]. */
function flattened(x: Node, { order, lengths, rest }: Picks): Node {
  return reshape(permute(x, order), [numel(lengths), numel(rest)]);
}

function restored(rows: Node, { order, lengths, rest }: Picks): Node {
  const back = order.map((_, axis) => order.indexOf(axis));
  return permute(reshape(rows, [...lengths, ...rest]), back);
}

/** The shape of what is picked. */
export function shapeOf({ shape, rest, before }: Picks): Shape {
  return [...rest.slice(0, before), ...shape, ...rest.slice(before)];
}

/** What is picked from [picked, all other axes], and back. */
function placed(rows: Node, { shape, rest, before }: Picks): Node {
  const n = shape.length;
  const axes = [
    ...rest.slice(0, before).map((_, i) => n + i),
    ...shape.map((_, i) => i),
    ...rest.slice(before).map((_, i) => n + before + i),
  ];
  return permute(reshape(rows, [...shape, ...rest]), axes);
}

function unplaced(picked: Node, { shape, rest, before }: Picks): Node {
  const axes = [
    ...shape.map((_, i) => before + i),
    ...rest.map((_, i) => (i < before ? i : shape.length + i)),
  ];
  return reshape(permute(picked, axes), [numel(shape), numel(rest)]);
}

export function pick(x: Node, picks: Picks): Node {
  const rows = flattened(x, picks);
  const [count, width] = [numel(picks.shape), rows.shape[1]!];
  const index = expand(reshape(picks.index, [count, 1]), [count, width]);
  return placed(count === 0 ? zeros({ shape: [0, width], dtype: x.dtype }) : gather(rows, index, 0), picks);
}

/** Of which row of sources each place gets the value, the last that names it; -1 for none. */
function winners({ index, known, lengths }: Picks): Node {
  const [places, count] = [numel(lengths), index.shape[0]!];
  if (known) {
    const last = new Int32Array(places).fill(-1);
    known.forEach((place, source) => {
      last[place] = source;
    });
    return hostNode(last, [places], "int32");
  }
  const source = iota([places, count], 1);
  return reduce("max", ops.where(names(index, [places, count]), source, -1), [1]);
}

/** Whether a place of the first axis is named by a source of the second. */
function names(index: Node, shape: Shape): Node {
  const column = [1, index.shape[0]!, ...shape.slice(2).map(() => 1)];
  return ops.eq(iota(shape, 0), expand(reshape(index, column), shape));
}

function put(rows: Node, sources: Node, picks: Picks): Node {
  const taken = reshape(winners(picks), [rows.shape[0]!, 1]);
  const index = expand(ops.maximum(taken, 0), rows.shape);
  return ops.where(expand(ops.ge(taken, 0), rows.shape), gather(sources, index, 0), rows);
}

export type Change = "set" | "add" | "mul" | "min" | "max";

const combine = { mul: ops.mul, min: ops.minimum, max: ops.maximum } as const;
const reductions = { mul: "prod", min: "min", max: "max" } as const;
const neutrals = { mul: 1, min: Infinity, max: -Infinity } as const;

/** x with values at what is picked: places that are named again take all of them, one after the other; `set` the last. */
export function change(how: Change, x: Node, values: Node, picks: Picks): Node {
  const rows = flattened(x, picks);
  const sources = unplaced(values, picks);
  if (numel(sources.shape) === 0) return x;
  return restored(changed(how, rows, sources, picks), picks);
}

function changed(how: Change, rows: Node, sources: Node, picks: Picks): Node {
  const [count, width] = sources.shape as [number, number];
  if (how === "set") return put(rows, sources, picks);
  const index = expand(reshape(picks.index, [count, 1]), [count, width]);
  if (how === "add") return scatterAdd(rows, index, sources, 0);
  if (picks.known && new Set(picks.known).size === count)
    return put(rows, combine[how](gather(rows, index, 0), sources), picks);
  // Each place looks at all sources.
  const shape = [rows.shape[0]!, count, width];
  const named = names(picks.index, shape);
  const none = reduceNeutral(how, rows);
  const all = ops.where(named, expand(reshape(sources, [1, count, width]), shape), none);
  return combine[how](rows, reduce(reductions[how], all, [1]));
}

function reduceNeutral(how: keyof typeof neutrals, { dtype }: Node): number {
  if (dtype === "int32") return { mul: 1, min: 2 ** 31 - 1, max: -(2 ** 31) }[how];
  if (dtype === "uint32") return { mul: 1, min: 2 ** 32 - 1, max: 0 }[how];
  return neutrals[how];
}

/** @throws ShapeError where a mask is not as long as the axes that it stands for. */
export function checkMask(mask: Node, base: Node, axis: number): void {
  const own = base.shape.slice(axis, axis + mask.shape.length);
  if (mask.shape.length === 0 || mask.shape.some((length, i) => length !== own[i]))
    throw new ShapeError(
      `at: the mask ${describe(mask)} stands for axes ${axis} and on of ${describe(base)}; it has their lengths [${own.join(",")}].`,
    );
}
