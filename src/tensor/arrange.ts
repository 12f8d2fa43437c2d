import {
  anAxis,
  checkArgument,
  checkCount,
  type Fields,
  field,
  finite,
  integer,
  oneOf,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { checkDType, computeDType, type DType, type FloatDType, integerRange } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { checkIntegers, checkShape, normalizeAxes, normalizeAxis, numel } from "../base/shape.ts";
import { cast } from "../graph/cast.ts";
import * as ops from "../graph/elementwise.ts";
import { expand } from "../graph/movement.ts";
import { iota } from "../graph/node.ts";
import { cat } from "./functions.ts";
import { Tensor, tensorNode } from "./tensor.ts";

// Functions that put elements elsewhere. Names and conventions are NumPy's.

const int32 = integer(...integerRange.int32);

/**
 * Elements shifted by `shifts` places along axes, those beyond the end again at the start. Without axes the elements are
 * shifted in row-major order.
 *
 * @example
 * roll(tensor([1, 2, 3]), 1); // [3, 1, 2]
 */
export function roll<D extends DType>(
  x: Tensor<D>,
  shifts: number | readonly number[],
  axes: number | readonly number[] | null = null,
): Tensor<D> {
  checkCount("roll", arguments, 3);
  tensorNode("roll", "x", x);
  if (axes === null) {
    checkArgument("roll", "shifts", shifts, int32);
    return shifted(x.reshape([-1]), shifts as number, 0).reshape(x.shape);
  }
  const [by, along] = [shifts, axes].map((list) => (typeof list === "number" ? [list] : list));
  checkIntegers("roll", "shifts", by!);
  checkIntegers("roll", "axes", along!);
  if (by!.length !== along!.length)
    throw new ValueError(`roll: ${by!.length} shifts for ${along!.length} axes; give one for each.`);
  return along!.reduce(
    (y: Tensor<D>, axis, i) => shifted(y, by![i]!, normalizeAxis("roll", axis, x.rank)),
    x,
  );
}

function shifted<D extends DType>(x: Tensor<D>, by: number, axis: number): Tensor<D> {
  const length = x.shape[axis]!;
  const at = length === 0 ? 0 : ((by % length) + length) % length;
  if (at === 0) return x;
  const bounds = (value: number) => x.shape.map((_, i) => (i === axis ? value : null));
  return cat([x.slice(bounds(length - at)), x.slice([], bounds(length - at))], axis);
}

/** The tensor repeated along each axis, as NumPy's tile: the lists are aligned at their ends. */
export function tile<D extends DType>(x: Tensor<D>, repeats: readonly number[]): Tensor<D> {
  checkCount("tile", arguments, 2);
  tensorNode("tile", "x", x);
  checkIntegers("tile", "repeats", repeats, { least: 0 });
  const rank = Math.max(x.rank, repeats.length);
  const lengths = [...new Array<number>(rank - x.rank).fill(1), ...x.shape];
  const times = [...new Array<number>(rank - repeats.length).fill(1), ...repeats];
  const shape = lengths.map((length, i) => length * times[i]!);
  checkShape("tile", shape);
  return x
    .reshape(lengths.flatMap((length) => [1, length]))
    .expand(lengths.flatMap((length, i) => [times[i]!, length]))
    .reshape(shape);
}

/** The axes from `start` to `end` as one, in row-major order. */
export function flatten<D extends DType>(x: Tensor<D>, start = 0, end = -1): Tensor<D> {
  checkCount("flatten", arguments, 3);
  tensorNode("flatten", "x", x);
  // A scalar is one axis of length 1.
  const rank = Math.max(1, x.rank);
  const [from, to] = [normalizeAxis("flatten", start, rank), normalizeAxis("flatten", end, rank)];
  if (x.rank === 0) return x.reshape([1]);
  if (from > to) throw new ShapeError(`flatten: start ${start} of ${x} lies behind end ${end}.`);
  const length = numel(x.shape.slice(from, to + 1));
  return x.reshape([...x.shape.slice(0, from), length, ...x.shape.slice(to + 1)]);
}

/**
 * Axes put elsewhere, the others in their order.
 *
 * @example
 * moveaxis(zeros([2, 3, 4]), 0, -1); // of shape [3, 4, 2]
 */
export function moveaxis<D extends DType>(
  x: Tensor<D>,
  source: number | readonly number[],
  destination: number | readonly number[],
): Tensor<D> {
  checkCount("moveaxis", arguments, 3);
  tensorNode("moveaxis", "x", x);
  const places = (axes: number | readonly number[]) => {
    normalizeAxes("moveaxis", axes, x.rank); // each once
    return [axes].flat().map((axis) => normalizeAxis("moveaxis", axis, x.rank));
  };
  const [from, to] = [places(source), places(destination)];
  if (from.length !== to.length)
    throw new ValueError(
      `moveaxis: ${from.length} axes and ${to.length} places for them; give one for each.`,
    );
  const rest = x.shape.flatMap((_, axis) => (from.includes(axis) ? [] : [axis]));
  const order = x.shape.map((_, place) => (to.includes(place) ? from[to.indexOf(place)]! : rest.shift()!));
  return x.permute(order);
}

/** The parts along an axis, without it; `stack` is the way back. */
export function unstack<D extends DType>(x: Tensor<D>, axis = 0): Tensor<D>[] {
  checkCount("unstack", arguments, 2);
  tensorNode("unstack", "x", x);
  const at = normalizeAxis("unstack", axis, x.rank);
  return x.shape[at] === 0 ? [] : x.split(x.shape[at]!, at).map((part) => part.squeeze(at));
}

export interface DiffOptions {
  /** How often differences are taken. Default 1. */
  readonly n?: number;
  /** Default -1, the last. */
  readonly axis?: number;
}

const diffFields: Fields<Required<DiffOptions>> = {
  n: integer(0, 1000, 1),
  axis: anAxis(-1),
};

/** Each element less the one before it; there is one fewer each time. */
export function diff<D extends DType>(x: Tensor<D>, options: DiffOptions = {}): Tensor<D> {
  checkCount("diff", arguments, 2);
  tensorNode("diff", "x", x);
  const { n, axis } = readOptions("diff", diffFields, options);
  const at = normalizeAxis("diff", axis, x.rank);
  const bounds = (value: number) => x.shape.map((_, i) => (i === at ? value : null));
  let y = x;
  for (let i = 0; i < n; i++) y = y.slice(bounds(1)).sub(y.slice([], bounds(-1)));
  return y;
}

/** `num` numbers from `start` to `stop` at equal distances, both among them. */
export function linspace<D extends FloatDType = "float32">(
  start: number,
  stop: number,
  num: number,
  options: { readonly dtype?: D } = {},
): Tensor<D> {
  checkCount("linspace", arguments, 4);
  checkArgument("linspace", "start", start, finite());
  checkArgument("linspace", "stop", stop, finite());
  checkArgument("linspace", "num", num, integer(0, integerRange.int32[1]));
  const given = readOptions(
    "linspace",
    { dtype: optional(field<FloatDType>("a float dtype", () => true)) },
    options,
  );
  const dtype = checkDType("linspace", given.dtype ?? "float32") as FloatDType;
  const step = num > 1 ? (stop - start) / (num - 1) : 0;
  const at = cast(iota([num], 0), computeDType(dtype)); // rounded once, at the end
  const half = ops.add(ops.mul(at, step), start);
  const rest = ops.add(ops.mul(ops.sub(at, num - 1), step), stop);
  // From both ends, so that both are exact.
  return new Tensor(cast(ops.where(ops.lt(at, num / 2), half, rest), dtype));
}

export interface DiagonalOptions {
  /** Above (positive) or below (negative) the main diagonal. Default 0. */
  readonly offset?: number;
  /** The rows. Default -2. */
  readonly axis0?: number;
  /** The columns. Default -1. */
  readonly axis1?: number;
}

const diagonalFields: Fields<Required<DiagonalOptions>> = {
  offset: integer(...integerRange.int32, 0),
  axis0: anAxis(-2),
  axis1: anAxis(-1),
};

/** The diagonals of matrices along two axes, as a new last axis. */
export function diagonal<D extends DType>(x: Tensor<D>, options: DiagonalOptions = {}): Tensor<D> {
  checkCount("diagonal", arguments, 2);
  tensorNode("diagonal", "x", x);
  const { offset, axis0, axis1 } = readOptions("diagonal", diagonalFields, options);
  if (x.rank < 2) throw new ShapeError(`diagonal: takes matrices; given ${x}.`);
  const [row, column] = [axis0, axis1].map((axis) => normalizeAxis("diagonal", axis, x.rank)) as [
    number,
    number,
  ];
  if (row === column) throw new ShapeError(`diagonal: axes ${axis0} and ${axis1} of ${x} are one.`);
  const batch = x.shape.flatMap((_, i) => (i === row || i === column ? [] : [i]));
  const none = batch.map(() => null);
  const from = x.permute([...batch, row, column]).slice([...none, Math.max(-offset, 0), Math.max(offset, 0)]);
  const [rows, columns] = from.shape.slice(-2) as [number, number];
  const length = Math.min(rows, columns);
  const lengths = from.shape.slice(0, -2);
  // Along the rows one behind the other, the diagonal has one element in each columns + 1.
  const flat = from.slice([...none, 0], [...none, length]).reshape([...lengths, length * columns]);
  return flat.slice([...none, 0], [], [...none, columns + 1]).slice([...none, 0], [...none, length]);
}

/** The matrix with a vector as its diagonal, zero elsewhere; of a matrix, its diagonal. */
export function diag<D extends DType>(x: Tensor<D>, offset = 0): Tensor<D> {
  checkCount("diag", arguments, 2);
  tensorNode("diag", "x", x);
  checkArgument("diag", "offset", offset, integer(-100_000, 100_000));
  if (x.rank === 2) return diagonal(x, { offset });
  if (x.rank !== 1) throw new ShapeError(`diag: takes a vector or a matrix; given ${x}.`);
  const n = x.size;
  const square = new Tensor<D>(
    ops.where(ops.eq(iota([n, n], 0), iota([n, n], 1)), expand(x.node, [n, n]), 0),
  );
  const [above, below] = [Math.max(offset, 0), Math.max(-offset, 0)];
  return square.pad([
    [below, above],
    [above, below],
  ]);
}

export interface MeshgridOptions {
  /** "ij" (default): the first vector goes along the first axis. "xy": along the second, as on paper. */
  readonly indexing?: "ij" | "xy";
}

/** One tensor for each vector, with its values along its axis of a grid and the same along the others. */
export function meshgrid<D extends DType>(
  vectors: readonly Tensor<D>[],
  options: MeshgridOptions = {},
): Tensor<D>[] {
  checkCount("meshgrid", arguments, 2);
  if (!Array.isArray(vectors))
    throw new ValueError(`meshgrid: takes a list of vectors; given ${show(vectors)}.`);
  const { indexing } = readOptions("meshgrid", { indexing: oneOf(["ij", "xy"] as const, "ij") }, options);
  const axisOf = (i: number) => (indexing === "xy" && i < 2 && vectors.length > 1 ? 1 - i : i);
  vectors.forEach((vector: Tensor<D>, i) => {
    if (tensorNode("meshgrid", `vector ${i}`, vector).shape.length !== 1)
      throw new ShapeError(`meshgrid: vector ${i} is ${vector}; it has one axis.`);
  });
  const shape = vectors.map((_, axis) => vectors[axisOf(axis)]!.size);
  checkShape("meshgrid", shape);
  return vectors.map((vector, i) =>
    vector.reshape(shape.map((length, axis) => (axis === axisOf(i) ? length : 1))).expand(shape),
  );
}
