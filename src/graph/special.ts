// Functions that Math lacks, in float64 where nothing else is said.

/** The error function, to about 1e-16: a series of positive terms, so nothing cancels. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (!(a < 6)) return Number.isNaN(x) ? Number.NaN : Math.sign(x);
  // erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (2n+1)!!   (Abramowitz and Stegun 7.1.6)
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > Math.abs(sum) * 1e-17; n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** 1 - erf(x) for x > 0, without cancellation: a continued fraction from 2 on (Abramowitz and Stegun 7.1.14). */
function erfc(x: number): number {
  if (x < 2) return 1 - erf(x);
  let rest = x;
  for (let n = 60; n > 0; n--) rest = x + n / 2 / rest;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * rest);
}

/** The inverse of erf: S. Winitzki's approximation (2008), made exact by Halley's method. */
export function erfinv(y: number): number {
  const a = Math.abs(y);
  if (!(a < 1)) return a === 1 ? y * Infinity : Number.NaN;
  const l = Math.log1p(-a * a);
  const t = 2 / (Math.PI * 0.147) + l / 2;
  let x = a < 1e-3 ? (a * Math.sqrt(Math.PI)) / 2 : Math.sqrt(Math.sqrt(t * t - l / 0.147) - t);
  if (x === 0) return y;
  for (let step = 0; step < 3; step++) {
    const error = a < 0.5 ? erf(x) - a : 1 - a - erfc(x);
    const u = error / ((2 / Math.sqrt(Math.PI)) * Math.exp(-x * x));
    x -= u / (1 + x * u);
  }
  return y < 0 ? -x : x;
}

/** Rounds to the nearest integer, halves to the even one. */
export function roundHalfEven(x: number): number {
  if (!(Math.abs(x) < 2 ** 52)) return x;
  const below = Math.floor(x);
  const rest = x - below;
  const result = rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
  return result === 0 ? (Object.is(x, -0) || x < 0 ? -0 : 0) : result;
}

const word = new Uint32Array(1);
const float = new Float32Array(word.buffer);

/** The float32 whose bits are a uint32. */
export function floatOfBits(bits: number): number {
  word[0] = bits;
  return float[0]!;
}

/** The bits of a number rounded to float32. */
export function bitsOfFloat(x: number): number {
  float[0] = x;
  return word[0]!;
}
