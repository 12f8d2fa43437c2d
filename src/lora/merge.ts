import { ValueError } from "../base/errors.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { Tensor } from "../tensor/tensor.ts";
import { combine } from "../tensor/tree.ts";
import { type Adapter, adapterParams, weightDelta, weightOf } from "./adapter.ts";
import { rowFactors } from "./dora.ts";
import { activeNames, baseParams, type LoraLayer, ownParams } from "./layer.ts";
import { applyScaling } from "./scaling.ts";
import { mapAdapted } from "./walk.ts";

/**
 * Parameters of the base model that compute what the adapted one does: `weight + scaling * B A` for each active
 * adapter, one after the other, `bias + scaling * loraBias` where there is a branch bias, and no adapter. Shapes
 * and dtypes are the base's. Rounding: the product, the scaling and the sum are rounded once each, so outputs
 * differ from the adapted model's by some units in the last place; `mergeError` measures them. Of a packed weight
 * the merged one is dense: packing it again would round the change away with the rest (`packBase` does it).
 *
 * With DoRA the weight is `loraMagnitude / |weight + scaling * B A| * (weight + scaling * B A)`. The factor on the
 * rows stays beside it as `loraFactor`, `[out]`, which `unmerge` needs and the base model ignores.
 *
 * @throws ValueError if the parameters have no adapter, a branch bias has no bias to go into, adapters are chosen
 *   per sample, or one of several active adapters of a layer is DoRA.
 * @example
 * const y = model.apply(lora.merge(adapted, params), x); // as adapted.apply(params, x), with fewer operations
 */
export function merge(model: Layer, params: Params): Params {
  return mapAdapted(model, params, (layer, all) =>
    mergeable(layer).reduce(
      (base, name) => mergeOne(layer.adapters[name]!, ownParams(all, name), base),
      baseParams(layer, all),
    ),
  );
}

/**
 * The inverse of `merge`: takes `scaling * B A` off again and puts the adapters back.
 *
 * The change that is taken off is bit for bit the one that was added, so an entry comes back within half a unit
 * in the last place of the merged value plus half a unit of its own; exactly, if the merged sum was exact. With
 * DoRA the rounding of the factor and of the division come to it, some units of the weight.
 *
 * A weight that was packed comes back dense, as what it unpacked to.
 *
 * @param adapter The adapters' parameters, `lora.partition(params)[0]`. Biases that were trained with them may be there
 *   too: those of `merged` count.
 * @example
 * const [adapter] = lora.partition(params);
 * const again = lora.unmerge(adapted, lora.merge(adapted, params), adapter);
 */
export function unmerge(model: Layer, merged: Params, adapter: Params): Params {
  return mapAdapted(model, combine<Params>(adapter, merged), (layer, all) => {
    const { loraFactor, ...rest } = all;
    const base = mergeable(layer).reduceRight(
      (base, name) => unmergeOne(layer.adapters[name]!, ownParams(rest, name), base, loraFactor),
      baseParams(layer, rest),
    );
    return { ...rest, ...base };
  });
}

/** The adapters of a layer that a merge puts into its weight, in order. */
export function mergeable(layer: LoraLayer): readonly string[] {
  const names = activeNames("lora.merge", layer);
  if (names.length > 1 && names.some((name) => layer.adapters[name]!.config.dora))
    throw new ValueError(
      `lora.merge: ${names.join(" and ")} act on one layer, and one of them is DoRA, whose factor on the weight depends on what is merged before it. Merge one with setAdapter.`,
    );
  return names;
}

function mergeOne(adapter: Adapter, own: Params, base: Params): Params {
  const { loraA, loraB, loraMagnitude } = adapterParams(own);
  const weight: Tensor = weightOf(adapter.layer, base);
  const sum = weight.add(weightDelta(adapter, own));
  if (!loraMagnitude) return { ...base, weight: sum, ...shiftedBias(adapter, own, base, 1) };
  const loraFactor = rowFactors({ weight, loraA, loraB }, loraMagnitude, adapter.scaling);
  return { ...base, weight: loraFactor.unsqueeze(-1).mul(sum), loraFactor };
}

function unmergeOne(adapter: Adapter, own: Params, base: Params, loraFactor: Params[string]): Params {
  const merged: Tensor = weightOf(adapter.layer, base);
  const change = weightDelta(adapter, own);
  if (!adapter.config.dora)
    return { ...base, weight: merged.sub(change), ...shiftedBias(adapter, own, base, -1) };
  if (!(loraFactor instanceof Tensor))
    throw new ValueError(
      "lora.unmerge: a weight was merged with DoRA, and its loraFactor is gone, without which the length of rows is unknown. Keep what merge returned, or the parameters before it.",
    );
  return { ...base, weight: merged.div(loraFactor.unsqueeze(-1)).sub(change) };
}

function shiftedBias({ scaling }: Adapter, own: Params, { bias }: Params, sign: 1 | -1): Params {
  const { loraBias } = adapterParams(own);
  if (!loraBias) return {};
  if (!(bias instanceof Tensor))
    throw new ValueError(
      "lora.merge: the branch bias has no bias of the base layer to go into. Make the base layer with a bias.",
    );
  const change = applyScaling(scaling, loraBias);
  return { bias: sign > 0 ? bias.add(change) : bias.sub(change) };
}
