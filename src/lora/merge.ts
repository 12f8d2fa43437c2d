import { ValueError } from "../base/errors.ts";
import type { Params } from "../nn/layer.ts";
import { Tensor } from "../tensor/tensor.ts";
import { combine } from "../tensor/tree.ts";
import type { Adapted } from "./inject.ts";
import { mapAdapted } from "./inject.ts";
import { type LoraLinear, weightDelta } from "./linear.ts";
import { applyScaling } from "./scaling.ts";

/**
 * Parameters of the base model that compute what the adapted one does: `weight + scaling * B A` for each adapter,
 * `bias + scaling * loraBias` where there is a branch bias, and no adapter. Shapes and dtypes are the base's.
 * Rounding: the product, the scaling and the sum are rounded once each, so outputs differ from the adapted
 * model's by some units in the last place.
 *
 * @throws ValueError if the parameters have no adapter, or a branch bias has no bias to go into.
 * @example
 * const y = model.apply(lora.merge(adapted, params), x); // as adapted.apply(params, x), with fewer operations
 */
export function merge(model: Adapted, params: Params): Params {
  return mapAdapted(model, params, (layer, own) => {
    const { loraA: _a, loraB: _b, loraBias: _bias, ...base } = own;
    return { ...base, ...shifted(layer, own, (x, change) => x.add(change)) };
  });
}

/**
 * The inverse of `merge`: takes `scaling * B A` off again and puts the adapter back.
 *
 * The change that is taken off is bit for bit the one that was added, so an entry comes back within half a unit
 * in the last place of the merged value plus half a unit of its own; exactly, if the merged sum was exact.
 *
 * @param adapter The adapter's parameters, `lora.partition(params)[0]`.
 * @example
 * const [adapter] = lora.partition(params);
 * const again = lora.unmerge(adapted, lora.merge(adapted, params), adapter);
 */
export function unmerge(model: Adapted, merged: Params, adapter: Params): Params {
  return mapAdapted(model, combine<Params>(merged, adapter), (layer, own) => ({
    ...own,
    ...shifted(layer, own, (x, change) => x.sub(change)),
  }));
}

function shifted(layer: LoraLinear, own: Params, shift: (x: Tensor, change: Tensor) => Tensor): Params {
  const { weight, bias, loraBias } = own;
  if (!(weight instanceof Tensor))
    throw new ValueError(
      "lora.merge: an adapted layer has no weight. Pass the parameters of the adapted model, both parts of a partition combined.",
    );
  const changed = { weight: shift(weight, weightDelta(layer, own)) };
  if (!(loraBias instanceof Tensor)) return changed;
  if (!(bias instanceof Tensor))
    throw new ValueError(
      "lora.merge: the branch bias has no bias of the base layer to go into. Make the base layer with a bias.",
    );
  return { ...changed, bias: shift(bias, applyScaling(layer.scaling, loraBias)) };
}
