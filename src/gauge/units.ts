import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { scaling } from "../lora/scaling.ts";
import type { OptimizerName } from "../optim/make.ts";
import { checked, type Gauge } from "./gauge.ts";
import { hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { type Rule, ruleOf } from "./rules.ts";
import { starts, zeroSide } from "./start.ts";

/** The rule of a role's form of the optimizer. */
export function ruleFor(operation: string, recipe: Recipe, role: Role): Rule {
  return ruleOf(operation, recipe.optimizer.name, hyperOf<OptimizerName>(recipe, role));
}

/**
 * Whether no gauge may move one of the matrices: it starts at zero, under an optimizer that needs nonzero
 * parameters.
 */
export function pinned(operation: string, recipe: Recipe): boolean {
  const zero = zeroSide(recipe);
  if (!zero || !trainedRoles(recipe).includes(zero)) return false;
  return ruleFor(operation, recipe, zero).needs !== undefined;
}

/** The gauge to the recipe's units: the scaling becomes 1, and so does the factor on the first matrix that starts. */
export function unitGauge(operation: string, recipe: Recipe): Gauge {
  const { A } = starts(recipe);
  return gaugeTo(operation, recipe, 1 / scaling(recipe).value, 1 / (A || starts(recipe).B));
}

/**
 * The gauge that brings a recipe to the scaling and the initial values of another one, as far as a gauge can:
 * starting from A and B both random there may be no such gauge, and then B's start differs.
 *
 * @throws ValueError if the factors leave the range of numbers.
 */
export function gaugeBetween(operation: string, x: Recipe, y: Recipe): Gauge {
  const alike = x.r === y.r && (x.rsLora ?? false) === (y.rsLora ?? false);
  // alpha / alpha, where that is all: one rounding less.
  const k = alike ? y.alpha / x.alpha : scaling(y).value / scaling(x).value;
  const moved = starts(x).A === 0 ? starts(y).B / starts(x).B : starts(y).A / starts(x).A;
  return gaugeTo(operation, x, k, moved > 0 && moved < Infinity ? moved : 1);
}

/** The gauge with the given k and factor on the matrix that starts at random, B if A starts at zero. */
function gaugeTo(operation: string, recipe: Recipe, k: number, moved: number): Gauge {
  const fromB = starts(recipe).A === 0;
  if (pinned(operation, recipe)) {
    const free = { a: 1, b: 1, k: 1 / moved };
    return inRange(operation, fromB ? { ...free, b: moved } : { ...free, a: moved });
  }
  const rest = 1 / (k * moved);
  return inRange(operation, fromB ? { a: rest, b: moved, k } : { a: moved, b: rest, k });
}

function inRange(operation: string, g: Gauge): Gauge {
  if ([g.a, g.b, g.k].every((x) => x > 0 && x < Infinity)) return checked(operation, g);
  throw new ValueError(
    `${operation}: the gauge a = ${g.a}, b = ${g.b}, k = ${g.k} leaves the range of floating-point numbers. Use values of alpha and initScale nearer to 1.`,
  );
}
