import type { OptimizerName } from "../optim/make.ts";
import type { Comparison, Explanation } from "./explanation.ts";
import type { Gauge } from "./gauge.ts";
import { hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { starts } from "./start.ts";

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
  const { initScale = {} } = recipe;
  const fields = ["lr", "eps", "weightDecay"] as const;
  const hypers = fields.flatMap((field) =>
    trainedRoles(recipe).flatMap((role) => {
      const value = (hyperOf<OptimizerName>(recipe, role) as { readonly [F in typeof field]?: number })[
        field
      ];
      return value === undefined || (value === 0 && field !== "lr")
        ? []
        : [`${field}_${role} ${show(value)}`];
    }),
  );
  const scales = Object.entries(initScale).flatMap(([role, scale]) =>
    scale === 1 ? [] : [`initScale_${role} ${show(scale)}`],
  );
  return [...hypers, ...scales].join(", ");
}

/** `512 times smaller`, from a ratio. */
export function times(ratio: number): string {
  return ratio < 1 ? `${rounded(1 / ratio)} times smaller` : `${rounded(ratio)} times larger`;
}

/** An explanation in sentences. */
export function describe(
  { relation, exact, bitwise, gauge, invariants, fixed, partner, loraPlus }: Omit<Explanation, "words">,
  [X, Y]: readonly [string, string],
  y: Recipe,
): string[] {
  if (exact && gauge) {
    const bits = bitwise
      ? "All factors are powers of two: they agree bit for bit, as long as no number leaves the normal range."
      : "They agree up to rounding: not all factors are powers of two, or the numbers are rounded.";
    return [`${X} and ${Y} are the same run: ${Y} is ${X} with ${showGauge(gauge)}.`, bits];
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
    lines.push(`The rate of B, ${equalB.formula}, is ${value(equalB.x)} in both${alike}.`);
  }
  for (const comparison of unequal) lines.push(difference(comparison, X, Y));
  if (relation === "rate") lines.push(`${Y} is ${X} with every learning rate ${times(unequal[0]!.ratio!)}.`);
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
  const role = name.split(".")[1];
  const what = name.startsWith("lr.") ? `The rate of ${role}, ${formula},` : formula;
  const by = ratio === null ? "" : `: ${times(ratio)} in ${Y}`;
  return `${what} is ${value(x)} in ${X} and ${value(y)} in ${Y}${by}.`;
}

function value(x: number | readonly number[]): string {
  return typeof x === "number" ? rounded(x) : `[${x.map(rounded).join(", ")}]`;
}

function json(x: unknown): string {
  return x === undefined ? "not there" : typeof x === "string" ? x : JSON.stringify(x);
}
