import { type DeviceDType, isNarrow, type NarrowFloatDType } from "../../../base/dtype.ts";
import { apply, binary, select, unary, type Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";

// Narrow floats in vectors: kernels compute with four float32, and convert where they load and store. A cast to one
// rounds and stays a float32. Of float16 WebAssembly has no conversion; additions round: x + 2^13 |x|, with the power of two below
// |x| for |x|, has the last place of a float16 (the idea is M. Dukhan's, in his FP16 library).

const and = binary("v128.and");
const or = binary("v128.or");
const add = binary("f32x4.add");
const sub = binary("f32x4.sub");
const mul = binary("f32x4.mul");
const abs = unary("f32x4.abs");
const ge = binary("f32x4.ge");
const pmin = binary("f32x4.pmin");
const addInt = binary("i32x4.add");
const subInt = binary("i32x4.sub");
const minInt = binary("i32x4.min_s");
const maxInt = binary("i32x4.max_s");

/** The sign of a float32, and its exponent. */
const sign = -0x80000000;
const infinity = 0x7f800000;
/** The exponents of float16: those of the smallest normal number and of the largest, as float32. */
const [least, most] = [0x38800000, 0x47000000];
/** Numbers beyond the largest are nearest to this, which has no float16, or beyond it. */
const overflow = 65536;
/** Added to an exponent: bits of a float32 that a float16 lacks. */
const lost = 13 << 23;

/** Four numbers from their bits. */
function fromHalfBits(l: Lanes, bits: Vector): Vector {
  // With sign, exponent and mantissa where float32 has them, all are right but those that are not finite.
  const placed = and(apply("i32x4.shl", bits, 13), l.i32(~0x70000000));
  const value = l.hold(mul(placed, l.f32(2 ** 112)));
  return l.hold(or(value, and(ge(abs(value), l.f32(overflow)), l.i32(infinity))));
}

/** What to add to numbers of that size to round them to float16; `size` is at most `overflow`, or is made so by `most`. */
function roundingMagic(l: Lanes, size: Vector, atMost: number): Vector {
  const exponent = maxInt(and(size, l.i32(infinity)), l.i32(least));
  const bounded = atMost < infinity ? minInt(exponent, l.i32(atMost)) : exponent;
  return addInt(bounded, l.i32(lost));
}

/** Four float32 rounded to float16, ties to even. */
function roundToHalf(l: Lanes, value: Vector): Vector {
  const x = l.hold(value);
  const size = l.hold(abs(x));
  const magic = l.hold(roundingMagic(l, size, most));
  const rounded = sub(add(size, magic), magic);
  // Too large for float16, then for float32: infinite.
  const bounded = mul(mul(rounded, l.f32(2 ** 112)), l.f32(2 ** -112));
  return l.hold(or(bounded, and(x, l.i32(sign))));
}

/** The bits of four float32 rounded to float16, ties to even. */
function halfBits(l: Lanes, value: Vector): Vector {
  const x = l.hold(value);
  const size = l.hold(pmin(abs(x), l.f32(overflow))); // NaN stays
  const sum = add(size, roundingMagic(l, size, infinity));
  // The sum's low half is the mantissa with its first bit, its high half the exponent: put together by a dot product.
  const parts = binary("i32x4.dot_i16x8_s")(sum, l.i32(1 + (8 << 16)));
  const bits = subInt(parts, l.i32((127 + lost / 2 ** 23 - 14) << 10));
  const word = l.hold(or(bits, and(apply("i32x4.shr_u", x, 16), l.i32(0x8000))));
  // NaN came out larger than 16 bits, and is made the largest word there is, a NaN.
  return l.hold(binary("i16x8.narrow_i32x4_u")(word, word));
}

const isNumber = (x: Vector) => binary("f32x4.eq")(x, x);

/** Bits whose upper half is that of the nearest bfloat16, ties to even. */
function raised(l: Lanes, x: Vector): Vector {
  const odd = and(apply("i32x4.shr_u", x, 16), l.i32(1));
  return addInt(addInt(x, l.i32(0x7fff)), odd);
}

/** Four numbers of a narrow float at once. */
interface NarrowLanes {
  /** The numbers of four words of 16 bits, with their signs in the high half. */
  readonly load: (l: Lanes, bits: Vector) => Vector;
  /** Four float32 rounded, ties to even. */
  readonly round: (l: Lanes, value: Vector) => Vector;
  /** The bits of four float32 rounded, in the low half of a vector. */
  readonly store: (l: Lanes, value: Vector) => Vector;
}

const narrow: Readonly<Record<NarrowFloatDType, NarrowLanes>> = {
  float16: { load: fromHalfBits, round: roundToHalf, store: halfBits },
  /** The upper half of a float32. */
  bfloat16: {
    load: (_, bits) => apply("i32x4.shl", bits, 16),
    round: (l, value) => {
      const x = l.hold(value);
      return l.hold(select(isNumber(x), and(raised(l, x), l.i32(-0x10000)), x));
    },
    store: (l, value) => {
      const x = l.hold(value);
      const quiet = or(apply("i32x4.shr_u", x, 16), l.i32(0x40));
      const word = l.hold(select(isNumber(x), apply("i32x4.shr_u", raised(l, x), 16), quiet));
      return l.hold(binary("i16x8.narrow_i32x4_u")(word, word));
    },
  },
};

/** How a narrow float is loaded, rounded and stored; undefined for other dtypes. */
export function narrowLanes(dtype: DeviceDType): NarrowLanes | undefined {
  return isNarrow(dtype) ? narrow[dtype] : undefined;
}
