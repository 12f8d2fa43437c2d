import { ValueError } from "../base/errors.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import { applied, wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { averageWith, correctionWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { HostNumber, Optimizer, OptimizerState } from "./optimizer.ts";
import { makeOptimizer, type Rule } from "./rule.ts";

/** Hyperparameters of schedule-free AdamW. */
export interface ScheduleFreeAdamWHyper {
  readonly lr: number;
  /** How near gradients are taken to the average, > 0, and the decay rate of the second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps: number;
  /** weightDecay * p is added to the direction. Default 0. */
  readonly weightDecay: number;
  /** The weight of update t in the average is t^r times a power of the rate. Default 0. */
  readonly r: number;
  /** Of the largest rate so far in that weight. Default 2. */
  readonly weightLrPower: number;
}

/** The point that steps are taken from, the second moment, the sum of the weights, and the schedule's largest factor. */
type ScheduleFreeSlots = {
  readonly z: Tensor;
  readonly v: Tensor;
  readonly weights: Tensor;
  readonly largest: Tensor;
};

/** The update rule of `scheduleFreeAdamw`. */
export const scheduleFreeAdamwRule: Rule<ScheduleFreeAdamWHyper, ScheduleFreeSlots> = {
  name: "scheduleFreeAdamw",
  fields: {
    lr: required,
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-8),
    weightDecay: nonNegative(0),
    r: nonNegative(0),
    weightLrPower: nonNegative(2),
  },
  conflict: ({ betas: [beta] }) =>
    beta === 0 ? "betas[0] is 0; it is > 0, or the average would be lost in the trained point." : undefined,
  // A product with 1 is exact, and a tensor of its own: either may be donated.
  slots: (parameter) => ({
    z: parameter.mul(1),
    v: zerosLike(parameter),
    weights: scalar(0) as Tensor,
    largest: scalar(0) as Tensor,
  }),
  step: ({ betas: [beta1, beta2], eps, weightDecay, r, weightLrPower }, lr, t, factor) => {
    const [second, root] = [averageWith(beta2), correctionWith(beta2, t).sqrt()];
    const [tiny, wd, near, one] = [scalar(eps), scalar(weightDecay), scalar(beta1), scalar(1)];
    return (gradient, parameter, slots) => {
      // Of rates that are lr times a factor the shares do not depend on lr, so no rounding depends on its scale.
      const largest = (slots.largest as HostNumber).maximum(factor);
      const weight = t.pow(scalar(r)).mul(largest.pow(scalar(weightLrPower)));
      const weights = (slots.weights as HostNumber).add(weight);
      const share = where(weights.gt(0), weight.div(where(weights.gt(0), weights, 1)), 0) as HostNumber;
      const v = second.ofSquares(slots.v, gradient);
      const direction = gradient.div(v.sqrt().div(root).add(tiny)).add(parameter.mul(wd));
      const along = lr.mul(near.mul(one.sub(share)).sub(1));
      const change = slots.z.sub(parameter).mul(share).add(direction.mul(along));
      const z = slots.z.sub(direction.mul(lr));
      return [change, { z, v, weights: weights as Tensor, largest: largest as Tensor }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, betas: 0, eps: -1, weightDecay: -1, r: 0, weightLrPower: 0 }),
    state: () => ({ z: 1, v: -2, weights: 0, largest: 0 }),
    dividesZeroByZero: ({ eps }) => eps === 0,
  },
};

/** An optimizer that trains one point and means another. */
export interface ScheduleFree extends Optimizer<ScheduleFreeAdamWHyper> {
  /**
   * The parameters to evaluate and to save, of those that are trained and the state beside them: the average, of the
   * parameters' dtypes. Training goes on from the trained ones.
   *
   * @throws ValueError if the state is of another optimizer, or the structures differ.
   */
  averaged<P>(params: P, state: OptimizerState): P;
}

/**
 * AdamW without a schedule (Defazio et al. 2024, arXiv:2405.15682), as `AdamWScheduleFree` of facebookresearch/schedule_free:
 * steps are taken from z, gradients at y, which the parameters are in training, and what counts is the average x of all z,
 * with the newest in share c = w_t / (w_1 + ... + w_t). With d the direction of Adam without a first moment,
 *
 *     d = g / (sqrt(v / (1 - b2^t)) + eps) + weightDecay y        w_t = t^r (largest rate so far)^weightLrPower
 *     y = y + c (z - y) + lr (b1 (1 - c) - 1) d                   z = z - lr d        y = b1 x + (1 - b1) z
 *
 * Evaluate at `averaged(params, state)`. The warm-up that the authors advise is a schedule, `schedule.warmupConstant`.
 * Deviation: weights are of the schedule's factor in place of the rate, which are the same shares. Under p' = c p the exact
 * rule is AdamW's: lr' = c lr, eps' = eps / c, weightDecay' = weightDecay / c.
 *
 * Recipes do not know it, since they evaluate what they train.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1) or a first one of 0,
 * unknown options.
 * @example
 * const optimizer = scheduleFreeAdamw({ lr: 2.5e-3, schedule: schedule.warmupConstant({ warmup: 10 }) });
 * const [updates, state] = optimizer.update(gradients, optimizer.init(params), params);
 * const trained = applyUpdates(params, updates);
 * const best = optimizer.averaged(trained, state);
 */
export function scheduleFreeAdamw(options: OptimizerOptions<ScheduleFreeAdamWHyper>): ScheduleFree {
  const optimizer = makeOptimizer(scheduleFreeAdamwRule, options);
  return {
    ...optimizer,
    averaged: <P>(params: P, state: OptimizerState): P => {
      if (state?.z === undefined)
        throw new ValueError(
          "scheduleFreeAdamw: the state is of another optimizer. Pass what init or update returned.",
        );
      return tree.zip([params, state.z as P], ([parameter, z], path) => {
        const [beta] = optimizer.hyper(path).betas;
        return applied(parameter!, z!.sub(wide(parameter!)).mul(1 - 1 / beta));
      });
    },
  };
}
