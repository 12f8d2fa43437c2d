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
  const round = (x: number) => {
    const size = Math.abs(x);
    if (!(size < overflow)) return Number.isNaN(x) ? x : Math.sign(x) * Infinity;
    float[0] = size;
    const exponent = Math.max((words[1]! >>> 20) - 1023, least);
    // Adding a number whose last place is that of the result rounds to it; 1.5 keeps the sum in one binade.
    const magic = 1.5 * 2 ** (exponent + 52 - fractionBits);
    const rounded = size + magic - magic;
    return x < 0 || Object.is(x, -0) ? -rounded : rounded;
  };
  return {
    round,
    store: (x) => {
      if (Number.isNaN(x)) return infinite | (fractions / 2);
      const rounded = round(x);
      const sign = rounded < 0 || Object.is(rounded, -0) ? negative : 0;
      const size = Math.abs(rounded);
      if (size === Infinity) return sign | infinite;
      if (size < normal) return sign | (size / step);
      float[0] = size;
      const exponent = (words[1]! >>> 20) - 1023;
      return (
        sign | ((exponent - least + 1) << fractionBits) | ((words[1]! & 0xfffff) >>> (20 - fractionBits))
      );
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
