import { fraction, readOptions } from "../base/arguments.ts";
import { wide } from "../tensor/precision.ts";
import { map, zip } from "../tensor/tree.ts";
import { averageWith } from "./average.ts";

/** An exponential moving average of parameters. */
export interface Ema {
  /** A copy of the parameters, from which the average starts; float32 of float16. */
  init<P>(params: P): P;
  /** decay average + (1 - decay) parameters, in the dtype that `init` gives. */
  update<P>(average: P, params: P): P;
}

/**
 * The exponential moving average of weights, as `AveragedModel` of PyTorch with `get_ema_multi_avg_fn`: it starts
 * as a copy of the parameters, so there is no bias to correct. The average of rescaled parameters is the rescaled
 * average. The average of float16 is float32: what one update changes is below half a unit of float16.
 *
 * @throws ValueError unless decay is at least 0 and below 1.
 * @example
 * const average = ema({ decay: 0.999 });
 * let shadow = average.init(params);
 * shadow = average.update(shadow, params); // after each update of params
 */
export function ema(options: { readonly decay: number }): Ema {
  const { decay } = readOptions("ema", { decay: fraction() }, options);
  const moving = averageWith(decay);
  return {
    // A product with 1 is exact, and a tensor of its own: either may be donated.
    init: (params) => map(params, (parameter) => wide(parameter).mul(1)),
    update: (average, params) =>
      zip([average, params], ([old, parameter]) => moving.of(wide(old!), wide(parameter!))),
  };
}
