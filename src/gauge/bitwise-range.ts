import { anyOf } from "../base/arguments.ts";
import { computeDType, type FloatDType, floatDTypes, normalRange } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { roleOf } from "../lora/roles.ts";
import { type AnyOptimizerName, isPairOptimizerName } from "../optim/make.ts";
import type { OptimizerState } from "../optim/optimizer.ts";
import * as tree from "../tensor/tree.ts";
import { checkRecipe } from "./check.ts";
import { explicit } from "./explicit.ts";
import { common, factor, type Gauge, onlyB } from "./gauge.ts";
import { hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { statePowers, takesNorms } from "./rules.ts";
import { ruleFor } from "./units.ts";

/** The smallest and the largest size of the numbers other than 0. */
export interface Sizes {
  readonly min: number;
  readonly max: number;
}

/** Sizes of parameters, gradients and slots of the state by role, see `magnitudes`. */
export type Magnitudes = { readonly [R in Role]?: { readonly [quantity: string]: Sizes } };

/** What a run has in its hands: at its start, or better after some steps. */
export interface Observed {
  readonly params: unknown;
  readonly gradients: unknown;
  readonly state?: OptimizerState;
}

/** A quantity that leaves the normal range first. */
export interface Limit {
  /** `"gradient"`, `"gradient^2"`, `"parameter"`, `"update^2"`, a slot of the state, a hyperparameter, or `"alpha"`. */
  readonly quantity: string;
  readonly role?: Role;
  /** The power of the role's constant c by which it goes. */
  readonly power: number;
  readonly sizes: Sizes;
}

/** Powers of two k for which nothing that was looked at leaves the normal range. */
export interface BitwiseRange {
  /** Least and largest p of k = 2^p, or null where not even the run itself stays there, with the room it is to have. */
  readonly exponents: readonly [least: number, largest: number] | null;
  /** What ends the range below and above. */
  readonly limits: readonly [below: Limit | undefined, above: Limit | undefined];
}

export interface BitwiseRangeOptions {
  /** Which gauges: those that leave A alone (default), or those that share evenly, with k a power of four. */
  readonly gauge?: "b" | "common";
  /** Of the trained parameters; state and arithmetic of float16 are float32. Default float32. */
  readonly dtype?: FloatDType;
  /**
   * How many times larger or smaller than what was seen gradients, parameters and updates may become in the course of
   * the run. Default 256; 1 looks at the sizes as they are, and then the ends of the range are seldom bitwise.
   */
  readonly room?: number;
}

/** The range of p that is looked at. */
const reach = 1022;

/**
 * The sizes of what a run computes with, by role; zeros are left out, as they stay zero.
 *
 * @example
 * const sizes = await magnitudes({ params, gradients, state });
 * sizes.B?.gradient; // { min: 1.2e-7, max: 0.03 }
 */
export async function magnitudes({ params, gradients, state }: Observed): Promise<Magnitudes> {
  const { step: _, ...slots } = state ?? {};
  const named = [["parameter", params], ["gradient", gradients], ...Object.entries(slots)] as const;
  const result: { [R in Role]?: Record<string, Sizes> } = {};
  for (const [quantity, values] of named) {
    for (const [path, leaf] of tree.entries(values)) {
      const role = roleOf(path);
      const own = result[role] ?? {};
      result[role] = own;
      let { min, max } = own[quantity] ?? { min: Infinity, max: 0 };
      for (const value of await leaf.data()) {
        const size = Math.abs(value);
        if (size === 0) continue;
        min = Math.min(min, size);
        max = Math.max(max, size);
      }
      if (max > 0) own[quantity] = { min, max };
    }
  }
  return result;
}

/**
 * Which powers of two stay in the normal range, from the sizes seen in the run itself: for these k no parameter,
 * gradient, square of a gradient, slot of the state, update or hyperparameter leaves it, though all become `room` times
 * larger or smaller than they were. Then the gauge is bitwise, by theorem 3. It is a statement about these quantities:
 * a run that strays further, or one of the sums between them that cancels deeper, may leave the range all the same.
 *
 * @throws ValueError for a bad recipe, an optimizer without an exact rule, or one of pairs.
 * @example
 * const { exponents } = bitwiseRange(recipe, await magnitudes({ params, gradients }));
 * // [-29, 87]: onlyB(2 ** p) is bitwise for these p
 */
export function bitwiseRange(
  recipe: Recipe,
  sizes: Magnitudes,
  { gauge = "b", dtype = "float32", room = 256 }: BitwiseRangeOptions = {},
): BitwiseRange {
  if (!(room >= 1 && room < Infinity))
    throw new ValueError(`gauge.bitwiseRange: room is ${room}; it is a finite number >= 1.`);
  if (!floatDTypes.includes(dtype))
    throw new ValueError(
      `gauge.bitwiseRange: dtype is ${JSON.stringify(dtype)}; it is ${anyOf(floatDTypes)}.`,
    );
  const full = explicit(checkRecipe(recipe, "gauge.bitwiseRange"));
  if (isPairOptimizerName(full.optimizer.name))
    throw new ValueError(
      `gauge.bitwiseRange: the optimizer is ${full.optimizer.name}, whose Gram matrices and their inverses are not among the sizes that are looked at. Train the recipe and its partner, and compare the losses.`,
    );
  const limits = [...quantities(full, sizes, room)];
  const at = (p: number) => (gauge === "b" ? onlyB(2 ** p) : common(2 ** p));
  const step = gauge === "b" ? 1 : 2;
  const rangeOf = ({ quantity }: Limit) =>
    normalRange(quantity === "parameter" ? dtype : computeDType(dtype));
  const leaving = (p: number) => limits.find((limit) => !stays(limit, at(p), rangeOf(limit)));
  const own = leaving(0);
  if (own) return { exponents: null, limits: [own, own] };
  const end = (direction: -1 | 1): [number, Limit | undefined] => {
    for (let p = direction * step; Math.abs(p) <= reach; p += direction * step) {
      const limit = leaving(p);
      if (limit) return [p - direction * step, limit];
    }
    return [direction * reach, undefined];
  };
  const [[least, below], [largest, above]] = [end(-1), end(1)];
  return { exponents: [least, largest], limits: [below, above] };
}

function* quantities(recipe: Recipe, sizes: Magnitudes, room: number): Generator<Limit> {
  const { alpha, optimizer } = recipe;
  const within = ({ min, max }: Sizes, times: number): Sizes => ({ min: min / times, max: max * times });
  yield { quantity: "alpha", power: 1, sizes: { min: alpha, max: alpha } };
  for (const role of trainedRoles(recipe)) {
    const hyper = hyperOf<AnyOptimizerName>(recipe, role);
    const { own: slots } = statePowers("gauge.bitwiseRange", optimizer.name, hyper);
    const { hyper: powers } = ruleFor("gauge.bitwiseRange", recipe, role);
    for (const [name, value] of Object.entries(hyper) as [string, unknown][]) {
      const numbers = [value].flat().filter((x): x is number => typeof x === "number" && x !== 0);
      if (numbers.length === 0 || powers[name] === 0) continue;
      const own = { min: Math.min(...numbers), max: Math.max(...numbers) };
      // An update is the rate times a quotient.
      const update = name.startsWith("lr") && powers[name] === 1;
      yield { quantity: name, role, power: powers[name]!, sizes: update ? within(own, room) : own };
    }
    for (const [quantity, seen] of Object.entries(sizes[role] ?? {})) {
      const power = quantity === "parameter" ? 1 : quantity === "gradient" ? -1 : slots[quantity];
      if (power === undefined) continue;
      yield { quantity, role, power, sizes: within(seen, room ** Math.abs(power)) };
      const squares = (share: number): Sizes => {
        const { min, max } = within(seen, room);
        return { min: share * min * min, max: max * max };
      };
      // Squares are averaged with a small share, 1 - beta2, and are the first to leave.
      if (quantity === "gradient" && Object.values(slots).includes(-2)) {
        const share = 1 - shareKept(hyper);
        yield { quantity: "gradient^2", role, power: -2, sizes: squares(share) };
        // Adadelta averages the squares of its updates, which are gradients times a quotient of roots.
        if (slots.updates !== undefined) {
          const { eps, epsUpdate = eps } = hyper as { readonly eps: number; readonly epsUpdate?: number };
          const least = share * Math.min(1, (seen.min / room) ** 2) * epsUpdate;
          yield {
            quantity: "update^2",
            role,
            power: slots.updates,
            sizes: { min: least, max: epsUpdate * room },
          };
        }
      }
      if (quantity === "parameter" && takesNorms(optimizer.name))
        yield { quantity: "parameter^2", role, power: 2, sizes: squares(1) };
    }
  }
}

/** The share of an average of squares that stays. */
function shareKept(hyper: object): number {
  const own = hyper as {
    readonly betas?: readonly [number, number];
    readonly rho?: number;
    readonly alpha?: number;
    readonly decayRate?: number;
  };
  // That of Adafactor's newest square falls without end: what it is after a million updates.
  if (own.decayRate !== undefined) return 1 - 1e6 ** -own.decayRate;
  return own.betas?.[1] ?? own.rho ?? own.alpha ?? 0;
}

function stays(
  { role, power, sizes: { min, max } }: Limit,
  g: Gauge,
  { smallest, largest }: { readonly smallest: number; readonly largest: number },
): boolean {
  const c = role === undefined ? g.k : factor(g, role);
  const by = c ** power;
  return min * by >= smallest && max * by <= largest;
}
