import { ValueError } from "../../base/errors.ts";
import { largestSeed, seedsOf } from "../seeds.ts";
import { bestRate, largestUsefulRate, type RateChoice, type Scan, scanRates } from "./rates.ts";
import { checkSetting, defaultSetting, type Setting } from "./setting.ts";
import {
  around,
  defaultConfidence,
  type Estimate,
  estimate,
  fitLine,
  type Interval,
  mean,
} from "./statistics.ts";
import { firstUpdate, laterChange, type UpdateQuantity, updateQuantities } from "./update.ts";

/** A quantity of the first update, the size of A's fifth one over the learning rate, or a learning rate that a whole training finds. */
export type QuantityName = UpdateQuantity | "laterChange" | "bestRate" | "largestRate";

/** What is measured: a quantity by name, or a positive number of a setting. */
export type Quantity = QuantityName | ((setting: Setting) => Promise<number>);

/** What is varied, with its values. */
export type Over =
  | { readonly n: readonly number[] }
  | { readonly r: readonly number[] }
  | { readonly alpha: readonly number[] }
  | { readonly lr: readonly number[] };

export interface ExponentOptions extends Partial<Omit<Setting, "seed">> {
  readonly of: Quantity;
  readonly over: Over;
  /** Independent repetitions. Default 20. */
  readonly seeds?: number;
  /** Which repetitions: none is drawn under two seeds. Default 0. */
  readonly seed?: number;
  /** Probability with which the interval holds the slope. Default 0.95. */
  readonly confidence?: number;
  /** For `bestRate` and `largestRate`: A and B with one rate (default), or A's at a fixed one of B. */
  readonly rates?: RateChoice;
  /** Called after each measurement with those done and all; may wait, and may throw to end the work. */
  readonly onProgress?: (done: number, total: number) => void | Promise<void>;
}

export interface ExponentPoint {
  readonly x: number;
  /** One measurement for each seed. */
  readonly values: readonly number[];
  /** Their geometric mean. */
  readonly value: number;
}

/** The power with which a quantity grows. */
export interface Exponent {
  /** Slope of log(quantity) over log(x). */
  readonly slope: number;
  readonly standardError: number;
  /** Of the slope. */
  readonly interval: Interval;
  readonly confidence: number;
  /** Share of the variance of the mean logarithms that the line explains. */
  readonly r2: number;
  /** Name of what was varied: "n", "r", "alpha", "lr". */
  readonly over: string;
  readonly seeds: number;
  /** For a plot: what was measured. */
  readonly points: readonly ExponentPoint[];
  /** Value of the line at x = 1. */
  readonly factor: number;
}

/**
 * Measures the exponent with which a quantity of LoRA training grows with the width n, the rank r, alpha or the
 * learning rate. Each seed gives a slope of its own by least squares in logarithms; the result is their mean with
 * Student's interval, for a single seed the interval of the regression. Runs on the default device.
 *
 * Sizes are root mean squares over entries. `Setting` says what is measured on; what is left out is as in
 * `defaultSetting`.
 *
 * @throws ValueError for values that are not positive and rising, settings that do not exist, and quantities that
 * are not positive (no logarithm).
 * @example
 * const width = await exponent({
 *   of: "deltaA", over: { n: [64, 256, 1024] }, start: "randomB",
 *   optimizer: { name: "adam", lr: 1e-4, eps: 1e-12 }, seeds: 4,
 * });
 * width.slope; // about 1: one Adam step moves A x by lr times n
 */
export async function exponent(options: ExponentOptions): Promise<Exponent> {
  const {
    of,
    over,
    seeds = 20,
    seed: run = 0,
    confidence = defaultConfidence,
    rates,
    onProgress,
    ...rest
  } = options;
  if (!Number.isInteger(seeds) || seeds < 1)
    throw new ValueError(`exponent: seeds is ${seeds}; it is an integer >= 1.`);
  if (!Number.isInteger(run) || run < 0 || run > largestSeed)
    throw new ValueError(`exponent: seed is ${run}; it is an integer from 0 to ${largestSeed}.`);
  if (!(confidence > 0 && confidence < 1))
    throw new ValueError(`exponent: confidence is ${confidence}; it is a probability between 0 and 1.`);
  const [name, xs] = range(over);
  const settings = xs.map((x) => at(rest, name, x));
  settings.forEach(checkSetting);

  const values: number[][] = [];
  for (const setting of settings) {
    const measure = measurement(of, setting, rates ?? "tied");
    const row: number[] = [];
    for (const seed of seedsOf(run, seeds)) {
      row.push(positive(await measure(seed), name, values.length, xs));
      await onProgress?.(values.length * seeds + row.length, xs.length * seeds);
    }
    values.push(row);
  }
  return { ...fitExponent(xs, values, confidence), over: name, seeds };
}

/** The exponent of values that were measured elsewhere: a row for each x, a column for each seed. */
export function fitExponent(
  xs: readonly number[],
  values: readonly (readonly number[])[],
  confidence: number = defaultConfidence,
): Omit<Exponent, "over" | "seeds"> {
  const logs = xs.map(Math.log);
  const rows = values.map((row) => row.map(Math.log));
  const middle = fitLine(logs, rows.map(mean));
  const seeds = rows[0]!.length;
  const slopes = Array.from(
    { length: seeds },
    (_, seed) =>
      fitLine(
        logs,
        rows.map((row) => row[seed]!),
      ).slope,
  );
  const slope: Estimate =
    seeds > 1
      ? estimate(slopes, confidence)
      : around(middle.slope, middle.standardError, xs.length - 2, confidence);
  return {
    slope: slope.value,
    standardError: slope.standardError,
    interval: slope.interval,
    confidence,
    r2: middle.r2,
    points: xs.map((x, i) => ({ x, values: values[i]!, value: Math.exp(mean(rows[i]!)) })),
    factor: Math.exp(middle.intercept),
  };
}

function measurement(of: Quantity, setting: Setting, rates: RateChoice): (seed: number) => Promise<number> {
  if (typeof of === "function") return (seed) => of({ ...setting, seed });
  if (of === "bestRate") return async (seed) => bestRate(await scan({ ...setting, seed }, rates));
  if (of === "largestRate") return async (seed) => largestUsefulRate(await scan({ ...setting, seed }, rates));
  if (of === "laterChange") return laterChange(setting);
  if (!Object.hasOwn(updateQuantities, of)) {
    const known = [...Object.keys(updateQuantities), "laterChange", "bestRate", "largestRate"];
    throw new ValueError(
      `exponent: there is no quantity ${JSON.stringify(of)}. Quantities are ${known.join(", ")}, or give a function.`,
    );
  }
  return firstUpdate(setting, updateQuantities[of]);
}

/** The latest scans, since two quantities are read off each; as text, settings are plain data. */
const scans = new Map<string, Promise<Scan>>();
const keptScans = 256;

function scan(setting: Setting, rates: RateChoice): Promise<Scan> {
  const key = JSON.stringify([setting, rates]);
  const known = scans.get(key);
  if (known) return known;
  const [oldest] = scans.keys();
  if (scans.size >= keptScans && oldest !== undefined) scans.delete(oldest);
  const made = scanRates(setting, rates);
  scans.set(key, made);
  made.catch(() => scans.delete(key));
  return made;
}

function range(over: Over): readonly [name: string, xs: readonly number[]] {
  const [entry, ...others] = Object.entries(over) as [string, readonly number[]][];
  if (!entry || others.length > 0 || !["n", "r", "alpha", "lr"].includes(entry[0]))
    throw new ValueError(
      `exponent: over has ${Object.keys(over).join(", ") || "nothing"}; give one of n, r, alpha, lr with its values.`,
    );
  const [name, xs] = entry;
  const rising = xs.every((x, i) => Number.isFinite(x) && x > 0 && (i === 0 || x > xs[i - 1]!));
  if (xs.length < 2 || !rising)
    throw new ValueError(
      `exponent: ${name} is varied over [${xs.join(", ")}]; give at least two positive, rising values.`,
    );
  return entry;
}

function at(rest: Partial<Omit<Setting, "seed">>, name: string, x: number): Setting {
  const setting: Setting = { ...defaultSetting, ...rest, seed: 0 };
  if (name === "lr") return { ...setting, optimizer: { ...setting.optimizer, lr: x } };
  return { ...setting, [name]: x };
}

function positive(value: number, name: string, i: number, xs: readonly number[]): number {
  if (value > 0 && Number.isFinite(value)) return value;
  throw new ValueError(
    `exponent: the quantity is ${value} at ${name} = ${xs[i]}; only positive numbers have a logarithm.`,
  );
}
