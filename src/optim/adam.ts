import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule } from "./rule.ts";

/** Hyperparameters of Adam and AdamW. */
export interface AdamHyper {
  readonly lr: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps: number;
  /** Adam: added to the gradient, default 0. AdamW: p shrinks by lr * weightDecay * p, default 0.01. */
  readonly weightDecay: number;
}

/** First and second moment. */
type AdamSlots = { readonly m: Tensor; readonly v: Tensor };

function adamRuleOf(name: string, decoupled: boolean, weightDecay: number): Rule<AdamHyper, AdamSlots> {
  return {
    name,
    fields: {
      lr: required,
      betas: betas([0.9, 0.999]),
      eps: nonNegative(1e-8),
      weightDecay: nonNegative(weightDecay),
    },
    slots: (parameter) => ({ m: zerosLike(parameter), v: zerosLike(parameter) }),
    step: (hyper, lr, t) => {
      const [b1, b2] = [scalar(hyper.betas[0]), scalar(hyper.betas[1])];
      const [rest1, rest2] = [scalar(1).sub(b1), scalar(1).sub(b2)];
      const [eps, wd] = [scalar(hyper.eps), scalar(hyper.weightDecay)];
      const rate = lr.div(scalar(1).sub(b1.pow(t))).neg();
      const root = scalar(1).sub(b2.pow(t)).sqrt();
      const shrink = lr.mul(wd);
      // In this order every quantity scales with one power of the parameter's scale: the gauge is exact.
      return (gradient, parameter, slots) => {
        const g = decoupled ? gradient : gradient.add(parameter.mul(wd));
        const m = slots.m.mul(b1).add(g.mul(rest1));
        const v = slots.v.mul(b2).add(g.mul(rest2).mul(g));
        const change = m.mul(rate).div(v.sqrt().div(root).add(eps));
        return [decoupled ? change.sub(parameter.mul(shrink)) : change, { m, v }];
      };
    },
  };
}

/** The update rule of `adam`. */
export const adamRule: Rule<AdamHyper, AdamSlots> = adamRuleOf("adam", false, 0);

/** The update rule of `adamw`. */
export const adamwRule: Rule<AdamHyper, AdamSlots> = adamRuleOf("adamw", true, 0.01);

/**
 * Adam (Kingma and Ba 2015, arXiv:1412.6980) as in PyTorch: with g the gradient plus `weightDecay` times the
 * parameter p, and t the number of the update,
 *
 *     m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
 *     p = p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * `eps` is outside the root, as in PyTorch and unlike section 2 of the paper's efficient form. The bias
 * corrections are computed in float64 on the host. Every hyperparameter may differ per group.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = adam({ lr: 1e-3 });
 * let state = optimizer.init(params);
 */
export function adam(options: OptimizerOptions<AdamHyper>): Optimizer<AdamHyper> {
  return makeOptimizer(adamRule, options);
}

/**
 * AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) as in PyTorch: Adam whose decay leaves the gradient
 * alone; p first shrinks by `lr * weightDecay * p`, so the schedule acts on the decay too. `weightDecay` is 0.01
 * by default.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = adamw({ lr: 2e-4, groups: loraPlus({ ratio: 16 }) });
 */
export function adamw(options: OptimizerOptions<AdamHyper>): Optimizer<AdamHyper> {
  return makeOptimizer(adamwRule, options);
}
