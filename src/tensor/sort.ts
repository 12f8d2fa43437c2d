import {
  anAxis,
  checkArgument,
  checkCount,
  type Fields,
  field,
  flag,
  flagOf,
  integer,
  oneOf,
  readOptions,
} from "../base/arguments.ts";
import { type DType, integerRange, isFloat } from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { normalizeAxis } from "../base/shape.ts";
import { argsort as argsortOf, firstOf, inverse } from "../graph/sort.ts";
import { checkFloat } from "./arithmetic.ts";
import { tensor, zeros } from "./creation.ts";
import { customVjp } from "./custom-vjp.ts";
import { stack, where } from "./functions.ts";
import { type Extremes, type KeepDim, Tensor, tensorNode } from "./tensor.ts";

// Order along an axis: stable, NaN as the largest, -0 as equal to 0. What is sorted are integers of the same order.

export interface SortOptions {
  /** Default -1, the last. */
  readonly axis?: number;
  /** The largest first; equal ones stay in their order. Default false. */
  readonly descending?: boolean;
}

const sortFields: Fields<Required<SortOptions>> = {
  axis: anAxis(-1),
  descending: flag,
};

/**
 * The elements along an axis in rising order, and where each was: stable, NaN as the largest, -0 as equal to 0. The
 * gradient goes where the elements came from. A row is sorted by one thread of the CPU; of a GPU a short one by one workgroup, a
 * long one by many.
 *
 * @throws DTypeError for host numbers; ShapeError for an axis that does not exist.
 * @example
 * const { values, indices } = sort(tensor([3, 1, 2])); // [1, 2, 3] and [1, 2, 0]
 */
export function sort<D extends DType>(x: Tensor<D>, options: SortOptions = {}): Extremes<D> {
  checkCount("sort", arguments, 2);
  const { axis, descending } = readOptions("sort", sortFields, options);
  const at = axisOf("sort", x, axis);
  const indices = order(x, at, descending);
  const values = isFloat(x.dtype) ? (reorder(x, indices, at) as Tensor as Tensor<D>) : x.gather(at, indices);
  return { values, indices };
}

/**
 * Where the elements of the sorted axis are: `x.gather(axis, argsort(x, { axis }))` is sorted. As `sort` has it.
 *
 * @throws DTypeError for host numbers; ShapeError for an axis that does not exist.
 * @example
 * argsort(tensor([3, 1, 2]), { descending: true }); // [0, 2, 1]
 */
export function argsort<D extends DType>(x: Tensor<D>, options: SortOptions = {}): Tensor<"int32"> {
  checkCount("argsort", arguments, 2);
  const { axis, descending } = readOptions("argsort", sortFields, options);
  return order(x, axisOf("argsort", x, axis), descending);
}

export interface TopkOptions {
  /** False takes the smallest, in rising order, NaN last. Default true. */
  readonly largest?: boolean;
}

const topkFields: Fields<Required<TopkOptions>> = { largest: flagOf(true) };

/**
 * The `k` largest values along an axis, in falling order, and where they are: equal values by their index, NaN before all
 * others, as `argmax` has it. The gradient goes to the elements that were taken. Of a long row a thread of the CPU keeps the
 * first k that it has seen; a workgroup of a GPU narrows in on the last of them, in blocks of the row.
 *
 * @throws ValueError unless k is an integer from 0 to the length of the axis.
 * @example
 * const { values, indices } = topk(tensor([3, 1, 4, 1, 5]), 2); // [5, 4] and [4, 2]
 */
export function topk<D extends DType>(
  x: Tensor<D>,
  k: number,
  axis = -1,
  options: TopkOptions = {},
): Extremes<D> {
  checkCount("topk", arguments, 4);
  const at = axisOf("topk", x, axis);
  checkArgument("topk", "k", k, integer(0, x.shape[at]!));
  const { largest } = readOptions("topk", topkFields, options);
  const indices = fromLast(first(toLast(x, at), k, largest), at);
  return { values: x.gather(at, indices), indices };
}

/** The indices of the first k of each row. */
function first(x: Tensor, k: number, descending: boolean): Tensor<"int32"> {
  if (k === 0) return zeros([...x.shape.slice(0, -1), 0], { dtype: "int32" });
  if (x.dtype !== "float64") return new Tensor(firstOf(keysOf(x, descending).node, k));
  const none = x.shape.slice(1).map(() => null);
  return orderOf(x, descending).slice([...none, 0], [...none, k]);
}

const [, last] = integerRange.int32;

function axisOf(operation: string, x: Tensor, axis: number): number {
  tensorNode(operation, "x", x);
  if (x.dtype === "number")
    throw new DTypeError(
      `${operation}: takes tensors of a device; given ${x}. Cast with .astype("float32").`,
    );
  return normalizeAxis(operation, axis, x.rank);
}

const toLast = (x: Tensor, axis: number): Tensor =>
  x.detach().unsqueeze(-1).transpose(axis, -1).squeeze(axis);
const fromLast = (x: Tensor<"int32">, axis: number) => x.unsqueeze(axis).transpose(axis, -1).squeeze(-1);

function order(x: Tensor, axis: number, descending: boolean): Tensor<"int32"> {
  return fromLast(orderOf(toLast(x, axis), descending), axis);
}

/** The order of each row of the last axis. */
function orderOf(x: Tensor, descending: boolean): Tensor<"int32"> {
  if (x.dtype !== "float64") return rowsOf(keysOf(x, descending));
  // First by value, then by what has none.
  const plain = where(x.isNaN(), 0, x.add(0));
  const byValue = rowsOf(descending ? plain.neg() : plain);
  const unordered = x.isNaN().gather(-1, byValue).astype("int32");
  return byValue.gather(-1, rowsOf(descending ? unordered.neg() : unordered));
}

const rowsOf = (keys: Tensor): Tensor<"int32"> => new Tensor(argsortOf(keys.node));

/** Integers of the same order; of float64 there are none. */
function keysOf(x: Tensor, descending: boolean): Tensor<"int32"> {
  const rising = risingKeys(x);
  return descending ? rising.bitwiseXor(-1) : rising;
}

/** Floats have the order of their bits, whatever a device makes of NaN and infinities. */
function risingKeys(x: Tensor): Tensor<"int32"> {
  if (x.dtype === "int32") return x as Tensor<"int32">;
  if (x.dtype === "bool") return x.astype("int32");
  if (x.dtype === "uint32") return x.bitwiseXor(2 ** 31).astype("int32");
  const bits = (x.astype("float32") as Tensor<"float32">).bitcast().astype("int32");
  const size = bits.bitwiseAnd(last);
  const signed = where(size.eq(0), 0, where(bits.lt(0), bits.bitwiseXor(last), bits));
  return where(size.gt(0x7f800000), last, signed);
}

/** The elements in an order; its gradient puts them back, each way by gathering. */
function reorder(x: Tensor, at: Tensor<"int32">, axis: number): Tensor {
  return customVjp(
    (x: Tensor) => [x.gather(axis, at), at] as const,
    (at, g) => [restore(g, at, axis)],
  )(x);
}

function restore(x: Tensor, at: Tensor<"int32">, axis: number): Tensor {
  return customVjp(
    (x: Tensor) => [x.gather(axis, new Tensor<"int32">(inverse(at.node, axis))), at] as const,
    (at, g) => [reorder(g, at, axis)],
  )(x);
}

export interface QuantileOptions extends KeepDim {
  /** Default all elements. */
  readonly axis?: number | null;
  /** What lies between two elements: a mixture by the distance (default), one of both, their mean, or the nearer one. */
  readonly interpolation?: "linear" | "lower" | "higher" | "midpoint" | "nearest";
}

const quantileFields: Fields<QuantileOptions> = {
  axis: { ...field<number | null>("an axis, or null for all elements", isAxis), optional: true },
  keepdim: flag,
  interpolation: oneOf(["linear", "lower", "higher", "midpoint", "nearest"] as const, "linear"),
};

function isAxis(value: unknown): boolean {
  return value === null || Number.isInteger(value);
}

/**
 * What a share `q` of the elements lies below, along an axis or of all: at place q (n - 1) of the sorted elements. A list of
 * shares becomes the first axis. NaN where there is one, or where there is nothing. Floats.
 *
 * @throws ValueError unless each share is from 0 to 1.
 * @example
 * quantile(tensor([1, 2, 4, 8]), [0, 0.5]); // [1, 3]
 */
export function quantile<D extends DType>(
  x: Tensor<D>,
  q: number | readonly number[],
  options: QuantileOptions = {},
): Tensor<D> {
  checkCount("quantile", arguments, 3);
  checkFloat("quantile", x);
  const given = readOptions("quantile", quantileFields, options);
  const share = field<number>("numbers from 0 to 1", (p) => typeof p === "number" && p >= 0 && p <= 1);
  const shares: readonly number[] = Array.isArray(q) ? q : [q as number];
  for (const p of shares) checkArgument("quantile", "q", p, share);
  const { axis = null, keepdim, interpolation } = given;
  const at = axis === null ? 0 : axisOf("quantile", x, axis);
  const rows = axis === null ? x.reshape([-1]) : x;
  const length = rows.shape[at]!;
  const sorted = sort(rows, { axis: at }).values;
  const shape = axis === null ? x.shape.map(() => 1) : x.shape.map((n, i) => (i === at ? 1 : n));
  const place = (index: number) => {
    const bound = (value: number) => sorted.shape.map((_, i) => (i === at ? value : null));
    return sorted.slice(bound(index), bound(index + 1)).reshape(shape);
  };
  const results = shares.map((p) => {
    if (length === 0)
      return zeros(shape)
        .div(0)
        .astype(x.dtype as "float32") as unknown as Tensor<D>; // a float
    const exact = p * (length - 1);
    const [below, above] = [Math.floor(exact), Math.ceil(exact)];
    const between = interpolated(place, interpolation!, exact, below, above);
    const most = place(length - 1);
    return where(most.isNaN(), most, between);
  });
  const kept = keepdim ? shape : axis === null ? [] : shape.filter((_, i) => i !== at);
  const flat = results.map((result) => result.reshape(kept));
  return Array.isArray(q) ? stack(flat) : flat[0]!;
}

function interpolated<D extends DType>(
  place: (index: number) => Tensor<D>,
  interpolation: NonNullable<QuantileOptions["interpolation"]>,
  exact: number,
  below: number,
  above: number,
): Tensor<D> {
  const half = (x: number) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
  if (below === above || interpolation === "lower") return place(below);
  if (interpolation === "higher") return place(above);
  if (interpolation === "nearest") return place(half(exact));
  const weight = interpolation === "midpoint" ? 0.5 : exact - below;
  const [low, high] = [place(below), place(above)];
  return low.mul(1 - weight).add(high.mul(weight));
}

export interface MedianOptions extends KeepDim {
  /** Default all elements. */
  readonly axis?: number | null;
}

/**
 * The middle of the sorted elements along an axis or of all, the mean of two if their number is even, as NumPy has it (for
 * PyTorch's, the lower of both, take `quantile` with "lower"). NaN where there is one. Floats.
 *
 * @example
 * median(tensor([3, 1, 2, 10])); // 2.5
 */
export function median<D extends DType>(x: Tensor<D>, options: MedianOptions = {}): Tensor<D> {
  checkCount("median", arguments, 2);
  const { axis, keepdim } = readOptions(
    "median",
    { axis: quantileFields.axis, keepdim: flag } as Fields<MedianOptions>,
    options,
  );
  return quantile(x, 0.5, {
    ...(axis === undefined ? {} : { axis }),
    ...(keepdim ? { keepdim } : {}),
    interpolation: "midpoint",
  });
}

/** Values that occur, each once. */
export interface Unique<D extends DType> {
  /** In rising order; NaN last, once. */
  readonly values: Tensor<D>;
  /** Of each element the place of its value, in the shape of the elements. */
  readonly inverse: Tensor<"int32">;
  readonly counts: Tensor<"int32">;
}

/**
 * The values that occur in a tensor. How many there are is known only once they are computed: this waits for the device, and
 * cannot be compiled.
 *
 * @example
 * const { values, counts } = await unique(tensor([3, 1, 3])); // [1, 3] and [1, 2]
 */
export async function unique<D extends DType>(x: Tensor<D>): Promise<Unique<D>> {
  checkCount("unique", arguments, 1);
  tensorNode("unique", "x", x);
  return uniqueAmong(x, await x.data());
}

/** The same, of values that are there. */
export function uniqueAmong<D extends DType>(x: Tensor<D>, data: ArrayLike<number>): Unique<D> {
  const order = Array.from(data, (_, i) => i).sort((i, j) => {
    const [a, b] = [data[i]!, data[j]!];
    return Number.isNaN(a) || Number.isNaN(b) ? Number(Number.isNaN(a)) - Number(Number.isNaN(b)) : a - b;
  });
  const values: number[] = [];
  const counts: number[] = [];
  const inverse = new Int32Array(data.length);
  for (const i of order) {
    const value = data[i]!;
    const before = values.at(-1);
    if (before === undefined || !(before === value || (Number.isNaN(before) && Number.isNaN(value)))) {
      values.push(value);
      counts.push(0);
    }
    counts[counts.length - 1]!++;
    inverse[i] = values.length - 1;
  }
  const dtype = x.dtype as Exclude<D, "number">;
  return {
    values: tensor(values, { dtype, shape: [values.length] }) as unknown as Tensor<D>,
    inverse: tensor(inverse, { dtype: "int32", shape: x.shape }),
    counts: tensor(counts, { dtype: "int32", shape: [counts.length] }),
  };
}
