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

/** The error function to float32 accuracy: a rational approximation on [-4, 4] (the coefficients of Eigen). */
export function erf32(x: number): number {
  const c = x > 4 ? 4 : x < -4 ? -4 : x;
  const z = c * c;
  let p = -2.72614225801306e-10;
  p = p * z + 2.77068142495902e-8;
  p = p * z - 2.10102402082508e-6;
  p = p * z - 5.69250639462346e-5;
  p = p * z - 7.34990630326855e-4;
  p = p * z - 2.95459980854025e-3;
  p = p * z - 1.60960333262415e-2;
  let q = -1.45660718464996e-5;
  q = q * z - 2.13374055278905e-4;
  q = q * z - 1.68282697438203e-3;
  q = q * z - 7.37332916720468e-3;
  q = q * z - 1.42647390514189e-2;
  return (c * p) / q;
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
