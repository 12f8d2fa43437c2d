import { type FloatDType, isFloat } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import * as functional from "../nn/functional.ts";
import type { Context, Params } from "../nn/layer.ts";
import { isPacked, unpack } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type AdapterConfig, checkAdapterConfig } from "./config.ts";
import { type Adaptable, hostOf } from "./hosts.ts";
import { adapterTensors, kindFor } from "./kinds/index.ts";
import { type AdapterKind, plain, type Site, type Tensors } from "./kinds/kind.ts";
import { applyScaling, type Scaling, scaling } from "./scaling.ts";

/**
 * One adapter of one layer. Functions take its own parameters, `{ loraA, loraB }` and those of its kind, and
 * those of the layer it adapts, `{ weight, bias? }`.
 */
export interface Adapter {
  readonly layer: Adaptable;
  readonly config: AdapterConfig;
  readonly kind: AdapterKind;
  readonly scaling: Scaling;
  /** What it adds to the output of the layer; float32 of its own float32 parameters, whatever the layer's dtype is. */
  readonly branch: (own: Params, base: Params, x: Tensor, context: Context) => Tensor;
}

/** The adapter of a layer that can have one; `linear`, `embedding` and `convolution` say what it computes. */
export function adapterOf(layer: Adaptable, config: AdapterConfig): Adapter {
  checkAdapterConfig(config);
  const asked = kindFor(config);
  const kind: AdapterKind = asked.plainOn?.includes(layer.kind) ? plain : asked;
  if (!kind.adapts.includes(layer.kind))
    throw new ValueError(
      `lora: ${kind.option?.name} adapts ${kind.adapts.join(", ")} layers; the target is ${layer.kind === "embedding" ? "an" : "a"} ${layer.kind}. Leave it out.`,
    );
  const { drops, product, refuses } = hostOf(layer);
  const reason = refuses?.(layer);
  if (reason !== undefined)
    throw new ValueError(
      `lora: the target is a ${layer.kind} that has no adapter: ${reason}. Leave it out of targetModules.`,
    );
  const adapter: Adapter = {
    layer,
    config,
    kind,
    scaling: scaling(config),
    branch: (own, base, x, context) => {
      const tensors = tensorsOf(adapter, own);
      const input = drops ? functional.dropout(x, config.dropout ?? 0, context) : x;
      return kind.branch(
        siteOf(adapter, base),
        tensors,
        product(input, tensors.loraA, tensors.loraB, layer),
        input,
      );
    },
  };
  return adapter;
}

/** An adapter beside the parameters of its layer. */
export function siteOf({ layer, scaling }: Adapter, base: Params): Site {
  return {
    layer,
    base,
    scaling,
    get weight() {
      return weightOf(layer, base);
    },
  };
}

/** The scaled product, in the dtype of the adapter, in the shape of the weight and as it lies there. */
export function weightDelta(adapter: Adapter, own: Params): Tensor {
  const { loraA, loraB } = tensorsOf(adapter, own);
  const { across, weight } = hostOf(adapter.layer);
  const product = loraB.matmul(loraA);
  const shape = weight(adapter.layer);
  const change = across ? product.transpose() : shape.length === 2 ? product : product.reshape(shape);
  return applyScaling(adapter.scaling, change);
}

/**
 * The tensors of an adapter.
 *
 * @throws ValueError where one of its kind is missing, or there is one of another.
 */
export function tensorsOf({ kind }: Pick<Adapter, "kind">, own: Params): Tensors {
  const { loraA, loraB } = own;
  if (!(loraA instanceof Tensor) || !(loraB instanceof Tensor))
    throw new ValueError(
      "lora: the parameters have no loraA and loraB here. Add them with the adapted model's init(key, baseParams), or combine both parts of a partition.",
    );
  const tensors: Record<string, Tensor> = {};
  for (const { name } of adapterTensors) {
    const value = own[name];
    const expected =
      name === "loraA" || name === "loraB" || kind.tensors.some((tensor) => tensor.name === name);
    if (value instanceof Tensor !== expected)
      throw new ValueError(
        `lora: the parameters have ${expected ? "no" : "a"} ${name} here, and the adapter is ${kind.title}. Pass the parameters of this model.`,
      );
    if (value instanceof Tensor) tensors[name] = value;
  }
  return { loraA, loraB, ...tensors };
}

/** The weight of an adapted layer, checked; one in packed storage is unpacked where it is used. */
export function weightOf(layer: Adaptable, base: Params): Tensor<FloatDType> {
  const weight = isPacked(base.weight) ? unpack(base.weight) : base.weight;
  const shape = hostOf(layer).weight(layer);
  if (!(weight instanceof Tensor) || weight.shape.join() !== shape.join()) {
    throw new ShapeError(
      `lora: the base parameters have the weight ${String(weight)}; expected [${shape.join(",")}]. Pass the parameters of the adapted model.`,
    );
  }
  if (!isFloat(weight.dtype))
    throw new ValueError(`lora: the weight is ${weight}; adapters are added to floats.`);
  return weight as Tensor<FloatDType>; // just checked
}
