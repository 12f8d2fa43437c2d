import { ValueError } from "../base/errors.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import { hvp } from "../tensor/jacobian.ts";
import { wide } from "../tensor/precision.ts";
import { bernoulli, type Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { averageWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";
import { makeOptimizer, type Rule } from "./rule.ts";

/** Hyperparameters of Sophia. */
export interface SophiaHyper {
  /** The largest change of a number in an update, its decay aside. */
  readonly lr: number;
  /** Decay rates of the gradient and of the curvature. Default [0.96, 0.99]. */
  readonly betas: Betas;
  /** The share of the curvature that the gradient is divided by. Default 0.01. */
  readonly gamma: number;
  /** The least divisor, for curvature that is negative, or none. Default 1e-12. */
  readonly eps: number;
  /** p shrinks by lr * weightDecay * p. Default 0.2. */
  readonly weightDecay: number;
}

/** Averages of gradients and of the Hessian's diagonal. */
type SophiaSlots = { readonly m: Tensor; readonly h: Tensor };

/** The update rule of `sophia`, between estimates of curvature. */
export const sophiaRule: Rule<SophiaHyper, SophiaSlots> = {
  name: "sophia",
  fields: {
    lr: required,
    betas: betas([0.96, 0.99]),
    gamma: nonNegative(0.01),
    eps: nonNegative(1e-12),
    weightDecay: nonNegative(0.2),
  },
  slots: (parameter) => ({ m: zerosLike(parameter), h: zerosLike(parameter) }),
  step: ({ betas: [beta], gamma, eps, weightDecay }, lr) => {
    const [average, share, least] = [averageWith(beta), scalar(gamma), scalar(eps)];
    const [down, shrink] = [lr.neg(), lr.mul(scalar(weightDecay))];
    return (gradient, parameter, { m: before, h }) => {
      const m = average.of(before, gradient);
      const direction = m.div(h.mul(share).maximum(least)).clamp(-1, 1);
      return [direction.mul(down).sub(parameter.mul(shrink)), { m, h }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, betas: 0, gamma: 1, eps: -1, weightDecay: -1 }),
    state: () => ({ m: -1, h: -2 }),
    dividesZeroByZero: ({ eps }) => eps === 0,
  },
};

/** An optimizer that knows of curvature what it is told now and then. */
export interface Sophia extends Optimizer<SophiaHyper> {
  /**
   * The state after an estimate of the Hessian's diagonal, a tree of the structure of the parameters such as `hutchinson`
   * gives: h = b2 h + (1 - b2) estimate. The next updates divide by it.
   *
   * @throws ValueError if the state is of another optimizer, or the structures differ.
   */
  curved(state: OptimizerState, estimate: unknown): OptimizerState;
}

/**
 * Sophia (Liu et al. 2023, arXiv:2305.14342): with m the average gradient and h that of the Hessian's diagonal,
 *
 *     p = p - lr clip(m / max(gamma h, eps), 1) - lr weightDecay p
 *
 * Curvature is estimated every tenth update or so and handed over by `curved`; until then h is 0 and steps are signs of m.
 * `hutchinson` is the paper's Sophia-H; squares of gradients at labels that the model draws, times the size of the batch,
 * are Sophia-G. Defaults are the paper's for Sophia-H. Under p' = c p the exact rule is lr' = c lr, gamma' = c gamma,
 * eps' = eps / c, weightDecay' = weightDecay / c, curvature being that of the rescaled function.
 *
 * Recipes do not know it, since they hand over gradients only.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = sophia({ lr: 1e-3 });
 * let state = optimizer.init(params);
 * if (step % 10 === 0) state = optimizer.curved(state, hutchinson(loss, params, random.key(0).fold(step)));
 * const [updates, next] = optimizer.update(gradients, state, params);
 */
export function sophia(options: OptimizerOptions<SophiaHyper>): Sophia {
  const optimizer = makeOptimizer(sophiaRule, options);
  return {
    ...optimizer,
    curved: (state, estimate) => {
      if (state?.h === undefined)
        throw new ValueError("sophia: the state is of another optimizer. Pass what init or update returned.");
      const h = tree.zip([state.h, estimate], ([old, now], path) =>
        averageWith(optimizer.hyper(path).betas[1]).of(old!, wide(now!)),
      );
      return { ...state, h };
    },
  };
}

/**
 * An estimate of the diagonal of the Hessian of a scalar function of one tree, without bias (Hutchinson 1989): u * (H u)
 * with signs u drawn at random, which have the least variance; Sophia's paper draws them normal. It costs a few gradients.
 *
 * @example
 * const f = (x: Tensor) => x.pow(3).sum();
 * await hutchinson(f, tensor([1, 2]), random.key(0)).toArray(); // [6, 12], exact where the Hessian is diagonal
 */
export function hutchinson<P>(f: (params: P) => Tensor, params: P, key: Key): P {
  const signs = tree.map(params, (leaf, path) =>
    where(bernoulli(key.fold(path), 0.5, leaf.shape), 1, -1).astype(leaf.dtype as "float32"),
  );
  return tree.zip([signs, hvp(f, params, signs)], ([sign, product]) => sign!.mul(product!));
}
