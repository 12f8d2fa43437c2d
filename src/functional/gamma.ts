import { checkArgument, checkCount, integer } from "../base/arguments.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { customVjp } from "../tensor/custom-vjp.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { factorial, polynomial } from "./special.ts";

// The logarithm of the gamma function and its derivatives, each of which is the gradient of the one before. Right of 0 by series
// (Abramowitz and Stegun 6.1.33, 6.1.41, 6.4.11), left of it by reflection (6.1.17, 6.4.7).

/** B_2, B_4, ... of Bernoulli. */
const bernoulli = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798];

/** lgamma(2 + z) / z in z: 1 - Euler's constant, then (-1)^k (zeta(k) - 1) / k for k from 2 on. */
const aboutTwo = [
  0.42278433509846713, 0.3224670334241132, -0.0673523010531981, 0.020580808427784546, -0.007385551028673986,
  0.0028905103307415234, -0.001192753911703261, 5.096695247430425e-4, -2.2315475845357939e-4,
  9.945751278180853e-5, -4.492623673813314e-5, 2.050721277567069e-5, -9.439488275268397e-6,
  4.374866789907488e-6, -2.039215753801366e-6, 9.55141213040742e-7, -4.492469198764566e-7,
  2.1207184805554665e-7, -1.0043224823968099e-7, 4.7698101693639804e-8, -2.2711094608943164e-8,
  1.0838659214896955e-8, -5.183475041970047e-9, 2.4836745438024785e-9, -1.1921401405860912e-9,
  5.731367241678862e-10,
];

/** lgamma(x) + x - (x - 1/2) log x - log(2 pi) / 2, times x, in x^-2. */
const stirling = bernoulli.map((b, i) => b / ((2 * i + 2) * (2 * i + 1)));

/** How many terms of a series are wanted: of float64 all. */
const enough = (x: Tensor, series: readonly number[], single: number) =>
  x.dtype === "float64" || x.dtype === "number" ? series : series.slice(0, single);

/** 1 - x where x < 0, else x; and how far x < 0 is from a whole number, elsewhere 1/4. */
function reflected(x: Tensor) {
  const negative = x.lt(0);
  const left = where(negative, x, 0.25);
  const whole = left.round();
  const off = where(left.eq(whole), 0, left.sub(whole)); // 0 of -Infinity too
  return { negative, right: where(negative, x.neg().add(1), x), angle: off.mul(Math.PI), pole: off.eq(0) };
}

/**
 * The logarithm of the size of the gamma function; Infinity at 0, -1, -2, ... Near its zeros at 1 and 2 it is exact to rounding,
 * near those left of 0 its absolute error is. The gradient is `digamma`. Floats.
 *
 * @example
 * lgamma(tensor([0.5, 4])); // [0.5723649, 1.7917595]: log of the root of pi, and of 3!
 */
export function lgamma(x: Tensor): Tensor {
  checkCount("lgamma", arguments, 1);
  checkFloat("lgamma", x);
  return logarithm(x);
}

const logarithm = customVjp(
  (x: Tensor) => {
    const { negative, right, angle, pole } = reflected(x);
    const value = lgammaOnRight(right);
    const left = where(pole, 1, angle.sin().abs()).log().neg().add(Math.log(Math.PI)).sub(value);
    return [where(negative, where(pole, Number.POSITIVE_INFINITY, left), value), x];
  },
  (x: Tensor, g: Tensor) => [g.mul(derivative(0, x))],
);

function lgammaOnRight(x: Tensor): Tensor {
  const large = x.ge(8);
  const far = where(large, x, 8);
  const inverse = far.reciprocal();
  const rest = polynomial(inverse.square(), enough(x, stirling, 4)).mul(inverse);
  const asymptotic = far
    .sub(0.5)
    .mul(far.log().sub(1))
    .add(rest)
    .add(0.5 * Math.log(2 * Math.PI) - 0.5);
  // x = place + z; gamma(2 + z) is brought to x by factors.
  const near = where(large, 2, x);
  const place = near.round();
  const z = near.sub(place);
  const low = place.lt(2);
  const up = [1, 2, 3, 4, 5, 6].reduce<Tensor>(
    (product, i) => where(place.gt(i + 1), product.mul(near.sub(i)), product),
    where(low, near, 1),
  );
  const factor = where(place.lt(1), up.mul(near.add(1)), up).log();
  const about = polynomial(z, enough(x, aboutTwo, 13)).mul(z);
  return where(large, asymptotic, about.add(where(low, factor.neg(), factor)));
}

/**
 * The derivative of `lgamma`: -Infinity at 0, NaN at -1, -2, ... The error is absolute near its zeros. The gradient is
 * `polygamma(1, x)`. Floats.
 *
 * @example
 * digamma(tensor([1, 2])); // [-0.5772157, 0.4227843]
 */
export function digamma(x: Tensor): Tensor {
  checkCount("digamma", arguments, 1);
  checkFloat("digamma", x);
  return derivative(0, x);
}

/**
 * The derivative of `digamma` of order n, from 0 to 30; at 0, -1, -2, ... infinite for odd n, NaN left of 0 for even. Floats.
 *
 * @example
 * polygamma(1, tensor([1])); // [1.6449341]: pi^2 / 6
 */
export function polygamma(n: number, x: Tensor): Tensor {
  checkCount("polygamma", arguments, 2);
  checkArgument("polygamma", "n", n, integer(0, 30));
  checkFloat("polygamma", x);
  return derivative(n, x);
}

const derivative = (n: number, x: Tensor): Tensor =>
  customVjp(
    (x: Tensor) => [polygammaOf(n, x), x],
    (x, g) => [g.mul(derivative(n + 1, x))],
  )(x);

function polygammaOf(n: number, x: Tensor): Tensor {
  const { negative, right, angle, pole } = reflected(x);
  const value = polygammaOnRight(n, right);
  const cotangent = angle.cos().div(angle.sin());
  const turned = polynomial(cotangent, cotangents(n)).mul(Math.PI ** (n + 1));
  const left = (n % 2 ? value.neg() : value).sub(turned);
  // 0 times the infinity of a pole that has two sides is NaN; a constant would be one that debugNans names.
  return where(negative, n % 2 ? left : where(pole, left.mul(0), left), value);
}

/** The derivative of cot t of order n in c = cot t: that of a polynomial p is -(1 + c^2) p'. */
function cotangents(n: number): number[] {
  let p = [0, 1];
  for (let order = 0; order < n; order++) {
    const slope = p.slice(1).map((c, i) => -c * (i + 1));
    p = [...slope, 0, 0].map((c, i) => c + (slope[i - 2] ?? 0));
  }
  return p;
}

function polygammaOnRight(n: number, x: Tensor): Tensor {
  // (-1)^(n + 1) n! times the sum of (x + k)^-(n + 1) over all k: some as they are, the rest by their integral.
  const terms = enough(x, bernoulli, 4).map((b, i) => {
    const k = 2 * i + 2;
    return (
      Array.from({ length: k - 1 }, (_, j) => n + 1 + j).reduce((c, factor) => c * factor, b) / factorial(k)
    );
  });
  const count = terms.length + n + 2;
  const small = x.lt(count);
  const far = where(small, x.add(count), x);
  const inverse = far.reciprocal();
  const square = inverse.square();
  const integral = polynomial(square, terms)
    .mul(square)
    .add(inverse.mul(0.5))
    .add(n === 0 ? far.log().neg() : 1 / n);
  const rest = n === 0 ? integral : power(inverse, n).mul(integral);
  const sum = Array.from({ length: count }, (_, k) => power(x.add(k).reciprocal(), n + 1))
    .toReversed()
    .reduce((sum, term) => sum.add(term));
  return rest.add(where(small, sum, 0)).mul((n % 2 ? 1 : -1) * factorial(n));
}

/** x^n for n > 0. */
const power = (x: Tensor, n: number): Tensor =>
  n === 1 ? x : n % 2 ? power(x, n - 1).mul(x) : power(x, n / 2).square();
