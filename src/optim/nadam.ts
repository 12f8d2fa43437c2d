import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { asAdam } from "./adam.ts";
import { averageWith, correctionWith } from "./average.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { HostNumber, Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of NAdam. */
export interface NAdamHyper {
  readonly lr: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps: number;
  /** Added to the gradient as weightDecay * parameter. Default 0. */
  readonly weightDecay: number;
  /** psi: how fast the momentum rises from b1 / 2 to b1. Default 4e-3. */
  readonly momentumDecay: number;
}

/** Moments, and the product of the momenta so far: a host number, since it is one for all elements. */
type NAdamSlots = { readonly m: Tensor; readonly v: Tensor; readonly muProduct: Tensor };

/** The update rule of `nadam`. */
export const nadamRule: Rule<NAdamHyper, NAdamSlots> = {
  name: "nadam",
  fields: {
    lr: required,
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-8),
    weightDecay: nonNegative(0),
    momentumDecay: nonNegative(4e-3),
  },
  slots: (parameter) => ({ m: zerosLike(parameter), v: zerosLike(parameter), muProduct: scalar(1) }),
  step: ({ betas: [beta1, beta2], eps, weightDecay, momentumDecay }, lr, t) => {
    const [first, second] = [averageWith(beta1), averageWith(beta2)];
    const [tiny, wd, psi, one] = [scalar(eps), scalar(weightDecay), scalar(momentumDecay), scalar(1)];
    const momentum = (t: HostNumber) => scalar(beta1).mul(one.sub(scalar(0.96).pow(t.mul(psi)).mul(0.5)));
    const [mu, muNext] = [momentum(t), momentum(t.add(1))];
    const root = correctionWith(beta2, t).sqrt();
    return (gradient, parameter, slots) => {
      const g = gradient.add(parameter.mul(wd));
      const m = first.of(slots.m, g);
      const v = second.ofSquares(slots.v, g);
      const product = (slots.muProduct as HostNumber).mul(mu); // made as one, above
      const size = v.sqrt().div(root).add(tiny);
      const ofGradient = lr.mul(one.sub(mu)).div(one.sub(product)).neg();
      const ofMoment = lr
        .mul(muNext)
        .div(one.sub(product.mul(muNext)))
        .neg();
      const change = g.mul(ofGradient).add(m.mul(ofMoment)).div(size);
      return [change, { m, v, muProduct: product as Tensor }];
    };
  },
  scaling: {
    hyper: () => ({ lr: 1, eps: -1, weightDecay: -2, betas: 0, momentumDecay: 0 }),
    state: () => ({ m: -1, v: -2, muProduct: 0 }),
    dividesZeroByZero: ({ eps, weightDecay }) => eps === 0 && weightDecay === 0,
  },
  essence: ({ lr, betas, ...rest }) => {
    if (lr === 0 && rest.eps > 0) return still;
    // Without momentum there is none to look ahead with.
    if (betas[0] === 0) return asAdam({ lr, betas, ...rest });
    return { rule: "nadam", reads: "gradients", hyper: { lr, betas, ...withoutZeros({ ...rest }) } };
  },
};

/**
 * NAdam, Adam with Nesterov's momentum (Dozat 2016, "Incorporating Nesterov Momentum into Adam"), as in PyTorch:
 * with g the gradient plus `weightDecay` times the parameter p, psi the `momentumDecay`, and m and v as in Adam,
 *
 *     mu_t = b1 (1 - 0.96^(t psi) / 2)        P = mu_1 ... mu_t
 *     p = p - lr ((1 - mu_t) / (1 - P) g + mu_(t+1) / (1 - P mu_(t+1)) m) / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * P is kept in float64, where PyTorch keeps it in its default dtype.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = nadam({ lr: 2e-3 });
 */
export function nadam(options: OptimizerOptions<NAdamHyper>): Optimizer<NAdamHyper> {
  return makeOptimizer(nadamRule, options);
}
