import { scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith, correctionWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, optional, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";
import { plain, sgdRule } from "./sgd.ts";

/** Hyperparameters of RAdam. */
export interface RAdamHyper {
  readonly lr: number;
  /** The rate of the first updates, which are plain momentum. Default `lr`; then no gauge is exact. */
  readonly lrUnrectified?: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps: number;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
}

/** First and second moment. */
type RAdamSlots = { readonly m: Tensor; readonly v: Tensor };

/** The update rule of `radam`. */
export const radamRule: Rule<RAdamHyper, RAdamSlots> = {
  name: "radam",
  fields: {
    lr: required,
    lrUnrectified: optional(required),
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-8),
    weightDecay: nonNegative(0),
  },
  slots: (parameter) => ({ m: zerosLike(parameter), v: zerosLike(parameter) }),
  step: (hyper, lr, t, factor) => {
    const [beta1, beta2] = hyper.betas;
    const [first, second] = [averageWith(beta1), averageWith(beta2)];
    const [eps, wd, one] = [scalar(hyper.eps), scalar(hyper.weightDecay), scalar(1)];
    const power = scalar(beta2).pow(t);
    const [correction1, correction2] = [correctionWith(beta1, t), correctionWith(beta2, t)];
    const longest = scalar(2)
      .div(one.sub(scalar(beta2)))
      .sub(1);
    const length = longest.sub(t.mul(2).mul(power).div(correction2));
    const rectified = length.gt(5);
    const variance = length
      .sub(4)
      .mul(length.sub(2))
      .mul(longest)
      .div(longest.sub(4).mul(longest.sub(2)).mul(length));
    const early = hyper.lrUnrectified === undefined ? lr : scalar(hyper.lrUnrectified).mul(factor);
    const rate = where(rectified, lr.mul(variance.sqrt()).mul(correction2.sqrt()), early)
      .div(correction1)
      .neg();
    return (gradient, parameter, slots) => {
      const g = gradient.add(parameter.mul(wd));
      const m = first.of(slots.m, g);
      const v = second.ofSquares(slots.v, g);
      const change = m.mul(rate);
      return [where(rectified, change.div(v.sqrt().add(eps)), change), { m, v }];
    };
  },
  scaling: {
    hyper: ({ lrUnrectified, betas }) =>
      neverRectified(betas)
        ? { lr: 2, lrUnrectified: 2, eps: -1, weightDecay: -2, betas: 0 }
        : lrUnrectified === undefined
          ? {
              none:
                "its first updates are plain momentum, which needs lr times c^2, and the later ones are Adam's, which " +
                "need lr times c; give lrUnrectified, the rate of the first ones",
            }
          : { lr: 1, lrUnrectified: 2, eps: -1, weightDecay: -2, betas: 0 },
    state: () => ({ m: -1, v: -2 }),
    dividesZeroByZero: () => false, // the first update divides by nothing
  },
  essence: ({ lr, lrUnrectified = lr, betas, eps, weightDecay }) => {
    const [momentum] = betas;
    if (neverRectified(betas) && momentum === 0)
      return sgdRule.essence!({ ...plain, lr: lrUnrectified, weightDecay });
    const moves = !neverRectified(betas) && (lr > 0 || eps === 0);
    if (!moves && lrUnrectified === 0) return still;
    const [decay, waiting] = [withoutZeros({ weightDecay }), earlyUpdates(betas)];
    const hyper = moves
      ? { lr, lrUnrectified, betas, ...withoutZeros({ eps }), ...decay }
      : { lrUnrectified, momentum, ...decay, ...(waiting < Infinity && { earlyUpdates: waiting }) };
    return { rule: "radam", reads: "gradients", hyper };
  },
};

/** Whether the second moment counts too few gradients for ever: 2 / (1 - b2) - 1 <= 5. */
function neverRectified([, beta2]: Betas): boolean {
  return 2 / (1 - beta2) - 1 <= 5;
}

/** How many updates are plain momentum. */
function earlyUpdates(betas: Betas): number {
  if (neverRectified(betas)) return Infinity;
  const [, beta2] = betas;
  const counted = (t: number) => 2 / (1 - beta2) - 1 - (2 * t * beta2 ** t) / (1 - beta2 ** t);
  let t = 1;
  while (counted(t) <= 5) t++;
  return t - 1;
}

/**
 * RAdam, Adam that waits for its second moment (Liu et al. 2020, arXiv:1908.03265), as in PyTorch: with g the
 * gradient plus `weightDecay` times the parameter p, m and v as in Adam, R = 2 / (1 - b2) - 1 and
 * rho = R - 2 t b2^t / (1 - b2^t),
 *
 *     p = p - lrUnrectified m / (1 - b1^t)                                              while rho <= 5
 *     p = p - lr r m / (1 - b1^t) * sqrt(1 - b2^t) / (sqrt(v) + eps)                    afterwards
 *     r = sqrt((rho - 4) (rho - 2) R / ((R - 4) (R - 2) rho))
 *
 * `lrUnrectified` is an addition: by default it is `lr`, the published method. The two kinds of updates scale
 * differently with the gradient, so only with two rates a rescaled run has an exact partner.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = radam({ lr: 1e-3 });
 */
export function radam(options: OptimizerOptions<RAdamHyper>): Optimizer<RAdamHyper> {
  return makeOptimizer(radamRule, options);
}
