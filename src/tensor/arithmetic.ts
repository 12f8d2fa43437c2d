import {
  checkCount,
  type Fields,
  flag,
  nonNegative,
  number,
  optional,
  readOptions,
} from "../base/arguments.ts";
import { type DType, isFloat } from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { normalizeAxes } from "../base/shape.ts";
import { cast, meet } from "../graph/cast.ts";
import { reduce } from "../graph/reduce.ts";
import { where } from "./functions.ts";
import { type Axes, type KeepDim, nodeOf, type Operand, Tensor, tensorNode } from "./tensor.ts";

// Functions of numbers and of truth, composed of rows of the op table. Names and conventions are NumPy's.

/** The second operand of an elementwise function of a float tensor; a number as a tensor of the dtype of the first. */
function operand<D extends DType>(operation: string, x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkFloat(operation, x);
  return new Tensor(meet(nodeOf(operation, y), x.dtype, operation));
}

/** @throws DTypeError for a tensor that is no float. */
export function checkFloat(operation: string, x: Tensor): void {
  tensorNode(operation, "x", x);
  if (!isFloat(x.dtype))
    throw new DTypeError(`${operation}: takes floats; given ${x}. Cast with .astype("float32").`);
}

const isInfinite = (x: Tensor) => x.isFinite().bitwiseOr(x.isNaN()).logicalNot();

const truncated = <D extends DType>(x: Tensor<D>) => where(x.lt(0), x.ceil(), x.floor());

/**
 * What is left of x after division by y, with the sign of x, as C's fmod. Floats; exact where x / y is below 2^24 and the
 * product of y and the whole quotient is exact, within a unit in the last place of x elsewhere.
 */
export function fmod<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("fmod", arguments, 2);
  const divisor = operand("fmod", x, y);
  const beyond = isInfinite(divisor).bitwiseAnd(x.isFinite()); // nothing is taken off
  const left = x.sub(truncated(x.div(divisor)).mul(where(beyond, 1, divisor)));
  // A quotient that was rounded to the next integer: one divisor too many was taken off, or one too few.
  const size = divisor.detach().abs();
  const signed = where(x.lt(0), size.neg(), size);
  const many = left.ne(0).bitwiseAnd(left.lt(0).ne(x.lt(0)));
  const few = left.abs().ge(size);
  return where(beyond, x, where(many, left.add(signed), where(few, left.sub(signed), left)));
}

/**
 * What is left of x after division by y, with the sign of y, as NumPy's remainder and Python's %. Floats; exact where
 * `fmod` is.
 */
export function remainder<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("remainder", arguments, 2);
  const divisor = operand("remainder", x, y);
  const left = fmod(x, divisor);
  const other = left.ne(0).bitwiseAnd(left.lt(0).ne(divisor.lt(0)));
  return where(other, left.add(divisor), left);
}

/** The largest integer that is not above x / y, as NumPy's floor_divide. Floats; gradient 0. */
export function floorDivide<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("floorDivide", arguments, 2);
  const [top, bottom] = [x.detach(), operand("floorDivide", x, y).detach()];
  // Of a whole multiple, so that rounding of the quotient does not cross an integer.
  const whole = top.sub(remainder(top, bottom)).div(bottom).round();
  return where(bottom.eq(0), top.div(bottom), whole);
}

/** sqrt(x^2 + y^2), without overflow or underflow on the way; gradient 0 at (0, 0). Floats. */
export function hypot<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("hypot", arguments, 2);
  const other = operand("hypot", x, y);
  const [a, b] = [x.abs(), other.abs()];
  const [large, small] = [a.maximum(b), a.minimum(b)];
  const none = large.eq(0);
  const ratio = where(none, 0, small).div(where(none, 1, large));
  const length = where(none, 0, large.mul(ratio.square().add(1).sqrt()));
  return where(isInfinite(x).bitwiseOr(isInfinite(other)), Number.POSITIVE_INFINITY, length);
}

/** x + weight (y - x), exactly x at weight 0 and y at weight 1. Floats. */
export function lerp<D extends DType>(x: Tensor<D>, y: Operand<D>, weight: Operand<D>): Tensor<D> {
  checkCount("lerp", arguments, 3);
  const [end, share] = [operand("lerp", x, y), operand("lerp", x, weight)];
  const change = end.sub(x);
  return where(share.lt(0.5), x.add(change.mul(share)), end.add(change.mul(share.sub(1))));
}

export interface NanToNumOptions {
  /** What NaN becomes. Default 0. */
  readonly nan?: number;
  /** What Infinity becomes. Default the largest number of the dtype. */
  readonly posinf?: number;
  /** What -Infinity becomes. Default the least number of the dtype. */
  readonly neginf?: number;
}

const replacements: Fields<NanToNumOptions> = {
  nan: optional(number),
  posinf: optional(number),
  neginf: optional(number),
};

const largest: Partial<Record<DType, number>> = { float16: 65504, float32: (2 - 2 ** -23) * 2 ** 127 };

/** x with other numbers where it is NaN or infinite; gradient 0 there. Floats. */
export function nanToNum<D extends DType>(x: Tensor<D>, options: NanToNumOptions = {}): Tensor<D> {
  checkCount("nanToNum", arguments, 2);
  checkFloat("nanToNum", x);
  const most = largest[x.dtype] ?? Number.MAX_VALUE;
  const { nan = 0, posinf = most, neginf = -most } = readOptions("nanToNum", replacements, options);
  const infinite = isInfinite(x);
  const numbers = where(x.isNaN(), nan, x);
  const bounded = where(infinite.bitwiseAnd(x.gt(0)), posinf, numbers);
  return where(infinite.bitwiseAnd(x.lt(0)), neginf, bounded);
}

export interface IsCloseOptions {
  /** Relative to the second argument. Default 1e-5. */
  readonly rtol?: number;
  /** Default 1e-8. */
  readonly atol?: number;
  /** Whether NaN is close to NaN. Default false. */
  readonly equalNan?: boolean;
}

const closeness: Fields<Required<IsCloseOptions>> = {
  rtol: nonNegative(1e-5),
  atol: nonNegative(1e-8),
  equalNan: flag,
};

/** Whether |x - y| <= atol + rtol |y|; infinities are close to themselves alone. Floats. */
export function isClose<D extends DType>(
  x: Tensor<D>,
  y: Operand<D>,
  options: IsCloseOptions = {},
): Tensor<"bool"> {
  checkCount("isClose", arguments, 3);
  const { rtol, atol, equalNan } = readOptions("isClose", closeness, options);
  const other = operand("isClose", x, y);
  const near = x.sub(other).abs().le(other.abs().mul(rtol).add(atol));
  const close = x.eq(other).bitwiseOr(near.bitwiseAnd(x.isFinite()).bitwiseAnd(other.isFinite()));
  return equalNan ? close.bitwiseOr(x.isNaN().bitwiseAnd(other.isNaN())) : close;
}

// Truth: whatever is not 0, NaN too.

const truth = (operation: string, x: Tensor): Tensor<"bool"> =>
  new Tensor(cast(tensorNode(operation, "x", x), "bool"));

/** Whether both are true. */
export function logicalAnd(x: Tensor, y: Tensor): Tensor<"bool"> {
  checkCount("logicalAnd", arguments, 2);
  return truth("logicalAnd", x).bitwiseAnd(truth("logicalAnd", y));
}

/** Whether one of the two is true. */
export function logicalOr(x: Tensor, y: Tensor): Tensor<"bool"> {
  checkCount("logicalOr", arguments, 2);
  return truth("logicalOr", x).bitwiseOr(truth("logicalOr", y));
}

/** Whether exactly one of the two is true. */
export function logicalXor(x: Tensor, y: Tensor): Tensor<"bool"> {
  checkCount("logicalXor", arguments, 2);
  return truth("logicalXor", x).bitwiseXor(truth("logicalXor", y));
}

const keepDim: Fields<Required<KeepDim>> = { keepdim: flag };

/** Whether any element along the axes is true; of none, false. */
export function any(x: Tensor, axes: Axes = null, options: KeepDim = {}): Tensor<"bool"> {
  checkCount("any", arguments, 3);
  return reduced("any", "max", x, axes, options).gt(0);
}

/** Whether all elements along the axes are true; of none, true. */
export function all(x: Tensor, axes: Axes = null, options: KeepDim = {}): Tensor<"bool"> {
  checkCount("all", arguments, 3);
  return reduced("all", "min", x, axes, options).gt(0);
}

function reduced(
  operation: string,
  name: "max" | "min",
  x: Tensor,
  axes: Axes,
  options: KeepDim,
): Tensor<"int32"> {
  const { keepdim } = readOptions(operation, keepDim, options);
  const gone = normalizeAxes(operation, axes, truth(operation, x).rank);
  const result = new Tensor<"int32">(reduce(name, cast(truth(operation, x).node, "int32"), gone));
  return keepdim ? result.reshape(x.shape.map((length, axis) => (gone.includes(axis) ? 1 : length))) : result;
}
