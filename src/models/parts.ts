import * as nn from "../nn/index.ts";
import type { Layer } from "../nn/layer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Architecture } from "./architecture.ts";

/** A linear layer with the architecture's initial values. */
export function linear(
  { initialStd }: Architecture,
  inputs: number,
  outputs: number,
  bias: boolean,
): nn.Linear {
  return nn.linear(inputs, outputs, {
    bias,
    init: (key, shape) => nn.initializers.normal(key, shape, { std: initialStd }),
  });
}

/** The architecture's norm of vectors of a length. */
export function normOf(
  { norm: { kind, eps, offset } }: Architecture,
  length: number,
): Layer<{ readonly weight: Tensor }> {
  return kind === "rms" ? nn.rmsNorm(length, { eps, offset }) : nn.layerNorm(length, { eps });
}
