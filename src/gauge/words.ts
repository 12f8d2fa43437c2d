import type { Role } from "../lora/roles.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import type { Comparison, Explanation } from "./explanation.ts";
import { explicit } from "./explicit.ts";
import type { Gauge } from "./gauge.ts";
import { liveRoles } from "./live.ts";
import { hyperOf, type Recipe } from "./recipe.ts";
import { hyperPowers, moves } from "./rules.ts";
import { starts } from "./start.ts";
import { ruleFor } from "./units.ts";

/** A number for a reader: all its digits, powers of ten where they are shorter. */
export function show(x: number): string {
  const size = Math.abs(x);
  return size !== 0 && (size < 1e-3 || size >= 1e7) ? x.toExponential().replace("e+", "e") : String(x);
}

/** A computed number for a reader: without the digits of rounding. */
export function rounded(x: number): string {
  return show(Number(x.toPrecision(10)));
}

/** A gauge for a reader. */
export function showGauge({ a, b, k }: Gauge): string {
  return `A times ${show(a)}, B times ${show(b)}, alpha times ${show(k)}`;
}

/** The numbers of a recipe that a gauge moves, for a reader: `lr_A 0.00512, lr_B 1e-5, eps_B 5.12e-6`. */
export function showNumbers(recipe: Recipe): string {
  const { initScale = {}, clip } = recipe;
  const roles = liveRoles(recipe);
  const of = (role: Role): [string, unknown][] => {
    const powers = hyperPowers(ruleFor("gauge.explain", explicit(recipe), role));
    const hyper = Object.entries(hyperOf<AnyOptimizerName>(recipe, role)) as [string, unknown][];
    return hyper.filter(([field, value]) => field === "lr" || (moves(powers, field) && value !== 0));
  };
  const fields = [...new Set(roles.flatMap((role) => of(role).map(([field]) => field)))];
  const hypers = fields.flatMap((field) =>
    roles.flatMap((role) =>
      of(role).flatMap(([own, value]) => (own === field ? [`${field}_${role} ${showEach(value)}`] : [])),
    ),
  );
  const scales = Object.entries(initScale).flatMap(([role, scale]) =>
    scale === 1 ? [] : [`initScale_${role} ${show(scale)}`],
  );
  return [...hypers, ...scales, ...(clip ? [`clip ${JSON.stringify(clip)}`] : [])].join(", ");
}

function showEach(x: unknown): string {
  if (Array.isArray(x)) return `[${x.map(showEach).join(", ")}]`;
  return typeof x === "number" ? show(x) : String(x);
}

/** `512 times smaller`, from a ratio. */
export function times(ratio: number): string {
  const off = Math.abs(ratio - 1);
  // Ten digits do not show it.
  if (off < 1e-9)
    return `${ratio < 1 ? "smaller" : "larger"} by ${show(Number(off.toPrecision(2)))} of itself`;
  return ratio < 1 ? `${rounded(1 / ratio)} times smaller` : `${rounded(ratio)} times larger`;
}

/** An explanation in sentences. */
export function describe(
  data: Omit<Explanation, "words">,
  names: readonly [string, string],
  recipes: readonly [Recipe, Recipe],
): string[] {
  const { updates } = data;
  const told = updates === null ? open(data, recipes) : [`Of schedules the first ${updates} updates count.`];
  return [...compared(data, names, recipes[1]), ...told];
}

/** What the number of updates would decide, where it was not told. */
function open({ exact }: Omit<Explanation, "words">, recipes: readonly [Recipe, Recipe]): string[] {
  const schedules = recipes.flatMap(({ schedule }) => (schedule ? [schedule] : []));
  const ending = schedules.filter((each) => "total" in each && each.total === "end");
  if (exact || schedules.length < 2 || ending.length !== 1) return [];
  return [
    "One schedule ends with the run, whenever that is: give the number of updates to compare it with the other.",
  ];
}

function compared(
  {
    relation,
    exact,
    bitwise,
    gauge,
    growth,
    invariants,
    fixed,
    partner,
    loraPlus,
  }: Omit<Explanation, "words">,
  [X, Y]: readonly [string, string],
  y: Recipe,
): string[] {
  if (exact && gauge) {
    const bits = bitwise
      ? "All factors are powers of two: they agree bit for bit, as long as no number leaves the normal range."
      : "They agree up to rounding: not all factors are powers of two, or the numbers are rounded.";
    const lines = [`${X} and ${Y} are the same run: ${Y} is ${X} with ${showGauge(gauge)}.`, bits];
    if (growth !== 1)
      lines.splice(
        1,
        0,
        `In each update A is multiplied by ${rounded(growth)} once more, and B divided by it.`,
      );
    return lines;
  }
  const unequal = invariants.filter(({ equal }) => !equal);
  const lines = [`${X} and ${Y} are not the same run.`];
  for (const { name, x, y } of fixed)
    lines.push(`${name} is ${json(x)} in ${X} and ${json(y)} in ${Y}; no gauge changes it.`);
  if (relation === "sameButConstants")
    lines.push(
      "All learning rates agree; they differ by constants only, which matter where gradients are as small.",
    );
  const equalB = invariants.find(({ name, equal }) => name === "lr.B" && equal);
  if (equalB && unequal.some(({ name }) => name === "lr.A")) {
    const alike = starts(y).B === 0 ? ": B moves alike as long as A has not moved" : "";
    lines.push(`The invariant of B's rate, ${equalB.formula}, is ${value(equalB.x)} in both${alike}.`);
  }
  for (const comparison of unequal) lines.push(difference(comparison, X, Y));
  if (relation === "rate")
    lines.push(
      `${Y} is ${X} with every learning rate ${times(unequal.find(({ kind }) => kind === "rate")!.ratio!)}.`,
    );
  if (loraPlus && relation !== "sameButConstants" && relation !== "rate") {
    const { alpha, ratio, recipe } = loraPlus;
    const what = relation === "loraPlus" ? `is LoRA+ with ratio ${rounded(ratio)} at` : "is, at";
    lines.push(`${Y} ${what} alpha ${show(alpha)}: ${showNumbers(recipe)}.`);
  }
  if (partner) {
    lines.push(`${X}'s exact partner at alpha ${show(partner.alpha)} is ${showNumbers(partner)}.`);
  } else if (fixed.length === 0) {
    lines.push(
      `${X} has no exact partner at alpha ${show(y.alpha)}: no rule is exact there, or numbers leave the normal range.`,
    );
  }
  return lines;
}

function difference({ name, formula, x, y, ratio }: Comparison, X: string, Y: string): string {
  const role = name.split(".").at(-1);
  const what = /(^|\.)lr\./.test(name) ? `The invariant of ${role}'s rate, ${formula},` : formula;
  const by = ratio === null ? "" : `: ${times(ratio)} in ${Y}`;
  return `${what} is ${value(x)} in ${X} and ${value(y)} in ${Y}${by}.`;
}

function value(x: number | readonly number[]): string {
  return typeof x === "number" ? rounded(x) : `[${x.map(rounded).join(", ")}]`;
}

function json(x: unknown): string {
  if (typeof x === "number") return rounded(x);
  return x === undefined ? "not there" : typeof x === "string" ? x : JSON.stringify(x);
}
