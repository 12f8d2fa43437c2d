import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { type Role, roleOf } from "../lora/roles.ts";
import type { OptimizerConfig, PairOptimizerConfig } from "../optim/make.ts";
import type { OptimizerState } from "../optim/optimizer.ts";
import { scalar } from "../tensor/creation.ts";
import { map } from "../tensor/tree.ts";
import { checked, factor, type Gauge } from "./gauge.ts";
import { normal } from "./range.ts";
import { factorOn, statePowers } from "./rules.ts";

/**
 * Parameters under a gauge: each `loraA` times a, `loraB` times b, `loraBias` times 1 / k, one rounding each (none
 * for powers of two); all others as they are. Shapes and dtypes stay. With alpha times k the model's function is
 * the same.
 *
 * @example
 * const g = gauge.onlyB(8);
 * const partner = gauge.applyParams(g, params); // loraB / 8
 */
export function applyParams<P>(g: Gauge, params: P): P {
  return scaled("gauge.applyParams", g, params, (role) => factor(g, role));
}

/**
 * Gradients under a gauge: each divided by the factor of its parameter (Lemma 1), so that accumulated ones can move
 * along in the middle of a step. Shapes and dtypes stay.
 *
 * @example
 * const partner = gauge.applyGradients(gauge.onlyB(8), gradients); // that of loraB times 8
 */
export function applyGradients<G>(g: Gauge, gradients: G): G {
  return scaled("gauge.applyGradients", g, gradients, (role) => 1 / factor(g, role));
}

/**
 * The state of an optimizer under a gauge, for going on in the gauge partner of a run: what averages gradients
 * is divided by c, what averages their squares by c^2, the step count stays; optimizers of pairs have powers of both factors. The optimizer is given by its name, or
 * as a recipe has it where the form matters: Adadelta with two eps.
 *
 * @throws ValueError for an unknown optimizer, or a state of another one.
 * @example
 * const partner = gauge.applyState(gauge.common(4), state, "adamw");
 */
export function applyState<S extends OptimizerState>(
  g: Gauge,
  state: S,
  optimizer: string | OptimizerConfig | PairOptimizerConfig,
): S {
  const config = typeof optimizer === "string" ? { name: optimizer } : optimizer;
  if (typeof config?.name !== "string")
    throw new ValueError(
      `gauge.applyState: takes an optimizer, "adamw" or { name: "adamw", ... }; given ${show(optimizer)}.`,
    );
  const { name } = config;
  const powers = statePowers("gauge.applyState", name, config);
  const slots = Object.entries(state).map(([slot, tree]): [string, unknown] => {
    if (slot === "step") return [slot, tree];
    if (powers.own[slot] === undefined && powers.partner[slot] === undefined)
      throw new ValueError(
        `gauge.applyState: ${name} keeps ${slot}, for which no exact rule is known. Slots with one: ${[...new Set([...Object.keys(powers.own), ...Object.keys(powers.partner)])].join(", ")}.`,
      );
    return [slot, scaled("gauge.applyState", g, tree, (role) => factorOn(powers, slot, g, role))];
  });
  return Object.fromEntries(slots) as S; // the same slots with the same structures
}

function scaled<T>(operation: string, g: Gauge, tree: T, by: (role: Role) => number): T {
  checked(operation, g);
  return map(tree, (leaf, path) => {
    const c = normal(operation, `the factor on ${path}`, by(roleOf(path)));
    return c === 1 ? leaf : leaf.mul(scalar(c));
  });
}
