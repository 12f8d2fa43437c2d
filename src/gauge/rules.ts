import { ValueError } from "../base/errors.ts";
import type { HyperOf, OptimizerName } from "../optim/make.ts";

/**
 * How an optimizer's numbers follow a parameter that is multiplied by c, its gradients then being divided by c:
 * each is multiplied by c to the power given here. With them the optimizer makes c theta wherever it made theta.
 */
export interface Rule<H = Readonly<Record<string, unknown>>> {
  /** The power for each hyperparameter. */
  readonly hyper: { readonly [K in keyof H]: number };
  /** The power for each tensor of the state, by its slot. */
  readonly state: Readonly<Record<string, number>>;
  /** Whether the first update divides 0 by 0 where the gradient is 0 and eps is 0. */
  readonly dividesByRoot: boolean;
}

/**
 * The exact rules, by the optimizer's name. Why they hold: an update that is homogeneous of degree d in the
 * gradient needs a learning rate times c^(1+d); SGD has d = 1, Adam d = 0. What is added to the gradient must
 * scale as it does, c^-1: `weightDecay * p` when coupled. What is added to the root of the second moment must
 * scale as that, c^-1: eps. What is multiplied into the parameter must not scale: `lr * weightDecay` when
 * decoupled.
 */
export const rules: { readonly [N in OptimizerName]: Rule<HyperOf[N]> } = {
  sgd: {
    // One power for both forms of decay: the learning rate's is 2.
    hyper: { lr: 2, weightDecay: -2, decoupledWeightDecay: 0, momentum: 0, dampening: 0, nesterov: 0 },
    state: { velocity: -1 },
    dividesByRoot: false,
  },
  adam: {
    hyper: { lr: 1, eps: -1, weightDecay: -2, betas: 0 },
    state: { m: -1, v: -2 },
    dividesByRoot: true,
  },
  adamw: {
    hyper: { lr: 1, eps: -1, weightDecay: -1, betas: 0 },
    state: { m: -1, v: -2 },
    dividesByRoot: true,
  },
};

/**
 * The rule of an optimizer.
 *
 * @throws ValueError for an optimizer without an exact rule.
 */
export function ruleOf(operation: string, optimizer: string): Rule {
  if (!Object.hasOwn(rules, optimizer)) {
    throw new ValueError(
      `${operation}: no exact rule is known for the optimizer ${JSON.stringify(optimizer)}. There are rules for ${Object.keys(rules).join(", ")}.`,
    );
  }
  return rules[optimizer as OptimizerName]; // the line above looked it up
}

/** c to a whole power by multiplications and one division, which are exact for powers of two. */
export function power(c: number, exponent: number): number {
  let product = 1;
  for (let i = 0; i < Math.abs(exponent); i++) product *= c;
  return exponent < 0 ? 1 / product : product;
}
