import type { DType, FloatDType } from "../base/dtype.ts";
import { ShapeError } from "../base/errors.ts";
import { arange, full, scalar, zeros } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Architecture } from "./architecture.ts";
import { nowhere, type Places, type Stand } from "./places.ts";

/** Keys and values of one block, `[batch, heads, slots, size]`. */
export interface BlockCache {
  readonly k: Tensor;
  readonly v: Tensor;
}

/**
 * What a decoder keeps of the tokens that it has seen, so that the next call gives the new ones alone. A slot is written
 * once, by all samples at the same time; a sample that has no token there marks it as padding. Plain tensors: a compiled
 * function that is given a cache to donate writes into it in place.
 */
export interface Cache {
  readonly blocks: { readonly [block: string]: BlockCache };
  /** int32 `[batch, slots]`: position and segment of the key in each slot; segment -1 where there is none. */
  readonly positions: Tensor<"int32">;
  readonly segments: Tensor<"int32">;
  /** How many slots are filled, a number of the host. */
  readonly length: Tensor<"number">;
}

export interface CacheSizes {
  readonly batch: number;
  /** Tokens of each sample that it has room for. */
  readonly slots: number;
  /** That of the model's weights. Default float32. */
  readonly dtype?: FloatDType;
}

/** A cache in which nothing is. */
export function emptyCache(
  { blocks, sharedHeads, headSize }: Architecture,
  { batch, slots, dtype = "float32" }: CacheSizes,
): Cache {
  const block = () => zeros([batch, sharedHeads, slots, headSize], { dtype });
  return {
    blocks: Object.fromEntries(blocks.map((_, i) => [String(i), { k: block(), v: block() }])),
    positions: zeros([batch, slots], { dtype: "int32" }),
    segments: full([batch, slots], nowhere, { dtype: "int32" }),
    length: scalar(0),
  };
}

/** The places of the next tokens, and the cache that knows of them; its blocks are still those from before. */
export function advance(
  cache: Cache,
  length: number,
  { positions, segments }: Partial<Stand>,
): { readonly places: Omit<Places, "frequencies">; readonly cache: Cache } {
  const shape = [cache.positions.shape[0]!, length];
  const own = {
    positions: positions ?? arange(length).add(cache.length.astype("int32")).expand(shape),
    segments: segments ?? zeros(shape, { dtype: "int32" }),
  };
  const keys = {
    positions: written(cache.positions, own.positions, cache.length, 1),
    segments: written(cache.segments, own.segments, cache.length, 1),
  };
  return {
    places: { ...own, keys, slot: cache.length },
    cache: { ...cache, ...keys, length: cache.length.add(length) },
  };
}

/** `x` with `news` in its place from the slot on, along an axis; where x was donated, only they are written. */
export function written<D extends DType>(
  x: Tensor<D>,
  news: Tensor<D>,
  slot: Tensor<"number">,
  axis: number,
): Tensor<D> {
  const [slots, count] = [x.shape[axis]!, news.shape[axis]!];
  if (count > slots)
    throw new ShapeError(
      `decoder: ${count} tokens do not fit into the ${slots} slots of the cache. Make it with more slots.`,
    );
  return x.at(...Array.from({ length: axis }, () => []), { start: slot, length: count }).set(news);
}
