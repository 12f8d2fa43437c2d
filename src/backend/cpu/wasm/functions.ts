import { apply, binary, narrow, unary, type Vector, v128, widen } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";

// Functions of four float32 that use what WebAssembly has and WGSL has not: float64, and sums that are not reordered. What
// else there is of functions is made of these and of instructions (src/graph/functions.ts). All are written into the
// kernels that use them, and scalar code uses them too, one lane of four, so that a value does not depend on where it was
// computed.

const add = binary("f32x4.add");
const sub = binary("f32x4.sub");
const mul = binary("f32x4.mul");
const lt = binary("f32x4.lt");
const gt = binary("f32x4.gt");
const eq = binary("f32x4.eq");
const abs = unary("f32x4.abs");
const and = binary("v128.and");
const or = binary("v128.or");
const xor = binary("v128.xor");
const addInt = binary("i32x4.add");
const subInt = binary("i32x4.sub");

/** Horner's scheme, highest power first. */
function polynomial(l: Lanes, x: Vector, coefficients: readonly number[]): Vector {
  return coefficients
    .slice(1)
    .reduce<Vector>((sum, c) => add(mul(sum, x), l.f32(c)), l.f32(coefficients[0]!));
}

/** 1.5 * 2^23: added to a number below 2^22, it leaves the nearest whole number in the low bits. */
const magic = 12582912;
/** The exponent of 2^n as a float is n and this. */
const exponentBias = 127;

/** The float whose exponent is the low bits: 2^(e - exponentBias) for 1 <= e <= 254. Higher bits are shifted out. */
function withExponent(e: Vector): Vector {
  return apply("i32x4.shl", e, 23);
}

/** The whole number n nearest to x, in the low bits, for |x| below 2^21. */
export function wholeBits(l: Lanes, x: Vector): Vector {
  return l.hold(add(x, l.f32(magic + 2 * exponentBias)));
}

/** The number whose `wholeBits` are given. */
export function wholeOf(l: Lanes, bits: Vector): Vector {
  return sub(bits, l.f32(magic + 2 * exponentBias));
}

/** y 2^n. The factor in two parts, as it may be too large or too small for a float: both exponents are half of n + 254. */
export function ldexp(l: Lanes, y: Vector, bits: Vector): Vector {
  const half = l.hold(apply("i32x4.shr_s", bits, 1));
  return mul(mul(y, withExponent(half)), withExponent(subInt(bits, half)));
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
function reduceLarge(l: Lanes, x: Vector): { readonly n: Vector; readonly r: Vector } {
  const nearest = unary("f64x2.nearest");
  const size = l.hold(unary("f64x2.abs")(x));
  const masks = turns.slice(1).map(([e]) => l.hold(binary("f64x2.ge")(size, l.f64(2 ** (e + 24)))));
  const chosen = (values: readonly number[]) =>
    masks.reduce((low, mask, i) => l.select(mask, l.f64(values[i + 1]!), low), l.f64(values[0]!));
  const scaled = l.hold(mulDouble(x, chosen(turns.map(([e]) => 2 ** -e))));
  const [first, second, rest] = [1, 2, 3].map((part) =>
    l.hold(mulDouble(scaled, chosen(turns.map((row) => row[part]!)))),
  ) as [Vector, Vector, Vector];
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
function circular(l: Lanes, x: Vector, quarter: 0 | 1): Vector {
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
      n.set(l.select(far, reduced.n, n.get));
      r.set(l.select(far, reduced.r, r.get));
    }
  });
  const [low, high] = halves as [(typeof halves)[0], (typeof halves)[0]];
  const r = l.hold(narrow(low.r.get, high.r.get));
  const integer = unary("i32x4.trunc_sat_f64x2_s_zero");
  const n = v128.lanes(integer(low.n.get), integer(high.n.get), 0, 1, 4, 5);
  const quadrant = l.hold(quarter === 0 ? n : addInt(n, l.i32(1)));
  const z = l.hold(mul(r, r));
  const sine = add(
    mul(mul(polynomial(l, z, [-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]), z), r),
    r,
  );
  const p = polynomial(l, z, [2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]);
  const cosine = add(sub(mul(mul(p, z), z), mul(z, l.f32(0.5))), l.f32(1));
  const odd = binary("i32x4.ne")(and(quadrant, l.i32(1)), l.i32(0));
  const sign = apply("i32x4.shl", and(quadrant, l.i32(2)), 30);
  return xor(l.select(odd, cosine, sine), sign);
}

export function sin(l: Lanes, x: Vector): Vector {
  return l.select(eq(x, l.f32(0)), x, circular(l, x, 0));
}

export function cos(l: Lanes, x: Vector): Vector {
  return circular(l, x, 1);
}

/** log of a positive float64, to about 1e-12 (relative to 1). */
function logDouble(l: Lanes, x: Vector): Vector {
  const biased = apply("i64x2.shr_u", x, 52);
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
  const series = [1 / 13, 1 / 11, 1 / 9, 1 / 7, 1 / 5, 1 / 3].reduce<Vector>(
    (sum, c) => addDouble(mulDouble(sum, z), l.f64(c)),
    l.f64(1 / 15),
  );
  const tail = mulDouble(mulDouble(series, z), s);
  return addDouble(mulDouble(addDouble(tail, s), l.f64(2)), mulDouble(e, l.f64(Math.LN2)));
}

/** exp of a float64 in [-200, 200], to about 1e-10. */
function expDouble(l: Lanes, x: Vector): Vector {
  const n = l.hold(unary("f64x2.nearest")(mulDouble(x, l.f64(Math.LOG2E))));
  const r = l.hold(subDouble(x, mulDouble(n, l.f64(Math.LN2))));
  const factorials = [40320, 5040, 720, 120, 24, 6, 2, 1, 1];
  const p = factorials.reduce<Vector>(
    (sum, f) => addDouble(mulDouble(sum, r), l.f64(1 / f)),
    l.f64(1 / 362880),
  );
  // n + 1023 sits in the low bits of n + 1023 + 2^52.
  const shifted = addDouble(n, l.f64(2 ** 52 + 1023));
  return mulDouble(p, apply("i64x2.shl", shifted, 52));
}

/** x^y by exp(y log |x|) in float64, rounded once; the cases of C99 for zeros, ones, infinities and signs. */
export function pow(l: Lanes, x: Vector, y: Vector): Vector {
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
  const atExtreme = l.select(grows, infinity, zero);
  // |y| infinite: by whether |x| is above or below 1.
  const away = l.select(xor(gt(a, one), lt(y, zero)), infinity, zero);
  const endless = l.hold(eq(abs(y), infinity));
  const size = l.select(endless, l.select(eq(a, one), one, away), l.select(extreme, atExtreme, magnitude));
  const whole = l.hold(eq(unary("f32x4.floor")(y), y));
  const halfY = l.hold(mul(y, l.f32(0.5)));
  const odd = and(whole, binary("f32x4.ne")(unary("f32x4.floor")(halfY), halfY));
  const signed = l.hold(or(l.hold(size), and(and(x, l.f32(-0)), odd)));
  const unordered = or(binary("f32x4.ne")(x, x), binary("f32x4.ne")(y, y));
  const complex = and(
    and(lt(x, zero), binary("f32x4.ne")(x, l.f32(-Infinity))),
    binary("v128.andnot")(l.i32(-1), or(whole, endless)),
  );
  const result = l.select(or(unordered, complex), l.f32(Number.NaN), signed);
  return l.select(or(eq(y, zero), eq(x, one)), one, result);
}
