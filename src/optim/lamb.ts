import { scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith, correctionWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of LAMB. */
export interface LambHyper {
  readonly lr: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the root of the second moment. Default 1e-6. */
  readonly eps: number;
  /** weightDecay * p is added to the direction, before the trust ratio is taken. Default 0.01. */
  readonly weightDecay: number;
}

/** First and second moment. */
type LambSlots = { readonly m: Tensor; readonly v: Tensor };

/** The update rule of `lamb`. */
export const lambRule: Rule<LambHyper, LambSlots> = {
  name: "lamb",
  fields: {
    lr: required,
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-6),
    weightDecay: nonNegative(0.01),
  },
  slots: (parameter) => ({ m: zerosLike(parameter), v: zerosLike(parameter) }),
  step: ({ betas: [beta1, beta2], eps, weightDecay }, lr, t) => {
    const [first, second] = [averageWith(beta1), averageWith(beta2)];
    const [tiny, wd, down] = [scalar(eps), scalar(weightDecay), lr.neg()];
    const correction = correctionWith(beta1, t);
    const root = correctionWith(beta2, t).sqrt();
    return (gradient, parameter, slots) => {
      const m = first.of(slots.m, gradient);
      const v = second.ofSquares(slots.v, gradient);
      const direction = m.div(correction).div(v.sqrt().div(root).add(tiny)).add(parameter.mul(wd));
      const [size, length] = [norm(parameter), norm(direction)];
      const trusted = size.gt(0).bitwiseAnd(length.gt(0));
      // The divisor is not 0 in either branch.
      const ratio = where(trusted, size.div(where(trusted, length, 1)), 1);
      return [direction.mul(ratio).mul(down), { m, v }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 0, eps: -1, weightDecay: -1, betas: 0 }),
    state: () => ({ m: -1, v: -2 }),
    dividesZeroByZero: ({ eps }) => eps === 0,
    norms: true,
    needs: "parameters that are not all zero, since the trust ratio of a zero tensor is 1 whatever its scale",
  },
  essence: ({ lr, betas, ...rest }) =>
    lr === 0 && rest.eps > 0
      ? still
      : { rule: "lamb", reads: "gradients", hyper: { lr, betas, ...withoutZeros({ ...rest }) } },
};

function norm(x: Tensor): Tensor {
  return x.square().sum().sqrt();
}

/**
 * LAMB (You et al. 2020, arXiv:1904.00962): Adam's direction, scaled to the size of the tensor. With g the
 * gradient, p the parameter, m and v as in Adam and norms over the whole tensor,
 *
 *     d = m / (1 - b1^t) / (sqrt(v) / sqrt(1 - b2^t) + eps) + weightDecay p
 *     p = p - lr (|p| / |d|) d
 *
 * The trust ratio |p| / |d| is 1 where either norm is 0, as in the authors' code. The paper's function phi of |p|
 * is the identity, so sizes are not clipped.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = lamb({ lr: 2e-3 });
 */
export function lamb(options: OptimizerOptions<LambHyper>): Optimizer<LambHyper> {
  return makeOptimizer(lambRule, options);
}
