import { checkArgument, type Fields, finite, flagOf, nonNegative, readOptions } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { full, ones, zeros } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { checkFloatDType, floatDType, size } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer } from "./layer.ts";
import type { LinearParams } from "./linear.ts";
import { parameter } from "./params.ts";

export interface RmsNormLayerOptions {
  /** Added to the mean square. Default 1e-6. */
  readonly eps?: number;
  /** Added to the weight, which starts at 1 - offset: 1 in Gemma. Default 0. */
  readonly offset?: number;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

const rmsFields: Fields<RmsNormLayerOptions> = {
  eps: nonNegative(1e-6),
  offset: finite(0),
  dtype: floatDType,
};

/**
 * Division by the root of the mean square over the last axis, of length `dim`; see `functional.rmsNorm`. Parameters are
 * `{ weight: [dim] }`.
 *
 * @throws ValueError if `dim` is not an integer >= 1.
 */
export function rmsNorm(dim: number, options: RmsNormLayerOptions = {}): Layer<{ readonly weight: Tensor }> {
  const { eps = 1e-6, offset = 0, ...given } = readOptions("rmsNorm", rmsFields, options);
  checkArgument("rmsNorm", "dim", dim, size);
  const dtype = checkFloatDType("rmsNorm", given.dtype);
  return {
    kind: "rmsNorm",
    init: () => ({ weight: full([dim], 1 - offset, { dtype }) }),
    apply: (params, x) => {
      const weight = parameter("rmsNorm", params, "weight");
      return functional.rmsNorm(x, offset === 0 ? weight : weight.add(offset), { eps });
    },
  };
}

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
