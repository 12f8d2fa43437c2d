import { ShapeError, ValueError } from "../base/errors.ts";
import { dropout } from "../nn/functional.ts";
import { kaimingUniform } from "../nn/init.ts";
import type { Context, Params } from "../nn/layer.ts";
import type { Linear } from "../nn/linear.ts";
import { scalar, zeros } from "../tensor/creation.ts";
import type { Key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import { type AdapterConfig, checkAdapterConfig } from "./config.ts";
import { applyScaling, type Scaling, scaling } from "./scaling.ts";

/** A linear layer with an adapter; its parameters are `{ weight, bias?, loraA, loraB, loraBias? }`. */
export interface LoraLinear extends Omit<Linear, "kind"> {
  readonly kind: "loraLinear";
  readonly base: Linear;
  readonly scaling: Scaling;
  /** Parameters of the base with those of a fresh adapter beside them. */
  readonly addAdapter: (key: Key, base: Params) => Params;
}

/**
 * A linear layer with a low-rank update (Hu et al. 2021, arXiv:2106.09685):
 *
 *     y = base(x) + scaling * ((dropout(x) A^T) B^T + beta)
 *
 * with `loraA` A of shape `[r, in]`, `loraB` B of shape `[out, r]`, and `loraBias` beta of shape `[out]` only
 * with `branchBias`. Parameters of the adapter have the dtype of the weight. `x` is `[..., in]`; the result is
 * `[..., out]`. Dropout acts on the adapter's input, in training, under the key of the context.
 *
 * @param path Where the layer sits in its model, for error messages.
 * @throws ValueError for a bad configuration, or r larger than the smaller side of the weight.
 * @example
 * const layer = lora.linear(nn.linear(64, 32), { r: 4, alpha: 8 });
 * const params = layer.init(random.key(0)); // weight, bias, loraA, loraB
 */
export function linear(base: Linear, config: AdapterConfig, path = ""): LoraLinear {
  checkAdapterConfig(config);
  const { in: inputs, out: outputs } = base;
  if (config.r > Math.min(inputs, outputs)) {
    throw new ValueError(
      `lora: r is ${config.r}, larger than the smaller side of the weight${path && ` of ${path}`}, [${outputs},${inputs}]. Use r <= ${Math.min(inputs, outputs)}.`,
    );
  }
  const { r, init = "standard", initScale = {}, branchBias = false, dropout: p = 0 } = config;
  const factor = scaling(config);

  const addAdapter = (key: Key, params: Params): Params => {
    const { weight } = params;
    if (!(weight instanceof Tensor) || weight.shape.join() !== `${outputs},${inputs}`) {
      throw new ShapeError(
        `lora: the base parameters have the weight ${String(weight)}; expected [${outputs},${inputs}]. Pass the parameters of the adapted model.`,
      );
    }
    const { dtype } = weight;
    if (dtype !== "float32" && dtype !== "float64")
      throw new ValueError(`lora: the weight is ${weight}; adapters are added to floats.`);
    const start = (name: "A" | "B", shape: readonly [number, number], zero: boolean) =>
      zero
        ? zeros(shape, { dtype })
        : kaimingUniform(key.fold(name), shape)
            .mul(scalar(initScale[name] ?? 1))
            .astype(dtype);
    return {
      ...params,
      loraA: start("A", [r, inputs], init === "swapped"),
      loraB: start("B", [outputs, r], init === "standard"),
      ...(branchBias ? { loraBias: zeros([outputs], { dtype }) } : {}),
    };
  };

  return {
    ...base,
    kind: "loraLinear",
    base,
    scaling: factor,
    addAdapter,
    init: (key) => addAdapter(key.fold("lora"), base.init(key)),
    apply: (params, x, context: Context = {}) => {
      const { loraA, loraB, loraBias } = params;
      if (!(loraA instanceof Tensor) || !(loraB instanceof Tensor)) {
        throw new ValueError(
          "lora: the parameters have no loraA and loraB here. Add them with the adapted model's init(key, baseParams), or combine both parts of a partition.",
        );
      }
      const product = dropout(x, p, context).matmul(loraA.transpose()).matmul(loraB.transpose());
      const branch = loraBias instanceof Tensor ? product.add(loraBias) : product;
      return base.apply(params, x, context).add(applyScaling(factor, branch));
    },
  };
}

/** `scaling * B A`, the weight change of an adapter: one matmul and one multiplication. */
export function weightDelta(layer: LoraLinear, params: Params): Tensor {
  const { loraA, loraB } = params;
  if (!(loraA instanceof Tensor) || !(loraB instanceof Tensor)) {
    throw new ValueError(
      "lora.merge: the parameters have no loraA and loraB. Pass the parameters of the adapted model.",
    );
  }
  return applyScaling(layer.scaling, loraB.matmul(loraA));
}
