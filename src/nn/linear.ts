import { checkArgument, type Fields, flagOf, optional, readOptions } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { uniform } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aKey, checkFloatDType, floatDType, initializer, size } from "./check.ts";
import * as functional from "./functional.ts";
import { type Initializer, kaimingUniform } from "./initializers.ts";
import type { AnyLayer, Layer } from "./layer.ts";
import { parameter } from "./params.ts";

export type LinearParams = { readonly weight: Tensor; readonly bias?: Tensor };

/** A linear layer; its parameters are `{ weight: [out, in], bias?: [out] }`. */
export interface Linear extends Layer<LinearParams> {
  readonly kind: "linear";
  readonly in: number;
  readonly out: number;
}

export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Initial weight. Default `initializers.kaimingUniform`, so uniform in +-1/sqrt(in). */
  readonly init?: Initializer;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

/** The options of `linear`, which `mlp` takes too. */
export const linearFields: Fields<LinearOptions> = {
  bias: flagOf(true),
  init: optional(initializer),
  dtype: floatDType,
};

/**
 * y = x W^T + b, `[..., inputs]` to `[..., outputs]`, with PyTorch's initial values: weight by `init`, bias
 * uniform in +-1/sqrt(inputs).
 *
 * @throws ValueError for sizes that are not integers >= 1.
 * @example
 * const layer = linear(64, 10);
 * const y = layer.apply(layer.init(random.key(0)), ones([5, 64])); // float32[5,10]
 */
export function linear(inputs: number, outputs: number, options: LinearOptions = {}): Linear {
  const { bias, init = kaimingUniform, ...given } = readOptions("linear", linearFields, options);
  checkArgument("linear", "in", inputs, size);
  checkArgument("linear", "out", outputs, size);
  const dtype = checkFloatDType("linear", given.dtype);
  const bound = 1 / Math.sqrt(inputs);
  return {
    kind: "linear",
    in: inputs,
    out: outputs,
    init: (key) => ({
      weight: init(checkArgument("linear", "the key", key, aKey).fold("weight"), [outputs, inputs]).astype(
        dtype,
      ),
      ...(bias
        ? { bias: uniform(key.fold("bias"), [outputs], { min: -bound, max: bound }).astype(dtype) }
        : {}),
    }),
    apply: (params, x) =>
      functional.linear(
        x,
        parameter("linear", params, "weight"),
        bias ? parameter("linear", params, "bias") : undefined,
      ),
  };
}

/** Whether a layer is one that `linear` made. */
export function isLinear(layer: AnyLayer): layer is Linear {
  return layer.kind === "linear";
}
