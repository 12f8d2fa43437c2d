import { fitLine } from "./statistics.ts";

// What theory says of exponents at the sizes that are measured. A fit over n or r sees the mean logarithm of a
// quantity, which is known for one sample x with normal entries and A with normal entries of variance 1/n: given x,
// A x is |x| / sqrt(n) times r standard normal numbers N. Constants that depend on neither n nor r are left out.

/** What theory says of an exponent. */
export interface Prediction {
  /** At the sizes that are measured. */
  readonly exponent: number;
  /** For large sizes: a multiple of 1/2. Its neighbours are what other theories say. */
  readonly limit: number;
}

/** The exponents next to that of theory, which a measurement has to tell from it. */
export function rivals({ limit }: Prediction): readonly [below: number, above: number] {
  return [limit - 0.5, limit + 0.5];
}

/** An exponent that is known in the limit of large sizes only. */
export function inTheLimit(limit: number): Prediction {
  return { exponent: limit, limit };
}

/** The same measurement times a power of what is varied, as alpha/r is of alpha/sqrt(r). */
export function times({ exponent, limit }: Prediction, power: number): Prediction {
  return { exponent: exponent + power, limit: limit + power };
}

/** The slope over log x of a mean logarithm. */
export function slope(xs: readonly number[], meanLog: (x: number) => number): number {
  return fitLine(xs.map(Math.log), xs.map(meanLog)).slope;
}

/** Exponents in r of the first update from B = 0, before scaling. */
export const inRank = {
  /** |A x|, to which the norm of B's gradient is proportional. */
  gradient: (rs: readonly number[]): Prediction => ({
    exponent: slope(rs, logSquares) / 2,
    limit: 0.5,
  }),
  /** SGD on its sample: |A x|^2. */
  sgd: (rs: readonly number[]): Prediction => ({ exponent: slope(rs, logSquares), limit: 1 }),
  /** SGD on an independent input: |A^T A x|. The square is |A x|^2 times a chi-squared number of n + r - 1. */
  sgdIndependent: (rs: readonly number[], n: number): Prediction => ({
    exponent: slope(rs, (r) => (logSquares(r) + logSquares(n + r - 1)) / 2),
    limit: 0.5,
  }),
  /** Adam on its sample: the sum of |A x|. */
  adam: (rs: readonly number[]): Prediction => ({ exponent: slope(rs, logSum), limit: 1 }),
  /** Adam on an independent input, and the norm of the weight's change: |A^T sign(A x)|. */
  adamIndependent: (rs: readonly number[], n: number): Prediction => ({
    exponent: slope(rs, (r) => logSigns(r, n) / 2),
    limit: 0.5,
  }),
} as const;

/** Exponents in n of the first update at a rank r, from a random B. */
export const inWidth = {
  /** Adam's change of A x: the sum of |x|. */
  adamA: (ns: readonly number[]): Prediction => ({ exponent: slope(ns, logSum), limit: 1 }),
  /** Adam's change of B A x: the sum of |A x|, by |x| / sqrt(n). */
  adamB: (ns: readonly number[]): Prediction => ({ exponent: slope(ns, logSquares) / 2 - 0.5, limit: 0 }),
  /** The same on an independent input: |A^T sign(A x)|. */
  adamBIndependent: (ns: readonly number[], r: number): Prediction => ({
    exponent: slope(ns, (n) => (logSigns(r, n) - Math.log(n)) / 2),
    limit: 0,
  }),
  /** SGD's change of A x: |x|^2. */
  sgdA: (ns: readonly number[]): Prediction => ({ exponent: slope(ns, logSquares), limit: 1 }),
  /** SGD's change of B A x: |A x|^2, by |x|^2 / n. */
  sgdB: (ns: readonly number[]): Prediction => ({ exponent: slope(ns, logSquares) - 1, limit: 0 }),
} as const;

const euler = 0.5772156649015329;

/** E log (N_1^2 + ... + N_k^2) = psi(k/2) + log 2, by the recurrence of the digamma function. */
export function logSquares(k: number): number {
  const odd = k % 2 === 1;
  let psi = odd ? -euler - 2 * Math.LN2 : -euler;
  for (let x = odd ? 0.5 : 1; x < k / 2; x++) psi += 1 / x;
  return psi + Math.LN2;
}

/**
 * E log (|N_1| + ... + |N_k|): the integral of (exp(-t) - m(t)^k) / t over t > 0, where m(t) = E exp(-t |N|) =
 * erfcx(t / sqrt 2); in log t by the trapezoidal rule, which is exact to rounding for it.
 */
export function logSum(k: number): number {
  const step = 1 / 8;
  let sum = 0;
  for (let u = -40; u <= 40; u += step) {
    const t = Math.exp(u);
    sum += Math.exp(-t) - scaledErfc(t / Math.SQRT2) ** k;
  }
  return step * sum;
}

/**
 * E log of n |A^T sign(A x)|^2 = S^2 + r C, where S = |N_1| + ... + |N_r| and C is chi-squared of n - 1: the logarithm
 * of the mean, less what the fluctuations of C take off. Those of S matter little beside n.
 */
export function logSigns(r: number, n: number): number {
  const mean = r + (r * (r - 1) * 2) / Math.PI + r * (n - 1);
  return Math.log(mean) - (r * r * (n - 1)) / mean ** 2;
}

/** exp(x^2) erfc(x) for x >= 0: a series, or Laplace's continued fraction. */
function scaledErfc(x: number): number {
  if (x < 1.5) {
    let [term, sum] = [x, x];
    for (let k = 1; k < 60; k++) {
      term *= (2 * x * x) / (2 * k + 1);
      sum += term;
    }
    return Math.exp(x * x) - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = x;
  for (let k = 100; k > 0; k--) fraction = x + k / 2 / fraction;
  return 1 / fraction / Math.sqrt(Math.PI);
}
