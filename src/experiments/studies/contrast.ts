import type { Axis, Check, Expectation } from "../claims/verdict.ts";
import { type Estimate, estimate, mean, studentQuantile } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import type { Bench, Table, Trial } from "./study.ts";

/** Losses that differ by less, in nats a token, are called alike. */
export const margin = 0.02;

/** Of the comparisons that a study judges by, this share may be wrong by chance, all together. */
const error = 0.05;

/** The confidence of each of so many comparisons, by Bonferroni. */
export const confidenceOf = (comparisons: number) => 1 - error / comparisons;

/** Half of the interval that is to be expected of differences of such a spread: of a smaller effect nothing can be said. */
export const smallestSeen = (spread: number, seeds: number, confidence: number): number =>
  (studentQuantile(confidence, seeds - 1) * spread) / Math.sqrt(seeds);

/** The runs of a trial at some seeds. */
export async function over(
  bench: Bench,
  seeds: readonly number[],
  trial: (seed: number) => Trial,
): Promise<readonly RunResult[]> {
  return together(seeds.map((seed) => bench.run(trial(seed))));
}

/** What runs come to that were begun at a time; where one fails, when all have ended. */
export async function together<T>(runs: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(runs);
  return Promise.all(runs);
}

export const lossOf = ({ loss }: RunResult) => loss;

export const meanOf = (results: readonly RunResult[], of: (result: RunResult) => number = lossOf) =>
  mean(results.map(of));

/** Runs, or those at a rate that was chosen. */
type Side = readonly RunResult[] | Tuned;

const runsOf = (side: Side): readonly RunResult[] => ("runs" in side ? side.runs : side);
const isOpen = (side: Side) => "runs" in side && side.atEnd;

/**
 * The mean difference of runs of the same seeds, the first less the second, with its t interval. Where a rate was best that is
 * the first or the last of its grid, a better one may lie beyond, and nothing is known of the difference.
 */
export function paired(
  one: Side,
  other: Side,
  {
    comparisons = 1,
    of = lossOf,
  }: { readonly comparisons?: number; readonly of?: (result: RunResult) => number } = {},
): Estimate {
  const found = estimate(
    runsOf(one).map((result, i) => of(result) - of(runsOf(other)[i]!)),
    confidenceOf(comparisons),
  );
  return isOpen(one) || isOpen(other) ? { ...found, interval: [Number.NaN, Number.NaN] } : found;
}

/** A number, and what it may be. */
export type Measured = Pick<Estimate, "value" | "interval">;

/** What was measured as a check. */
export function judged(
  what: string,
  { value, interval }: Measured,
  expected: Expectation,
  {
    comparisons = 1,
    axis = "stated",
    under,
  }: { readonly comparisons?: number; readonly axis?: Axis; readonly under?: string } = {},
): Check {
  return {
    what,
    value,
    interval,
    expected,
    axis,
    confidence: confidenceOf(comparisons),
    ...(under !== undefined && { under }),
  };
}

/** What is tried, and the loss that it came to. */
export interface Chosen<T> {
  readonly best: T;
  readonly losses: readonly number[];
  /** The best is the first or the last that was tried: a better one may lie beyond. */
  readonly atEnd: boolean;
}

/** The value with the least mean loss over the seeds of the choice. */
export async function choose<T>(
  bench: Bench,
  values: readonly T[],
  trial: (value: T, seed: number) => Trial,
): Promise<Chosen<T>> {
  const tried = await together(
    values.map((value) => over(bench, bench.choice, (seed) => trial(value, seed))),
  );
  const losses = tried.map((runs) => meanOf(runs));
  const at = losses.indexOf(Math.min(...losses));
  return { best: values[at]!, losses, atEnd: at === 0 || at === values.length - 1 };
}

/** Runs at the rate that is best by the seeds of the choice, at those of the comparison. */
export interface Tuned {
  readonly lr: number;
  readonly runs: readonly RunResult[];
  /** For each rate the mean loss of the choice. */
  readonly losses: readonly number[];
  readonly atEnd: boolean;
}

export async function tuned(
  bench: Bench,
  rates: readonly number[],
  trial: (lr: number, seed: number) => Trial,
): Promise<Tuned> {
  const { best: lr, losses, atEnd } = await choose(bench, rates, trial);
  return { lr, losses, atEnd, runs: await over(bench, bench.comparison, (seed) => trial(lr, seed)) };
}

/** How many runs `tuned` takes. */
export const tunedCount = (
  rates: number,
  { choice, comparison }: Pick<Bench, "choice" | "comparison">,
): number => rates * choice.length + comparison.length;

/** Tuned runs as a table: the rate, whether it is the first or last that was tried, the loss. */
export function tunedTable(title: string, all: { readonly [name: string]: Tuned }): Table {
  return {
    title,
    head: ["", "best lr", "loss", "share of tokens"],
    rows: Object.entries(all).map(([name, { lr, atEnd, runs }]) => [
      name,
      atEnd ? `${lr} (end of the grid)` : lr,
      meanOf(runs),
      meanOf(runs, ({ accuracy }) => accuracy),
    ]),
  };
}

/** The value at which a parabola through the losses at three neighbouring logarithms is least. */
export function vertex(logs: readonly number[], losses: readonly number[]): number {
  const at = Math.min(Math.max(losses.indexOf(Math.min(...losses)), 1), losses.length - 2);
  const [x0, x1, x2] = [at - 1, at, at + 1].map((i) => logs[i]!) as [number, number, number];
  const [y0, y1, y2] = [at - 1, at, at + 1].map((i) => losses[i]!) as [number, number, number];
  const [left, right] = [(y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)];
  const curve = (right - left) / (x2 - x0);
  if (!(curve > 0)) return logs[losses.indexOf(Math.min(...losses))]!;
  return Math.min(Math.max((x0 + x1) / 2 - left / (2 * curve), logs[0]!), logs.at(-1)!);
}
