// float16 (IEEE 754 binary16) on the host: 11 significant bits, normal from 2^-14 to 65504, subnormal in steps of
// 2^-24. JavaScript has had a typed array of it only since 2025, so its bits travel in a Uint16Array.

const float = new Float64Array(1);
const words = new Uint32Array(float.buffer); // little endian on every platform that there is

/** The float16 nearest to `x`, ties to even; beyond 65519 it is infinite. */
export function roundToHalf(x: number): number {
  const size = Math.abs(x);
  if (!(size < 65520)) return Number.isNaN(x) ? x : Math.sign(x) * Infinity;
  float[0] = size;
  const exponent = Math.max((words[1]! >>> 20) - 1023, -14);
  // Adding a number whose last place is that of the result rounds to it; 1.5 keeps the sum in one binade.
  const magic = 1.5 * 2 ** (exponent + 42);
  const rounded = size + magic - magic;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

/** The 16 bits of the float16 nearest to `x`. */
export function halfBits(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  const rounded = roundToHalf(x);
  const size = Math.abs(rounded);
  const sign = rounded < 0 || Object.is(rounded, -0) ? 0x8000 : 0;
  if (size === Infinity) return sign | 0x7c00;
  if (size < 2 ** -14) return sign | (size * 2 ** 24);
  float[0] = size;
  const exponent = (words[1]! >>> 20) - 1023;
  return sign | ((exponent + 15) << 10) | ((size / 2 ** exponent - 1) * 1024);
}

/** The number that 16 bits stand for. */
export function fromHalfBits(bits: number): number {
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  const size =
    exponent === 31
      ? fraction === 0
        ? Infinity
        : NaN
      : exponent === 0
        ? fraction * 2 ** -24
        : (1024 + fraction) * 2 ** (exponent - 25);
  return bits & 0x8000 ? -size : size;
}
