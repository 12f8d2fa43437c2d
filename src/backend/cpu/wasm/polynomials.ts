import type { Code, Local } from "./assemble.ts";
import type { Operator } from "./instructions.ts";

// Functions of four float32 at once. All are inlined into the kernels that use them, and scalar code uses them too
// (one lane of four), so that a value does not depend on where it was computed. Polynomials are those of Cephes
// (S. L. Moshier, single precision) unless something else is said.

/** Writes code that pushes a value. */
export type Push = (code: Code) => void;

/** Where vector expressions are written: the code, and constants that are made once, outside of all loops. */
export class Lanes {
  readonly #code: Code;
  readonly #constants: Code;
  readonly #known: Map<string, Local>;

  constructor(code: Code, constants: Code, known: Map<string, Local>) {
    this.#code = code;
    this.#constants = constants;
    this.#known = known;
  }

  /** Computes a value here; what comes back pushes it as often as wanted. */
  hold = (value: Push): Push => {
    value(this.#code);
    const local = this.#code.local("v128");
    this.#code.set(local);
    return (code) => code.get(local);
  };

  /** A value that is computed here, and again where `whenAny` says so. */
  variable = (value: Push): { readonly get: Push; readonly set: (value: Push) => void } => {
    const local = this.#code.local("v128");
    const set = (next: Push) => {
      next(this.#code);
      this.#code.set(local);
    };
    set(value);
    return { get: (code) => code.get(local), set };
  };

  /** Runs what `then` writes if any lane of a mask is set; its constants are made there, so that none is kept for it. */
  whenAny = (mask: Push, then: (l: Lanes) => void): void => {
    const code = this.#code;
    mask(code);
    code.op("v128.any_true").when(() => then(new Lanes(code, code, new Map())));
  };

  f32 = (value: number): Push =>
    this.#constant(`f${value}${Object.is(value, -0)}`, () => Float32Array.of(value, value, value, value));
  f64 = (value: number): Push => this.#constant(`d${value}`, () => Float64Array.of(value, value));
  i32 = (value: number): Push => this.i32s(value, value, value, value);
  i32s = (...values: readonly number[]): Push =>
    this.#constant(`i${values.join()}`, () => Int32Array.from(values));

  #constant(key: string, values: () => Float32Array | Float64Array | Int32Array): Push {
    let local = this.#known.get(key);
    if (!local) {
      local = this.#constants.local("v128");
      this.#constants.v128(values()).set(local);
      this.#known.set(key, local);
    }
    const constant = local;
    return (code) => code.get(constant);
  }
}

export const unary =
  (name: Operator) =>
  (x: Push): Push =>
  (code) => {
    x(code);
    code.op(name);
  };

export const binary =
  (name: Operator) =>
  (x: Push, y: Push): Push =>
  (code) => {
    x(code);
    y(code);
    code.op(name);
  };

const add = binary("f32x4.add");
const sub = binary("f32x4.sub");
const mul = binary("f32x4.mul");
const div = binary("f32x4.div");
const pmin = binary("f32x4.pmin");
const pmax = binary("f32x4.pmax");
const lt = binary("f32x4.lt");
const gt = binary("f32x4.gt");
const eq = binary("f32x4.eq");
const abs = unary("f32x4.abs");
const neg = unary("f32x4.neg");
const and = binary("v128.and");
const or = binary("v128.or");
const xor = binary("v128.xor");
const addInt = binary("i32x4.add");
const subInt = binary("i32x4.sub");
const toFloat = unary("f32x4.convert_i32x4_s");

export function shift(name: Operator, x: Push, by: number): Push {
  return (code) => {
    x(code);
    code.i32(by).op(name);
  };
}

/** `condition ? x : y`, lane by lane. */
export function select(condition: Push, x: Push, y: Push): Push {
  return (code) => {
    x(code);
    y(code);
    condition(code);
    code.op("v128.bitselect");
  };
}

/** Horner's scheme, highest power first. */
function polynomial(l: Lanes, x: Push, coefficients: readonly number[]): Push {
  return coefficients.slice(1).reduce<Push>((sum, c) => add(mul(sum, x), l.f32(c)), l.f32(coefficients[0]!));
}

/** Horner's scheme in x^2 over pairs (G. Estrin 1960): one product more, and half as long a chain of sums to wait for. */
function polynomialByPairs(l: Lanes, x: Push, square: Push, coefficients: readonly number[]): Push {
  const [first, ...rest] = coefficients.map(l.f32);
  const even = rest.length % 2 === 0;
  let sum = even ? first! : add(mul(first!, x), rest[0]!);
  for (let i = even ? 0 : 1; i < rest.length; i += 2)
    sum = add(mul(sum, square), add(mul(rest[i]!, x), rest[i + 1]!));
  return sum;
}

/** x between two constants; NaN stays NaN. The pseudo-minimum is one instruction, the minimum is seven. */
function clamp(l: Lanes, x: Push, low: number, high: number): Push {
  return pmin(pmax(x, l.f32(low)), l.f32(high));
}

/** 1.5 * 2^23: added to a number below 2^22, it leaves the nearest whole number in the low bits. */
const magic = 12582912;
/** The exponent of 2^n as a float is n and this. */
const exponentBias = 127;

/** The float whose exponent is the low bits: 2^(e - exponentBias) for 1 <= e <= 254. Higher bits are shifted out. */
function withExponent(e: Push): Push {
  return shift("i32x4.shl", e, 23);
}

/** x = n log 2 + r with |r| <= log(2) / 2: n, n + `added` in the low bits of `shifted`, and exp(r) - 1. */
function reduceExp(
  l: Lanes,
  x: Push,
  added: number,
): { readonly n: Push; readonly shifted: Push; readonly em1: Push } {
  const shifted = l.hold(add(mul(x, l.f32(Math.LOG2E)), l.f32(magic + added)));
  const n = l.hold(sub(shifted, l.f32(magic + added)));
  // log 2 in two parts: n times the first is exact.
  const r = l.hold(sub(sub(x, mul(n, l.f32(0.693359375))), mul(n, l.f32(-2.1219444005469057e-4))));
  // (exp(r) - 1 - r) / r^2, least largest error of exp(r): 3e-9 by itself, far below the rounding of the sums.
  const square = l.hold(mul(r, r));
  const tail = polynomialByPairs(
    l,
    r,
    square,
    [1.3814464003e-3, 8.3687817408e-3, 4.1668394345e-2, 1.6666520097e-1, 4.9999993412e-1],
  );
  return { shifted, n, em1: add(mul(tail, square), r) };
}

export function exp(l: Lanes, x: Push): Push {
  // The factor 2^n in two parts, as it may be too large or too small for a float: both exponents are half of n + 254.
  const { shifted, em1 } = reduceExp(l, l.hold(clamp(l, x, -104, 89)), 2 * exponentBias);
  const half = l.hold(shift("i32x4.shr_s", shifted, 1));
  const y = add(em1, l.f32(1));
  return mul(mul(y, withExponent(half)), withExponent(subInt(shifted, half)));
}

export function expm1(l: Lanes, x: Push): Push {
  const { shifted, n, em1: first } = reduceExp(l, l.hold(clamp(l, x, -40, 89)), exponentBias - 1);
  const em1 = l.hold(first);
  // 2^n (em1 + 1) - 1 as 2 (t em1 + (t - 1/2)) with t = 2^(n-1), which does not overflow too early.
  const t = l.hold(withExponent(shifted));
  const scaled = l.hold(add(mul(t, em1), sub(t, l.f32(0.5))));
  const whole = add(scaled, scaled);
  const tiny = lt(abs(x), l.f32(1e-7));
  return select(tiny, x, select(eq(n, l.f32(0)), em1, whole));
}

/** log of positive, finite and normal or infinite numbers, split for reuse: mantissa part and exponent. */
export function log(l: Lanes, x: Push): Push {
  // Subnormals are scaled up by 2^23.
  const small = l.hold(lt(x, l.f32(1.17549435e-38)));
  const bits = l.hold(select(small, mul(x, l.f32(8388608)), x));
  const bias = select(small, l.i32(126 + 23), l.i32(126));
  const exponent = l.hold(toFloat(subInt(shift("i32x4.shr_u", bits, 23), bias)));
  const mantissa = l.hold(or(and(bits, l.i32(0x007fffff)), l.i32(0x3f000000))); // in [1/2, 1)
  const low = l.hold(lt(mantissa, l.f32(Math.SQRT1_2)));
  const e = l.hold(sub(exponent, and(low, l.f32(1))));
  const z = l.hold(sub(add(mantissa, and(low, mantissa)), l.f32(1))); // in [sqrt(1/2) - 1, sqrt(2) - 1]
  const zz = l.hold(mul(z, z));
  const p = polynomialByPairs(
    l,
    z,
    zz,
    [
      7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
      2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ],
  );
  const tail = sub(add(mul(mul(p, z), zz), mul(e, l.f32(-2.1219444e-4))), mul(zz, l.f32(0.5)));
  const y = l.hold(add(add(z, tail), mul(e, l.f32(0.693359375))));
  // log 0 = -inf, log inf = inf; negative numbers and NaN give NaN.
  const infinity = l.f32(Infinity);
  const special = select(
    eq(x, l.f32(0)),
    l.f32(-Infinity),
    select(eq(x, infinity), infinity, l.f32(Number.NaN)),
  );
  const ordinary = and(gt(x, l.f32(0)), lt(x, infinity));
  return select(ordinary, y, special);
}

/** log(u) (x / (u - 1)) with u = 1 + x rounded: the error of u cancels (W. Kahan). */
export function log1p(l: Lanes, x: Push): Push {
  const u = l.hold(add(x, l.f32(1)));
  const y = mul(log(l, u), div(x, sub(u, l.f32(1))));
  return select(or(eq(u, l.f32(1)), eq(x, l.f32(Infinity))), x, y);
}

/** 1 / (1 + exp(-x)) without overflow. */
export function sigmoid(l: Lanes, x: Push): Push {
  const e = l.hold(exp(l, neg(abs(x))));
  return div(select(lt(x, l.f32(0)), e, l.f32(1)), add(e, l.f32(1)));
}

export function tanh(l: Lanes, x: Push): Push {
  const a = l.hold(abs(x));
  const e = exp(l, add(a, a));
  const large = sub(l.f32(1), div(l.f32(2), add(e, l.f32(1))));
  const z = l.hold(mul(x, x));
  const p = polynomial(
    l,
    z,
    [-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1],
  );
  const small = add(mul(mul(p, z), x), x);
  const sign = and(x, l.f32(-0));
  return select(lt(a, l.f32(0.625)), select(eq(x, l.f32(0)), x, small), or(large, sign));
}

/** A rational approximation on [-4, 4]; the coefficients are Eigen's. */
export function erf(l: Lanes, x: Push): Push {
  const c = l.hold(clamp(l, x, -4, 4));
  const z = l.hold(mul(c, c));
  const p = polynomial(
    l,
    z,
    [
      -2.72614225801306e-10, 2.77068142495902e-8, -2.10102402082508e-6, -5.69250639462346e-5,
      -7.34990630326855e-4, -2.95459980854025e-3, -1.60960333262415e-2,
    ],
  );
  const q = polynomial(
    l,
    z,
    [
      -1.45660718464996e-5, -2.13374055278905e-4, -1.68282697438203e-3, -7.37332916720468e-3,
      -1.42647390514189e-2,
    ],
  );
  return div(mul(c, p), q);
}

/** Half a vector of float32 as two float64. */
function widen(x: Push, half: 0 | 1): Push {
  return (code) => {
    x(code);
    if (half === 1) {
      x(code);
      code.lanes(2, 3, 2, 3);
    }
    code.op("f64x2.promote_low_f32x4");
  };
}

/** Two vectors of two float64 as four float32. */
export function narrow(low: Push, high: Push): Push {
  return (code) => {
    low(code);
    code.op("f32x4.demote_f64x2_zero");
    high(code);
    code.op("f32x4.demote_f64x2_zero").lanes(0, 1, 4, 5);
  };
}

const addDouble = binary("f64x2.add");
const subDouble = binary("f64x2.sub");
const mulDouble = binary("f64x2.mul");

/**
 * 2/pi 2^e, modulo 4 (whole turns do not matter), as a sum of three numbers: two of 29 bits after those before, and
 * the rest.
 */
const turns: readonly (readonly [e: number, ...parts: readonly number[]])[] = [
  [0, 0.6366197690367699, 3.3308114738561656e-9, 2.276010073078396e-18],
  [32, 2.305726356804371, 2.324808220932617e-9, 1.138183720040841e-17],
  [64, 1.9849753230810165, 4.181134952152554e-9, 1.0454797456802114e-17],
  [96, 1.957837924361229, 1.995295734191771e-10, 8.306908000946013e-18],
];

/** Where the reduction in one step ends to be exact to float64. */
const nearby = 1e6;

/**
 * x = n pi/2 + r for numbers of any size, in float64 (after Payne and Hanek 1983): with x = X 2^e and X a whole number of
 * 24 bits and at most 32 zeros, the products of X and the first two parts of 2/pi 2^e are exact. A multiple of pi/2
 * is at least 2^-30 away from every float32, so 2^-53 of a quarter turn is exact enough.
 */
function reduceLarge(l: Lanes, x: Push): { readonly n: Push; readonly r: Push } {
  const nearest = unary("f64x2.nearest");
  const size = l.hold(unary("f64x2.abs")(x));
  const masks = turns.slice(1).map(([e]) => l.hold(binary("f64x2.ge")(size, l.f64(2 ** (e + 24)))));
  const chosen = (values: readonly number[]) =>
    masks.reduce((low, mask, i) => select(mask, l.f64(values[i + 1]!), low), l.f64(values[0]!));
  const scaled = l.hold(mulDouble(x, chosen(turns.map(([e]) => 2 ** -e))));
  const [first, second, rest] = [1, 2, 3].map((part) =>
    l.hold(mulDouble(scaled, chosen(turns.map((row) => row[part]!)))),
  ) as [Push, Push, Push];
  const [n1, n2] = [l.hold(nearest(first)), l.hold(nearest(second))];
  const left = l.hold(addDouble(addDouble(subDouble(first, n1), subDouble(second, n2)), rest));
  const n3 = l.hold(nearest(left));
  // n modulo 4 is a small number.
  const quarters = mulDouble(unary("f64x2.floor")(mulDouble(n1, l.f64(0.25))), l.f64(4));
  return {
    n: addDouble(addDouble(subDouble(n1, quarters), n2), n3),
    r: mulDouble(subDouble(left, n3), l.f64(Math.PI / 2)),
  };
}

/**
 * sin and cos: x = n pi/2 + r, reduced in float64 (pi/2 in two parts, the first of 33 bits), then a polynomial by
 * quadrant. Large numbers are reduced in more steps, if one of four is large. Infinities and NaN give NaN.
 */
function circular(l: Lanes, x: Push, quarter: 0 | 1): Push {
  const halves = ([0, 1] as const).map((half) => {
    const wide = l.hold(widen(x, half));
    const n = l.variable(unary("f64x2.nearest")(mulDouble(wide, l.f64(2 / Math.PI))));
    const near = subDouble(wide, mulDouble(n.get, l.f64(1.5707963267341256)));
    const r = l.variable(subDouble(near, mulDouble(n.get, l.f64(6.077100506506192e-11))));
    return { wide, n, r };
  });
  const large = gt(abs(x), l.f32(nearby));
  l.whenAny(large, (inside) => {
    for (const { wide, n, r } of halves) {
      const reduced = reduceLarge(inside, wide);
      const far = inside.hold(binary("f64x2.gt")(unary("f64x2.abs")(wide), inside.f64(nearby)));
      n.set(select(far, reduced.n, n.get));
      r.set(select(far, reduced.r, r.get));
    }
  });
  const [low, high] = halves as [(typeof halves)[0], (typeof halves)[0]];
  const r = l.hold(narrow(low.r.get, high.r.get));
  const integer = unary("i32x4.trunc_sat_f64x2_s_zero");
  const n: Push = (code) => {
    integer(low.n.get)(code);
    integer(high.n.get)(code);
    code.lanes(0, 1, 4, 5);
  };
  const quadrant = l.hold(quarter === 0 ? n : addInt(n, l.i32(1)));
  const z = l.hold(mul(r, r));
  const sine = add(
    mul(mul(polynomial(l, z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]), z), r),
    r,
  );
  const p = polynomial(l, z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]);
  const cosine = add(sub(mul(mul(p, z), z), mul(z, l.f32(0.5))), l.f32(1));
  const odd = binary("i32x4.ne")(and(quadrant, l.i32(1)), l.i32(0));
  const sign = shift("i32x4.shl", and(quadrant, l.i32(2)), 30);
  return xor(select(odd, cosine, sine), sign);
}

export function sin(l: Lanes, x: Push): Push {
  return select(eq(x, l.f32(0)), x, circular(l, x, 0));
}

export function cos(l: Lanes, x: Push): Push {
  return circular(l, x, 1);
}

/** log of a positive float64, to about 1e-12 (relative to 1). */
function logDouble(l: Lanes, x: Push): Push {
  const biased: Push = (code) => {
    x(code);
    code.i32(52).op("i64x2.shr_u");
  };
  // The exponent as a float64: its bits in the mantissa of 2^52.
  const magic = l.f64(2 ** 52);
  const exponent = subDouble(or(biased, magic), l.f64(2 ** 52 + 1022));
  const mantissa = l.hold(or(and(x, l.i32s(-1, 0x000fffff, -1, 0x000fffff)), l.f64(0.5)));
  const low = l.hold(binary("f64x2.lt")(mantissa, l.f64(Math.SQRT1_2)));
  const e = l.hold(subDouble(exponent, and(low, l.f64(1))));
  const m = l.hold(addDouble(mantissa, and(low, mantissa)));
  // log m = 2 artanh((m - 1) / (m + 1)), |s| <= 0.1716
  const s = l.hold(binary("f64x2.div")(subDouble(m, l.f64(1)), addDouble(m, l.f64(1))));
  const z = l.hold(mulDouble(s, s));
  const series = [1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3].reduce<Push>(
    (sum, c) => addDouble(mulDouble(sum, z), l.f64(c)),
    l.f64(1 / 15),
  );
  const tail = mulDouble(mulDouble(series, z), s);
  return addDouble(mulDouble(addDouble(tail, s), l.f64(2)), mulDouble(e, l.f64(Math.LN2)));
}

/** exp of a float64 in [-200, 200], to about 1e-10. */
function expDouble(l: Lanes, x: Push): Push {
  const n = l.hold(unary("f64x2.nearest")(mulDouble(x, l.f64(Math.LOG2E))));
  const r = l.hold(subDouble(x, mulDouble(n, l.f64(Math.LN2))));
  const factorials = [40320, 5040, 720, 120, 24, 6, 2, 1, 1];
  const p = factorials.reduce<Push>(
    (sum, f) => addDouble(mulDouble(sum, r), l.f64(1 / f)),
    l.f64(1 / 362880),
  );
  // n + 1023 sits in the low bits of n + 1023 + 2^52.
  const shifted = addDouble(n, l.f64(2 ** 52 + 1023));
  const power: Push = (code) => {
    shifted(code);
    code.i32(52).op("i64x2.shl");
  };
  return mulDouble(p, power);
}

/** x^y by exp(y log |x|) in float64, rounded once; the cases of C99 for zeros, ones, infinities and signs. */
export function pow(l: Lanes, x: Push, y: Push): Push {
  const a = l.hold(abs(x));
  const halves = ([0, 1] as const).map((half) => {
    const base = l.hold(widen(a, half));
    const product = mulDouble(widen(y, half), logDouble(l, base));
    const bounded = l.hold(binary("f64x2.min")(binary("f64x2.max")(product, l.f64(-200)), l.f64(200)));
    return l.hold(expDouble(l, bounded));
  });
  const magnitude = l.hold(narrow(halves[0]!, halves[1]!));
  const zero = l.f32(0);
  const one = l.f32(1);
  const infinity = l.f32(Infinity);
  // |x| = 0 or infinite: 0, 1 or infinity by the sign of y.
  const grows = xor(eq(a, zero), gt(y, zero)); // as |x| > 1 does: infinite for y > 0
  const extreme = or(eq(a, zero), eq(a, infinity));
  const atExtreme = select(grows, infinity, zero);
  // |y| infinite: by whether |x| is above or below 1.
  const away = select(xor(gt(a, one), lt(y, zero)), infinity, zero);
  const endless = l.hold(eq(abs(y), infinity));
  const size = select(endless, select(eq(a, one), one, away), select(extreme, atExtreme, magnitude));
  const whole = l.hold(eq(unary("f32x4.floor")(y), y));
  const halfY = l.hold(mul(y, l.f32(0.5)));
  const odd = and(whole, binary("f32x4.ne")(unary("f32x4.floor")(halfY), halfY));
  const signed = l.hold(or(l.hold(size), and(and(x, l.f32(-0)), odd)));
  const unordered = or(binary("f32x4.ne")(x, x), binary("f32x4.ne")(y, y));
  const complex = and(
    and(lt(x, zero), binary("f32x4.ne")(x, l.f32(-Infinity))),
    binary("v128.andnot")(l.i32(-1), or(whole, endless)),
  );
  const result = select(or(unordered, complex), l.f32(Number.NaN), signed);
  return select(or(eq(y, zero), eq(x, one)), one, result);
}
