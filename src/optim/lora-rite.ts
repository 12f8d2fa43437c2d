import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Betas, betas, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { HostNumber, Optimizer } from "./optimizer.ts";
import { makePairOptimizer, type PairRule } from "./pair.ts";
import { rateThatGrows, shrinking, still, withoutZeros } from "./rule.ts";
import { eyeLike, gram, inverseFactor, inverseRoot } from "./small-matrix.ts";

/** Hyperparameters of LoRA-RITE. */
export interface LoraRiteHyper {
  readonly lr: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas: Betas;
  /** Added to the diagonal of the second moment, before the root is taken. Default 1e-12. */
  readonly eps: number;
  /** Each factor shrinks by lr * weightDecay. Default 0. */
  readonly weightDecay: number;
  /** Added to the diagonal of the Gram matrix of the other factor. Default 1e-6. */
  readonly reg: number;
}

/** First moment, second moment of the r components, and the basis of the other factor in which they are. */
type RiteSlots = { readonly m: Tensor; readonly v: Tensor; readonly basis: Tensor };

/** The decay with which an average from zero needs no correction: b (1 - b^(t-1)) / (1 - b^t). */
function corrected(beta: number, t: HostNumber): HostNumber {
  const one = scalar(1);
  const b = scalar(beta);
  return b.mul(one.sub(b.pow(t.sub(1)))).div(one.sub(b.pow(t)));
}

/** The update rule of `loraRite`. */
export const loraRiteRule: PairRule<LoraRiteHyper, RiteSlots> = {
  name: "loraRite",
  fields: {
    lr: required,
    betas: betas([0.9, 0.999]),
    eps: nonNegative(1e-12),
    weightDecay: nonNegative(0),
    reg: nonNegative(1e-6),
  },
  slots: (factor, _, partner) => ({
    m: zerosLike(factor),
    v: zerosLike(factor.slice([0, 0], [null, 1]).matmul(factor.slice([0, 0], [null, 1]).transpose())),
    basis: zerosLike(partner),
  }),
  step: (hyper, lr, t) => {
    const [b1, b2] = hyper.betas.map((beta) => corrected(beta, t)) as [HostNumber, HostNumber];
    const [rest1, rest2] = [scalar(1).sub(b1), scalar(1).sub(b2)];
    const [eps, damping] = [scalar(hyper.eps), scalar(hyper.reg)];
    const [down, shrink] = [lr.neg(), lr.mul(scalar(hyper.weightDecay))];
    return (gradient, own, slots, partner) => {
      const half = inverseFactor(gram(partner, damping));
      const basis = half.matmul(partner);
      const plain = half.matmul(gradient);
      const carried = basis.matmul(slots.basis.transpose());
      const old = carried.matmul(slots.v).matmul(carried.transpose());
      const square = plain.matmul(plain.transpose()).mul(1 / own.shape[1]!);
      const v = old.mul(b2).add(square.mul(rest2));
      const direction = inverseRoot(v.add(eyeLike(v).mul(eps))).matmul(plain);
      const m = carried.matmul(slots.m).mul(b1).add(direction.mul(rest1));
      const change = half.transpose().matmul(m).mul(down).sub(own.mul(shrink));
      return [change, { m, v, basis }];
    };
  },
  scaling: {
    hyper: () => ({
      own: { lr: 1, betas: 0, eps: -2, weightDecay: -1, reg: 0 },
      partner: { lr: 1, eps: -2, weightDecay: -1, reg: 2 },
    }),
    state: () => ({ own: { v: -2, m: 0, basis: 0 }, partner: { v: -2 } }),
    dividesZeroByZero: ({ reg, eps }) => reg === 0 || eps === 0,
    mixes: ({ reg }) => (reg === 0 ? "any" : "orthogonal"),
  },
  essence: (hyper) => {
    const { weightDecay, ...rest } = hyper;
    if (rest.lr === 0 && rest.reg > 0 && rest.eps > 0) return still;
    const decay = rest.lr * weightDecay;
    const joint = shrinking(decay);
    // Without damping all but the last product is the same in every basis, which may grow.
    const free = rest.reg === 0 && rest.lr > 0;
    return {
      rule: "loraRite",
      reads: "gradients",
      hyper: { ...rest, ...withoutZeros({ weightDecay }) },
      joint,
      ...(free && { grows: { power: 1, decay, numbers: { lr: rateThatGrows(rest.lr, decay, 1, 1) } } }),
    };
  },
};

/**
 * LoRA-RITE (Yen et al. 2024, arXiv:2410.20625), Adam whose second moment is a matrix in the r components and whose update
 * of the product does not depend on how the product is factored. For A, with L L^T = B^T B + reg 1, U = B L^-T, n the
 * length of a row of A, P = U^T U of the update before, and b the decays with their corrections,
 *
 *     g = L^-1 G_A      V = b2 P V P^T + (1 - b2) g g^T / n      M = b1 P M + (1 - b1) (V + eps 1)^-1/2 g
 *     A -> A - lr L^-T M - lr weightDecay A
 *
 * and for B with the factors exchanged. Deviations from the paper: the mass that escapes a rotation of the basis is not
 * added (the authors' PyTorch code leaves it out by default), gradients are not clipped and updates not skipped (there
 * they are, at 1), the decomposition is Cholesky's of the Gram matrix with reg in place of QR with a pseudo-inverse, eps
 * is inside the root, which is taken by Newton-Schulz steps.
 *
 * With reg 0 the trained product follows any invertible M, A' = M A, B' = B M^-1, as far as the root is exact: eigenvalues
 * of V below 10^-8 of the largest are not. Under A' = a A, B' = b B the exact rule is lr' = a b lr, eps' = eps / (a b)^2,
 * weightDecay' = weightDecay / (a b), reg_A' = b^2 reg_A, reg_B' = a^2 reg_B.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, betas outside [0, 1), unknown options; in `init`
 * for a parameter that is no factor of a pair.
 * @example
 * const optimizer = loraRite({ lr: 1e-3 });
 */
export function loraRite(options: OptimizerOptions<LoraRiteHyper>): Optimizer<LoraRiteHyper> {
  return makePairOptimizer(loraRiteRule, options);
}
