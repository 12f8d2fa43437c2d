import { zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { fraction, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still } from "./rule.ts";

/** Hyperparameters of signSGD. */
export interface SignSgdHyper {
  readonly lr: number;
  /** Decay rate of the average whose sign is taken. Default 0.9; 0 takes the sign of the gradient. */
  readonly momentum: number;
}

type SignSgdSlots = { readonly m: Tensor };

/** The update rule of `signSgd`. */
export const signSgdRule: Rule<SignSgdHyper, SignSgdSlots> = {
  name: "signSgd",
  fields: { lr: required, momentum: fraction(0.9) },
  slots: (parameter) => ({ m: zerosLike(parameter) }),
  step: ({ momentum }, lr) => {
    const [average, down] = [averageWith(momentum), lr.neg()];
    return (gradient, _, slots) => {
      const m = average.of(slots.m, gradient);
      return [m.sign().mul(down), { m }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, momentum: 0 }),
    state: () => ({ m: -1 }),
    dividesZeroByZero: () => false,
  },
  // Lion without decay whose two averages are one.
  essence: ({ lr, momentum }) => {
    if (lr === 0) return still;
    const bySign = momentum === 0;
    const hyper = { lr, ...(!bySign && { betas: [momentum, momentum] }) };
    return { rule: "lion", reads: bySign ? "signs" : "gradients", hyper };
  },
};

/**
 * signSGD with momentum, or Signum (Bernstein et al. 2018, arXiv:1802.04434, algorithm 2), with g the gradient and
 * p the parameter:
 *
 *     m = momentum m + (1 - momentum) g        p = p - lr sign(m)
 *
 * The sign of 0 is 0.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, momentum outside [0, 1), unknown options.
 * @example
 * const optimizer = signSgd({ lr: 1e-4 });
 */
export function signSgd(options: OptimizerOptions<SignSgdHyper>): Optimizer<SignSgdHyper> {
  return makeOptimizer(signSgdRule, options);
}
