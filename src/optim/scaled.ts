import { scalar } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type AdamWHyper, adamwRule } from "./adam.ts";
import { nonNegative, type OptimizerOptions } from "./hyper.ts";
import type { HostNumber, Optimizer } from "./optimizer.ts";
import { makePairOptimizer, type PairRule } from "./pair.ts";
import { type Essence, type Growth, rateThatGrows, type Slots } from "./rule.ts";
import { type SgdHyper, sgdRule } from "./sgd.ts";
import { gram, inverseFactor } from "./small-matrix.ts";

/** What scaled descent adds to the hyperparameters of an optimizer. */
export interface Scaled {
  /** Added to the diagonal of the Gram matrix of the other factor. Default 1e-6. */
  readonly reg: number;
}

/** Hyperparameters of `scaledSgd`. */
export type ScaledSgdHyper = SgdHyper & Scaled;
/** Hyperparameters of `scaledAdamw`. */
export type ScaledAdamWHyper = AdamWHyper & Scaled;

const reg = nonNegative(1e-6);

/** (Y Y^T + reg 1)^-1 G. */
function preconditioned(gradient: Tensor, partner: Tensor, reg: HostNumber): Tensor {
  const half = inverseFactor(gram(partner, reg));
  return half.transpose().matmul(half.matmul(gradient));
}

/** What a rule comes to that takes a preconditioned gradient: reg counts where the gradient does. */
function scaledBy(reg: number, essence: Essence): Essence {
  // With reg 0 a partner of 0 has no inverse, and NaN is what counts.
  if (essence.reads === "nothing" && reg > 0) return essence;
  return { ...essence, rule: `scaled ${essence.rule}`, reads: "gradients", hyper: { ...essence.hyper, reg } };
}

/**
 * Without damping the gradient goes with the factor itself, so that factors may grow: rate, momentum and what decay leaves
 * by rho. Nesterov's momentum, and one that a decay enters, mix numbers that take other powers.
 */
function growthOf({ lr, momentum, nesterov, weightDecay, decoupledWeightDecay, reg }: ScaledSgdHyper) {
  const mixed = nesterov || (momentum > 0 && weightDecay > 0 && !decoupledWeightDecay);
  if (reg > 0 || lr === 0 || mixed) return {};
  const decay = lr * weightDecay;
  const share = { of: ["momentum"], value: momentum / lr, symbol: "momentum_* / lr_*" };
  const grows: Growth = {
    power: 1,
    decay,
    numbers: {
      lr: rateThatGrows(lr, decay, 2, 2),
      ...(momentum > 0 && { momentum: { ...share, power: -2, partner: -2 } }),
    },
  };
  return { grows };
}

/** The update rule of `scaledSgd`. */
export const scaledSgdRule: PairRule<ScaledSgdHyper, Slots> = {
  name: "scaledSgd",
  fields: { ...sgdRule.fields, reg },
  conflict: (hyper) => sgdRule.conflict?.(hyper),
  slots: (factor, hyper) => sgdRule.slots(factor, hyper),
  step: (hyper, lr, t, factor) => {
    const step = sgdRule.step(hyper, lr, t, factor);
    const damping = scalar(hyper.reg);
    return (gradient, own, slots, partner) => step(preconditioned(gradient, partner, damping), own, slots);
  },
  scaling: {
    hyper: (hyper) => ({
      own: { ...(sgdRule.scaling.hyper(hyper) as object), reg: 0 },
      partner: { lr: 2, weightDecay: -2, reg: 2 },
    }),
    state: () => ({ own: { velocity: -1 }, partner: { velocity: -2 } }),
    dividesZeroByZero: ({ reg }) => reg === 0,
    mixes: ({ reg }) => (reg === 0 ? "any" : "orthogonal"),
  },
  essence: ({ reg, ...hyper }) => ({
    ...scaledBy(reg, sgdRule.essence!(hyper)),
    ...growthOf({ ...hyper, reg }),
  }),
};

/** The update rule of `scaledAdamw`. */
export const scaledAdamwRule: PairRule<ScaledAdamWHyper, Slots> = {
  name: "scaledAdamw",
  fields: { ...adamwRule.fields, reg },
  slots: (factor, hyper) => adamwRule.slots(factor, hyper),
  step: (hyper, lr, t, factor) => {
    const step = adamwRule.step(hyper, lr, t, factor);
    const damping = scalar(hyper.reg);
    return (gradient, own, slots, partner) =>
      step(preconditioned(gradient, partner, damping), own, slots as Parameters<typeof step>[2]); // AdamW's own
  },
  scaling: {
    hyper: (hyper) => ({
      own: { ...(adamwRule.scaling.hyper(hyper) as object), reg: 0 },
      partner: { eps: hyper.epsInsideRoot ? -4 : -2, reg: 2 },
    }),
    state: () => ({ own: { m: -1, v: -2, vMax: -2 }, partner: { m: -2, v: -4, vMax: -4 } }),
    dividesZeroByZero: ({ reg, eps }) => reg === 0 || eps === 0,
    mixes: () => "signed permutations",
  },
  essence: ({ reg, ...hyper }) => scaledBy(reg, adamwRule.essence!(hyper)),
};

/**
 * Scaled (Riemannian) gradient descent of the two factors of a layer (Zhang and Pilanci 2024, arXiv:2402.02347): each
 * gradient is multiplied by the inverse Gram matrix of the other factor before SGD takes it,
 *
 *     G_A -> (B^T B + reg 1)^-1 G_A        G_B -> G_B (A A^T + reg 1)^-1
 *
 * With reg 0 the trained product follows any invertible M, A' = M A, B' = B M^-1; from B = 0 reg must be positive. Under
 * A' = a A, B' = b B the exact rule is reg_A' = b^2 reg_A, reg_B' = a^2 reg_B, lr' = a^2 b^2 lr, which the scaling s' = s /
 * (a b) undoes, as s enters squared: so one reg for both factors, the published form, is exact in no gauge but a = b = 1.
 * Momentum, dampening and decay are SGD's, which the paper does not have; they act on the preconditioned gradient.
 *
 * Parameters are loraA `[r, in]` and loraB `[out, r]` of layers; groups may give the two their own numbers.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, unknown options; in `init` for a parameter
 * that is no factor of a pair.
 * @example
 * const optimizer = scaledSgd({ lr: 0.1, reg: 1e-6 });
 */
export function scaledSgd(options: OptimizerOptions<ScaledSgdHyper>): Optimizer<ScaledSgdHyper> {
  return makePairOptimizer(scaledSgdRule, options);
}

/**
 * Scaled AdamW (Zhang and Pilanci 2024, arXiv:2402.02347): AdamW of gradients that are multiplied by the inverse Gram
 * matrix of the other factor, as in `scaledSgd`. Adam treats each number by itself, so it follows signed permutations of
 * the r components only, and under A' = a A, B' = b B the rule of Adam returns: lr_A' = a lr, eps_A' = eps / (a b^2),
 * weightDecay_A' = weightDecay / a, with reg_A' = b^2 reg; and for B with a and b exchanged.
 *
 * @throws ValueError as `scaledSgd`, and for betas outside [0, 1).
 * @example
 * const optimizer = scaledAdamw({ lr: 2e-4 });
 */
export function scaledAdamw(options: OptimizerOptions<ScaledAdamWHyper>): Optimizer<ScaledAdamWHyper> {
  return makePairOptimizer(scaledAdamwRule, options);
}
