import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { asAdam } from "./adam.ts";
import { averageWith } from "./average.ts";
import { flag, fraction, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";
import { sgdRule } from "./sgd.ts";

/** Hyperparameters of RMSprop. */
export interface RmspropHyper {
  readonly lr: number;
  /** Decay rate of the second moment. Default 0.99. */
  readonly alpha: number;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps: number;
  /** Share of the velocity that stays. Default 0: no velocity is kept. */
  readonly momentum: number;
  /** Divide by the root of the variance, not of the second moment. Default false. */
  readonly centered: boolean;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
}

/** Second moment; velocity of normalised gradients with momentum; mean gradient when centred. */
type RmspropSlots = { readonly v: Tensor; readonly velocity?: Tensor; readonly mean?: Tensor };

/** The update rule of `rmsprop`. */
export const rmspropRule: Rule<RmspropHyper, RmspropSlots> = {
  name: "rmsprop",
  fields: {
    lr: required,
    alpha: fraction(0.99),
    eps: nonNegative(1e-8),
    momentum: nonNegative(0),
    centered: flag,
    weightDecay: nonNegative(0),
  },
  slots: (parameter, { momentum, centered }) => ({
    v: zerosLike(parameter),
    ...(momentum > 0 && { velocity: zerosLike(parameter) }),
    ...(centered && { mean: zerosLike(parameter) }),
  }),
  step: ({ alpha, eps, momentum, weightDecay }, lr) => {
    const average = averageWith(alpha);
    const [tiny, mu, wd, down] = [scalar(eps), scalar(momentum), scalar(weightDecay), lr.neg()];
    return (gradient, parameter, slots) => {
      const g = gradient.add(parameter.mul(wd));
      const v = average.ofSquares(slots.v, g);
      const mean = slots.mean && average.of(slots.mean, g);
      const normalised = g.div((mean ? v.sub(mean.square()) : v).sqrt().add(tiny));
      const velocity = slots.velocity?.mul(mu).add(normalised);
      return [
        (velocity ?? normalised).mul(down),
        { v, ...(velocity && { velocity }), ...(mean && { mean }) },
      ];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, eps: -1, weightDecay: -2, alpha: 0, momentum: 0, centered: 0 }),
    // The velocity holds gradients that are divided by their size already.
    state: () => ({ v: -2, velocity: 0, mean: -1 }),
    dividesZeroByZero: ({ eps, weightDecay }) => eps === 0 && weightDecay === 0,
  },
  essence: ({ lr, alpha, ...rest }) => {
    const { eps, weightDecay, momentum, centered } = rest;
    if (lr === 0 && eps > 0) return still;
    // The variance of one gradient is 0: eps alone divides.
    if (centered && alpha === 0 && eps > 0) {
      const plain = { lr: lr / eps, momentum, dampening: 0, weightDecay };
      const own = sgdRule.essence!({ ...plain, nesterov: false, decoupledWeightDecay: false });
      const rate = { of: ["lr"], value: plain.lr, power: 2, symbol: "lr_* / eps_*" };
      return {
        ...own,
        hyper: { ...own.hyper, order: "quotient, then rate" },
        joint: { ...own.joint, lr: rate },
        rounding: ["order"],
      };
    }
    // Adam without a first moment, which corrects no bias.
    if (momentum === 0 && !centered)
      return asAdam(
        { lr, betas: [0, alpha], eps, weightDecay, biasCorrection: false },
        "quotient, then rate",
      );
    return { rule: "rmsprop", reads: "gradients", hyper: { lr, alpha, ...withoutZeros({ ...rest }) } };
  },
};

/**
 * RMSprop (Tieleman and Hinton 2012, lecture 6.5 of "Neural networks for machine learning"; centred as in Graves
 * 2013, arXiv:1308.0850) as in PyTorch: with g the gradient plus `weightDecay` times the parameter p,
 *
 *     v = alpha v + (1 - alpha) g^2        mean = alpha mean + (1 - alpha) g
 *     n = g / (sqrt(v) + eps), or centred g / (sqrt(v - mean^2) + eps)
 *     p = p - lr n, or with momentum velocity = momentum velocity + n, p = p - lr velocity
 *
 * `eps` is outside the root, unlike TensorFlow's. Centred, the difference v - mean^2 can round to less than zero
 * where gradients hardly change, and its root is then NaN, as in PyTorch.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, alpha outside [0, 1), unknown options.
 * @example
 * const optimizer = rmsprop({ lr: 1e-2, momentum: 0.9, centered: true });
 */
export function rmsprop(options: OptimizerOptions<RmspropHyper>): Optimizer<RmspropHyper> {
  return makeOptimizer(rmspropRule, options);
}
