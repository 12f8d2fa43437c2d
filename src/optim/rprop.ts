import { onesLike, scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type OptimizerOptions, type Pair, pair, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still } from "./rule.ts";

/** Hyperparameters of Rprop. */
export interface RpropHyper {
  /** The step of every element in the state that `init` makes. Later updates do not use it, nor a schedule. */
  readonly lr: number;
  /** Factors on a step when the gradient turns, and when it keeps its sign. Default [0.5, 1.2]. */
  readonly etas: Pair;
  /** Least and largest step. Default [1e-6, 50]. */
  readonly stepSizes: Pair;
}

/** The gradient of the last update, 0 where it turned, and the step of each element. */
type RpropSlots = { readonly last: Tensor; readonly stepSize: Tensor };

/** The update rule of `rprop`. */
export const rpropRule: Rule<RpropHyper, RpropSlots> = {
  name: "rprop",
  fields: {
    lr: required,
    etas: pair(
      [0.5, 1.2],
      (down, up) => 0 < down && down < 1 && 1 < up && up < Infinity,
      "two numbers, one above 0 and below 1, one above 1",
    ),
    stepSizes: pair(
      [1e-6, 50],
      (least, largest) => 0 <= least && least <= largest && largest < Infinity,
      "two finite numbers >= 0, the least and the largest step",
    ),
  },
  slots: (parameter, { lr }) => ({
    last: zerosLike(parameter),
    stepSize: onesLike(parameter).mul(scalar(lr)),
  }),
  step: ({ etas: [down, up], stepSizes: [least, largest] }) => {
    const [shrink, grow, low, high] = [scalar(down), scalar(up), scalar(least), scalar(largest)];
    return (gradient, _, slots) => {
      // Signs, not gradients: their product does not underflow.
      const agreement = gradient.sign().mul(slots.last.sign());
      const turned = agreement.lt(0);
      const one = onesLike(gradient);
      const factor = where(turned, one.mul(shrink), where(agreement.gt(0), one.mul(grow), one));
      const stepSize = slots.stepSize.mul(factor).clamp(low, high);
      const last = where(turned, 0, gradient);
      return [last.sign().mul(stepSize).neg(), { last, stepSize }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, stepSizes: 1, etas: 0 }),
    state: () => ({ last: -1, stepSize: 1 }),
    dividesZeroByZero: () => false,
  },
  essence: ({ lr, etas, stepSizes: [least, largest] }) => {
    // The first update moves the step from lr into its bounds; from 0 it does not grow.
    const first = Math.min(Math.max(lr, least), largest);
    if (first === 0) return still;
    const moving = least < largest && { etas };
    return { rule: "rprop", reads: "signs", hyper: { lr: first, stepSizes: [least, largest], ...moving } };
  },
};

/**
 * Resilient backpropagation (Riedmiller and Braun 1993), as in PyTorch: every element has a step of its own, which
 * grows by `etas[1]` where the gradient keeps its sign and shrinks by `etas[0]` where it turns, from `lr` at first
 * and within `stepSizes`. The element moves by its step against the sign of the gradient; where the gradient
 * turned it stays, and the step stays in the update after.
 *
 * Deviation: the sign of the product of two gradients is the product of their signs here, so it does not
 * underflow. As in PyTorch, `lr` matters in `init` only, so a schedule has no effect.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, etas that do not shrink and grow, a
 * least step above the largest, unknown options.
 * @example
 * const optimizer = rprop({ lr: 1e-2, stepSizes: [1e-6, 1] });
 */
export function rprop(options: OptimizerOptions<RpropHyper>): Optimizer<RpropHyper> {
  return makeOptimizer(rpropRule, options);
}
