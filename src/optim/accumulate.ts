import { checkArgument, flagOf, integer, readOptions } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { scalar, tensor, zerosLike } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import { wide } from "../tensor/precision.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { checkOptimizer, type Optimizer, type OptimizerState } from "./optimizer.ts";

export interface AccumulateOptions {
  /** Whether each gradient comes with a weight. Default false. */
  readonly weighted: boolean;
}

/** An optimizer of the mean of several gradients. */
export interface Accumulating<H> extends Optimizer<H> {
  /**
   * As of any optimizer. `weight`, with `weighted` only, is what the gradient is a mean over, such as the number of
   * tokens that were not ignored: a number >= 0 or a tensor of one element.
   */
  update<P>(
    gradients: P,
    state: OptimizerState,
    params: P,
    weight?: number | Tensor,
  ): [updates: P, state: OptimizerState];
}

/**
 * An optimizer that acts on the mean of `count` gradients at every `count`-th update, and in between returns
 * updates of zero: gradient accumulation, `MultiSteps` of optax. Schedules of the inner optimizer count its own
 * updates. The state holds the sum of the gradients so far and the state of the inner optimizer; it traces, and
 * one compiled step serves all updates. Sums of float16 gradients are float32.
 *
 * The mean of means over parts of unequal length is not the mean over all of it. With `weighted` each gradient comes with
 * the number of tokens that its loss is a mean over, and the sum of weight * gradient is divided by the sum of the
 * weights: the gradient of the mean over all tokens. A part of weight 0, whose own mean is NaN, does not count.
 *
 * The sum is linear in the gradients, so a rescaled run stays exact (the sum is divided by c).
 *
 * @throws ValueError unless `count` is an integer >= 1, for unknown options, and for a weight that is missing or not
 *   wanted.
 * @example
 * const optimizer = accumulate(adamw({ lr: 1e-3 }), 4, { weighted: true });
 * const tokens = labels.ne(-100).astype("float32").sum();
 * const [updates, next] = optimizer.update(gradients, state, params, tokens); // zeros three times out of four
 */
export function accumulate<H>(
  optimizer: Optimizer<H>,
  count: number,
  options: Partial<AccumulateOptions> = {},
): Accumulating<H> {
  checkOptimizer("accumulate", optimizer);
  const every = scalar(checkArgument("accumulate", "count", count, integer(1)));
  const { weighted } = readOptions<AccumulateOptions>("accumulate", { weighted: flagOf(false) }, options);
  return {
    ...optimizer,
    init: (params) => ({
      step: scalar(0),
      sum: tree.map(params, (parameter) => zerosLike(wide(parameter))),
      ...(weighted && { weight: tensor(0) }),
      inner: optimizer.init(params),
    }),
    update<P>(gradients: P, state: OptimizerState, params: P, weight?: number | Tensor): [P, OptimizerState] {
      const { step, sum, weight: before, inner } = state as Accumulated<P>; // as init made it, checked by zip and the inner update
      if (sum === undefined || inner === undefined || (before !== undefined) !== weighted)
        throw new ValueError(
          "accumulate: the state is of another optimizer. Pass the state that init or update of this one returned.",
        );
      const next = step.add(1);
      // Half an update more keeps the quotient away from whole numbers, where a GPU's rounding would decide.
      const due = next.sub(next.add(0.5).div(every).floor().mul(every)).eq(0);
      const own = weighted ? checkWeight(weight) : undefined;
      if (!weighted && weight !== undefined)
        throw new ValueError(
          "accumulate: a weight is given and this optimizer takes none. Make it with { weighted: true }.",
        );
      const total = tree.zip([sum, gradients], ([before, gradient]) => {
        const whole = wide(gradient!);
        // The mean over no tokens is NaN.
        const counted = own ? where(own.eq(0), 0, whole.mul(own.astype(whole.dtype as "float32"))) : whole;
        return before!.add(counted);
      });
      const weights = own && before!.add(own);
      const mean = tree.map(total, (gradient) =>
        gradient.div(weights ? where(weights.eq(0), 1, weights).astype(gradient.dtype as "float32") : every),
      );
      const [updates, after] = optimizer.update(mean, inner, params);
      return [
        tree.map(updates, (update) => where(due, update, 0)),
        {
          step: next,
          sum: tree.map(total, (gradient) => where(due, 0, gradient)),
          ...(weights && { weight: where(due, 0, weights) }),
          inner: tree.zip<OptimizerState>([after, inner], ([now, before]) => where(due, now!, before!)),
        },
      ];
    },
  };
}

type Accumulated<P> = OptimizerState & {
  readonly sum: P;
  readonly weight?: Tensor<"float32">;
  readonly inner: OptimizerState;
};

function checkWeight(weight: unknown): Tensor<"float32"> {
  if (typeof weight === "number" && weight >= 0 && weight < Infinity) return scalar(weight).astype("float32");
  if (weight instanceof Tensor && weight.size === 1) return weight.astype("float32").reshape([]);
  throw new ValueError(
    `accumulate: the weight is ${weight === undefined ? "missing" : String(weight)}; with weighted it is a number >= 0 or a tensor of one element, what the gradient is a mean over.`,
  );
}
