import { ShapeError } from "../base/errors.ts";
import { describe } from "../base/shape.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { flag, fraction, nonNegative, type OptimizerOptions, optional, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, shrinking, still, withoutZeros } from "./rule.ts";
import { orthogonalised } from "./small-matrix.ts";

/** Hyperparameters of Muon. */
export interface MuonHyper {
  readonly lr: number;
  /** Share of the average gradient that stays. Default 0.95. */
  readonly momentum: number;
  /** p shrinks by lr * weightDecay * p. Default 0.1. */
  readonly weightDecay: number;
  /** Look ahead by the gradient itself. Default true; false as it is left out of the average. */
  readonly plainMomentum?: boolean;
  /** The rate times 0.2 sqrt(max(rows, columns)), whose updates are about as large as Adam's. Default false. */
  readonly matchAdam?: boolean;
}

/** The update rule of `muon`. */
export const muonRule: Rule<MuonHyper, { readonly m: Tensor }> = {
  name: "muon",
  fields: {
    lr: required,
    momentum: fraction(0.95),
    weightDecay: nonNegative(0.1),
    plainMomentum: optional(flag),
    matchAdam: optional(flag),
  },
  slots: (parameter) => {
    if (parameter.rank < 2)
      throw new ShapeError(
        `muon: a parameter is ${describe(parameter)}; it is for matrices. Leave vectors, such as biases, to another optimizer.`,
      );
    return { m: zerosLike(parameter) };
  },
  step: ({ momentum, weightDecay, plainMomentum, matchAdam }, lr) => {
    const [average, share] = [averageWith(momentum), scalar(momentum)];
    const shrink = lr.mul(scalar(weightDecay));
    return (gradient, parameter, slots) => {
      const m = average.of(slots.m, gradient);
      const ahead = plainMomentum ? m : gradient.add(m.sub(gradient).mul(share));
      const rows = parameter.shape[0]!;
      const columns = parameter.size / rows;
      const size = matchAdam
        ? 0.2 * Math.sqrt(Math.max(rows, columns))
        : Math.sqrt(Math.max(1, rows / columns));
      const direction = orthogonalised(ahead.reshape([rows, columns])).reshape(parameter.shape);
      return [direction.mul(lr.mul(-size)).sub(parameter.mul(shrink)), { m }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, momentum: 0, weightDecay: -1, plainMomentum: 0, matchAdam: 0 }),
    state: () => ({ m: -1 }),
    dividesZeroByZero: () => false,
  },
  essence: ({ weightDecay, ...rest }) =>
    rest.lr === 0
      ? still
      : {
          rule: "muon",
          reads: "gradients",
          hyper: {
            ...withoutZeros(rest),
            lr: rest.lr,
            momentum: rest.momentum,
            ...withoutZeros({ weightDecay }),
          },
          joint: shrinking(rest.lr * weightDecay),
        },
};

/**
 * Muon (Jordan et al. 2024) as `torch.optim.Muon`: with m the average gradient and u = g + momentum (m - g),
 *
 *     p = p - lr sqrt(max(1, rows / columns)) msign(u) - lr weightDecay p
 *
 * where msign is five steps of Newton-Schulz on u over its Frobenius norm. For matrices, and convolutions as the matrix of
 * their outputs; leave other parameters to another optimizer. Deviations: the steps are in the parameter's dtype where
 * PyTorch takes bfloat16, and the norm has no eps, so that the rule under p' = c p is exact: lr' = c lr,
 * weightDecay' = weightDecay / c. Of LoRA's factors each is orthogonalised by itself; `loraMuon` is that of their product.
 *
 * Recipes do not know it: it is no name of `make`, since it refuses parameters that other optimizers take.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, momentum outside [0, 1), unknown options;
 * ShapeError in `init` for a parameter of less than two axes.
 * @example
 * const optimizer = muon({ lr: 0.02 });
 * const state = optimizer.init({ weight: ones([4, 8]) });
 */
export function muon(options: OptimizerOptions<MuonHyper>): Optimizer<MuonHyper> {
  return makeOptimizer(muonRule, options);
}
