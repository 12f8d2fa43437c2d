import { ValueError } from "../../base/errors.ts";

/** From low to high, both within. */
export type Interval = readonly [low: number, high: number];

/** A mean of independent measurements, and where the true one lies with the given confidence. */
export interface Estimate {
  readonly value: number;
  readonly standardError: number;
  /** NaN to NaN for a single measurement. */
  readonly interval: Interval;
}

/** A line through points by least squares. */
export interface Line {
  readonly slope: number;
  readonly intercept: number;
  /** Of the slope, from the residuals; NaN for two points. */
  readonly standardError: number;
  /** Share of the variance of y that the line explains; NaN where y does not vary. */
  readonly r2: number;
}

export const defaultConfidence = 0.95;

/** The mean of values with Student's interval. */
export function estimate(values: readonly number[], confidence: number = defaultConfidence): Estimate {
  const n = values.length;
  if (n === 0) throw new ValueError("estimate: there are no values; give at least one.");
  const value = mean(values);
  const variance = values.reduce((sum, x) => sum + (x - value) ** 2, 0) / (n - 1);
  return around(value, Math.sqrt(variance / n), n - 1, confidence);
}

/** A value with a standard error of so many degrees of freedom. */
export function around(value: number, standardError: number, freedom: number, confidence: number): Estimate {
  const reach = freedom > 0 ? studentQuantile(confidence, freedom) * standardError : Number.NaN;
  return { value, standardError, interval: [value - reach, value + reach] };
}

/**
 * The share of successes, with Wilson's interval, which is right for shares near 0 and 1 too.
 *
 * @param successes How many of `trials` independent ones succeeded.
 */
export function share(successes: number, trials: number, confidence: number = defaultConfidence): Estimate {
  const value = successes / trials;
  const z = studentQuantile(confidence, 1e4); // the normal distribution's, to four digits
  const middle = (value + z ** 2 / (2 * trials)) / (1 + z ** 2 / trials);
  const reach =
    (z / (1 + z ** 2 / trials)) * Math.sqrt((value * (1 - value)) / trials + (z / (2 * trials)) ** 2);
  const standardError = Math.sqrt((value * (1 - value)) / trials);
  // A share of exactly 0 or 1 bounds its own interval.
  const low = successes === 0 ? 0 : middle - reach;
  const high = successes === trials ? 1 : middle + reach;
  return { value, standardError, interval: [low, high] };
}

/** Least squares. @throws ValueError for fewer than two points, or equal xs. */
export function fitLine(xs: readonly number[], ys: readonly number[]): Line {
  if (xs.length < 2 || xs.length !== ys.length || new Set(xs).size < 2) {
    throw new ValueError(
      `fitLine: ${xs.length} xs and ${ys.length} ys; a line needs two different xs, and a y for each.`,
    );
  }
  const [mx, my] = [mean(xs), mean(ys)];
  const sxx = xs.reduce((sum, x) => sum + (x - mx) ** 2, 0);
  const syy = ys.reduce((sum, y) => sum + (y - my) ** 2, 0);
  const slope = xs.reduce((sum, x, i) => sum + (x - mx) * (ys[i]! - my), 0) / sxx;
  const intercept = my - slope * mx;
  const residual = xs.reduce((sum, x, i) => sum + (ys[i]! - intercept - slope * x) ** 2, 0);
  return {
    slope,
    intercept,
    standardError: Math.sqrt(residual / (xs.length - 2) / sxx),
    r2: 1 - residual / syy,
  };
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

/**
 * The t for which a Student variable of so many degrees of freedom lies in [-t, t] with the given probability.
 */
export function studentQuantile(probability: number, freedom: number): number {
  let [low, high] = [0, 1];
  while (central(high, freedom) < probability) high *= 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (central(middle, freedom) < probability) low = middle;
    else high = middle;
  }
  return high;
}

/** P(|T| <= t) for whole degrees of freedom: a finite series (Abramowitz and Stegun 26.7.3 and 26.7.4). */
function central(t: number, freedom: number): number {
  const angle = Math.atan(t / Math.sqrt(freedom));
  const [sine, square] = [Math.sin(angle), Math.cos(angle) ** 2];
  const odd = freedom % 2;
  let term = odd ? Math.cos(angle) : 1;
  let sum = freedom === 1 ? 0 : term;
  for (let k = odd + 2; k < freedom; k += 2) {
    term *= (square * (k - 1)) / k;
    sum += term;
  }
  return odd ? (2 / Math.PI) * (angle + sine * sum) : sine * sum;
}
