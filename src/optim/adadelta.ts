import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { fraction, nonNegative, type OptimizerOptions, optional, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";

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
  /** Added to the average of squared updates. Default `eps`. */
  readonly epsUpdate?: number;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
}

/** Averages of squared gradients and of squared updates. */
type AdadeltaSlots = { readonly v: Tensor; readonly updates: Tensor };

function twoEps({ epsGradient, epsUpdate }: AdadeltaHyper): boolean {
  return epsGradient !== undefined && epsUpdate !== undefined;
}

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
    // With both eps of its own the learning rate can stay. One eps goes with the gradients, and the average of
    // updates then holds them in units of gradients, for the learning rate to convert.
    hyper: (hyper) => ({
      lr: twoEps(hyper) ? 0 : 2,
      rho: 0,
      eps: twoEps(hyper) ? 0 : -2,
      epsGradient: -2,
      epsUpdate: twoEps(hyper) ? 2 : -2,
      weightDecay: -2,
    }),
    state: (hyper) => ({ v: -2, updates: twoEps(hyper) ? 2 : -2 }),
    dividesZeroByZero: ({ eps, epsGradient = eps, weightDecay }) => epsGradient === 0 && weightDecay === 0,
  },
  essence: ({ lr, rho, eps, epsGradient = eps, epsUpdate = eps, weightDecay }) => {
    if ((lr === 0 || epsUpdate === 0) && epsGradient > 0) return still;
    const hyper = { lr, rho, epsUpdate, ...withoutZeros({ epsGradient, weightDecay }) };
    // Updates grow with the root of epsUpdate, and their average with it: lr converts them.
    const value = lr * Math.sqrt(epsUpdate);
    const joint = { lr: { of: ["lr", "epsUpdate"], value, power: 1, symbol: "lr_* sqrt(epsUpdate_*)" } };
    return { rule: "adadelta", reads: "gradients", hyper, joint };
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
 * `epsGradient` and `epsUpdate` are an addition: by default both are `eps`, the published method, whose lr is 1.
 * They carry different units, so with one eps a rescaled run at the same lr has no exact partner; it has one at
 * c^2 lr. With two of them lr can stay.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, rho outside [0, 1), unknown options.
 * @example
 * const optimizer = adadelta({ lr: 1 });
 */
export function adadelta(options: OptimizerOptions<AdadeltaHyper>): Optimizer<AdadeltaHyper> {
  return makeOptimizer(adadeltaRule, options);
}
