import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { scaling } from "../lora/scaling.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { apply } from "./apply.ts";
import { canonical } from "./canonical.ts";
import { checkRecipe } from "./check.ts";
import { close } from "./close.ts";
import { compare } from "./compare.ts";
import { aligned, checkUpdates } from "./course.ts";
import type { Comparison, Explanation, LoraPlusForm } from "./explanation.ts";
import { explicit } from "./explicit.ts";
import { bitwise as bitwiseGauge, type Gauge } from "./gauge.ts";
import {
  clipActs,
  essenceOf,
  growthOf,
  liveOf,
  liveRoles,
  scaled,
  scheduleOf,
  statesFollow,
} from "./live.ts";
import { hyperOf, numberOf, type Recipe, trainedRoles } from "./recipe.ts";
import { starts, startsExactly } from "./start.ts";
import { gaugeBetween } from "./units.ts";
import { describe } from "./words.ts";

export interface ExplainOptions {
  /** Numbers that differ by less than this relatively are equal. Default 1e-12, some roundings of float64. */
  readonly tolerance?: number;
  /**
   * How many updates the runs have, where it is known: schedules that differ later only are then one, and those that end with
   * the run end there. Other numbers are compared as for runs without end. By default every update counts.
   */
  readonly updates?: number;
  /** What messages call the two. Default X and Y. */
  readonly names?: readonly [x: string, y: string];
}

/**
 * Whether two recipes are one training run, up to rounding.
 *
 * @throws ValueError for a bad recipe, see `checkRecipe`.
 * @example
 * const x = { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } } as const;
 * equivalent(x, apply(common(4), x)); // true
 * equivalent(x, { ...x, alpha: 32 }); // false
 */
export function equivalent(x: Recipe, y: Recipe, options: ExplainOptions = {}): boolean {
  return explain(x, y, options).exact;
}

/**
 * What two recipes have to do with each other: the same run and by which gauge, LoRA+ with some ratio, or
 * different in which invariants and by how much; as data and in words.
 *
 * @throws ValueError for a bad recipe, see `checkRecipe`; a tolerance that is not from 0 to 0.1.
 * @example
 * const adamw = (lr: number) => ({ name: "adamw", lr }) as const;
 * const { words } = explain(
 *   { r: 8, alpha: 1, optimizer: adamw(0.00512) },
 *   { r: 8, alpha: 512, optimizer: adamw(1e-5) },
 * );
 * words[0]; // "X and Y are not the same run."
 */
export function explain(
  x: Recipe,
  y: Recipe,
  { tolerance = 1e-12, names = ["X", "Y"], updates }: ExplainOptions = {},
): Explanation {
  if (!(tolerance >= 0 && tolerance <= 0.1))
    throw new ValueError(`gauge.explain: tolerance is ${tolerance}; it is a number from 0 to 0.1.`);
  const operation = "gauge.explain";
  checkUpdates(operation, updates);
  const given = [x, y].map((each, i) => checkRecipe(each, `${operation}: ${names[i]}`));
  const [byX, byY] = aligned(given, tolerance, updates) as readonly [Recipe, Recipe];
  const [ofX, ofY] = [canonical(byX), canonical(byY)];
  const { fixed, invariants } = compare(ofX, ofY, tolerance);
  const unequal = invariants.filter(({ equal }) => !equal);
  const exact = fixed.length === 0 && unequal.length === 0;
  const comparable = fixed.length === 0;
  const g = comparable ? gaugeBetween(operation, explicit(x), explicit(y)) : null;
  const partner = g && moved(g, x);
  const back =
    comparable && !exact ? moved(gaugeBetween(operation, explicit(byY), explicit(byX)), byY) : null;
  const data = {
    relation: comparable ? relationOf(unequal, invariants, tolerance) : "different",
    exact,
    bitwise:
      exact &&
      g !== null &&
      bitwiseGauge(g) &&
      statesFollow(x, g) &&
      startsExactly(x, g) &&
      partner !== null &&
      sameNumbers(partner, y),
    gauge: g,
    growth: exact && g ? growthBetween(moved(g, byX), byY) : 1,
    invariants,
    fixed,
    partner,
    loraPlus: back && plusForm(back),
    updates: updates ?? null,
  } as const;
  return { ...data, words: describe(data, names, [x, y]) };
}

/** A recipe under a gauge, written out where it must be; null where numbers leave the range or no rule is exact. */
function moved(g: Gauge, recipe: Recipe): Recipe | null {
  for (const form of [recipe, explicit(recipe)]) {
    try {
      return apply(g, form);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
    }
  }
  return null;
}

/** By what the gauge between two forms of one run grows: what their rates show, which take a power of it. */
function growthBetween(x: Recipe | null, y: Recipe): number {
  const grows = growthOf(y)?.A;
  if (!x || !grows) return 1;
  const [of, to] = [hyperOf<AnyOptimizerName>(x, "A").lr, hyperOf<AnyOptimizerName>(y, "A").lr];
  return close(of, to, 1e-12) ? 1 : (to / of) ** (1 / grows.power);
}

function plusForm(recipe: Recipe): LoraPlusForm | null {
  const roles = trainedRoles(recipe);
  if (!roles.includes("A") || !roles.includes("B")) return null;
  const [lr, ofB] = [hyperOf<AnyOptimizerName>(recipe, "A").lr, hyperOf<AnyOptimizerName>(recipe, "B").lr];
  return lr > 0 ? { alpha: recipe.alpha, lr, ratio: ofB / lr, recipe } : null;
}

function relationOf(
  unequal: readonly Comparison[],
  invariants: readonly Comparison[],
  tolerance: number,
): Explanation["relation"] {
  if (unequal.length === 0) return "same";
  if (unequal.every(({ kind }) => kind === "constant")) return "sameButConstants";
  if (unequal.some(({ kind }) => kind === "start" || kind === "clip")) return "different";
  const rates = invariants.filter(({ kind }) => kind === "rate");
  const ofB = rates.filter(({ name }) => name.endsWith(".B"));
  const rest = rates.filter(({ name }) => !name.endsWith(".B"));
  const oneFactor = (of: readonly Comparison[]) =>
    of.every(({ ratio }) => ratio !== null && close(ratio, of[0]!.ratio ?? 0, tolerance));
  if (oneFactor(rates)) return "rate";
  return ofB.length > 0 && rest.length > 0 && oneFactor(ofB) && oneFactor(rest) ? "loraPlus" : "different";
}

/** Whether training reads the same numbers from both, as far as they have an effect. */
function sameNumbers(x: Recipe, y: Recipe): boolean {
  return JSON.stringify(numbersOf(x)) === JSON.stringify(numbersOf(y));
}

function numbersOf(recipe: Recipe): unknown {
  const { clip } = recipe;
  const all = liveOf(recipe);
  const roles = [...liveRoles(recipe)].sort();
  const perRole = (name: string, value: Parameters<typeof numberOf>[1]) =>
    roles
      .filter((role) => essenceOf(recipe, role).reads === "gradients")
      .map((role) => numberOf(name, value, role));
  const counted = [...new Set(all.flatMap((live) => live.counted))].sort();
  const clipped = clip !== undefined &&
    clipActs(recipe) && {
      kind: clip.kind,
      ...(clip.kind === "value" && { values: perRole("clip.maxValue", clip.maxValue) }),
      ...(clip.kind === "tensorNorm" && {
        norms: perRole("clip.maxNorm", clip.maxNorm),
        eps: perRole("clip.eps", clip.eps ?? 1e-6),
      }),
      // One number on weights, threshold and eps clips alike, bit for bit if it is a power of two.
      ...(clip.kind === "globalNorm" && {
        weights: counted.map((role) => (clip.weights?.[role] ?? 1) / clip.maxNorm),
        eps: (clip.eps ?? 1e-6) / clip.maxNorm,
      }),
    };
  return {
    scaling: scaled(recipe) && scaling(recipe).value,
    starts: all.map(({ kind, inert }) => [kind, inert || starts(recipe, kind)]),
    hyper: roles.map((role: Role) => {
      const { rule, hyper } = essenceOf(recipe, role);
      return [role, rule, Object.entries(hyper).sort(([one], [other]) => (one < other ? -1 : 1))];
    }),
    clipped,
    // A cosine in two forms is rounded in two ways.
    schedule: [scheduleOf(recipe), scheduleOf(recipe)?.kind === "warmupCosine" && recipe.schedule!.kind],
    dtype: recipe.dtype,
  };
}
