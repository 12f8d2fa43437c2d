import { apply, type Gauge, type Recipe } from "../../gauge/index.ts";
import { type Exponent, type ExponentOptions, exponent } from "../exponents/exponent.ts";
import { type Estimate, estimate, type Interval } from "../exponents/statistics.ts";
import type { Context } from "./claim.ts";
import { bitsApart, deviation, fineTune, type RunOptions } from "./linear.ts";
import type { Check, Expectation } from "./verdict.ts";

/** A check of an exact number, or of one with an interval. */
export function check(
  what: string,
  measured: number | { readonly value: number; readonly interval: Interval },
  expected: Expectation,
  under?: string,
): Check {
  const found =
    typeof measured === "number"
      ? { value: measured }
      : { value: measured.value, interval: measured.interval };
  return { what, ...found, expected, ...(under !== undefined && { under }) };
}

/** Around an exponent: nearer to it than to any other multiple of 1/2, which is what theory's exponents are. */
export function near(x: number, margin = 0.25): Expectation {
  return { between: [x - margin, x + margin] };
}

/** First updates cost little, and get more repetitions than trainings do. */
const updatesPerSeed = 4;

/** An exponent as a measurement; at four times the context's seeds unless the options give their number. */
export async function exponentOf(
  options: ExponentOptions,
  { seeds, onProgress }: Context,
): Promise<Estimate> {
  const { slope, standardError, interval }: Exponent = await exponent({
    seeds: updatesPerSeed * seeds,
    onProgress: () => onProgress(0),
    ...options,
  });
  return { value: slope, standardError, interval };
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

/** The mean of a number over seeds. */
export async function overSeeds(
  { seeds, onProgress }: Context,
  measure: (seed: number) => Promise<number>,
): Promise<Estimate> {
  const values: number[] = [];
  for (let seed = 0; seed < seeds; seed++) {
    values.push(await measure(seed));
    await onProgress(seed / seeds);
  }
  return estimate(values);
}

/** The sum of a number over seeds. */
export async function total(context: Context, measure: (seed: number) => Promise<number>): Promise<number> {
  const { value } = await overSeeds(context, measure);
  return Math.round(value * context.seeds);
}

/** How many bits of losses, outputs and rescaled parameters differ between a recipe and another in its gauge. */
export function bitsOf(
  context: Context,
  [recipe, partner, g]: readonly [recipe: Recipe, partner: Recipe, g: Gauge],
  options: Omit<RunOptions, "seed">,
): Promise<number> {
  return total(context, async (seed) =>
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
