import { apply, type Gauge, type Recipe } from "../../gauge/index.ts";
import { type Exponent, type ExponentOptions, exponent } from "../exponents/exponent.ts";
import { judgedConfidence } from "../exponents/judge.ts";
import { type Estimate, estimate, type Interval } from "../exponents/statistics.ts";
import { inTheLimit, type Prediction } from "../exponents/theory.ts";
import { seedsOf } from "../seeds.ts";
import type { Context } from "./claim.ts";
import { bitsApart, deviation, fineTune, type RunOptions } from "./linear.ts";
import type { Check, Expectation } from "./verdict.ts";

/** As what a check takes the claim. */
export type Taken = Pick<Check, "axis" | "under">;

/** As the article states it. */
const stated: Taken = { axis: "stated" };

/** In the article's own setting, which a sentence of it alone does not name. */
export function setting(under: string): Taken {
  return { axis: "setting", under };
}

/** Under a condition that the article does not have. */
export function condition(under: string): Taken {
  return { axis: "condition", under };
}

/** Beside the claim, to explain it. */
export function beside(under: string): Taken {
  return { axis: "beside", under };
}

/** A check of an exact number, or of one with an interval. */
export function check(
  what: string,
  measured: number | { readonly value: number; readonly interval: Interval },
  expected: Expectation,
  taken: Taken = stated,
): Check {
  const found =
    typeof measured === "number"
      ? { value: measured }
      : { value: measured.value, interval: measured.interval };
  return { what, ...found, expected, ...taken };
}

/** An exponent that theory gives for the sizes that are measured. */
export function theory(prediction: Prediction): Expectation {
  return { theory: prediction };
}

/** An exponent that an article gives. */
export function exponentIs(x: number): Expectation {
  return { theory: inTheLimit(x) };
}

/** First updates cost little, and get more repetitions than trainings do. */
const updatesPerSeed = 10;

/** The exponent of a first update, as a measurement. */
export function exponentOf(options: ExponentOptions, context: Context): Promise<Estimate> {
  return trainedExponent(options, { ...context, seeds: updatesPerSeed * context.seeds });
}

/** An exponent for which whole models are trained. */
export async function trainedExponent(
  options: ExponentOptions,
  { seed, seeds, onProgress }: Context,
): Promise<Estimate> {
  const { slope, standardError, interval }: Exponent = await exponent({
    seed,
    seeds,
    confidence: judgedConfidence,
    onProgress: (done, total) => onProgress(done / total),
    ...options,
  });
  return { value: slope, standardError, interval };
}

/** A part of the repetitions, for what costs more. */
export function fewer(context: Context, divisor: number): Context {
  return { ...context, seeds: Math.max(2, Math.round(context.seeds / divisor)) };
}

/**
 * The geometric mean over seeds of a number that is spread over orders of magnitude, with an interval of its
 * logarithm. What is below 2^-60 counts as that.
 */
export async function sizeOverSeeds(
  context: Context,
  measure: (seed: number) => Promise<number>,
): Promise<Estimate> {
  const logs = await overSeeds(context, async (seed) => Math.log(Math.max(await measure(seed), 2 ** -60)));
  const value = Math.exp(logs.value);
  return {
    value,
    standardError: value * logs.standardError,
    interval: [Math.exp(logs.interval[0]), Math.exp(logs.interval[1])],
  };
}

/** The largest of an error that has a bound, over seeds. */
export async function largest(
  { seed: run, seeds, onProgress }: Context,
  measure: (seed: number) => Promise<number>,
): Promise<number> {
  let found = 0;
  for (const [i, seed] of seedsOf(run, seeds).entries()) {
    const value = await measure(seed);
    found = value > found || Number.isNaN(value) ? value : found;
    await onProgress(i / seeds);
  }
  return found;
}

/** The mean of a number over seeds. */
export async function overSeeds(
  { seed: run, seeds, onProgress }: Context,
  measure: (seed: number) => Promise<number>,
): Promise<Estimate> {
  const values: number[] = [];
  for (const seed of seedsOf(run, seeds)) {
    values.push(await measure(seed));
    await onProgress(values.length / seeds);
  }
  return estimate(values, judgedConfidence);
}

/** The sum of a number over seeds. */
export async function total(context: Context, measure: (seed: number) => Promise<number>): Promise<number> {
  const { value } = await overSeeds(context, measure);
  return Math.round(value * context.seeds);
}

/**
 * How many numbers (losses, outputs, rescaled parameters) differ in their bits between a recipe and another in its
 * gauge, over a quarter of the seeds.
 */
export function bitsOf(
  context: Context,
  [recipe, partner, g]: readonly [recipe: Recipe, partner: Recipe, g: Gauge],
  options: Omit<RunOptions, "seed">,
): Promise<number> {
  return total(fewer(context, 4), async (seed) =>
    bitsApart(await fineTune(partner, { ...options, seed }), await fineTune(recipe, { ...options, seed }), g),
  );
}

/** As `bitsOf`, for the partner that the exact rule gives. */
export function bitsUnder(
  context: Context,
  g: Gauge,
  recipe: Recipe,
  options: Omit<RunOptions, "seed">,
): Promise<number> {
  return bitsOf(context, [recipe, apply<Recipe>(g, recipe), g], options);
}

/** How far the losses of another recipe are from those of a recipe, over seeds. */
export function apart(
  context: Context,
  recipe: Recipe,
  other: Recipe,
  options: Omit<RunOptions, "seed">,
): Promise<Estimate> {
  return sizeOverSeeds(context, async (seed) =>
    deviation(
      (await fineTune(other, { ...options, seed })).losses,
      (await fineTune(recipe, { ...options, seed })).losses,
    ),
  );
}
