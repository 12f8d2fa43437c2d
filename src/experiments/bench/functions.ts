import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import * as optim from "../../optim/index.ts";
import { valueAndGrad } from "../../tensor/grad.ts";
import type { Packed } from "../../tensor/packed.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type TransformerSizes, transformer } from "./transformer.ts";

// What is timed, as pure functions of tensors: here, and beside other engines.

export function matmul(a: Tensor, b: Tensor): Tensor {
  return a.matmul(b);
}

/** Operands of float16, a result of float32. */
export function matmulOfHalf(a: Tensor, b: Tensor): Tensor {
  return a.astype("float32").matmul(b.astype("float32"));
}

/** Little arithmetic on much memory: relu(x y + 0.5) x. */
export function chain(x: Tensor, y: Tensor): Tensor {
  return x.mul(y).add(0.5).maximum(0).mul(x);
}

export function softmax(x: Tensor): Tensor {
  return x.softmax(-1);
}

export function layerNorm(x: Tensor, weight?: Tensor, bias?: Tensor): Tensor {
  return nn.functional.layerNorm(x, x.shape.slice(-1), { weight, bias });
}

/** A frozen linear map without bias, `x W0^T`. */
export function frozenLinear(x: Tensor, weight: Tensor): Tensor {
  return nn.functional.linear(x, weight);
}

/** Parameters of an adapter: A `[r, in]` and B `[out, r]`. */
export interface Adapter {
  readonly [name: string]: Tensor;
  readonly loraA: Tensor;
  readonly loraB: Tensor;
}

/** `x W0^T + (alpha / r) (x A^T) B^T` with alpha = 16; W0 may be in packed storage. */
export function loraLinear(x: Tensor, weight: Tensor | Packed, adapter: Adapter): Tensor {
  const [r, inputs] = adapter.loraA.shape as [number, number]; // a matrix
  const base = nn.linear(inputs, adapter.loraB.shape[0]!, { bias: false });
  return lora.linear(base, { r, alpha: 16 }).apply({ weight, ...adapter }, x);
}

/** Parameters and what Adam keeps of them. */
export interface Trained<P> {
  readonly params: P;
  readonly state: optim.OptimizerState;
}

// An eps at the scale of these gradients: below it, elements whose gradient is nearly zero magnify the rounding of
// the gradient, and the answer could not be checked strictly.
const optimizer = optim.adam({ lr: 1e-3, eps: 1e-4 });

/** Before the first step. */
export function trained<P>(params: P): Trained<P> {
  return { params, state: optimizer.init(params) };
}

function adamStep<P>({ params, state }: Trained<P>, loss: (params: P) => Tensor) {
  const [value, gradients] = valueAndGrad(loss)(params);
  const [updates, next] = optimizer.update(gradients, state, params);
  return { loss: value, params: optim.applyUpdates(params, updates), state: next };
}

/** One step of Adam on A and B, with the mean squared error. */
export function loraStep(adapter: Trained<Adapter>, weight: Tensor | Packed, x: Tensor, target: Tensor) {
  return adamStep(adapter, (params) => nn.mseLoss(loraLinear(x, weight, params), target));
}

/** One step of Adam on a perceptron with GELU between its layers, with the mean squared error. */
export function mlpStep(net: Trained<nn.Params>, sizes: readonly number[], x: Tensor, target: Tensor) {
  const layers = nn.mlp(sizes);
  return adamStep(net, (params) => nn.mseLoss(layers.apply(params, x), target));
}

/** One step of Adam on a transformer, with the cross entropy of the next tokens; ids are int32 `[batch, context]`. */
export function gptStep(
  net: Trained<nn.Params>,
  sizes: TransformerSizes,
  tokens: Tensor<"int32">,
  targets: Tensor<"int32">,
) {
  const model = transformer(sizes);
  return adamStep(net, (params) =>
    nn.crossEntropy(model.apply(params, tokens).reshape([-1, sizes.vocabulary]), targets.reshape([-1])),
  );
}

/** `count` additions, one after the other. */
export function tinyAdds(x: Tensor, y: Tensor, count: number): Tensor {
  let sum = x;
  for (let i = 0; i < count; i++) sum = sum.add(y);
  return sum;
}
