import type { AnyLayer, Params, ParamsLike } from "../nn/layer.ts";
import { type PackOptions, pack } from "../tensor/packed.ts";
import { weightOf } from "./adapter.ts";
import { mapAdapted } from "./walk.ts";

/**
 * Parameters whose adapted layers keep their frozen weight in packed storage (`pack`), as in QLoRA (Dettmers et al.
 * 2023, arXiv:2305.14314); everything else stays as it is, dense biases and adapters too. Layers unpack the weight
 * inside the kernels that read it. A weight that is packed already is packed anew.
 *
 * Pack before `init` where initial values depend on the weight (DoRA's magnitude), so that they are of the packed
 * one; after `initialize` where they change it (PiSSA, OLoRA).
 *
 * @throws ValueError and DTypeError as `pack`.
 * @example
 * const model = lora.inject(nn.mlp([64, 128, 64]), { r: 4, alpha: 8, targetModules: "all-linear" });
 * const base = lora.packBase(model, model.base.init(random.key(0)), { format: "nf4" });
 * const params = model.init(random.key(1), await tree.evaluate(base));
 */
export function packBase<P extends ParamsLike<P>>(
  model: AnyLayer,
  params: P | Params,
  options: PackOptions,
): Params {
  return mapAdapted(model, params, (layer, own) => ({
    ...own,
    weight: pack(weightOf(layer.base, own), options),
  }));
}
