import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith, correctionWith } from "./average.ts";
import { type Betas, betas, flag, nonNegative, type OptimizerOptions, optional, required } from "./hyper.ts";
import type { HostNumber, Optimizer } from "./optimizer.ts";
import { type Essence, makeOptimizer, type Rule, shrinking, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of Adam. */
export interface AdamHyper {
  readonly lr: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the root of the second moment. Default 1e-8. */
  readonly eps: number;
  /** Adam: added to the gradient, default 0. AdamW: p shrinks by lr * weightDecay * p, default 0.01. */
  readonly weightDecay: number;
  /** Divide by the largest second moment so far. Default false. */
  readonly amsgrad?: boolean;
  /** Add eps to the second moment, before the root is taken. Default false. */
  readonly epsInsideRoot?: boolean;
  /** Divide the moments by 1 - beta^t, since they start at zero. Default true; false as in MLX. */
  readonly biasCorrection?: boolean;
}

/** Hyperparameters of AdamW. */
export interface AdamWHyper extends AdamHyper {
  /** Whether p shrinks by lr * weightDecay * p, rather than by weightDecay * p. Default true. */
  readonly decayTimesLr?: boolean;
}

/** First and second moment, and the largest second moment of AMSGrad. */
type AdamSlots = { readonly m: Tensor; readonly v: Tensor; readonly vMax?: Tensor };

const forms = { amsgrad: optional(flag), epsInsideRoot: optional(flag), biasCorrection: optional(flag) };
const state = () => ({ m: -1, v: -2, vMax: -2 });

function slots(parameter: Tensor, { amsgrad }: AdamHyper): AdamSlots {
  const zero = () => zerosLike(parameter);
  return { m: zero(), v: zero(), ...(amsgrad && { vMax: zero() }) };
}

/** The change that Adam makes for a gradient, and the next moments. */
function adamStep(hyper: AdamHyper, lr: HostNumber, t: HostNumber) {
  const { amsgrad, epsInsideRoot, biasCorrection = true } = hyper;
  const [b1, b2] = hyper.betas;
  const [first, second, eps] = [averageWith(b1), averageWith(b2), scalar(hyper.eps)];
  const rate = (biasCorrection ? lr.div(correctionWith(b1, t)) : lr).neg();
  const correction = biasCorrection ? correctionWith(b2, t) : scalar(1);
  const root = correction.sqrt();
  // In this order every quantity scales with one power of the parameter's scale: the gauge is exact.
  return (
    g: Tensor,
    { m: m0, v: v0, vMax: vMax0 }: AdamSlots,
  ): readonly [change: Tensor, slots: AdamSlots] => {
    const m = first.of(m0, g);
    const v = second.ofSquares(v0, g);
    const vMax = amsgrad && vMax0 ? vMax0.maximum(v) : undefined;
    const moment = vMax ?? v;
    const size = epsInsideRoot ? moment.div(correction).add(eps).sqrt() : moment.sqrt().div(root).add(eps);
    return [m.mul(rate).div(size), { m, v, ...(vMax && { vMax }) }];
  };
}

/** The update rule of `adam`. */
export const adamRule: Rule<AdamHyper, AdamSlots> = {
  name: "adam",
  fields: {
    lr: required,
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-8),
    weightDecay: nonNegative(0),
    ...forms,
  },
  slots,
  step: (hyper, lr, t) => {
    const step = adamStep(hyper, lr, t);
    const wd = scalar(hyper.weightDecay);
    return (gradient, parameter, slots) => step(gradient.add(parameter.mul(wd)), slots);
  },
  scaling: {
    hyper: ({ epsInsideRoot }) => ({
      lr: 1,
      eps: epsInsideRoot ? -2 : -1,
      weightDecay: -2,
      betas: 0,
      amsgrad: 0,
      epsInsideRoot: 0,
      biasCorrection: 0,
    }),
    state,
    dividesZeroByZero: ({ eps, weightDecay }) => eps === 0 && weightDecay === 0,
  },
  essence: (hyper) =>
    hyper.lr === 0 && hyper.eps > 0 ? still : { ...asAdam(hyper), rounding: roundingOf(hyper) },
};

/**
 * What other rules come to that are Adam with these numbers, a decay being added to the gradient. Where they compute it
 * in another order, which is rounded otherwise, `order` says in which.
 */
export function asAdam(hyper: AdamHyper, order?: string): Essence {
  const numbers = { ...withoutDecay(hyper), ...coupled(hyper), ...(order && { order }) };
  return { rule: "adam", reads: "gradients", hyper: numbers, ...(order && { rounding: ["order"] }) };
}

function withoutDecay({ lr, betas, eps, amsgrad = false, epsInsideRoot = false, biasCorrection }: AdamHyper) {
  return {
    lr,
    betas,
    ...withoutZeros({ eps, amsgrad, epsInsideRoot }),
    // Averages that forget at once start at no zero.
    ...(biasCorrection === false && betas.some((beta) => beta > 0) && { biasCorrection }),
  };
}

/** Where eps is 0, it does not matter on which side of the root it is. */
function roundingOf({ eps }: AdamHyper) {
  return eps === 0 ? ["epsInsideRoot"] : [];
}

function coupled({ weightDecay }: AdamHyper) {
  return withoutZeros({ weightDecay });
}

/** The update rule of `adamw`. */
export const adamwRule: Rule<AdamWHyper, AdamSlots> = {
  name: "adamw",
  fields: { ...adamRule.fields, weightDecay: nonNegative(0.01), decayTimesLr: optional(flag) },
  slots,
  step: (hyper, lr, t, factor) => {
    const step = adamStep(hyper, lr, t);
    const shrink = (hyper.decayTimesLr === false ? factor : lr).mul(scalar(hyper.weightDecay));
    return (gradient, parameter, slots) => {
      const [change, next] = step(gradient, slots);
      return [change.sub(parameter.mul(shrink)), next];
    };
  },
  scaling: {
    hyper: ({ epsInsideRoot, decayTimesLr }) => ({
      lr: 1,
      eps: epsInsideRoot ? -2 : -1,
      weightDecay: decayTimesLr === false ? 0 : -1,
      betas: 0,
      amsgrad: 0,
      epsInsideRoot: 0,
      biasCorrection: 0,
      decayTimesLr: 0,
    }),
    state,
    dividesZeroByZero: ({ eps }) => eps === 0,
  },
  essence: (hyper): Essence => {
    const { lr, eps, weightDecay, decayTimesLr = true } = hyper;
    const joint = shrinking(decayTimesLr ? lr * weightDecay : weightDecay);
    const form = weightDecay > 0 && {
      weightDecay,
      decoupledWeightDecay: true,
      ...(!decayTimesLr && { decayTimesLr }),
    };
    if (lr > 0 || eps === 0)
      return {
        rule: "adam",
        reads: "gradients",
        hyper: { ...withoutDecay(hyper), ...form },
        joint,
        rounding: roundingOf(hyper),
      };
    return decayTimesLr || weightDecay === 0
      ? still
      : { rule: "decay", reads: "nothing", hyper: { weightDecay }, joint };
  },
};

/**
 * Adam (Kingma and Ba 2015, arXiv:1412.6980) as in PyTorch: with g the gradient plus `weightDecay` times the
 * parameter p, and t the number of the update,
 *
 *     m = b1 m + (1 - b1) g        v = b2 v + (1 - b2) g^2
 *     p = p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
 *
 * `eps` is outside the root, as in PyTorch and unlike section 2 of the paper's efficient form. With
 * `epsInsideRoot` the divisor is sqrt(v / (1 - b2^t) + eps), `eps_root` of optax; such an eps is comparable to the
 * square of one outside. With `amsgrad` (Reddi et al. 2018, arXiv:1904.09237) the largest v so far, not yet
 * corrected, takes the place of v, as in PyTorch. The bias corrections are computed in float64 on the host; with
 * `biasCorrection: false` both are 1, as in MLX by default. Every hyperparameter may differ per group.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = adam({ lr: 1e-3 });
 * let state = optimizer.init(params);
 */
export function adam(options: OptimizerOptions<AdamHyper>): Optimizer<AdamHyper> {
  return makeOptimizer(adamRule, options);
}

/**
 * AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) as in PyTorch: Adam whose decay leaves the gradient
 * alone; p first shrinks by `lr * weightDecay * p`, so the schedule acts on the decay too. `weightDecay` is 0.01
 * by default.
 *
 * With `decayTimesLr: false` it shrinks by `weightDecay * p` times the schedule's factor: algorithm 2 of the
 * paper, where the schedule multiplies the decay and the learning rate does not. Such a decay is smaller by about
 * the learning rate.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options.
 * @example
 * const optimizer = adamw({ lr: 2e-4, groups: loraPlus({ ratio: 16 }) });
 */
export function adamw(options: OptimizerOptions<AdamWHyper>): Optimizer<AdamWHyper> {
  return makeOptimizer(adamwRule, options);
}
