import { checkCount } from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import * as ops from "../graph/elementwise.ts";
import { checkFloat } from "./arithmetic.ts";
import { where } from "./functions.ts";
import { Tensor } from "./tensor.ts";

// Exponentials and what is made of them. Floats; odd functions are computed of the size of x, so that they are odd.

/** The argument, checked. */
export function one<D extends DType>(operation: string, x: Tensor<D>, given: ArrayLike<unknown>): Tensor<D> {
  checkCount(operation, given, 1);
  checkFloat(operation, x);
  return x;
}

/** f of the size of x, with the sign of x. */
function odd<D extends DType>(x: Tensor<D>, f: (size: Tensor<D>) => Tensor<D>): Tensor<D> {
  const negative = x.lt(0);
  const y = f(where(negative, x.neg(), x));
  return where(negative, y.neg(), y);
}

/** 2^x. */
export function exp2<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(ops.pow(2, one("exp2", x, arguments).node));
}

/** The logarithm to base 10. */
export function log10<D extends DType>(x: Tensor<D>): Tensor<D> {
  return one("log10", x, arguments).log().mul(Math.LOG10E);
}

/** (exp(x) - exp(-x)) / 2, accurate near 0, infinite only where the result is. */
export function sinh<D extends DType>(x: Tensor<D>): Tensor<D> {
  return odd(one("sinh", x, arguments), (size) => {
    const large = size.gt(20);
    const half = size.mul(0.5).exp();
    const e = where(large, 0, size).expm1();
    return where(large, half.mul(half.mul(0.5)), e.add(e.div(e.add(1))).mul(0.5));
  });
}

/** (exp(x) + exp(-x)) / 2, infinite only where the result is. */
export function cosh<D extends DType>(x: Tensor<D>): Tensor<D> {
  const negative = one("cosh", x, arguments).lt(0);
  const half = where(negative, x.neg(), x).mul(0.5).exp();
  // exp(|x|) / 2 + exp(-|x|) / 2, of the root of the former, which does not overflow before the result does.
  return half.mul(half.mul(0.5)).add(half.reciprocal().square().mul(0.5));
}

/** The inverse of sinh. */
export function asinh<D extends DType>(x: Tensor<D>): Tensor<D> {
  return odd(one("asinh", x, arguments), (size) => {
    // Beyond, 1 is nothing beside the square, which may overflow.
    const large = size.gt(1e9);
    const a = where(large, 1, size);
    const root = a.square().add(1).sqrt().add(1);
    const more = a.mul(a.div(root).add(1)); // a + a^2 / root, with the sign of a zero
    return where(large, where(large, size, 1).log().add(Math.LN2), more.log1p());
  });
}

/** The inverse of cosh: at least 0, NaN below 1. */
export function acosh<D extends DType>(x: Tensor<D>): Tensor<D> {
  const large = one("acosh", x, arguments).gt(1e9);
  const above = where(large, 2, x).sub(1);
  const small = above.add(above.mul(above.add(2)).sqrt()).log1p();
  return where(large, where(large, x, 1).log().add(Math.LN2), small);
}

/** The inverse of tanh: infinite at -1 and 1, NaN beyond. */
export function atanh<D extends DType>(x: Tensor<D>): Tensor<D> {
  return odd(one("atanh", x, arguments), (size) => size.mul(2).div(size.neg().add(1)).log1p().mul(0.5));
}
