import {
  checkCount,
  type Fields,
  flag,
  nonNegative,
  number,
  optional,
  readOptions,
} from "../base/arguments.ts";
import { type DType, type FloatDType, isFloat, isNarrow, normalRange } from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { broadcastShapes, normalizeAxes } from "../base/shape.ts";
import { cast, meet } from "../graph/cast.ts";
import { reduce } from "../graph/reduce.ts";
import { customVjp } from "./custom-vjp.ts";
import { where } from "./functions.ts";
import { inDType, wide } from "./precision.ts";
import { type Axes, type KeepDim, nodeOf, type Operand, Tensor, tensorNode } from "./tensor.ts";

// Functions of numbers and of truth, composed of rows of the op table. Names and conventions are NumPy's.

/** The second operand of an elementwise function of a float tensor; a number as a tensor of the dtype of the first. */
export function operand<D extends DType>(operation: string, x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkFloat(operation, x);
  return beside(operation, x, y);
}

const beside = <D extends DType>(operation: string, x: Tensor<D>, y: Operand<D>): Tensor<D> =>
  new Tensor(meet(nodeOf(operation, y), x.dtype, operation));

/** @throws DTypeError for a tensor that is no float. */
export function checkFloat(operation: string, x: Tensor): void {
  tensorNode(operation, "x", x);
  if (!isFloat(x.dtype))
    throw new DTypeError(`${operation}: takes floats; given ${x}. Cast with .astype("float32").`);
}

const isInfinite = (x: Tensor) => x.isFinite().bitwiseOr(x.isNaN()).logicalNot();

const truncated = <D extends DType>(x: Tensor<D>) => where(x.lt(0), x.ceil(), x.floor());

/** The second operand of a division, of a tensor of floats or of int32. */
function divisorOf<D extends DType>(operation: string, x: Tensor<D>, y: Operand<D>): Tensor<D> {
  tensorNode(operation, "x", x);
  if (!isFloat(x.dtype) && x.dtype !== "int32")
    throw new DTypeError(`${operation}: takes floats and int32; given ${x}. Cast with .astype("int32").`);
  return beside(operation, x, y);
}

/** The quotient of whole numbers, rounded down, and what is left, of the sign of y. Where y is 0, so are both. */
function wholeDivision(x: Tensor, y: Tensor): { readonly quotient: Tensor; readonly left: Tensor } {
  const none = y.eq(0);
  const divisor = where(none, 1, y);
  // float32 has not all digits of a quotient: twice the nearest that it has, and products wrap.
  const nearest = (x: Tensor) => x.astype("float32").div(divisor.astype("float32")).round().astype("int32");
  const most = nearest(x);
  const rest = x.sub(most.mul(divisor));
  const last = nearest(rest);
  const near = { quotient: most.add(last), left: rest.sub(last.mul(divisor)) };
  const above = near.left.ne(0).bitwiseAnd(near.left.lt(0).ne(divisor.lt(0)));
  return {
    quotient: where(none, 0, where(above, near.quotient.sub(1), near.quotient)),
    left: where(none, 0, where(above, near.left.add(divisor), near.left)),
  };
}

/**
 * What is left of x after division by y, with the sign of x, as C's fmod: exact where the quotient is below 2^24 (2^53 in
 * float64), within a unit in the last place of x elsewhere; of int32 always, and 0 where y is. Floats and int32.
 */
export function fmod<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("fmod", arguments, 2);
  const divisor = divisorOf("fmod", x, y);
  const top = divisorOf("fmod", divisor, x);
  if (top.dtype === "int32") {
    const { left } = wholeDivision(top, divisor);
    return where(left.ne(0).bitwiseAnd(left.lt(0).ne(top.lt(0))), left.sub(divisor), left) as Tensor<D>; // int32
  }
  if (isNarrow(top.dtype)) return inDType(fmod(wide(top), wide(divisor)), top) as Tensor<D>; // in its dtype
  const shape = broadcastShapes("fmod", top.shape, divisor.shape);
  return division(top.expand(shape), divisor.expand(shape)) as Tensor<D>; // of the dtype of its arguments
}

/** What is left; d/dx = 1, d/dy = -quotient. */
const division = customVjp(
  (x: Tensor, y: Tensor) => {
    const infinite = isInfinite(y).bitwiseAnd(x.isFinite()); // x is left
    const divisor = where(infinite, 1, y);
    const quotient = where(infinite, 0, truncated(x.div(divisor)));
    const left = x.sub(quotient.mul(divisor)).sub(lost(quotient, divisor));
    // The quotient was rounded, perhaps to the next integer: one too many, or one too few.
    const many = left.ne(0).bitwiseAnd(left.lt(0).ne(x.lt(0)));
    const few = left.abs().ge(y.abs());
    const away = x.sign().mul(divisor.sign());
    const step = where(many, away.neg(), where(few, away, 0));
    return [left.sub(step.mul(divisor)), quotient.add(step)];
  },
  (quotient: Tensor, g: Tensor) => [g, g.mul(quotient).neg()],
);

/** What a product of x and y loses when it is rounded (T. J. Dekker 1971): every product of halves is exact. */
function lost(x: Tensor, y: Tensor): Tensor {
  const [[a, b], [c, d]] = [halves(x), halves(y)];
  return a.mul(c).sub(x.mul(y)).add(a.mul(d)).add(b.mul(c)).add(b.mul(d));
}

/** x as the sum of two numbers of half its digits. */
function halves(x: Tensor): readonly [high: Tensor, low: Tensor] {
  if (x.dtype === "float32") {
    const high: Tensor = (x as Tensor<"float32">).bitcast().bitwiseAnd(0xfffff000).bitcast();
    return [high, x.sub(high)];
  }
  const scaled = x.mul(2 ** 27 + 1);
  const high = scaled.sub(scaled.sub(x));
  return [high, x.sub(high)];
}

/**
 * What is left of x after division by y, with the sign of y, as NumPy's remainder and Python's %. Floats and int32; exact
 * where `fmod` is.
 *
 * @example
 * remainder(tensor([7, -7], { dtype: "int32" }), 3); // [1, 2]
 */
export function remainder<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("remainder", arguments, 2);
  const divisor = divisorOf("remainder", x, y);
  if (x.dtype === "int32") return wholeDivision(x, divisor).left as Tensor<D>; // int32
  const left = fmod(x, divisor);
  const other = left.ne(0).bitwiseAnd(left.lt(0).ne(divisor.lt(0)));
  return where(other, left.add(divisor), left);
}

/**
 * The largest integer that is not above x / y, as NumPy's floor_divide: 0 where y is 0, of int32. Floats and int32; gradient 0.
 *
 * @example
 * floorDivide(tensor([7, -7], { dtype: "int32" }), 3); // [2, -3]
 */
export function floorDivide<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("floorDivide", arguments, 2);
  const bottom = divisorOf("floorDivide", x, y).detach();
  const top = x.detach();
  if (x.dtype === "int32") return wholeDivision(top, bottom).quotient as Tensor<D>; // int32
  // Of a whole multiple, so that rounding of the quotient does not cross an integer.
  const whole = top.sub(remainder(top, bottom)).div(bottom).round();
  return where(bottom.eq(0), top.div(bottom), whole);
}

/** x without its fraction, towards 0. Floats; gradient 0. */
export function trunc<D extends DType>(x: Tensor<D>): Tensor<D> {
  checkCount("trunc", arguments, 1);
  checkFloat("trunc", x);
  return truncated(x);
}

/** Whether x is Infinity or -Infinity. Floats. */
export function isInf<D extends DType>(x: Tensor<D>): Tensor<"bool"> {
  checkCount("isInf", arguments, 1);
  checkFloat("isInf", x);
  return isInfinite(x);
}

/** log(exp(x) + exp(y)), without overflow on the way. Floats. */
export function logaddexp<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("logaddexp", arguments, 2);
  const other = operand("logaddexp", x, y);
  const first = x.ge(other);
  // Each of the two forms is the function on both sides of where they meet, so that derivatives of every order agree there.
  const gap = where(first, other.sub(x), x.sub(other));
  const same = x.eq(other).bitwiseAnd(x.isFinite().logicalNot()); // whose difference is none
  return where(first, x, other).add(where(same, 0, gap).exp().log1p());
}

/** sqrt(x^2 + y^2), without overflow or underflow on the way; gradient 0 at (0, 0). Floats. */
export function hypot<D extends DType>(x: Tensor<D>, y: Operand<D>): Tensor<D> {
  checkCount("hypot", arguments, 2);
  const other = operand("hypot", x, y);
  const large = x.abs().maximum(other.abs()).detach();
  const none = large.eq(0);
  // The scale cancels, so that derivatives are those of the root alone.
  const scale = where(none, 1, large);
  const square = x.div(scale).square().add(other.div(scale).square());
  const length = where(none, 0, scale.mul(where(none, 1, square).sqrt()));
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

/** x with other numbers where it is NaN or infinite; gradient 0 there. Floats. */
export function nanToNum<D extends DType>(x: Tensor<D>, options: NanToNumOptions = {}): Tensor<D> {
  checkCount("nanToNum", arguments, 2);
  checkFloat("nanToNum", x);
  const most = normalRange(x.dtype as FloatDType).largest; // just checked
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

/** How many elements along the axes are not 0, NaN among them: int32. */
export function countNonzero(x: Tensor, axes: Axes = null, options: KeepDim = {}): Tensor<"int32"> {
  checkCount("countNonzero", arguments, 3);
  const counted = truth("countNonzero", x).astype("int32");
  return counted.sum(axes, readOptions("countNonzero", keepDim, options));
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
