import { type FloatDType, isFloat } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import type { Embedding } from "../nn/embedding.ts";
import * as functional from "../nn/functional.ts";
import type { Context, Params } from "../nn/layer.ts";
import type { Linear } from "../nn/linear.ts";
import { isPacked, unpack } from "../tensor/packed.ts";
import { inDType, wide } from "../tensor/precision.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type AdapterConfig, checkAdapterConfig } from "./config.ts";
import { type Factors, rowFactors } from "./dora.ts";
import { applyScaling, type Scaling, scaling } from "./scaling.ts";

/** A layer that can be adapted. */
export type Adaptable = Linear | Embedding;

/**
 * One adapter of one layer. Functions take its own parameters, `{ loraA, loraB, loraBias?, loraMagnitude? }`, and
 * those of the layer it adapts, `{ weight, bias? }`.
 */
export interface Adapter {
  readonly layer: Adaptable;
  readonly config: AdapterConfig;
  readonly scaling: Scaling;
  /** What it adds to the output of the layer; float32 of its own float32 parameters, whatever the layer's dtype is. */
  readonly branch: (own: Params, base: Params, x: Tensor, context: Context) => Tensor;
}

/** The adapter of a linear layer or an embedding; `linear` and `embedding` say what it computes. */
export function adapterOf(layer: Adaptable, config: AdapterConfig): Adapter {
  checkAdapterConfig(config);
  if (config.dora && layer.kind === "embedding")
    throw new ValueError("lora: dora adapts linear layers; the target is an embedding. Leave it out.");
  const factor = scaling(config);
  return {
    layer,
    config,
    scaling: factor,
    branch: (own, base, x, context) => {
      const { loraA, loraB, loraBias, loraMagnitude } = adapterParams(own);
      if (layer.kind === "embedding") {
        const rows = functional.embedding(x, loraA.transpose());
        return applyScaling(factor, rows.matmul(loraB.transpose()));
      }
      const input = functional.dropout(x, config.dropout ?? 0, context);
      const product = inDType(input, loraA).matmul(loraA.transpose()).matmul(loraB.transpose());
      const branch = applyScaling(factor, loraBias ? product.add(loraBias) : product);
      if (!loraMagnitude) return branch;
      const weight = weightOf(layer, base);
      const factors = rowFactors({ weight, loraA, loraB }, loraMagnitude, factor);
      const output = wide(functional.linear(input, weight));
      return factors
        .sub(1)
        .mul(output)
        .add(factors.mul(wide(branch)));
    },
  };
}

/** `[in, out]` of the linear map whose change is B A: an embedding is one of one-hot vectors. */
export function sizesOf(layer: Adaptable): readonly [inputs: number, outputs: number] {
  return layer.kind === "linear" ? [layer.in, layer.out] : [layer.vocabulary, layer.dim];
}

/** The scaled product, in the dtype of the adapter, as it lies in the weight: `[out, in]` of a linear layer, `[vocabulary, dim]` of an embedding. */
export function weightDelta({ layer, scaling }: Adapter, own: Params): Tensor {
  const { loraA, loraB } = adapterParams(own);
  const product = loraB.matmul(loraA);
  return applyScaling(scaling, layer.kind === "linear" ? product : product.transpose());
}

export interface AdapterTensors extends Pick<Factors, "loraA" | "loraB"> {
  readonly loraBias?: Tensor;
  readonly loraMagnitude?: Tensor;
}

/** The tensors of an adapter. */
export function adapterParams({ loraA, loraB, loraBias, loraMagnitude }: Params): AdapterTensors {
  if (!(loraA instanceof Tensor) || !(loraB instanceof Tensor)) {
    throw new ValueError(
      "lora: the parameters have no loraA and loraB here. Add them with the adapted model's init(key, baseParams), or combine both parts of a partition.",
    );
  }
  return {
    loraA,
    loraB,
    ...(loraBias instanceof Tensor && { loraBias }),
    ...(loraMagnitude instanceof Tensor && { loraMagnitude }),
  };
}

/** The weight of an adapted layer, checked; one in packed storage is unpacked where it is used. */
export function weightOf(layer: Adaptable, base: Params): Tensor<FloatDType> {
  const weight = isPacked(base.weight) ? unpack(base.weight) : base.weight;
  const shape = layer.kind === "linear" ? [layer.out, layer.in] : [layer.vocabulary, layer.dim];
  if (!(weight instanceof Tensor) || weight.shape.join() !== shape.join()) {
    throw new ShapeError(
      `lora: the base parameters have the weight ${String(weight)}; expected [${shape.join(",")}]. Pass the parameters of the adapted model.`,
    );
  }
  if (!isFloat(weight.dtype))
    throw new ValueError(`lora: the weight is ${weight}; adapters are added to floats.`);
  return weight as Tensor<FloatDType>; // just checked
}
