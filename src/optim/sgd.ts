import { onesLike, scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { flag, nonNegative, type OptimizerOptions, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, shrinking, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of stochastic gradient descent. */
export interface SgdHyper {
  readonly lr: number;
  /** Share of the velocity that stays. Default 0: no velocity is kept. */
  readonly momentum: number;
  /** The velocity takes 1 - dampening of each gradient after the first. Default 0. */
  readonly dampening: number;
  /** Look ahead: step along gradient + momentum * velocity. Default false. */
  readonly nesterov: boolean;
  /** Added to the gradient as weightDecay * parameter (L2). Default 0. */
  readonly weightDecay: number;
  /** Shrink the parameter by lr * weightDecay instead of adding to the gradient. Default false. */
  readonly decoupledWeightDecay: boolean;
}

/** Descent along the gradient and nothing else. */
export const plain = { momentum: 0, dampening: 0, nesterov: false, decoupledWeightDecay: false } as const;

type SgdSlots = { readonly velocity?: Tensor };

/**
 * At a constant rate, momentum mu and dampening d with a decay w in the gradient make the updates of momentum d with a
 * decoupled decay where mu = d (1 - lr w): both are p' = (1 + d - lr w) p - mu p'' - lr (1 - d) g of the two values before. Those
 * numbers, if it is so.
 */
export function decoupled<H extends SgdHyper>(hyper: H): H | undefined {
  const { lr, momentum, dampening, weightDecay, decoupledWeightDecay } = hyper;
  if (momentum === 0 || weightDecay === 0 || decoupledWeightDecay) return undefined;
  const due = dampening * (1 - lr * weightDecay);
  if (Math.abs(momentum - due) > 4 * Number.EPSILON * due) return undefined;
  return { ...hyper, momentum: dampening, decoupledWeightDecay: true };
}

/** The update rule of `sgd`. */
export const sgdRule: Rule<SgdHyper, SgdSlots> = {
  name: "sgd",
  fields: {
    lr: required,
    momentum: nonNegative(0),
    dampening: nonNegative(0),
    nesterov: flag,
    weightDecay: nonNegative(0),
    decoupledWeightDecay: flag,
  },
  conflict: ({ nesterov, momentum, dampening }) =>
    nesterov && (momentum === 0 || dampening !== 0)
      ? `nesterov needs momentum > 0 and dampening 0; given momentum ${momentum} and dampening ${dampening}.`
      : undefined,
  slots: (parameter, { momentum }) => (momentum === 0 ? {} : { velocity: zerosLike(parameter) }),
  step: ({ momentum, dampening, nesterov, weightDecay, decoupledWeightDecay }, lr, t) => {
    const [mu, wd] = [scalar(momentum), scalar(weightDecay)];
    // The first velocity is the gradient itself, whatever the dampening.
    const whole = onesLike(t);
    const taken = where(t.eq(1), whole, whole.mul(scalar(1 - dampening)));
    const down = lr.neg();
    const shrink = lr.mul(wd);
    return (gradient, parameter, { velocity }) => {
      const g = decoupledWeightDecay ? gradient : gradient.add(parameter.mul(wd));
      const next = velocity?.mul(mu).add(g.mul(taken));
      const direction = next === undefined ? g : nesterov ? g.add(next.mul(mu)) : next;
      const change = direction.mul(down);
      return [
        decoupledWeightDecay ? change.sub(parameter.mul(shrink)) : change,
        next === undefined ? {} : { velocity: next },
      ];
    };
  },
  scaling: {
    // One power for both forms of decay: the learning rate's is 2.
    hyper: () => ({
      lr: 2,
      weightDecay: -2,
      decoupledWeightDecay: 0,
      momentum: 0,
      dampening: 0,
      nesterov: 0,
    }),
    state: () => ({ velocity: -1 }),
    dividesZeroByZero: () => false,
  },
  essence: ({ momentum, dampening, weightDecay, decoupledWeightDecay, ...rest }) => {
    if (rest.lr === 0) return still;
    const own = withoutZeros({
      ...rest,
      momentum,
      dampening: momentum === 0 ? 0 : dampening,
      weightDecay,
      decoupledWeightDecay: decoupledWeightDecay && weightDecay !== 0,
    });
    // Without momentum, what is added to the gradient shrinks the parameter all the same.
    const joint = decoupledWeightDecay || momentum === 0 ? shrinking(rest.lr * weightDecay) : {};
    return { rule: "sgd", reads: "gradients", hyper: own, joint };
  },
};

/**
 * Stochastic gradient descent as in PyTorch, with g the gradient plus `weightDecay` times the parameter p:
 *
 *     v = g at the first update, then momentum v + (1 - dampening) g
 *     p = p - lr v, or with nesterov p - lr (g + momentum v)
 *
 * With `decoupledWeightDecay` the decay leaves g alone and p shrinks by `lr * weightDecay * p`. Without momentum
 * there is no state. Every hyperparameter may differ per group.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, Nesterov without momentum, unknown
 * options.
 * @example
 * const optimizer = sgd({ lr: 0.1, momentum: 0.9, groups: [{ match: "bias", weightDecay: 0, lr: 0.2 }] });
 */
export function sgd(options: OptimizerOptions<SgdHyper>): Optimizer<SgdHyper> {
  return makeOptimizer(sgdRule, options);
}
