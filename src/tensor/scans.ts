import { checkCount, type Fields, field, integer, oneOf, optional, readOptions } from "../base/arguments.ts";
import { type DType, integerRange, isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
import { normalizeAxis, sameShape } from "../base/shape.ts";
import { checkFloat } from "./arithmetic.ts";
import { arange, ones, zeros } from "./creation.ts";
import { where } from "./functions.ts";
import { checkInt32 } from "./indices.ts";
import { type Extremes, Tensor, tensorNode } from "./tensor.ts";

// Running results along an axis, and counting. Each scan takes log2(n) steps over all elements (W. D. Hillis and G. L.
// Steele 1986, "Data parallel algorithms"), so that it is one form for any associative rule.

/** Joins each element with all before it: after the step of d, an element holds what the 2 d up to it come to. */
function scan<T extends readonly Tensor[]>(
  start: T,
  axis: number,
  fill: readonly number[],
  join: (before: T, here: T) => T,
): T {
  const [{ shape }] = start as unknown as readonly [Tensor];
  let state = start;
  for (let d = 1; d < shape[axis]!; d *= 2) {
    const before = state.map((x, i) => {
      const kept = x.slice(
        [],
        shape.map((length, at) => (at === axis ? length - d : null)),
      );
      return kept.pad(
        shape.map((_, at) => [at === axis ? d : 0, 0] as const),
        fill[i],
      );
    });
    state = join(before as unknown as T, state); // as many, of the same dtypes
  }
  return state;
}

function checkNumbers(operation: string, x: Tensor): void {
  tensorNode(operation, "x", x);
  if (x.dtype === "bool")
    throw new DTypeError(`${operation}: takes numbers; given ${x}. Cast with .astype("int32").`);
}

/** Whether x is NaN, which no integer is. */
const isNaNumber = (x: Tensor) => (isFloat(x.dtype) ? x.isNaN() : x.ne(x));

/** Running products along an axis; gradients are right at zeros too. */
export function cumprod<D extends DType>(x: Tensor<D>, axis: number): Tensor<D> {
  checkCount("cumprod", arguments, 2);
  checkNumbers("cumprod", x);
  const at = normalizeAxis("cumprod", axis, x.rank);
  return scan([x] as const, at, [1], ([before], [here]) => [before.mul(here)] as const)[0];
}

/** Running maxima along an axis and where they are: the last of those that tie, NaN from the first one on. */
export function cummax<D extends DType>(x: Tensor<D>, axis: number): Extremes<D> {
  checkCount("cummax", arguments, 2);
  return running("cummax", x, axis, (here, before) => here.ge(before));
}

/** Running minima along an axis and where they are: the last of those that tie, NaN from the first one on. */
export function cummin<D extends DType>(x: Tensor<D>, axis: number): Extremes<D> {
  checkCount("cummin", arguments, 2);
  return running("cummin", x, axis, (here, before) => here.le(before));
}

function running<D extends DType>(
  operation: string,
  x: Tensor<D>,
  axis: number,
  replaces: (here: Tensor<D>, before: Tensor<D>) => Tensor<"bool">,
): Extremes<D> {
  checkNumbers(operation, x);
  const at = normalizeAxis(operation, axis, x.rank);
  const length = x.shape[at]!;
  const places = arange(length, { dtype: "int32" })
    .reshape(x.shape.map((_, i) => (i === at ? length : 1)))
    .expand(x.shape);
  // Where there is nothing before, the place is negative.
  const [, indices] = scan([x.detach(), places] as const, at, [0, -1], ([was, from], [here, to]) => {
    const nan = isNaNumber(was);
    const newer = from
      .lt(0)
      .bitwiseOr(isNaNumber(here))
      .bitwiseOr(replaces(here, was).bitwiseAnd(nan.logicalNot()));
    return [where(newer, here, was), where(newer, to, from)] as const;
  });
  return { values: x.gather(at, indices), indices };
}

/** log of running sums of exp(x) along an axis, without overflow. Floats. */
export function logcumsumexp<D extends DType>(x: Tensor<D>, axis: number): Tensor<D> {
  checkCount("logcumsumexp", arguments, 2);
  checkFloat("logcumsumexp", x);
  const at = normalizeAxis("logcumsumexp", axis, x.rank);
  return scan([x] as const, at, [-Infinity], ([a], [b]) => {
    const large = a.maximum(b).detach();
    const finite = large.isFinite();
    const sized = (z: Tensor<D>) => where(finite, z.sub(where(finite, large, 0)), 0).exp();
    return [where(finite, sized(a).add(sized(b)).log().add(large), large)] as const;
  })[0];
}

/**
 * Where values would be put into sorted vectors so that these stay sorted: before elements that are equal ("left",
 * default) or behind them. A search by halves, log2(n) gathers. The vectors are the last axis of `sorted`; leading axes
 * are those of `values`, unless it is one vector for all. NaN goes behind everything.
 *
 * @example
 * searchsorted(tensor([1, 3, 5]), tensor([3, 4])); // [1, 2]
 */
export function searchsorted<D extends DType>(
  sorted: Tensor<D>,
  values: Tensor<D>,
  options: { readonly side?: "left" | "right" } = {},
): Tensor<"int32"> {
  checkCount("searchsorted", arguments, 3);
  checkNumbers("searchsorted", sorted);
  checkNumbers("searchsorted", values);
  const { side } = readOptions("searchsorted", { side: oneOf(["left", "right"] as const, "left") }, options);
  const batch = sorted.shape.slice(0, -1);
  if (sorted.rank === 0 || (sorted.rank > 1 && !sameShape(batch, values.shape.slice(0, -1))))
    throw new ShapeError(
      `searchsorted: sorted ${sorted} is one vector, or has the leading axes of values ${values}.`,
    );
  const length = sorted.shape.at(-1)!;
  const flat = sorted.rank === 1 && values.rank !== 1 ? values.reshape([-1]) : values;
  let place = flat.ne(flat).astype("int32").mul(0);
  if (length === 0) return place.reshape(values.shape);
  const sought = flat.detach();
  for (let step = 2 ** Math.floor(Math.log2(length)); step >= 1; step /= 2) {
    const next = place.add(step);
    const inside = next.le(length);
    const element = sorted.detach().gather(-1, next.clamp(1, length).sub(1));
    const below = side === "left" ? element.lt(sought) : element.le(sought);
    place = where(inside.bitwiseAnd(below.bitwiseOr(isNaNumber(sought))), next, place);
  }
  return place.reshape(values.shape);
}

export interface BincountOptions<D extends DType> {
  /** Of the result: indices beyond are not counted, as negative ones. */
  readonly length: number;
  /** Added in place of 1, one for each index. */
  readonly weights?: Tensor<D>;
}

const bincountFields: Fields<BincountOptions<DType>> = {
  length: integer(0, integerRange.int32[1] - 1),
  weights: optional(
    field<Tensor>(
      "a vector with a weight for each index",
      (value) => value instanceof Tensor && value.rank === 1,
    ),
  ),
};

/** How often each number below `length` occurs in a vector of int32, or the sums of weights. */
export function bincount(indices: Tensor<"int32">, options: { readonly length: number }): Tensor<"int32">;
export function bincount<D extends DType>(
  indices: Tensor<"int32">,
  options: BincountOptions<D> & { readonly weights: Tensor<D> },
): Tensor<D>;
export function bincount(indices: Tensor<"int32">, options: BincountOptions<DType>): Tensor {
  checkCount("bincount", arguments, 2);
  checkInt32("bincount", "the indices", indices);
  if (indices.rank !== 1) throw new ShapeError(`bincount: takes a vector of indices; given ${indices}.`);
  const { length, weights } = readOptions("bincount", bincountFields, options);
  const source: Tensor = weights ?? ones(indices.shape, { dtype: "int32" });
  if (source.dtype === "number" || source.dtype === "bool")
    throw new DTypeError(`bincount: weights are numbers on a device; given ${source}.`);
  // One place more, for what is not counted.
  const inside = indices.lt(length).bitwiseAnd(indices.ge(0));
  const none = zeros([length + 1], { dtype: source.dtype }) as Tensor;
  return none.scatterAdd(0, where(inside, indices, length), source).slice([0], [length]);
}
