import { ValueError } from "../base/errors.ts";
import { scalar } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { HostNumber, Schedule } from "./optimizer.ts";

// Factors on the learning rate as functions of t, the number of updates done: 0 at the first. Numbers of the
// caller enter through `scalar`, so that schedules of one kind share programs.

/** Always `factor`, 1 by default. */
export function constant(factor = 1): Schedule {
  const value = scalar(check("constant", "factor", factor, 0));
  return () => value;
}

/**
 * Half a cosine from 1 down to `etaMinFraction` at `tMax`, as `CosineAnnealingLR` (Loshchilov and Hutter 2017,
 * arXiv:1608.03983, without restarts); it rises again past `tMax`.
 */
export function cosine({
  tMax,
  etaMinFraction = 0,
}: {
  readonly tMax: number;
  readonly etaMinFraction?: number;
}): Schedule {
  const length = scalar(check("cosine", "tMax", tMax, 1));
  const low = scalar(check("cosine", "etaMinFraction", etaMinFraction, 0));
  return (t) => low.add(scalar(1).sub(low).mul(t.mul(Math.PI).div(length).cos().add(1)).div(2));
}

/**
 * Half cosines from 1 down to `etaMinFraction`, one after the other: the first takes `period` updates, each of the
 * next `multiplier` times as many. `CosineAnnealingWarmRestarts` with T_0 and T_mult (Loshchilov and Hutter 2017,
 * arXiv:1608.03983).
 */
export function cosineRestarts({
  period,
  multiplier = 1,
  etaMinFraction = 0,
}: {
  readonly period: number;
  readonly multiplier?: number;
  readonly etaMinFraction?: number;
}): Schedule {
  const first = scalar(checkInteger("cosineRestarts", "period", period));
  const growth = scalar(checkInteger("cosineRestarts", "multiplier", multiplier));
  const low = scalar(check("cosineRestarts", "etaMinFraction", etaMinFraction, 0));
  const more = growth.sub(1);
  return (t) => {
    // Before the n-th restart lie period (multiplier^n - 1) / (multiplier - 1) updates. Half an update more keeps
    // the logarithm away from whole numbers, where rounding would decide.
    const restarts =
      multiplier === 1
        ? t.div(first).floor()
        : t.add(0.5).div(first).mul(more).add(1).log().div(growth.log()).floor();
    const length = multiplier === 1 ? first : first.mul(growth.pow(restarts));
    const start = multiplier === 1 ? first.mul(restarts) : length.sub(first).div(more);
    const progress = t.sub(start).div(length);
    return low.add(scalar(1).sub(low).mul(progress.mul(Math.PI).cos().add(1)).div(2));
  };
}

/** t / warmup, then 1. The factor of the first update is 0, as in the usual Transformers schedules. */
export function warmupConstant({ warmup }: { readonly warmup: number }): Schedule {
  const rise = scalar(check("warmupConstant", "warmup", warmup, 0));
  return (t) => where(t.lt(rise), t.div(rise), scalar(1));
}

/** Where a schedule with warm-up ends. */
export interface WarmupOptions {
  /** Updates from 0 up to the full rate; 0 for none. */
  readonly warmup: number;
  /** Updates until the factor is 0, where it stays; more than `warmup`. */
  readonly total: number;
}

/** t / warmup, then a line down to 0 at `total`. */
export function warmupLinear(options: WarmupOptions): Schedule {
  const { rise, total } = checkWarmup("warmupLinear", options);
  return (t) => where(t.lt(rise), t.div(rise), total.sub(t).div(total.sub(rise)).maximum(0));
}

/** t / warmup, then half a cosine down to 0 at `total`; it rises again past `total`. */
export function warmupCosine(options: WarmupOptions): Schedule {
  const { rise, total } = checkWarmup("warmupCosine", options);
  return (t) => {
    const progress = t.sub(rise).div(total.sub(rise));
    return where(t.lt(rise), t.div(rise), progress.mul(Math.PI).cos().add(1).div(2).maximum(0));
  };
}

/** `gamma` to the power of the number of full `stepSize`s done. */
export function step({ stepSize, gamma }: { readonly stepSize: number; readonly gamma: number }): Schedule {
  const size = scalar(check("step", "stepSize", stepSize, 1));
  const base = scalar(check("step", "gamma", gamma, 0));
  return (t) => base.pow(t.div(size).floor());
}

/** `gamma` to the power t. */
export function exponential({ gamma }: { readonly gamma: number }): Schedule {
  const base = scalar(check("exponential", "gamma", gamma, 0));
  return (t) => base.pow(t);
}

/** Options of `oneCycle`, with PyTorch's defaults. */
export interface OneCycleOptions {
  /** Updates of the whole cycle. */
  readonly totalSteps: number;
  /** Share of the cycle in which the rate rises. Default 0.3. */
  readonly pctStart?: number;
  /** The first factor is 1 / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last factor is 1 / (divFactor finalDivFactor). Default 1e4. */
  readonly finalDivFactor?: number;
  /** How the factor goes from one value to the next. Default "cos". */
  readonly annealing?: "cos" | "linear";
  /** Come down to 1 / divFactor as slowly as up, and only then to the last factor. Default false. */
  readonly threePhase?: boolean;
}

/**
 * From 1 / divFactor up to 1 and down to 1 / (divFactor finalDivFactor), where it stays: `OneCycleLR` (Smith and
 * Topin 2018, arXiv:1708.07120). The rate itself is PyTorch's `max_lr`. The rise ends at update
 * pctStart totalSteps - 1, as there, whole or not.
 *
 * Deviation: momentum and betas are not cycled. PyTorch raises an error past the end.
 */
export function oneCycle({
  totalSteps,
  pctStart = 0.3,
  divFactor = 25,
  finalDivFactor = 1e4,
  annealing = "cos",
  threePhase = false,
}: OneCycleOptions): Schedule {
  const name = "oneCycle";
  const total = checkInteger(name, "totalSteps", totalSteps);
  const rise = check(name, "pctStart", pctStart, 0) * total - 1;
  const fall = threePhase ? 2 * rise : rise;
  if (!(rise > 0 && fall < total - 1)) {
    throw new ValueError(
      `schedule.oneCycle: with totalSteps ${total} and pctStart ${pctStart} the rise ends at update ${rise} and the cycle at ${total - 1}; each phase takes time. Use more steps, or another share.`,
    );
  }
  if (annealing !== "cos" && annealing !== "linear")
    throw new ValueError(`schedule.oneCycle: annealing is ${String(annealing)}; it is "cos" or "linear".`);
  const start = scalar(1).div(scalar(checkPositive(name, "divFactor", divFactor)));
  const end = start.div(scalar(checkPositive(name, "finalDivFactor", finalDivFactor)));
  const one = scalar(1);
  const between = (from: HostNumber, to: HostNumber, progress: HostNumber): HostNumber =>
    annealing === "linear"
      ? to.sub(from).mul(progress).add(from)
      : to.add(from.sub(to).div(2).mul(progress.mul(Math.PI).cos().add(1)));
  const [up, down, last] = [scalar(rise), scalar(fall), scalar(total - 1)];
  const part = (t: HostNumber, from: HostNumber, to: HostNumber) => t.sub(from).div(to.sub(from)).minimum(1);
  return (t) => {
    const tail = between(threePhase ? start : one, end, part(t, down, last));
    const middle = threePhase ? where(t.le(down), between(one, start, part(t, up, down)), tail) : tail;
    return where(t.le(up), between(start, one, part(t, scalar(0), up)), middle);
  };
}

/** A schedule as plain data: the name of its function beside its options. */
export type ScheduleConfig =
  | { readonly kind: "constant" }
  | { readonly kind: "cosine"; readonly tMax: number; readonly etaMinFraction?: number }
  | ({ readonly kind: "cosineRestarts" } & Parameters<typeof cosineRestarts>[0])
  | { readonly kind: "warmupConstant"; readonly warmup: number }
  | { readonly kind: "warmupLinear" | "warmupCosine"; readonly warmup: number; readonly total: number }
  | ({ readonly kind: "step" } & Parameters<typeof step>[0])
  | { readonly kind: "exponential"; readonly gamma: number }
  | ({ readonly kind: "oneCycle" } & OneCycleOptions);

/**
 * The schedule that a config describes; `make({ kind: "cosine", tMax: 100 })` is `cosine({ tMax: 100 })`.
 *
 * @throws ValueError for an unknown kind, and as the schedule's own function does.
 */
export function make(config: ScheduleConfig): Schedule {
  switch (config.kind) {
    case "constant":
      return constant();
    case "cosine":
      return cosine(config);
    case "cosineRestarts":
      return cosineRestarts(config);
    case "warmupConstant":
      return warmupConstant(config);
    case "warmupLinear":
      return warmupLinear(config);
    case "warmupCosine":
      return warmupCosine(config);
    case "step":
      return step(config);
    case "exponential":
      return exponential(config);
    case "oneCycle":
      return oneCycle(config);
    default:
      config satisfies never;
      throw new ValueError(
        `schedule.make: kind is ${JSON.stringify((config as { kind?: unknown }).kind)}; it is one of ${kinds.join(", ")}.`,
      );
  }
}

/** The kinds of schedules that `make` knows. */
export const kinds: readonly ScheduleConfig["kind"][] = [
  "constant",
  "cosine",
  "cosineRestarts",
  "warmupConstant",
  "warmupLinear",
  "warmupCosine",
  "step",
  "exponential",
  "oneCycle",
];

function checkWarmup(name: string, { warmup, total }: WarmupOptions) {
  const checked = {
    rise: scalar(check(name, "warmup", warmup, 0)),
    total: scalar(check(name, "total", total, 1)),
  };
  if (total <= warmup)
    throw new ValueError(
      `schedule.${name}: total ${total} is not more than warmup ${warmup}; total counts the updates of the warm-up too.`,
    );
  return checked;
}

function checkInteger(name: string, what: string, value: number): number {
  if (!Number.isInteger(value) || value < 1)
    throw new ValueError(`schedule.${name}: ${what} is ${String(value)}; it is an integer >= 1.`);
  return value;
}

function checkPositive(name: string, what: string, value: number): number {
  if (!(typeof value === "number" && value > 0 && value < Infinity))
    throw new ValueError(`schedule.${name}: ${what} is ${String(value)}; it is a finite number > 0.`);
  return value;
}

function check(name: string, what: string, value: number, least: number): number {
  if (!(typeof value === "number" && value >= least && value < Infinity)) {
    throw new ValueError(`schedule.${name}: ${what} is ${String(value)}; it is a finite number >= ${least}.`);
  }
  return value;
}
