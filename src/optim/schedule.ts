import {
  checkArgument,
  checkNames,
  type Field,
  type Fields,
  field,
  flag,
  integer,
  isPlainObject,
  nonNegative,
  oneOf,
  positive,
  readOptions,
  required,
  show,
} from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { scalar } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { HostNumber, Schedule } from "./optimizer.ts";

// Factors on the learning rate as functions of t, the number of updates done: 0 at the first. Numbers of the
// caller enter through `scalar`, so that schedules of one kind share programs.

/** Always `factor`, 1 by default. */
export function constant(factor = 1): Schedule {
  const value = scalar(checkArgument("schedule.constant", "factor", factor, required));
  return () => value;
}

export interface CosineOptions {
  /** Updates until the factor is least. */
  readonly tMax: number;
  /** The least factor. Default 0. */
  readonly etaMinFraction?: number;
}

/**
 * Half a cosine from 1 down to `etaMinFraction` at `tMax`, as `CosineAnnealingLR` (Loshchilov and Hutter 2017,
 * arXiv:1608.03983, without restarts); it rises again past `tMax`.
 */
export function cosine(options: CosineOptions): Schedule {
  const { tMax, etaMinFraction } = read(
    "cosine",
    { tMax: atLeast(1), etaMinFraction: nonNegative(0) },
    options,
  );
  const [length, low] = [scalar(tMax), scalar(etaMinFraction)];
  return (t) => low.add(scalar(1).sub(low).mul(t.mul(Math.PI).div(length).cos().add(1)).div(2));
}

export interface CosineRestartsOptions {
  /** Updates until the first restart. */
  readonly period: number;
  /** How many times as long each period is as the one before. Default 1. */
  readonly multiplier?: number;
  /** The least factor. Default 0. */
  readonly etaMinFraction?: number;
}

/**
 * Half cosines from 1 down to `etaMinFraction`, one after the other: the first takes `period` updates, each of the
 * next `multiplier` times as many. `CosineAnnealingWarmRestarts` with T_0 and T_mult (Loshchilov and Hutter 2017,
 * arXiv:1608.03983).
 */
export function cosineRestarts(options: CosineRestartsOptions): Schedule {
  const { period, multiplier, etaMinFraction } = read(
    "cosineRestarts",
    { period: integer(1), multiplier: integer(1, Infinity, 1), etaMinFraction: nonNegative(0) },
    options,
  );
  const [first, growth, low] = [scalar(period), scalar(multiplier), scalar(etaMinFraction)];
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
export function warmupConstant(options: { readonly warmup: number }): Schedule {
  const rise = scalar(read("warmupConstant", { warmup: required }, options).warmup);
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
export function step(options: { readonly stepSize: number; readonly gamma: number }): Schedule {
  const { stepSize, gamma } = read("step", { stepSize: atLeast(1), gamma: required }, options);
  const [size, base] = [scalar(stepSize), scalar(gamma)];
  return (t) => base.pow(t.div(size).floor());
}

/** `gamma` to the power t. */
export function exponential(options: { readonly gamma: number }): Schedule {
  const base = scalar(read("exponential", { gamma: required }, options).gamma);
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

const oneCycleFields: Fields<Required<OneCycleOptions>> = {
  totalSteps: integer(1),
  pctStart: nonNegative(0.3),
  divFactor: positive(25),
  finalDivFactor: positive(1e4),
  annealing: oneOf(["cos", "linear"], "cos"),
  threePhase: flag,
};

/**
 * From 1 / divFactor up to 1 and down to 1 / (divFactor finalDivFactor), where it stays: `OneCycleLR` (Smith and
 * Topin 2018, arXiv:1708.07120). The rate itself is PyTorch's `max_lr`. The rise ends at update
 * pctStart totalSteps - 1, as there, whole or not.
 *
 * Deviation: momentum and betas are not cycled. PyTorch raises an error past the end.
 */
export function oneCycle(options: OneCycleOptions): Schedule {
  const {
    totalSteps: total,
    pctStart,
    divFactor,
    finalDivFactor,
    annealing,
    threePhase,
  } = read("oneCycle", oneCycleFields, options);
  const rise = pctStart * total - 1;
  const fall = threePhase ? 2 * rise : rise;
  if (!(rise > 0 && fall < total - 1)) {
    throw new ValueError(
      `schedule.oneCycle: with totalSteps ${total} and pctStart ${pctStart} the rise ends at update ${rise} and the cycle at ${total - 1}; each phase takes time. Use more steps, or another share.`,
    );
  }
  const start = scalar(1).div(scalar(divFactor));
  const end = start.div(scalar(finalDivFactor));
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
  if (!isPlainObject(config) || !kinds.includes(config.kind))
    throw new ValueError(
      `schedule.make: kind is ${show((config as { kind?: unknown } | undefined)?.kind)}; it is one of ${kinds.join(", ")}.`,
    );
  const { kind, ...options } = config;
  const makers: { readonly [K in ScheduleConfig["kind"]]: (options: never) => Schedule } = {
    constant: (options) => {
      checkNames("schedule.constant", options, []);
      return constant();
    },
    cosine,
    cosineRestarts,
    warmupConstant,
    warmupLinear,
    warmupCosine,
    step,
    exponential,
    oneCycle,
  };
  return makers[kind](options as never); // the options of that kind, which its function checks
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

function checkWarmup(name: string, options: WarmupOptions) {
  const { warmup, total } = read(name, { warmup: required, total: atLeast(1) }, options);
  if (total <= warmup)
    throw new ValueError(
      `schedule.${name}: total ${total} is not more than warmup ${warmup}; total counts the updates of the warm-up too.`,
    );
  return { rise: scalar(warmup), total: scalar(total) };
}

function read<H>(name: string, fields: Fields<H>, options: unknown): H {
  return readOptions(`schedule.${name}`, fields, options);
}

function atLeast(least: number): Field<number> {
  return field(
    `a finite number >= ${least}`,
    (value) => typeof value === "number" && value >= least && value < Infinity,
  );
}
