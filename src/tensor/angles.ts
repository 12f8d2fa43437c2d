import { checkCount } from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import * as ops from "../graph/elementwise.ts";
import { operand } from "./arithmetic.ts";
import { one } from "./hyperbolic.ts";
import { type Operand, Tensor } from "./tensor.ts";

// Trigonometry beside `x.sin()` and `x.cos()`. Floats; angles in radians.

/** sin(x) / cos(x). */
export function tan<D extends DType>(x: Tensor<D>): Tensor<D> {
  return one("tan", x, arguments).sin().div(x.cos());
}

/**
 * The angle from -pi/2 to pi/2 whose sine is x; NaN beyond -1 and 1. The slope is infinite at both ends.
 *
 * @example
 * asin(tensor([0, 1])); // [0, 1.5707963]
 */
export function asin<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(ops.asin(one("asin", x, arguments).node));
}

/**
 * The angle from 0 to pi whose cosine is x; NaN beyond -1 and 1. The slope is infinite at both ends.
 *
 * @example
 * acos(tensor([1, 0])); // [0, 1.5707963]
 */
export function acos<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(ops.acos(one("acos", x, arguments).node));
}

/**
 * The angle from -pi/2 to pi/2 whose tangent is x.
 *
 * @example
 * atan(tensor([1, -Infinity])); // [0.7853982, -1.5707963]
 */
export function atan<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(ops.atan2(one("atan", x, arguments).node, 1));
}

/**
 * The angle from -pi to pi of the point that lies x to the right and y above, as C's atan2: zeros and infinities count with
 * their signs. The gradient is NaN where both are 0. Shapes broadcast.
 *
 * @example
 * atan2(tensor([1, 0]), -1); // [2.3561945, 3.1415927]
 */
export function atan2<D extends DType>(y: Tensor<D>, x: Operand<D>): Tensor<D> {
  checkCount("atan2", arguments, 2);
  const other = operand("atan2", y, x);
  return new Tensor(ops.atan2(y.node, other.node));
}
