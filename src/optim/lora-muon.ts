import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { fraction, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makePairOptimizer, type PairRule } from "./pair.ts";
import { type Growth, rateThatGrows, shrinking, still, withoutZeros } from "./rule.ts";
import { gram, inverseFactor, orthogonalised } from "./small-matrix.ts";

/** Hyperparameters of LoRA-Muon. */
export interface LoraMuonHyper {
  readonly lr: number;
  /** Share of the average gradient that stays. Default 0.95. */
  readonly momentum: number;
  /** Shrinks the product of the factors by lr * weightDecay, which must stay below 1. Default 0. */
  readonly weightDecay: number;
  /** Added to the diagonal of the Gram matrix of the other factor. Default 1e-6. */
  readonly reg: number;
}

/** The update rule of `loraMuon`. */
export const loraMuonRule: PairRule<LoraMuonHyper, { readonly m: Tensor }> = {
  name: "loraMuon",
  fields: { lr: required, momentum: fraction(0.95), weightDecay: nonNegative(0), reg: nonNegative(1e-6) },
  conflict: ({ lr, weightDecay }) =>
    lr * weightDecay < 1
      ? undefined
      : `lr * weightDecay is ${lr * weightDecay}; it is the share by which the product shrinks, below 1.`,
  slots: (factor) => ({ m: zerosLike(factor) }),
  step: ({ momentum, weightDecay, reg }, lr) => {
    const [average, damping] = [averageWith(momentum), scalar(reg)];
    const kept = scalar(1)
      .sub(lr.mul(scalar(weightDecay)))
      .sqrt();
    const [down, shrink] = [lr.mul(-0.5).div(kept), kept.sub(1)];
    return (gradient, own, slots, partner) => {
      const m = average.of(slots.m, gradient);
      const half = inverseFactor(gram(partner, damping));
      const direction = half.transpose().matmul(orthogonalised(half.matmul(m)));
      return [own.mul(shrink).add(direction.mul(down)), { m }];
    };
  },
  scaling: {
    hyper: () => ({
      own: { lr: 1, momentum: 0, weightDecay: -1, reg: 0 },
      partner: { lr: 1, weightDecay: -1, reg: 2 },
    }),
    state: () => ({ own: { m: -1 }, partner: {} }),
    dividesZeroByZero: ({ reg }) => reg === 0,
    mixes: ({ reg }) => (reg === 0 ? "any" : "orthogonal"),
  },
  essence: ({ weightDecay, ...rest }) => {
    if (rest.lr === 0 && rest.reg > 0) return still;
    const decay = rest.lr * weightDecay;
    const joint = shrinking(decay);
    const { lr, momentum, reg } = rest;
    // What is kept of a factor is the root of 1 - decay, and an update is divided by it.
    const grows: Growth = {
      power: 2,
      decay,
      numbers: {
        lr: rateThatGrows(lr, decay, 1, 1),
        ...(momentum > 0 && {
          momentum: {
            of: ["momentum"],
            value: momentum * Math.sqrt(1 - decay),
            power: 0,
            symbol: "momentum_* sqrt(1 - lr_* wd_*)",
          },
        }),
      },
    };
    return {
      rule: "loraMuon",
      reads: "gradients",
      hyper: { ...rest, ...withoutZeros({ weightDecay }) },
      joint,
      ...(reg === 0 && lr > 0 && { grows }),
    };
  },
};

/**
 * LoRA-Muon (Cesista, Crowson, Simal and Biderman 2026, arXiv:2606.12921): Muon's steepest descent in the spectral norm
 * for the product of two factors. With m_A the average gradient of A, L L^T = B^T B + reg 1, and k = sqrt(1 - lr weightDecay),
 *
 *     A -> k A - lr / (2 k) L^-T msign(L^-1 m_A)
 *
 * and for B with the factors exchanged. Any L will do, since msign(Q X) = Q msign(X) for orthogonal Q: this is the one of
 * Cholesky, where the paper has the root of the Gram matrix. Deviations: reg is an addition, which the start B = 0 needs;
 * msign is Muon's five steps of Newton-Schulz in the factor's dtype, on X over its Frobenius norm without an eps.
 *
 * With reg 0 the trained product follows any invertible M, A' = M A, B' = B M^-1. Under A' = a A, B' = b B the exact rule is
 * lr' = a b lr, weightDecay' = weightDecay / (a b), reg_A' = b^2 reg_A, reg_B' = a^2 reg_B.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, momentum outside [0, 1), lr * weightDecay not
 * below 1, unknown options; in `init` for a parameter that is no factor of a pair.
 * @example
 * const optimizer = loraMuon({ lr: 0.02 });
 */
export function loraMuon(options: OptimizerOptions<LoraMuonHyper>): Optimizer<LoraMuonHyper> {
  return makePairOptimizer(loraMuonRule, options);
}
