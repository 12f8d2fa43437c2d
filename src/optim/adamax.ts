import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { asAdam } from "./adam.ts";
import { averageWith, correctionWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of Adamax. */
export interface AdamaxHyper {
  readonly lr: number;
  /** Decay rates of the first moment and of the largest gradient. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the size of the gradient. Default 1e-8. */
  readonly eps: number;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
}

/** First moment, and the decaying maximum of the gradient's size. */
type AdamaxSlots = { readonly m: Tensor; readonly u: Tensor };

/** The update rule of `adamax`. */
export const adamaxRule: Rule<AdamaxHyper, AdamaxSlots> = {
  name: "adamax",
  fields: {
    lr: required,
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-8),
    weightDecay: nonNegative(0),
  },
  slots: (parameter) => ({ m: zerosLike(parameter), u: zerosLike(parameter) }),
  step: ({ betas: [beta1, beta2], eps, weightDecay }, lr, t) => {
    const [first, b2] = [averageWith(beta1), scalar(beta2)];
    const [tiny, wd] = [scalar(eps), scalar(weightDecay)];
    const rate = lr.div(correctionWith(beta1, t)).neg();
    return (gradient, parameter, slots) => {
      const g = gradient.add(parameter.mul(wd));
      const m = first.of(slots.m, g);
      const u = slots.u.mul(b2).maximum(g.abs().add(tiny));
      return [m.mul(rate).div(u), { m, u }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, eps: -1, weightDecay: -2, betas: 0 }),
    state: () => ({ m: -1, u: -1 }),
    dividesZeroByZero: ({ eps, weightDecay }) => eps === 0 && weightDecay === 0,
  },
  essence: ({ lr, betas, ...rest }) => {
    if (lr === 0 && rest.eps > 0) return still;
    // The size of one gradient is the root of its square, which may underflow.
    if (betas[1] === 0) return asAdam({ lr, betas, ...rest }, "size of the gradient");
    return { rule: "adamax", reads: "gradients", hyper: { lr, betas, ...withoutZeros({ ...rest }) } };
  },
};

/**
 * Adamax, Adam with the largest gradient in place of the second moment (Kingma and Ba 2015, arXiv:1412.6980,
 * section 7.1), as in PyTorch: with g the gradient plus `weightDecay` times the parameter p,
 *
 *     m = b1 m + (1 - b1) g        u = max(b2 u, |g| + eps)
 *     p = p - lr / (1 - b1^t) * m / u
 *
 * The paper has no eps; it keeps the division finite where all gradients so far are 0.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = adamax({ lr: 2e-3 });
 */
export function adamax(options: OptimizerOptions<AdamaxHyper>): Optimizer<AdamaxHyper> {
  return makeOptimizer(adamaxRule, options);
}
