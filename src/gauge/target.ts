import { ValueError } from "../base/errors.ts";
import { scaling } from "../lora/scaling.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import type { Gauge } from "./gauge.ts";
import * as gauges from "./gauge.ts";
import { type LibraryName, libraries, libraryOf } from "./library/tools.ts";
import { adapts, hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { starts } from "./start.ts";
import { ruleFor } from "./units.ts";

/** A new alpha: a number, or `"r"`, which makes the scaling 1 (sqrt(r) with rsLora). */
export type Alpha = number | "r";

/** What a recipe is converted to. */
export type Target =
  /**
   * Another alpha, by the gauge that shares the change evenly (`common`), that leaves A alone (`b`), or that leaves
   * B alone (`a`). Default: the one that changes no initial value, `b` (`a` for a swapped start).
   */
  | { readonly to: "alpha"; readonly alpha: Alpha; readonly gauge?: "common" | "a" | "b" }
  /** Given factors on A and B; alpha follows. */
  | { readonly to: "gauge"; readonly a: number; readonly b: number }
  /**
   * One learning rate for A and B: by another alpha, or, `by: "initScale"`, by another initial scale at the given
   * alpha (default as it is).
   */
  | { readonly to: "commonRate"; readonly by?: "alpha" | "initScale"; readonly alpha?: Alpha }
  /** The usual initial values, and a ratio of rates: at the given alpha (default `"r"`), or the given ratio. */
  | { readonly to: "loraPlus"; readonly alpha?: Alpha; readonly ratio?: number }
  /** What a library can be told; `alpha` where it is given, the recipe's own or a free one otherwise. */
  | { readonly to: "library"; readonly library: LibraryName; readonly alpha?: Alpha };

const operation = "gauge.convert";

/**
 * The gauge that leads a recipe to a target.
 *
 * @throws ValueError for a target that is none, or that no gauge reaches.
 */
export function gaugeToTarget(recipe: Recipe, target: Target): Gauge {
  const fromB = starts(recipe, adapts(recipe)[0]).A === 0;
  const first = recipe.initScale?.[fromB ? "B" : "A"] ?? 1;
  /** The gauge to an alpha that makes the factor on the matrix that starts at random 1. */
  const at = (alpha: number): Gauge => {
    const k = alpha / recipe.alpha;
    const moved = 1 / (recipe.init === "pissa" ? first * Math.sqrt(k) : first);
    const rest = 1 / (k * moved);
    return valid(fromB ? { a: rest, b: moved, k } : { a: moved, b: rest, k });
  };
  switch (target.to) {
    case "alpha": {
      const k = alphaOf(recipe, target.alpha) / recipe.alpha;
      const gauge = target.gauge ?? (fromB ? "a" : "b");
      switch (gauge) {
        case "common":
          return gauges.common(k);
        case "b":
          return gauges.onlyB(k);
        case "a":
          return valid({ a: 1 / k, b: 1, k });
        default:
          throw new ValueError(`${operation}: gauge is ${String(gauge)}; it is common, a or b.`);
      }
    }
    case "gauge":
      return gauges.of(target);
    case "commonRate": {
      const { power, ratio } = rates(recipe);
      const { by = "alpha", alpha } = target;
      if (by === "alpha") {
        if (alpha !== undefined)
          throw new ValueError(
            `${operation}: a common rate by alpha cannot have alpha ${alpha} as well. Leave it out, or use by: "initScale".`,
          );
        // lr_A a^p = lr_B b^p; the matrix that starts at random stays.
        const c = ratio ** (-1 / power);
        return fromB ? valid({ a: 1 / c, b: 1, k: c }) : valid({ a: 1, b: c, k: 1 / c });
      }
      const k = (alpha === undefined ? recipe.alpha : alphaOf(recipe, alpha)) / recipe.alpha;
      if (ratio === 1) return gauges.common(k);
      const a = Math.sqrt(ratio ** (1 / power) / k);
      return valid({ a, b: 1 / (k * a), k });
    }
    case "loraPlus": {
      const { alpha, ratio } = target;
      if (ratio === undefined) return at(alphaOf(recipe, alpha ?? "r"));
      if (alpha !== undefined)
        throw new ValueError(
          `${operation}: both ratio ${ratio} and alpha ${alpha} are given; each follows from the other. Give one.`,
        );
      return atRatio(recipe, ratio, 1 / first, fromB);
    }
    case "library": {
      if (!Object.hasOwn(libraries, target.library))
        throw new ValueError(
          `${operation}: library is ${JSON.stringify(target.library)}; it is one of ${Object.keys(libraries).join(", ")}.`,
        );
      const fixed = fixedAlpha(target.library);
      if (fixed !== undefined) {
        if (target.alpha !== undefined && alphaOf(recipe, target.alpha) !== fixed)
          throw new ValueError(
            `${operation}: alpha is ${target.alpha}, but ${target.library} has ${fixed} for every run. Leave alpha out.`,
          );
        return at(fixed);
      }
      // One rate, where alpha can make the two one.
      if (target.alpha === undefined && libraries[target.library].groups === "none" && joinable(recipe))
        return atRatio(recipe, 1, 1 / first, fromB);
      return at(target.alpha === undefined ? recipe.alpha : alphaOf(recipe, target.alpha));
    }
    default:
      target satisfies never;
      throw new ValueError(
        `${operation}: to is ${JSON.stringify((target as { to?: unknown }).to)}; it is alpha, gauge, commonRate, loraPlus or library.`,
      );
  }
}

function fixedAlpha(name: LibraryName): number | undefined {
  const alpha = libraryOf(name).fixed?.alpha;
  return typeof alpha === "number" ? alpha : undefined;
}

/** The gauge to a ratio of the rates of B and A, with the given factor on the matrix that starts at random. */
function atRatio(recipe: Recipe, ratio: number, moved: number, fromB: boolean): Gauge {
  if (!(ratio > 0 && ratio < Infinity))
    throw new ValueError(`${operation}: ratio is ${ratio}; it is a finite number > 0.`);
  const given = rates(recipe);
  if (powerOfRatio(recipe) === 0 && ratio !== 1)
    throw new ValueError(
      `${operation}: no gauge changes the ratio of the learning rates of ${recipe.optimizer.name}, which is 1, so it cannot be ${ratio}.`,
    );
  if (given.ratio === ratio && moved === 1) return { a: 1, b: 1, k: 1 };
  // lr_B b^p = ratio lr_A a^p
  const quotient = (ratio / given.ratio) ** (1 / given.power); // b / a
  const [a, b] = fromB ? [moved / quotient, moved] : [moved, moved * quotient];
  return valid({ a, b, k: 1 / (a * b) });
}

/** Whether a gauge makes the rates of A and B one. */
function joinable(recipe: Recipe): boolean {
  const roles = trainedRoles(recipe);
  const [A, B] = [hyperOf<AnyOptimizerName>(recipe, "A").lr, hyperOf<AnyOptimizerName>(recipe, "B").lr];
  return (
    roles.includes("A") && roles.includes("B") && (A === B || powerOfRatio(recipe) !== 0) && A > 0 && B > 0
  );
}

/** The power of b / a by which the ratio of the rates of B and A goes the other way: both go with a power of each. */
function powerOfRatio(recipe: Recipe): number {
  const { hyper, partner } = ruleFor(operation, recipe, "A");
  return hyper.lr! - (partner?.hyper.lr ?? 0);
}

/** The ratio of the rates of B and A, and its power. */
function rates(recipe: Recipe): { readonly ratio: number; readonly power: number } {
  const power = powerOfRatio(recipe);
  const [A, B] = [hyperOf<AnyOptimizerName>(recipe, "A").lr, hyperOf<AnyOptimizerName>(recipe, "B").lr];
  const ratio = A === B ? 1 : B / A; // also of two zeros
  if (power === 0 && ratio !== 1)
    throw new ValueError(
      `${operation}: no gauge changes the ratio of the learning rates of ${recipe.optimizer.name}, ${A} for A and ${B} for B, so they cannot be made one.`,
    );
  if (!(ratio > 0 && ratio < Infinity))
    throw new ValueError(
      `${operation}: the learning rates are ${A} for A and ${B} for B; a common one exists only where both are above 0.`,
    );
  return { ratio, power: power === 0 ? 1 : power };
}

/** The alpha that is meant. */
export function alphaOf(recipe: Recipe, alpha: Alpha): number {
  if (alpha === "r") return recipe.r;
  scaling({ r: recipe.r, alpha });
  if (!(alpha > 0))
    throw new ValueError(`${operation}: alpha is ${alpha}; it is a finite number > 0, or "r".`);
  return alpha;
}

function valid(g: Gauge): Gauge {
  if ([g.a, g.b, g.k].every((x) => x > 0 && x < Infinity)) return gauges.checked(operation, g);
  throw new ValueError(
    `${operation}: the gauge a = ${g.a}, b = ${g.b}, k = ${g.k} leaves the range of floating-point numbers. Use a target nearer to the recipe.`,
  );
}
