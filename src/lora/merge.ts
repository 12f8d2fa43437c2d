import { ValueError } from "../base/errors.ts";
import type { AnyLayer, Params, ParamsLike } from "../nn/layer.ts";
import { Tensor } from "../tensor/tensor.ts";
import { combine } from "../tensor/tree.ts";
import { type Adapter, siteOf, tensorsOf, weightDelta } from "./adapter.ts";
import { activeNames, baseParams, type LoraLayer, ownParams } from "./layer.ts";
import { rememberMerge, rememberUnmerge } from "./merged.ts";
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
 * @throws ValueError if the parameters have no adapter, or one that is in the weight already; if a branch bias has no
 *   bias to go into, adapters are chosen per sample, or the change of one of several on a layer is not `scaling * B A` (DoRA).
 * @example
 * const y = model.apply(lora.merge(adapted, params), x); // as adapted.apply(params, x), with fewer operations
 */
export function merge<P extends ParamsLike<P>>(model: AnyLayer, params: P | Params): Params {
  return mapAdapted(model, params, (layer, all, path) => {
    const names = mergeable(layer);
    const merged = names.reduce(
      (base, name) => mergeOne(layer.adapters[name]!, ownParams(all, name), base),
      baseParams(layer, all),
    );
    const changes = names.map(
      (name) => [name, tensorsOf(layer.adapters[name]!, ownParams(all, name)).loraB] as const,
    );
    rememberMerge(all, merged, changes, path);
    return merged;
  });
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
 * @throws ValueError if an active adapter is known not to be in a weight. Of weights that were neither given adapters nor
 *   merged here, such as those read from a file, nothing is known, and they are taken as merged.
 * @param adapter The adapters' parameters, `lora.partition(params)[0]`. Biases that were trained with them may be there
 *   too: those of `merged` count.
 * @example
 * const [adapter] = lora.partition(params);
 * const again = lora.unmerge(adapted, lora.merge(adapted, params), adapter);
 */
export function unmerge<P extends ParamsLike<P>, A extends ParamsLike<A>>(
  model: AnyLayer,
  merged: P | Params,
  adapter: A | Params,
): Params {
  mapAdapted(model, merged, (layer, all, path) => {
    for (const name of mergeable(layer)) checkGone(name, all, path);
    return all;
  });
  return mapAdapted(model, combine<Params>(adapter, merged), (layer, all, path) => {
    const names = mergeable(layer);
    const left = new Set(names.map((name) => layer.adapters[name]!.kind.leaves));
    const [beside, rest] = split(all, (name) => left.has(name));
    const base = names.reduceRight(
      (base, name) => unmergeOne(layer.adapters[name]!, ownParams(rest, name), base),
      { ...baseParams(layer, rest), ...beside },
    );
    rememberUnmerge(all, base, names, path);
    return { ...rest, ...base };
  });
}

/** Merged parameters have no adapters. */
function checkGone(name: string, all: Params, path: string): void {
  const own = name === "" ? all : Object.hasOwn(all, name) ? all[name] : undefined;
  if (own === undefined || own instanceof Tensor || (name === "" && own.loraA === undefined)) return;
  throw new ValueError(
    `lora.unmerge: the parameters of ${path || "the model"} have their adapter${name === "" ? "" : ` ${JSON.stringify(name)}`} beside the weight, so it is not merged; taking it off makes another weight. Pass what merge returned.`,
  );
}

/** The adapters of a layer that a merge puts into its weight, in order. */
export function mergeable(layer: LoraLayer): readonly string[] {
  const names = activeNames("lora.merge", layer);
  const other = names.map((name) => layer.adapters[name]!.kind).find(({ isSum }) => !isSum);
  if (names.length > 1 && other)
    throw new ValueError(
      `lora.merge: ${names.join(" and ")} act on one layer, and one of them is ${other.title}, whose change of the weight depends on what is merged before it. Merge one with setAdapter.`,
    );
  return names;
}

function mergeOne(adapter: Adapter, own: Params, base: Params): Params {
  return adapter.kind.merge(siteOf(adapter, base), tensorsOf(adapter, own), weightDelta(adapter, own));
}

function unmergeOne(adapter: Adapter, own: Params, base: Params): Params {
  return adapter.kind.unmerge(siteOf(adapter, base), tensorsOf(adapter, own), weightDelta(adapter, own));
}

/** The parameters of some names, and the others. */
function split(params: Params, has: (name: string) => boolean): [Params, Params] {
  const entries = Object.entries(params);
  return [
    Object.fromEntries(entries.filter(([name]) => has(name))),
    Object.fromEntries(entries.filter(([name]) => !has(name))),
  ];
}
