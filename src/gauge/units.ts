import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { scaling } from "../lora/scaling.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { checked, type Gauge } from "./gauge.ts";
import { type Live, liveOf, type Pins, pinsOf, scaled } from "./live.ts";
import { hyperOf, type Recipe } from "./recipe.ts";
import { type ExactRule, ruleOf } from "./rules.ts";
import { starts } from "./start.ts";

/** The rule of a role's form of the optimizer. */
export function ruleFor(operation: string, recipe: Recipe, role: Role): ExactRule {
  return ruleOf(operation, recipe.optimizer.name, hyperOf<AnyOptimizerName>(recipe, role));
}

/**
 * The gauge to a recipe's units in a kind of layer: as far as nothing pins them, the scaling becomes 1, and so does
 * the factor on the first matrix that starts at random.
 */
export function unitGauge(operation: string, recipe: Recipe, live: Live): Gauge {
  const { A, B } = starts(recipe, live.kind);
  return gaugeTo(operation, pinsOf(recipe, live), A === 0, 1 / scaling(recipe).value, 1 / (A || B));
}

/**
 * The gauge that brings a recipe to the scaling and the initial values of another one, as far as a gauge can:
 * starting from A and B both random there may be no such gauge, and then B's start differs. Where there are several
 * kinds of layers, the first one that acts decides.
 *
 * @throws ValueError if the factors leave the range of numbers.
 */
export function gaugeBetween(operation: string, x: Recipe, y: Recipe): Gauge {
  if (!scaled(x)) return { a: 1, b: 1, k: 1 };
  const alike = x.r === y.r && (x.rsLora ?? false) === (y.rsLora ?? false);
  // alpha / alpha, where that is all: one rounding less.
  const k = alike ? y.alpha / x.alpha : scaling(y).value / scaling(x).value;
  const all = liveOf(x);
  const live = all.find(({ inert }) => !inert) ?? all[0]!; // a recipe adapts something
  const [from, to] = [starts(x, live.kind), starts(y, live.kind)];
  const moved = from.A === 0 ? to.B / from.B : to.A / from.A;
  const pins = pinsOf(x, live);
  return gaugeTo(operation, pins, from.A === 0, k, moved > 0 && moved < Infinity ? moved : 1);
}

/** The gauge with the given k and factor on the matrix that starts at random, B if A starts at zero. */
function gaugeTo(operation: string, pins: Pins, fromB: boolean, k: number, moved: number): Gauge {
  const held = fromB ? pins.A : pins.B;
  if (held && pins.k) return { a: 1, b: 1, k: 1 };
  const [first, rest, scale] = held
    ? [moved, 1, 1 / moved]
    : pins.k
      ? [moved, 1 / moved, 1]
      : [moved, 1 / (k * moved), k];
  return inRange(operation, fromB ? { a: rest, b: first, k: scale } : { a: first, b: rest, k: scale });
}

function inRange(operation: string, g: Gauge): Gauge {
  if ([g.a, g.b, g.k].every((x) => x > 0 && x < Infinity)) return checked(operation, g);
  throw new ValueError(
    `${operation}: the gauge a = ${g.a}, b = ${g.b}, k = ${g.k} leaves the range of floating-point numbers. Use values of alpha and initScale nearer to 1.`,
  );
}
