import type { FloatDType } from "../base/dtype.ts";
import { ones, zeros } from "../tensor/creation.ts";
import { checkFloatDType, checkNumber, checkSize } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer } from "./layer.ts";
import { parameter } from "./params.ts";

export interface LayerNormLayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

/**
 * Layer normalisation over the last axis, of length `dim`, with weight 1 and bias 0 to begin with; see
 * `functional.layerNorm`. Parameters are `{ weight: [dim], bias?: [dim] }`.
 *
 * @throws ValueError if `dim` is not an integer >= 1.
 */
export function layerNorm(
  dim: number,
  { eps = 1e-5, bias = true, dtype = "float32" }: LayerNormLayerOptions = {},
): Layer {
  checkSize("layerNorm", "dim", dim);
  checkNumber("layerNorm", "eps", eps, 0, true);
  checkFloatDType("layerNorm", dtype);
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
