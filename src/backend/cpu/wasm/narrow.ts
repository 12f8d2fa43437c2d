import { type DeviceDType, floatDTypes, floatRange, isNarrow } from "../../../base/dtype.ts";
import { type FloatRange, floatLayout } from "../../../base/narrow.ts";
import { apply, binary, unary, type Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";

// Narrow floats in vectors: kernels compute with four float32, and convert where they load and store. A cast to one
// rounds and stays a float32. All follows from which numbers a float has.

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
const up = (x: Vector, by: number) => apply("i32x4.shl", x, by);
const down = (x: Vector, by: number) => apply("i32x4.shr_u", x, by);

/** The sign of a float32, and its exponent. */
const sign = -0x80000000;
const infinity = 0x7f800000;

const isNumber = (x: Vector) => binary("f32x4.eq")(x, x);

/** Words of 32 bits as words of 16, in the low half of a vector. */
const inWords = (l: Lanes, x: Vector) => {
  const word = l.hold(x);
  return l.hold(binary("i16x8.narrow_i32x4_u")(word, word));
};

/** Four numbers of a narrow float at once. */
interface NarrowLanes {
  /** The numbers of four words of 16 bits, each extended by its highest bit. */
  readonly load: (l: Lanes, bits: Vector) => Vector;
  /** Four float32 rounded, ties to even. */
  readonly round: (l: Lanes, value: Vector) => Vector;
  /** The bits of four float32 rounded, in the low half of a vector. */
  readonly store: (l: Lanes, value: Vector) => Vector;
}

function narrowOf(range: FloatRange): NarrowLanes {
  return floatLayout(range).exponentBits === 8 ? upperPart(range) : scaled(range);
}

/** With the exponents of float32: its upper part. */
function upperPart(range: FloatRange): NarrowLanes {
  const { fractionBits } = floatLayout(range);
  const lost = 23 - fractionBits;
  /** Bits whose upper part is that of the nearest number. */
  const raised = (l: Lanes, x: Vector) =>
    addInt(addInt(x, l.i32(2 ** (lost - 1) - 1)), and(down(x, lost), l.i32(1)));
  return {
    load: (_, bits) => up(bits, lost),
    round: (l, value) => {
      const x = l.hold(value);
      return l.hold(l.select(isNumber(x), and(raised(l, x), l.i32(-(2 ** lost))), x));
    },
    store: (l, value) => {
      const x = l.hold(value);
      const quiet = or(down(x, lost), l.i32(2 ** (fractionBits - 1)));
      return inWords(l, l.select(isNumber(x), down(raised(l, x), lost), quiet));
    },
  };
}

/**
 * With fewer exponents. Additions round: x + 2^13 |x|, with the power of two below |x| for |x|, has the last place of a float16
 * (the idea is M. Dukhan's, in his FP16 library).
 */
function scaled(range: FloatRange): NarrowLanes {
  const { fractionBits, exponentBits, width } = floatLayout(range);
  /** Bits of a float32 that are lost, as an exponent. */
  const lost = 23 - fractionBits;
  /** The exponents of the smallest normal number and of the largest, as float32. */
  const [least, most] = [(range.least + 127) << 23, (range.most + 127) << 23];
  /** Numbers beyond the largest are nearest to this, or beyond it. */
  const overflow = 2 ** (range.most + 1);
  /** The sign, and what is below the exponents that there are. */
  const kept = sign | (2 ** (23 + exponentBits) - 1);

  /** What to add to numbers of that size to round them; `size` is at most `overflow`, or is made so by `atMost`. */
  const magicOf = (l: Lanes, size: Vector, atMost: number) => {
    const exponent = maxInt(and(size, l.i32(infinity)), l.i32(least));
    const bounded = atMost < infinity ? minInt(exponent, l.i32(atMost)) : exponent;
    return addInt(bounded, l.i32(lost << 23));
  };

  return {
    load: (l, bits) => {
      const signed =
        width === 16 ? up(bits, lost) : apply("i32x4.shr_s", up(bits, 32 - width), 8 - exponentBits);
      // With sign, exponent and fraction where float32 has them, all are right but those that are not finite.
      const value = l.hold(mul(and(signed, l.i32(kept)), l.f32(2 ** (126 + range.least))));
      return l.hold(or(value, and(ge(abs(value), l.f32(overflow)), l.i32(infinity))));
    },
    round: (l, value) => {
      const x = l.hold(value);
      const size = l.hold(abs(x));
      const magic = l.hold(magicOf(l, size, most));
      const rounded = sub(add(size, magic), magic);
      // Too large for it, then for float32: infinite.
      const scale = 2 ** (127 - range.most);
      const bounded = mul(mul(rounded, l.f32(scale)), l.f32(1 / scale));
      return l.hold(or(bounded, and(x, l.i32(sign))));
    },
    store: (l, value) => {
      const x = l.hold(value);
      const size = l.hold(pmin(abs(x), l.f32(overflow))); // NaN stays
      const sum = l.hold(add(size, magicOf(l, size, infinity)));
      // The sum's low half is the fraction with its first digit; its exponent belongs above that.
      const parts = addInt(and(sum, l.i32(0xffff)), up(down(sum, 23), fractionBits));
      const bits = subInt(parts, l.i32((127 + lost + range.least) << fractionBits));
      const signed = or(bits, and(down(x, 32 - width), l.i32(2 ** (width - 1))));
      return inWords(l, or(signed, down(binary("f32x4.ne")(x, x), 16)));
    },
  };
}

const narrow = new Map<DeviceDType, NarrowLanes>(
  floatDTypes.filter(isNarrow).map((dtype) => [dtype, narrowOf(floatRange(dtype))]),
);

/** How a narrow float is loaded, rounded and stored; undefined for other dtypes. */
export function narrowLanes(dtype: DeviceDType): NarrowLanes | undefined {
  return narrow.get(dtype);
}
