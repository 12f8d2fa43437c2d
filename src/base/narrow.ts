import { internal } from "./errors.ts";

// Floats of up to 16 bits on the host: a sign, an exponent, and what follows the first of the significant bits. JavaScript
// has had a typed array of one of them only since 2025, so their bits travel in a Uint16Array, at the low end of each word.

/** Which numbers a float has: those of `digits` significant bits from 2^least to below 2^(most + 1), and smaller ones in even steps. */
export interface FloatRange {
  readonly digits: number;
  readonly least: number;
  readonly most: number;
}

export interface NarrowFloat {
  /** The nearest number of the format, ties to even; what is beyond the largest is infinite. */
  readonly round: (x: number) => number;
  /** The bits of the nearest number; any NaN becomes the quiet one. */
  readonly store: (x: number) => number;
  /** The same of many numbers. */
  readonly storeAll: (values: Float32Array | Float64Array | Int32Array | Uint32Array) => Uint16Array;
  /** The number that bits stand for. */
  readonly load: (bits: number) => number;
}

/** Where the bits of a narrow float are: what follows the first digit, above it the exponent, above that the sign. */
export interface FloatLayout {
  readonly fractionBits: number;
  readonly exponentBits: number;
  /** Of the whole number. */
  readonly width: number;
  /** The bits of infinity; NaNs are above, the finite numbers below. */
  readonly infinite: number;
}

/**
 * The layout of the float with such numbers. One exponent stands for zero and what is below the least, one for infinity and
 * NaN, and the others are in use.
 * @throws LorantzError for a range that no such layout has: it must fill its exponents, and fit in 16 bits.
 */
export function floatLayout({ digits, least, most }: FloatRange): FloatLayout {
  const [fractionBits, exponentBits] = [digits - 1, Math.log2(most - least + 3)];
  const width = 1 + exponentBits + fractionBits;
  if (!Number.isInteger(exponentBits) || fractionBits < 1 || width > 16 || least < -126 || most > 127)
    internal(
      `a float of ${digits} digits with exponents from ${least} to ${most} cannot be stored. It takes at least 2 digits, 2^n - 2 exponents ` +
        "from -126 to 127, and with its sign 16 bits at most: ten digits from -14 to 15, or three, would do.",
    );
  const infinite = 2 ** (exponentBits + fractionBits) - 2 ** fractionBits;
  return { fractionBits, exponentBits, width, infinite };
}

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer); // little endian on every platform that there is

/** Conversions of the format with such numbers. @throws LorantzError as `floatLayout`. */
export function narrowFloat(range: FloatRange): NarrowFloat {
  const { digits, least, most } = range;
  const { fractionBits, width, infinite } = floatLayout(range);
  const fractions = 2 ** fractionBits;
  const negative = 2 ** (width - 1);
  /** Of the smallest numbers. */
  const step = 2 ** (least - fractionBits);
  const normal = 2 ** least;
  /** What lies halfway between the largest number and the power of two above. */
  const overflow = (2 - 2 ** -digits) * 2 ** most;
  // By the exponent of a float64. Adding a number whose last place is that of the result rounds to it; 1.5 keeps the sum in
  // one binade.
  const magics = Float64Array.from(
    { length: 2048 },
    (_, exponent) => 1.5 * 2 ** (Math.max(exponent - 1023, least) + 52 - fractionBits),
  );
  const store = (x: number) => {
    float[0] = x;
    const upper = words[1]!;
    const sign = upper >>> 31 === 1 ? negative : 0;
    const size = Math.abs(x);
    if (!(size < overflow)) return Number.isNaN(x) ? infinite | (fractions / 2) : sign | infinite;
    const magic = magics[(upper >>> 20) & 0x7ff]!;
    const rounded = size + magic - magic;
    if (rounded < normal) return sign | (rounded / step);
    float[0] = rounded;
    const exponent = (words[1]! >>> 20) - 1023;
    return sign | ((exponent - least + 1) << fractionBits) | ((words[1]! & 0xfffff) >>> (20 - fractionBits));
  };
  const upperPart = floatLayout(range).exponentBits === 8;
  return {
    round: (x) => {
      const size = Math.abs(x);
      if (!(size < overflow)) return Number.isNaN(x) ? x : Math.sign(x) * Infinity;
      float[0] = size;
      const magic = magics[words[1]! >>> 20]!;
      const rounded = size + magic - magic;
      return x < 0 || Object.is(x, -0) ? -rounded : rounded;
    },
    store,
    storeAll: (values) => {
      const bits = new Uint16Array(values.length);
      if (upperPart && values instanceof Float32Array)
        storeUpperParts(values, bits, 23 - fractionBits, infinite | (fractions / 2));
      else for (let i = 0; i < bits.length; i++) bits[i] = store(values[i]!);
      return bits;
    },
    load: (bits) => {
      const sign = bits & negative;
      const exponent = (bits & (negative - 1)) >>> fractionBits;
      const fraction = bits & (fractions - 1);
      if (exponent === 0) return (sign ? -step : step) * fraction;
      if ((bits & infinite) === infinite) return fraction !== 0 ? Number.NaN : sign ? -Infinity : Infinity;
      words[0] = 0;
      words[1] =
        (sign << (32 - width)) | ((exponent + least + 1022) << 20) | (fraction << (20 - fractionBits));
      return float[0]!;
    },
  };
}

/** Of a float with the exponents of float32, the bits are the upper part of those of float32, rounded. */
function storeUpperParts(values: Float32Array, bits: Uint16Array, lost: number, nan: number): void {
  const given = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const half = 2 ** (lost - 1) - 1;
  for (let i = 0; i < bits.length; i++) {
    const x = given[i]!;
    bits[i] = (x & 0x7fffffff) > 0x7f800000 ? nan : (x + half + ((x >>> lost) & 1)) >>> lost;
  }
}
