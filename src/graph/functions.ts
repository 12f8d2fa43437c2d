import { cast } from "./cast.ts";
import { makeNode, type Node, type Operand, type ScalarOp } from "./node.ts";
import {
  abs,
  add,
  bitcast,
  bitwiseAnd,
  bitwiseOr,
  div,
  eq,
  ge,
  gt,
  ldexp,
  le,
  lt,
  maximum,
  minimum,
  mul,
  neg,
  rightShift,
  round,
  sqrt,
  sub,
  where,
} from "./primitives.ts";
import { floatOp, scalarOp } from "./scalar.ts";
import * as special from "./special.ts";

// Functions of floats. What `expand` says of float32 is their one definition: WebAssembly writes it into the kernels, WGSL
// has it as a function. Of float64, which the CPU has alone, they are `evaluate`. Polynomials are those of Cephes
// (S. L. Moshier, single precision) unless something else is said.

/** Horner's scheme, highest power first. */
function polynomial(x: Node, [first, ...rest]: readonly number[]): Node {
  return rest.slice(1).reduce((sum, c) => add(mul(sum, x), c), add(mul(x, first!), rest[0]!));
}

/** Horner's scheme in x^2 over pairs (G. Estrin 1960): one product more, and half as long a chain of sums to wait for. */
function polynomialByPairs(x: Node, square: Node, coefficients: readonly number[]): Node {
  const pairs: Node[] = [];
  for (let end = coefficients.length; end > 1; end -= 2)
    pairs.unshift(add(mul(x, coefficients[end - 2]!), coefficients[end - 1]!));
  const [first, ...rest] = pairs as [Node, ...Node[]];
  const start = coefficients.length % 2 === 0 ? first : add(mul(square, coefficients[0]!), first);
  return rest.reduce((sum, pair) => add(mul(sum, square), pair), start);
}

const clamp = (x: Node, low: number, high: number) => minimum(maximum(x, low), high);

/** The bits of infinity. */
const infinity = 0x7f800000;

/** A number that is not negative, given by its bits, with the sign of x. */
const withSign = (bits: Operand, x: Node) => bitcast(bitwiseOr(bitwiseAnd(bitcast(x), 0x80000000), bits));

/** x = n log 2 + r with |r| <= log(2) / 2: the number that n is nearest to, n, and exp(r) - 1. */
function reduceExp(x: Node): { readonly power: Node; readonly n: Node; readonly em1: Node } {
  const power = mul(x, Math.LOG2E);
  const n = round(power);
  // log 2 in two parts: n times the first is exact.
  const r = sub(sub(x, mul(n, 0.693359375)), mul(n, -2.1219444005469057e-4));
  // (exp(r) - 1 - r) / r^2, least largest error of exp(r): 3e-9 by itself, far below the rounding of the sums.
  const square = mul(r, r);
  const tail = polynomialByPairs(
    r,
    square,
    [1.3814464003e-3, 8.3687817408e-3, 4.1668394345e-2, 1.6666520097e-1, 4.9999993412e-1],
  );
  return { power, n, em1: add(mul(tail, square), r) };
}

/** exp(x) for x from -104 to 89. */
function expWithin(x: Node): Node {
  const { power, em1 } = reduceExp(x);
  return ldexp(add(em1, 1), power);
}

/** x = 2^e (1 + z) with 1 + z from sqrt(1/2) to sqrt(2), for finite x > 0; from the bits, so that subnormals work. */
function reduceLog(x: Node): { readonly e: Node; readonly z: Node } {
  const given = cast(bitcast(x), "int32");
  // A subnormal is 2^-149 times its bits as a number.
  const subnormal = lt(given, 0x00800000);
  const bits = where(subnormal, cast(bitcast(cast(given, "float32")), "int32"), given);
  const root = 0x3f3504f3; // the bits of sqrt(1/2)
  const above = sub(bits, root);
  const exponent = rightShift(above, 23);
  const e = cast(where(subnormal, sub(exponent, 149), exponent), "float32");
  const mantissa = bitcast(cast(add(bitwiseAnd(above, 0x007fffff), root), "uint32"));
  return { e, z: sub(mantissa, 1) };
}

/** e log 2 + log(1 + z). */
function logOf(e: Node, z: Node): Node {
  const square = mul(z, z);
  const p = polynomialByPairs(
    z,
    square,
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
  );
  const tail = sub(add(mul(mul(p, z), square), mul(e, -2.1219444e-4)), mul(square, 0.5));
  return add(add(z, tail), mul(e, 0.693359375));
}

/** log x from what it is where x > 0 is finite: -Infinity of 0, Infinity of that, NaN of negative numbers. */
function logOrSpecial(x: Node, finite: Node): Node {
  const bits = cast(bitcast(x), "int32");
  const special = where(
    eq(bitwiseAnd(bits, 0x7fffffff), 0),
    -Infinity,
    where(eq(bits, infinity), Infinity, Number.NaN),
  );
  return where(bitwiseAnd(gt(bits, 0), lt(bits, infinity)), finite, special);
}

export const exp: ScalarOp = floatOp({
  name: "exp",
  ulp: 4,
  cost: 12,
  evaluate: Math.exp,
  expand: (x) => {
    // What comes out 0 is not computed: processors take a hundred cycles over a product that underflows, and a masked score of
    // attention is such a one.
    const isZero = lt(x!, -104);
    return where(isZero, 0, expWithin(minimum(where(isZero, 0, x!), 89)));
  },
  vjp: (g, y) => [mul(g, y)],
});

export const expm1: ScalarOp = floatOp({
  name: "expm1",
  ulp: 4,
  cost: 14,
  evaluate: Math.expm1,
  expand: (x) => {
    const { power, n, em1 } = reduceExp(clamp(x!, -40, 89));
    // 2^n (em1 + 1) - 1 as 2 (t em1 + (t - 1/2)) with t = 2^(n-1), which does not overflow too early.
    const t = ldexp(0.5, power);
    const half = add(mul(t, em1), sub(t, 0.5));
    return where(lt(abs(x!), 1e-7), x!, where(eq(n, 0), em1, add(half, half)));
  },
  vjp: (g, y) => [mul(g, add(y, 1))],
});

export const log: ScalarOp = floatOp({
  name: "log",
  ulp: 4,
  cost: 12,
  evaluate: Math.log,
  expand: (x) => {
    const { e, z } = reduceLog(x!);
    return logOrSpecial(x!, logOf(e, z));
  },
  vjp: (g, _, [x]) => [div(g, x!)],
});

export const log1p: ScalarOp = floatOp({
  name: "log1p",
  ulp: 4,
  cost: 14,
  evaluate: Math.log1p,
  expand: (x) => {
    const whole = add(x!, 1);
    const { e, z } = reduceLog(whole);
    // Near 0 the rounded sum would be too rough.
    const near = bitwiseAnd(gt(x!, -0.2928), lt(x!, 0.4142));
    const y = logOrSpecial(whole, logOf(where(near, 0, e), where(near, x!, z)));
    return where(lt(abs(x!), 1e-8), x!, y);
  },
  vjp: (g, _, [x]) => [div(g, add(x!, 1))],
});

export const sin: ScalarOp = floatOp({
  name: "sin",
  ulp: 4,
  cost: 16,
  evaluate: Math.sin,
  vjp: (g, _, [x]) => [mul(g, cos(x!))],
});

export const cos: ScalarOp = floatOp({
  name: "cos",
  ulp: 4,
  cost: 16,
  evaluate: Math.cos,
  vjp: (g, _, [x]) => [neg(mul(g, sin(x!)))],
});

export const tanh: ScalarOp = floatOp({
  name: "tanh",
  ulp: 4,
  cost: 16,
  evaluate: Math.tanh,
  expand: (x) => {
    const size = abs(x!);
    const large = sub(1, div(2, add(expWithin(minimum(add(size, size), 20)), 1)));
    const z = mul(x!, x!);
    const p = polynomial(
      z,
      [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
    );
    const small = where(eq(x!, 0), x!, add(mul(mul(p, z), x!), x!));
    return where(lt(size, 0.625), small, withSign(bitcast(large), x!));
  },
  vjp: (g, y) => [mul(g, sub(1, mul(y, y)))],
});

/** 1 / (1 + exp(-x)), without overflow: exp(-|x|) is at most 1. */
export const sigmoid: ScalarOp = floatOp({
  name: "sigmoid",
  ulp: 4,
  cost: 16,
  evaluate: (x) => (x < 0 ? Math.exp(x) : 1) / (1 + Math.exp(-Math.abs(x))),
  expand: (x) => {
    const e = expWithin(maximum(neg(abs(x!)), -104));
    return div(where(lt(x!, 0), e, 1), add(e, 1));
  },
  vjp: (g, y) => [mul(g, mul(y, sub(1, y)))],
});

/** 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x. */
export const erf: ScalarOp = floatOp({
  name: "erf",
  ulp: 8,
  cost: 20,
  evaluate: special.erf,
  expand: (x) => {
    // A rational approximation on [-4, 4], where erf is 1 to float32; the coefficients are Eigen's.
    const c = clamp(x!, -4, 4);
    const z = mul(c, c);
    const p = polynomial(
      z,
      [
        -2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5,
        -7.34990630326855e-4, -2.95459980854025e-3, -1.60960333262415e-2,
      ],
    );
    const q = polynomial(
      z,
      [
        -1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3,
        -1.42647390514189e-2,
      ],
    );
    return mul(c, div(p, q)); // c p would underflow too early
  },
  vjp: (g, _, [x]) => [mul(g, mul(2 / Math.sqrt(Math.PI), exp(neg(mul(x!, x!)))))],
});

/** The number whose error function is x; infinite at -1 and 1, NaN beyond. */
export const erfinv: ScalarOp = floatOp({
  name: "erfinv",
  ulp: 6,
  cost: 40,
  evaluate: special.erfinv,
  expand: (x) => {
    // By the logarithm of 1 - x^2; the coefficients are those of M. Giles (2010), single precision.
    const w = neg(log(mul(sub(1, x!), add(x!, 1))));
    const middle = polynomial(
      sub(w, 2.5),
      [
        2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4, -1.25372503e-3,
        -4.17768164e-3, 0.246640727, 1.50140941,
      ],
    );
    const tail = polynomial(
      sub(sqrt(w), 3),
      [
        -2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3, -7.6224613e-3,
        9.43887047e-3, 1.00167406, 2.83297682,
      ],
    );
    const y = mul(where(lt(w, 5), middle, tail), x!);
    const beyond = where(eq(abs(x!), 1), withSign(infinity, x!), Number.NaN);
    return where(lt(abs(x!), 1), y, beyond);
  },
  vjp: (g, y) => [mul(g, mul(Math.sqrt(Math.PI) / 2, exp(mul(y, y))))],
});

/** asin(x) for x from 0 to 1/2, x^2 being there. */
function asinNear(x: Node, square: Node): Node {
  const p = polynomial(
    square,
    [4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2, 1.6666752422e-1],
  );
  return add(mul(mul(p, square), x), x);
}

/** The angle whose sine is |x|; where that is `far` from 0, half of the one whose cosine it is. */
function arcOf(x: Node): { readonly size: Node; readonly far: Node; readonly angle: Node } {
  const size = abs(x);
  const far = gt(size, 0.5);
  const square = mul(sub(1, size), 0.5);
  return { size, far, angle: asinNear(where(far, sqrt(square), size), where(far, square, mul(size, size))) };
}

/** sqrt(1 - x^2), which is accurate near 1. */
const otherLeg = (x: Node) => sqrt(mul(sub(1, x), add(x, 1)));

/** The angle from -pi/2 to pi/2 whose sine is x; NaN beyond -1 and 1. */
export const asin: ScalarOp = floatOp({
  name: "asin",
  ulp: 4,
  cost: 16,
  evaluate: Math.asin,
  expand: (x) => {
    const { size, far, angle } = arcOf(x!);
    const y = where(far, sub(Math.PI / 2, add(angle, angle)), angle);
    return where(le(size, 1), withSign(bitcast(y), x!), Number.NaN);
  },
  vjp: (g, _, [x]) => [div(g, otherLeg(x!))],
});

/** The angle from 0 to pi whose cosine is x; NaN beyond -1 and 1. */
export const acos: ScalarOp = floatOp({
  name: "acos",
  ulp: 4,
  cost: 16,
  evaluate: Math.acos,
  expand: (x) => {
    const { size, far, angle } = arcOf(x!);
    const doubled = add(angle, angle);
    const positive = where(far, doubled, sub(Math.PI / 2, angle));
    const negative = where(far, sub(Math.PI, doubled), add(angle, Math.PI / 2));
    return where(le(size, 1), where(lt(x!, 0), negative, positive), Number.NaN);
  },
  vjp: (g, _, [x]) => [neg(div(g, otherLeg(x!)))],
});

/** The angle of the point (x, y) from -pi to pi, as C's atan2: zeros and infinities count with their signs. */
export const atan2: ScalarOp = scalarOp({
  name: "atan2",
  arity: 2,
  types: "float",
  ulp: 6,
  cost: 24,
  evaluate: Math.atan2,
  expand: (y, x) => {
    const [height, width] = [abs(y!), abs(x!)];
    const [large, small] = [maximum(height, width), minimum(height, width)];
    const bits = bitcast(large);
    const plain = bitwiseAnd(gt(bits, 0), lt(bits, infinity));
    const special = where(gt(bits, infinity), Number.NaN, where(eq(bitcast(small), infinity), 1, 0));
    const quotient = where(plain, div(small, where(plain, large, 1)), special);
    // From tan(pi/8) on, by the angle less pi/4.
    const steep = gt(quotient, 0.414213562373095);
    const t = where(steep, div(sub(quotient, 1), add(quotient, 1)), quotient);
    const square = mul(t, t);
    const p = polynomial(square, [8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1]);
    const near = add(mul(mul(p, square), t), t);
    const octant = where(steep, add(near, Math.PI / 4), near);
    const quadrant = where(gt(height, width), sub(Math.PI / 2, octant), octant);
    const left = ge(bitcast(x!), 2 ** 31);
    return withSign(bitcast(where(left, sub(Math.PI, quadrant), quadrant)), y!);
  },
  // x / (x^2 + y^2) and -y / (x^2 + y^2), of parts of the larger one, so that no square leaves the range.
  vjp: (g, _, [y, x]) => {
    const scale = constantly(maximum(abs(y!), abs(x!)));
    const [a, b] = [div(x!, scale), div(y!, scale)];
    const by = div(g, mul(scale, add(mul(a, a), mul(b, b))));
    return [mul(by, a), neg(mul(by, b))];
  },
});

/** The value, which is no part of a gradient. */
function constantly(x: Node): Node {
  return makeNode({ kind: "identity", stops: true }, [x], x.shape, x.dtype);
}

/** d/dx = y x^(y-1), 0 where y = 0; d/dy = x^y log x, 0 where x = 0 and y >= 0. */
export const pow: ScalarOp = scalarOp({
  name: "pow",
  arity: 2,
  types: "float",
  ulp: 4,
  cost: 24,
  // JavaScript has NaN where the magnitude is 1 and the exponent infinite.
  evaluate: (x, y) => (x === 1 || y === 0 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y),
  vjp: (g, z, [x, y]) => {
    // x^0 is constant in x, but its slope is not in y: only where that is infinite or NaN is it left out.
    const constant = bitwiseAnd(eq(y!, 0), eq(ge(abs(x!), 2 ** -100), 0));
    const flat = bitwiseAnd(eq(x!, 0), ge(y!, 0));
    // What is not taken is finite, so that derivatives of these are no 0 * Infinity.
    return [
      where(constant, 0, mul(g, mul(y!, pow(x!, sub(where(constant, 1, y!), 1))))),
      where(flat, 0, mul(g, mul(z, log(where(flat, 1, x!))))),
    ];
  },
});
