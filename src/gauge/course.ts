import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { hostValue } from "../graph/cast.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import type { HostNumber } from "../optim/optimizer.ts";
import { make, type ScheduleConfig } from "../optim/schedule.ts";
import { scalar } from "../tensor/creation.ts";
import { close } from "./close.ts";
import { hyperOf, type Recipe, type RecipeSchedule, trainedRoles } from "./recipe.ts";

// How learning rates go: the same course in other words is the same run, and so is a course times a number with rates
// divided by it. Between breaks a schedule is a constant plus a line, a power or a cosine of t, and so it follows a linear
// recurrence of three terms; two that agree at six updates in a row agree until the next break of either. So a few updates
// tell all courses apart.

/** The factor on the rates at an update, from 0; and where a new piece begins. */
interface Course {
  readonly at: (t: number) => number;
  readonly breaks: readonly number[];
}

/** Updates after a break that are looked at, and breaks of those that have one after the other without end. */
const [looked, repeated] = [7, 16];

/**
 * Recipes with their schedules in one form where their courses are one, up to a factor, which goes into the rates: constant
 * ones without a schedule, those that stay 0 with rates of 0, and others with the first of their kind. With `updates`, as far
 * as that many go, and schedules that end with the run end there.
 *
 * @throws ValueError for a run of `updates` that a schedule does not fit.
 */
export function aligned(recipes: readonly Recipe[], tolerance: number, updates?: number): readonly Recipe[] {
  const seen: RecipeSchedule[] = [];
  const known = new Map<string, { readonly schedule?: RecipeSchedule; readonly times: number }>();
  const look = (schedule: RecipeSchedule) => {
    const plain = plainOf(schedule, updates);
    if (plain) return plain;
    for (const other of seen) {
      const times = ratio(schedule, other, tolerance, updates);
      if (times !== undefined) return { schedule: other, times };
    }
    seen.push(schedule);
    return { schedule, times: 1 };
  };
  return recipes.map((recipe) => {
    const { schedule, ...rest } = recipe;
    if (!schedule || recipe.optimizer.name === "rprop") return recipe;
    const key = JSON.stringify(schedule);
    const found = known.get(key) ?? look(schedule);
    known.set(key, found);
    // A larger number in place of a rate may be one that LoRA-Muon does not take beside its decay.
    if (found.times > 1 && recipe.optimizer.name === "loraMuon") return recipe;
    const own = found.times === 1 ? rest : faster(rest as Recipe, found.times);
    return { ...own, ...(found.schedule && { schedule: found.schedule }) } as Recipe; // the same optimizer
  });
}

/** @throws ValueError for a number of updates that is none. */
export function checkUpdates(operation: string, updates: number | undefined): void {
  if (updates === undefined || (Number.isSafeInteger(updates) && updates >= 1)) return;
  throw new ValueError(`${operation}: updates is ${show(updates)}; it is a whole number >= 1.`);
}

const constant: RecipeSchedule = { kind: "constant" };

/** Whether two schedules have the same factors at every update. */
export function sameCourse(x: RecipeSchedule = constant, y: RecipeSchedule = constant): boolean {
  return ratio(x, y, 1e-12) === 1;
}

/** A schedule that is constant, at once or after one update at 0, or 0 for ever; undefined for others. */
function plainOf(schedule: RecipeSchedule, updates?: number) {
  const course = courseOf(schedule, updates);
  if (!course) return undefined;
  const [first, ...later] = valuesOf([course], updates)[0]!;
  const times = later[0] ?? first!;
  if (later.some((value) => !close(value, times, 4 * Number.EPSILON))) return undefined;
  if (first === times) return { times };
  return first === 0 ? { times, schedule: { kind: "warmupConstant", warmup: 1 } as const } : undefined;
}

/** The number by which a schedule is another one, if it is. */
function ratio(
  x: RecipeSchedule,
  y: RecipeSchedule,
  tolerance: number,
  updates?: number,
): number | undefined {
  const courses = [courseOf(x, updates), courseOf(y, updates)];
  const [one, other] = courses;
  if (!one || !other) return !one && !other && alike(x, y, tolerance) ? 1 : undefined;
  const [xs, ys] = valuesOf([one, other], updates) as [number[], number[]];
  const largest = (values: readonly number[]) => values.reduce((most, value) => Math.max(most, value), 0);
  const [most, unit] = [largest(xs), largest(ys)];
  if (most === 0 || unit === 0) return most === unit ? 1 : undefined;
  const times = most / unit;
  // Where a cosine comes to 0, what is left is rounding.
  const equal = ys.every(
    (value, i) =>
      close(value * times, xs[i]!, tolerance) ||
      Math.abs(value * times - xs[i]!) <= 4 * Number.EPSILON * most,
  );
  return equal ? (close(times, 1, tolerance) ? 1 : times) : undefined;
}

/** Whether two schedules that end with a run of unknown length are one: the same kind with the same numbers. */
function alike(x: RecipeSchedule, y: RecipeSchedule, tolerance: number): boolean {
  const [of, by] = [Object.entries(x), y as unknown as Readonly<Record<string, unknown>>];
  return of.every(([name, value]) =>
    typeof value === "number" ? close(value, Number(by[name]), tolerance) : value === by[name],
  );
}

/** The course of a schedule; undefined where it ends with a run of unknown length. */
function courseOf(schedule: RecipeSchedule, updates?: number): Course | undefined {
  const total = "total" in schedule && schedule.total === "end" ? updates : undefined;
  if ("total" in schedule && schedule.total === "end" && total === undefined) return undefined;
  const config = { ...schedule, ...(total !== undefined && { total }) } as ScheduleConfig; // its end is known
  const factor = make(config);
  return {
    // Host numbers of host numbers are known at once.
    at: (t) => hostValue(factor(scalar(t) as HostNumber).node)!,
    breaks: breaksOf(config).map(Math.ceil),
  };
}

function breaksOf(schedule: ScheduleConfig): readonly number[] {
  const many = (at: (i: number) => number) => Array.from({ length: repeated }, (_, i) => at(i));
  switch (schedule.kind) {
    case "constant":
    case "cosine":
    case "exponential":
      return [0];
    case "warmupConstant":
      return [0, schedule.warmup];
    case "warmupLinear":
    case "warmupCosine":
      return [0, schedule.warmup, schedule.total];
    case "step":
      return many((i) => i * schedule.stepSize);
    case "cosineRestarts": {
      const { period, multiplier = 1 } = schedule;
      return many((i) =>
        multiplier === 1 ? i * period : (period * (multiplier ** i - 1)) / (multiplier - 1),
      );
    }
    case "oneCycle": {
      const { totalSteps, pctStart = 0.3 } = schedule;
      const rise = pctStart * totalSteps - 1;
      return [0, rise, 2 * rise, totalSteps - 1];
    }
    default:
      return schedule satisfies never;
  }
}

/** The factors of courses at the updates that tell them apart; at least two, so that one update is not all. */
function valuesOf(courses: readonly Course[], updates = Number.MAX_SAFE_INTEGER): readonly number[][] {
  const starts = [
    ...courses.flatMap(({ breaks }) => breaks),
    ...(updates < 2 ** 52 ? [updates - looked] : []),
  ];
  const times = new Set(
    starts.flatMap((start) => Array.from({ length: looked + 1 }, (_, i) => start - 1 + i)),
  );
  const there = [...times].filter((t) => t >= 0 && t < updates).sort((x, y) => x - y);
  return courses.map(({ at }) => there.map(at));
}

/** A recipe with all rates times a number, and decays that the schedule multiplies by itself. */
function faster(recipe: Recipe, times: number): Recipe {
  const groups = trainedRoles(recipe).map((role) => {
    const hyper: Readonly<Record<string, unknown>> = { ...hyperOf<AnyOptimizerName>(recipe, role) };
    const rates = ["lr", "lrUnrectified", ...(hyper.decayTimesLr === false ? ["weightDecay"] : [])];
    const changed = rates.flatMap((name) =>
      typeof hyper[name] === "number" ? [[name, hyper[name] * times]] : [],
    );
    return [role, { ...hyper, ...Object.fromEntries(changed) }];
  });
  return { ...recipe, groups: Object.fromEntries(groups) } as Recipe; // the same optimizer
}
