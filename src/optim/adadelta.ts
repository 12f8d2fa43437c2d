import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { fraction, nonNegative, type OptimizerOptions, optional, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule } from "./rule.ts";

/** Hyperparameters of Adadelta. */
export interface AdadeltaHyper {
  /** The method's own step is 1. */
  readonly lr: number;
  /** Decay rate of both averages. Default 0.9. */
  readonly rho: number;
  /** Added to both averages. Default 1e-6. */
  readonly eps: number;
  /** Added to the average of squared gradients. Default `eps`. */
  readonly epsGradient?: number;
  /** Added to the average of squared updates. Default `eps`. Without both of these no gauge is exact. */
  readonly epsUpdate?: number;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
}

/** Averages of squared gradients and of squared updates. */
type AdadeltaSlots = { readonly v: Tensor; readonly updates: Tensor };

/** The update rule of `adadelta`. */
export const adadeltaRule: Rule<AdadeltaHyper, AdadeltaSlots> = {
  name: "adadelta",
  fields: {
    lr: required,
    rho: fraction(0.9),
    eps: nonNegative(1e-6),
    epsGradient: optional(required),
    epsUpdate: optional(required),
    weightDecay: nonNegative(0),
  },
  slots: (parameter) => ({ v: zerosLike(parameter), updates: zerosLike(parameter) }),
  step: ({ rho, eps, epsGradient = eps, epsUpdate = eps, weightDecay }, lr) => {
    const average = averageWith(rho);
    const [inner, outer, wd, down] = [scalar(epsGradient), scalar(epsUpdate), scalar(weightDecay), lr.neg()];
    return (gradient, parameter, slots) => {
      const g = gradient.add(parameter.mul(wd));
      const v = average.ofSquares(slots.v, g);
      const update = slots.updates.add(outer).sqrt().div(v.add(inner).sqrt()).mul(g);
      return [update.mul(down), { v, updates: average.ofSquares(slots.updates, update) }];
    };
  },
  scaling: {
    hyper: ({ epsGradient, epsUpdate }) =>
      epsGradient === undefined || epsUpdate === undefined
        ? {
            none:
              "one eps is added to squared gradients, where it needs c^-2, and to squared updates, where it needs " +
              "c^2; give epsGradient and epsUpdate",
          }
        : { lr: 0, rho: 0, eps: 0, epsGradient: -2, epsUpdate: 2, weightDecay: -2 },
    state: { v: -2, updates: 2 },
    dividesZeroByZero: ({ eps, epsGradient = eps }) => epsGradient === 0,
  },
};

/**
 * Adadelta (Zeiler 2012, arXiv:1212.5701) as in PyTorch: with g the gradient plus `weightDecay` times the
 * parameter p,
 *
 *     v = rho v + (1 - rho) g^2
 *     d = sqrt(updates + epsUpdate) / sqrt(v + epsGradient) * g
 *     updates = rho updates + (1 - rho) d^2        p = p - lr d
 *
 * `epsGradient` and `epsUpdate` are an addition: by default both are `eps`, the published method. They carry
 * different units, so only with two of them a rescaled run has an exact partner.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, rho outside [0, 1), unknown options.
 * @example
 * const optimizer = adadelta({ lr: 1 });
 */
export function adadelta(options: OptimizerOptions<AdadeltaHyper>): Optimizer<AdadeltaHyper> {
  return makeOptimizer(adadeltaRule, options);
}
