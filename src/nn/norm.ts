import { checkArgument, type Fields, flagOf, nonNegative, readOptions } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ones, zeros } from "../tensor/creation.ts";
import { checkFloatDType, floatDType, size } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer } from "./layer.ts";
import type { LinearParams } from "./linear.ts";
import { parameter } from "./params.ts";

export interface LayerNormLayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

const fields: Fields<LayerNormLayerOptions> = {
  eps: nonNegative(1e-5),
  bias: flagOf(true),
  dtype: floatDType,
};

/**
 * Layer normalisation over the last axis, of length `dim`, with weight 1 and bias 0 to begin with; see
 * `functional.layerNorm`. Parameters are `{ weight: [dim], bias?: [dim] }`.
 *
 * @throws ValueError if `dim` is not an integer >= 1.
 */
export function layerNorm(dim: number, options: LayerNormLayerOptions = {}): Layer<LinearParams> {
  const { eps = 1e-5, bias, ...given } = readOptions("layerNorm", fields, options);
  checkArgument("layerNorm", "dim", dim, size);
  const dtype = checkFloatDType("layerNorm", given.dtype);
  return {
    kind: "layerNorm",
    init: () => ({ weight: ones([dim], { dtype }), ...(bias ? { bias: zeros([dim], { dtype }) } : {}) }),
    apply: (params, x) =>
      functional.layerNorm(x, [dim], {
        weight: parameter("layerNorm", params, "weight"),
        bias: bias ? parameter("layerNorm", params, "bias") : undefined,
        eps,
      }),
  };
}
