import { ValueError } from "../base/errors.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import * as tree from "../tensor/tree.ts";
import type { Optimizer, OptimizerState } from "./optimizer.ts";

/**
 * An optimizer that acts on the mean of `count` gradients at every `count`-th update, and in between returns
 * updates of zero: gradient accumulation, `MultiSteps` of optax. Schedules of the inner optimizer count its own
 * updates. The state holds the sum of the gradients so far and the state of the inner optimizer; it traces, and
 * one compiled step serves all updates.
 *
 * The sum is linear in the gradients, so a rescaled run stays exact (the sum is divided by c).
 *
 * @throws ValueError unless `count` is an integer >= 1.
 * @example
 * const optimizer = accumulate(adamw({ lr: 1e-3 }), 4);
 * const [updates, next] = optimizer.update(gradients, state, params); // zeros three times out of four
 */
export function accumulate<H>(optimizer: Optimizer<H>, count: number): Optimizer<H> {
  if (!Number.isInteger(count) || count < 1)
    throw new ValueError(`accumulate: count is ${String(count)}; it is an integer >= 1.`);
  const every = scalar(count);
  return {
    ...optimizer,
    init: (params) => ({
      step: scalar(0),
      sum: tree.map(params, (parameter) => zerosLike(parameter)),
      inner: optimizer.init(params),
    }),
    update<P>(gradients: P, state: OptimizerState, params: P): [P, OptimizerState] {
      const { step, sum, inner } = state as Accumulated<P>; // as init made it, checked by zip and the inner update
      if (sum === undefined || inner === undefined)
        throw new ValueError(
          "accumulate: the state is of another optimizer. Pass the state that init or update of this one returned.",
        );
      const next = step.add(1);
      const due = next.sub(next.div(every).floor().mul(every)).eq(0);
      const total = tree.zip([sum, gradients], ([before, gradient]) => before!.add(gradient!));
      const mean = tree.map(total, (gradient) => gradient.div(every));
      const [updates, after] = optimizer.update(mean, inner, params);
      return [
        tree.map(updates, (update) => where(due, update, 0)),
        {
          step: next,
          sum: tree.map(total, (gradient) => where(due, 0, gradient)),
          inner: tree.zip<OptimizerState>([after, inner], ([now, before]) => where(due, now!, before!)),
        },
      ];
    },
  };
}

type Accumulated<P> = OptimizerState & { readonly sum: P; readonly inner: OptimizerState };
