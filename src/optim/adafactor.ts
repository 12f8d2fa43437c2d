import { positive } from "../base/arguments.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { averageWith } from "./average.ts";
import { flag, nonNegative, type OptimizerOptions, optional, required } from "./hyper.ts";
import type { Optimizer } from "./optimizer.ts";
import { makeOptimizer, type Rule, rateThatGrows, shrinking, still, withoutZeros } from "./rule.ts";

/** Hyperparameters of Adafactor. */
export interface AdafactorHyper {
  /** The step as a share of the parameter's size; its size itself with `scaleParameter: false`. */
  readonly lr: number;
  /** The averages of update t forget the share t^-decayRate. Default 0.8. */
  readonly decayRate: number;
  /** Added to the squares of gradients. Default 1e-30. */
  readonly epsGradient: number;
  /** The least size of a parameter that the step is a share of. Default 1e-3. */
  readonly epsParameter: number;
  /** Updates whose root of the mean square is larger are shortened to it. Default 1. */
  readonly clipThreshold: number;
  /** p shrinks by lr * weightDecay * p. Default 0. */
  readonly weightDecay: number;
  /** Whether the step is a share of the parameter's size. Default true; false as in the Trainer of Transformers. */
  readonly scaleParameter?: boolean;
}

/** Averages of squared gradients: of rows and columns, or of each number where there is one axis at most. */
type AdafactorSlots = { readonly rows?: Tensor; readonly columns?: Tensor; readonly v?: Tensor };

const rowsOf = (x: Tensor) => x.mean([-1], { keepdim: true });
const columnsOf = (x: Tensor) => x.mean([-2], { keepdim: true });

/** The update rule of `adafactor`. */
export const adafactorRule: Rule<AdafactorHyper, AdafactorSlots> = {
  name: "adafactor",
  fields: {
    lr: required,
    decayRate: nonNegative(0.8),
    epsGradient: nonNegative(1e-30),
    epsParameter: nonNegative(1e-3),
    clipThreshold: positive(1),
    weightDecay: nonNegative(0),
    scaleParameter: optional(flag),
  },
  slots: (parameter) =>
    parameter.rank < 2
      ? { v: zerosLike(parameter) }
      : { rows: zerosLike(rowsOf(parameter)), columns: zerosLike(columnsOf(parameter)) },
  step: ({ scaleParameter = true, ...hyper }, lr, t) => {
    const average = averageWith(scalar(1).sub(t.pow(scalar(-hyper.decayRate))));
    const [eps, least] = [scalar(hyper.epsGradient), scalar(hyper.epsParameter)];
    const [threshold, down, shrink] = [
      scalar(hyper.clipThreshold),
      lr.neg(),
      lr.mul(scalar(hyper.weightDecay)),
    ];
    return (gradient, parameter, slots) => {
      const square = gradient.square().add(eps);
      const [direction, next] = divided(gradient, square, slots, average.of);
      const unit = direction.div(rms(direction).div(threshold).maximum(1));
      const size = scaleParameter ? rms(parameter).maximum(least) : undefined;
      const change = (size ? unit.mul(size) : unit).mul(down);
      return [change.sub(parameter.mul(shrink)), next];
    };
  },
  scaling: {
    hyper: ({ scaleParameter = true }) => ({
      lr: scaleParameter ? 0 : 1,
      decayRate: 0,
      epsGradient: -2,
      epsParameter: scaleParameter ? 1 : 0, // has no effect then
      clipThreshold: 0,
      weightDecay: scaleParameter ? 0 : -1,
      scaleParameter: 0,
    }),
    state: () => ({ rows: -2, columns: -2, v: -2 }),
    dividesZeroByZero: ({ epsGradient }) => epsGradient === 0,
    norms: true,
  },
  essence: ({ lr, weightDecay, epsGradient, epsParameter, scaleParameter = true, ...rest }) => {
    if (lr === 0 && epsGradient > 0) return still;
    const decay = lr * weightDecay;
    // A step that is a share of the parameter, whatever the gradient's size, now and before.
    const free = lr > 0 && scaleParameter && epsParameter === 0 && epsGradient === 0 && rest.decayRate === 0;
    return {
      rule: "adafactor",
      reads: "gradients",
      hyper: {
        ...{ lr, scaleParameter, ...rest },
        ...withoutZeros({ epsGradient, weightDecay, ...(scaleParameter && { epsParameter }) }),
      },
      joint: shrinking(decay),
      ...(scaleParameter && epsParameter === 0 && epsGradient > 0 && { staysZero: true }),
      ...(free && { grows: { power: 1, decay, numbers: { lr: rateThatGrows(lr, decay, 0, 0) } } }),
    };
  },
};

/** A gradient over the root of its mean squares, and the averages after it. */
function divided(
  gradient: Tensor,
  square: Tensor,
  { rows, columns, v }: AdafactorSlots,
  average: (old: Tensor, x: Tensor) => Tensor,
): readonly [direction: Tensor, slots: AdafactorSlots] {
  if (!rows || !columns) {
    const next = average(v!, square); // a parameter has one or the other
    return [gradient.div(next.sqrt()), { v: next }];
  }
  const next = { rows: average(rows, rowsOf(square)), columns: average(columns, columnsOf(square)) };
  // One root after the other: the product of two averages may be too small for float32 where each is not.
  const share = next.rows.div(next.rows.mean([-2], { keepdim: true }));
  return [gradient.div(share.sqrt()).div(next.columns.sqrt()), next];
}

/** The root of the mean square. */
function rms(x: Tensor): Tensor {
  return x.square().mean().sqrt();
}

/**
 * Adafactor (Shazeer and Stern 2018, arXiv:1804.04235), whose second moments are averages of rows and of columns: for a
 * matrix `[n, k]` n + k numbers of state. With g the gradient, p the parameter, R and C averages over columns and over
 * rows of g^2 + epsGradient in which the newest has the share t^-decayRate, and rms the root of the mean square,
 *
 *     u = g / sqrt(R C / mean(R))        u = u / max(1, rms(u) / clipThreshold)
 *     p = p - lr max(epsParameter, rms(p)) u - lr weightDecay p
 *
 * Vectors have an average of each number; of more than two axes the last two are the matrix. There is no momentum, which
 * the paper found unneeded. The numbers are as in `torch.optim.Adafactor` (beta2_decay is -decayRate, d is clipThreshold)
 * but for two deviations. `epsGradient` is added to squares, as in the paper and in Transformers; PyTorch's eps1 bounds one
 * average of squares by eps1 and another by eps1^2, which no rule can follow when a tensor is scaled. And the rate is `lr`
 * times the schedule, without a bound: the relative step of both, min(lr, 1 / sqrt(t)), is
 * `schedule: (step) => step.add(1).pow(-0.5).div(lr).minimum(1)`. Under p' = c p the exact rule is lr' = lr,
 * epsGradient' = epsGradient / c^2, epsParameter' = c epsParameter; with `scaleParameter: false` it is lr' = c lr,
 * weightDecay' = weightDecay / c.
 *
 * @throws ValueError for hyperparameters that are negative or not finite, a threshold of 0, unknown options.
 * @example
 * const optimizer = adafactor({ lr: 1e-2 });
 */
export function adafactor(options: OptimizerOptions<AdafactorHyper>): Optimizer<AdafactorHyper> {
  return makeOptimizer(adafactorRule, options);
}
