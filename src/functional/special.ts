import { checkCount } from "../base/arguments.ts";
import { checkFloat, operand } from "../tensor/arithmetic.ts";
import { where } from "../tensor/functions.ts";
import type { Operand, Tensor } from "../tensor/tensor.ts";

// Functions of torch.special that are made of a few operations. Floats; shapes and dtypes are kept.

/** Horner's scheme, lowest power first. */
export const polynomial = (x: Tensor, coefficients: readonly number[]): Tensor => {
  const [highest, next, ...rest] = coefficients.toReversed() as [number, number, ...number[]];
  return rest.reduce((sum, c) => sum.mul(x).add(c), x.mul(highest).add(next));
};

/**
 * log(x / (1 - x)), the inverse of `sigmoid`: infinite at 0 and 1, NaN beyond; exact to rounding near 1/2 and at both ends.
 *
 * @example
 * logit(tensor([0.5, 0.75, 1])); // [0, 1.0986123, Infinity]
 */
export function logit(x: Tensor): Tensor {
  checkCount("logit", arguments, 1);
  checkFloat("logit", x);
  const low = x.lt(0.25);
  const [below, above] = [where(low, x, 0.25), where(low, 0.5, x)];
  const odds = above.mul(2).sub(1).div(above.neg().add(1)); // less 1
  return where(low, below.log().sub(below.neg().log1p()), odds.log1p());
}

/**
 * x log y, and 0 where x is 0, whatever y is but NaN: the terms of an entropy. The gradient is 0 where that 0 stands for no
 * number. Shapes broadcast.
 *
 * @example
 * xlogy(tensor([0, 2]), tensor([0, 3])); // [0, 2.1972246]
 */
export function xlogy(x: Tensor, y: Operand): Tensor {
  checkCount("xlogy", arguments, 2);
  const other = operand("xlogy", x, y);
  const none = x.eq(0).bitwiseAnd(other.le(0).bitwiseOr(other.eq(Number.POSITIVE_INFINITY)));
  return where(none, 0, x.mul(where(none, 1, other).log()));
}

/** sin(pi x), of what is left of x beside a whole number, so that it is 0 there. */
const sinPi = (x: Tensor): Tensor => {
  const whole = x.round();
  const half = whole.mul(0.5);
  const sign = half.sub(half.floor()).mul(-4).add(1);
  return x.sub(whole).mul(Math.PI).sin().mul(sign);
};

/** (-1)^k / (2k + 1)!, of sin(t) / t in t^2. */
const sines = Array.from({ length: 11 }, (_, k) => (-1) ** k / factorial(2 * k + 1));

/** n! */
export function factorial(n: number): number {
  return n < 2 ? 1 : n * factorial(n - 1);
}

/**
 * sin(pi x) / (pi x), and 1 at 0, as NumPy's: derivatives of every order are right there too.
 *
 * @example
 * sinc(tensor([0, 0.5, 1])); // [1, 0.6366198, 0]
 */
export function sinc(x: Tensor): Tensor {
  checkCount("sinc", arguments, 1);
  checkFloat("sinc", x);
  const near = x.abs().lt(0.5);
  const [inside, outside] = [where(near, x, 0), where(near, 0.5, x)];
  return where(
    near,
    polynomial(inside.mul(Math.PI).square(), sines),
    sinPi(outside).div(outside.mul(Math.PI)),
  );
}
