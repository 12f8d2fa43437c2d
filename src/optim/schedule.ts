import { ValueError } from "../base/errors.ts";
import { scalar } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Schedule } from "./optimizer.ts";

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

function check(name: string, what: string, value: number, least: number): number {
  if (!(typeof value === "number" && value >= least && value < Infinity)) {
    throw new ValueError(`schedule.${name}: ${what} is ${String(value)}; it is a finite number >= ${least}.`);
  }
  return value;
}
