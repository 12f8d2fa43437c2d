import { field, flagOf, integer, readOptions } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { tensor } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import { wide } from "../tensor/precision.ts";
import { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { checkOptimizer, type Optimizer, type OptimizerState } from "./optimizer.ts";
import { allFinite, skipNonFinite } from "./skip.ts";

export interface LossScaleOptions {
  /** The first scale, or the only one; a power of two from 2^-24 to 2^24. Default 2^15. */
  readonly scale: number;
  /** Whether the scale follows what overflows. Default true. */
  readonly dynamic: boolean;
  /** After this many finite updates in a row a dynamic scale doubles. Default 2000. */
  readonly growthInterval: number;
}

/** An optimizer of gradients of a scaled loss. */
export interface LossScaled<H> extends Optimizer<H> {
  /** The loss times the scale of the state, in float32 where it is float16: what to differentiate. */
  scaleLoss(loss: Tensor, state: OptimizerState): Tensor;
}

interface ScaledState extends OptimizerState {
  readonly lossScale: Tensor<"float32">;
  readonly finiteInRow: Tensor<"float32">;
}

const [least, most] = [2 ** -24, 2 ** 24];
const powerOfTwo = (value: unknown) =>
  typeof value === "number" && value >= least && value <= most && Number.isInteger(Math.log2(value));

/**
 * Loss scaling (Micikevicius et al. 2018, arXiv:1710.03740): gradients of float16 that would be 0 are not, since the
 * loss is multiplied before it is differentiated, and gradients are divided again, in float32. Updates that are not
 * finite are left out (`skipNonFinite`); a dynamic scale is halved then, and doubled after `growthInterval` finite
 * updates, within 2^-24 and 2^24. As PyTorch's `GradScaler`, without reading anything on the host, so it works inside
 * of `compile`.
 *
 * Scales are powers of two, so they change no bit of a gradient that neither overflows nor underflows. The state is that
 * of `skipNonFinite`, with `lossScale` and `finiteInRow`.
 *
 * @throws ValueError for a scale that is no power of two from 2^-24 to 2^24, an interval that is no integer >= 1, or an
 *   unknown option.
 * @example
 * const optimizer = lossScaling(adamw({ lr: 1e-3 }));
 * const gradients = grad((p: typeof params) => optimizer.scaleLoss(loss(p), state))(params);
 * const [updates, next] = optimizer.update(gradients, state, params);
 */
export function lossScaling<H>(
  optimizer: Optimizer<H>,
  options: Partial<LossScaleOptions> = {},
): LossScaled<H> {
  checkOptimizer("lossScaling", optimizer);
  const { scale, dynamic, growthInterval } = readOptions<LossScaleOptions>(
    "lossScaling",
    {
      scale: field("a power of two from 2^-24 to 2^24", powerOfTwo, 2 ** 15),
      dynamic: flagOf(true),
      growthInterval: integer(1, undefined, 2000),
    },
    options,
  );
  const skipping = skipNonFinite(optimizer);
  return {
    ...skipping,
    init: (params): ScaledState => ({
      ...skipping.init(params),
      lossScale: tensor(scale),
      finiteInRow: tensor(0),
    }),
    scaleLoss: (loss, state) => {
      const whole = wide(loss);
      return whole.mul(checked(state).lossScale.astype(whole.dtype as "float32"));
    },
    update<P>(gradients: P, state: OptimizerState, params: P): [P, OptimizerState] {
      const { lossScale, finiteInRow, ...own } = checked(state);
      const inverse = inverseOf(lossScale);
      const unscaled = tree.map(gradients, (gradient) => {
        const whole = wide(gradient);
        return whole.mul(inverse.astype(whole.dtype as "float32"));
      });
      const [updates, next] = skipping.update(unscaled, own as OptimizerState, params);
      if (!dynamic) return [updates, { ...next, lossScale, finiteInRow }];
      const finite = allFinite([unscaled, updates]);
      const inRow = where(finite, finiteInRow.add(1), 0);
      const grows = inRow.ge(growthInterval);
      const moved = where(finite, where(grows, lossScale.mul(2), lossScale), lossScale.mul(0.5));
      return [updates, { ...next, lossScale: moved.clamp(least, most), finiteInRow: where(grows, 0, inRow) }];
    },
  };
}

function checked(state: OptimizerState): ScaledState {
  const { lossScale, finiteInRow } = state;
  if (!(lossScale instanceof Tensor) || !(finiteInRow instanceof Tensor))
    throw new ValueError(
      "lossScaling: the state has no lossScale. Pass the state that init or update of this optimizer returned.",
    );
  return state as ScaledState;
}

/** 2^-e of 2^e, from its bits: division may be inexact on a GPU. */
function inverseOf(power: Tensor<"float32">): Tensor<"float32"> {
  return power
    .bitcast()
    .neg()
    .add(254 * 2 ** 23)
    .bitcast();
}
