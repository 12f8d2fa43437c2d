// Floats of 16 bits on the host: a sign, an exponent, and what follows the first of the significant bits. JavaScript has
// had a typed array of one of them only since 2025, so their bits travel in a Uint16Array.

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

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer); // little endian on every platform that there is

/** The format of 16 bits with such numbers. */
export function narrowFloat({ digits, least, most }: FloatRange): NarrowFloat {
  const fractionBits = digits - 1;
  const fractions = 2 ** fractionBits;
  const infinite = 0x7fff & -fractions;
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
      const sign = rounded < 0 || Object.is(rounded, -0) ? 0x8000 : 0;
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
      const exponent = (bits & 0x7fff) >>> fractionBits;
      const fraction = bits & (fractions - 1);
      if (exponent === 0) return (bits & 0x8000 ? -step : step) * fraction;
      if ((bits & infinite) === infinite)
        return fraction !== 0 ? Number.NaN : bits & 0x8000 ? -Infinity : Infinity;
      words[0] = 0;
      words[1] =
        ((bits & 0x8000) << 16) | ((exponent + least + 1022) << 20) | (fraction << (20 - fractionBits));
      return float[0]!;
    },
  };
}
