import { onesLike, scalar } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of Adagrad. */
export interface AdagradHyper {
  readonly lr: number;
  /** The rate of update t is lr / (1 + (t - 1) lrDecay). Default 0. */
  readonly lrDecay: number;
  /** What the sums of squares start from, in the state that `init` makes. Default 0. */
  readonly initialAccumulatorValue: number;
  /** Added to the root of the sum. Default 1e-10. */
  readonly eps: number;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
}

/** Sum of the squares of all gradients. */
type AdagradSlots = { readonly sum: Tensor };

/** The update rule of `adagrad`. */
export const adagradRule: Rule<AdagradHyper, AdagradSlots> = {
  name: "adagrad",
  fields: {
    lr: required,
    lrDecay: nonNegative(0),
    initialAccumulatorValue: nonNegative(0),
    eps: nonNegative(1e-10),
    weightDecay: nonNegative(0),
  },
  slots: (parameter, { initialAccumulatorValue }) => ({
    sum: onesLike(parameter).mul(scalar(initialAccumulatorValue)),
  }),
  step: ({ lrDecay, eps, weightDecay }, lr, t) => {
    const [tiny, wd] = [scalar(eps), scalar(weightDecay)];
    const rate = lr.div(t.sub(1).mul(scalar(lrDecay)).add(1)).neg();
    return (gradient, parameter, slots) => {
      const g = gradient.add(parameter.mul(wd));
      const sum = slots.sum.add(g.square());
      return [g.mul(rate).div(sum.sqrt().add(tiny)), { sum }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, eps: -1, weightDecay: -2, initialAccumulatorValue: -2, lrDecay: 0 }),
    state: () => ({ sum: -2 }),
    dividesZeroByZero: ({ eps, initialAccumulatorValue, weightDecay }) =>
      eps === 0 && initialAccumulatorValue === 0 && weightDecay === 0,
  },
  essence: ({ lr, ...rest }) =>
    lr === 0 && rest.eps > 0
      ? still
      : { rule: "adagrad", reads: "gradients", hyper: { lr, ...withoutZeros({ ...rest }) } },
};

/**
 * Adagrad (Duchi, Hazan and Singer 2011, JMLR 12) as in PyTorch: with g the gradient plus `weightDecay` times the
 * parameter p,
 *
 *     sum = sum + g^2, from initialAccumulatorValue
 *     p = p - lr / (1 + (t - 1) lrDecay) * g / (sqrt(sum) + eps)
 *
 * @throws ValueError for hyperparameters that are negative or not finite, unknown options.
 * @example
 * const optimizer = adagrad({ lr: 1e-2, groups: [{ match: "loraB", initialAccumulatorValue: 0.1 }] });
 */
export function adagrad(options: OptimizerOptions<AdagradHyper>): Optimizer<AdagradHyper> {
  return makeOptimizer(adagradRule, options);
}
