import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, shrinking, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of Lion. */
export interface LionHyper {
  readonly lr: number;
  /** Decay rates for the sign and for the momentum that is kept. Default [0.9, 0.99]. */
  readonly betas: Betas;
  /** p shrinks by lr * weightDecay * p. Default 0. */
  readonly weightDecay: number;
}

type LionSlots = { readonly m: Tensor };

/** The update rule of `lion`. */
export const lionRule: Rule<LionHyper, LionSlots> = {
  name: "lion",
  fields: { lr: required, betas: betas([0.9, 0.99]), weightDecay: nonNegative(0) },
  slots: (parameter) => ({ m: zerosLike(parameter) }),
  step: ({ betas: [beta1, beta2], weightDecay }, lr) => {
    const [direction, kept] = [averageWith(beta1), averageWith(beta2)];
    const [down, shrink] = [lr.neg(), lr.mul(scalar(weightDecay))];
    return (gradient, parameter, { m }) => [
      direction.of(m, gradient).sign().mul(down).sub(parameter.mul(shrink)),
      { m: kept.of(m, gradient) },
    ];
  },
  scaling: {
    hyper: () => ({ lr: 1, weightDecay: -1, betas: 0 }),
    state: () => ({ m: -1 }),
    dividesZeroByZero: () => false,
  },
  essence: ({ lr, betas, weightDecay }) => {
    if (lr === 0) return still;
    const bySign = betas[0] === 0; // the kept average is not looked at
    return {
      rule: "lion",
      reads: bySign ? "signs" : "gradients",
      hyper: { lr, ...(!bySign && { betas }), ...withoutZeros({ weightDecay }) },
      joint: shrinking(lr * weightDecay),
    };
  },
};

/**
 * Lion (Chen et al. 2023, arXiv:2302.06675), with g the gradient and p the parameter:
 *
 *     p = p - lr (sign(b1 m + (1 - b1) g) + weightDecay p)
 *     m = b2 m + (1 - b2) g
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = lion({ lr: 1e-4, weightDecay: 0.1 });
 */
export function lion(options: OptimizerOptions<LionHyper>): Optimizer<LionHyper> {
  return makeOptimizer(lionRule, options);
}
