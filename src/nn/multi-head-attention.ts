import {
  checkArgument,
  type Fields,
  flag,
  flagOf,
  fraction,
  optional,
  positive,
  readOptions,
} from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { arange, scalar, zeros } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { maskedScore, rope, scaledDotProductAttention } from "./attention.ts";
import { aTensor, floatDType, optionalTensor, readInput, size, tensorsOf } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer, ParamsOf } from "./layer.ts";
import { type Linear, linear } from "./linear.ts";
import { module } from "./module.ts";

export interface MultiHeadAttentionOptions {
  /** Heads of keys and values, each shared by as many of the queries as there are to one. Default: one for each. */
  readonly kvHeads?: number;
  /** Elements of a head. Default dim / heads. */
  readonly headDim?: number;
  /** Elements of what keys and values are made of. Default dim. */
  readonly kvDim?: number;
  /** Whether projections have a bias. Default true. */
  readonly bias?: boolean;
  /** Whether a query sees keys up to its own position only. Default false. */
  readonly causal?: boolean;
  /** Base of the wavelengths by which queries and keys are turned (`functional.rope`). Default: they are not. */
  readonly rope?: number;
  /** Probability with which a query's weight on a key is zeroed in training, as PyTorch's `dropout`. Default 0. */
  readonly dropout?: number;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

const fields: Fields<MultiHeadAttentionOptions> = {
  kvHeads: optional(size),
  headDim: optional(size),
  kvDim: optional(size),
  bias: flagOf(true),
  causal: flag,
  rope: optional(positive()),
  dropout: fraction(0),
  dtype: floatDType,
};

/** Keys and values of what came before, `[batch, kvHeads, slots, headDim]`, and how many slots are filled. */
export interface AttentionCache {
  readonly k: Tensor;
  readonly v: Tensor;
  /** A number of the host, so that a compiled function is traced once. */
  readonly length: Tensor<"number">;
}

/** What attention takes: `x` `[batch, length, dim]`. */
export interface AttentionInput {
  readonly x: Tensor;
  /** What keys and values are made of, `[batch, keys, kvDim]`. Default `x`. */
  readonly keys?: Tensor;
  /** As of `functional.scaledDotProductAttention`; broadcasts to `[batch, heads, length, keys]`, or slots of the cache. */
  readonly mask?: Tensor;
  /** Written on, at the slots that follow; made by `attentionCache`. */
  readonly cache?: AttentionCache;
}

const inputFields: Fields<AttentionInput> = {
  x: aTensor,
  keys: optionalTensor,
  mask: optionalTensor,
  cache: optional(tensorsOf<AttentionCache>("k", "v", "length")),
};

/** `y` `[batch, length, dim]`, and the cache if there was one. */
export interface AttentionOutput {
  readonly y: Tensor;
  readonly cache?: AttentionCache;
}

/** A cache in which nothing is, with room for so many keys. */
export function attentionCache(
  batch: number,
  slots: number,
  shape: { readonly kvHeads: number; readonly headDim: number; readonly dtype?: FloatDType },
): AttentionCache {
  for (const [what, n] of Object.entries({ batch, slots })) checkArgument("attentionCache", what, n, size);
  const {
    kvHeads,
    headDim,
    dtype = "float32",
  } = readOptions(
    "attentionCache",
    { kvHeads: size, headDim: size, dtype: floatDType } as Fields<typeof shape>,
    shape,
  );
  const empty = () => zeros([batch, kvHeads as number, slots, headDim as number], { dtype });
  return { k: empty(), v: empty(), length: scalar(0) };
}

type Projections = { readonly q: Linear; readonly k: Linear; readonly v: Linear; readonly out: Linear };

/**
 * Attention of several heads (Vaswani et al. 2017, arXiv:1706.03762) with its projections, as named children `q`, `k`, `v` and
 * `out`, so that adapters get in. Heads of keys and values may be fewer (Ainslie et al. 2023, arXiv:2305.13245), queries and
 * keys turned by their positions, and a cache written on: a call then gives the new elements alone, and a compiled function
 * that is given the cache to donate writes into it in place. In training, `dropout` of the weights takes the context's key.
 *
 * @throws ValueError for sizes that are not integers >= 1 or do not divide; ShapeError if inputs do not fit.
 * @example
 * const layer = multiHeadAttention(16, 4, { kvHeads: 2, causal: true, rope: 10000 });
 * const { y } = layer.apply(layer.init(random.key(0)), { x: ones([1, 5, 16]) }); // float32[1,5,16]
 */
export function multiHeadAttention(
  dim: number,
  heads: number,
  options: MultiHeadAttentionOptions = {},
): Layer<ParamsOf<Projections>, AttentionInput, AttentionOutput> {
  const name = "multiHeadAttention";
  checkArgument(name, "dim", dim, size);
  checkArgument(name, "heads", heads, size);
  const {
    kvHeads = heads,
    kvDim = dim,
    causal,
    rope: theta,
    bias = true,
    dropout = 0,
    ...rest
  } = readOptions(name, fields, options);
  if (rest.headDim === undefined && dim % heads !== 0)
    throw new ValueError(`${name}: ${dim} elements do not divide into ${heads} heads. Give headDim.`);
  if (heads % kvHeads !== 0)
    throw new ValueError(`${name}: ${heads} heads of queries cannot share ${kvHeads} of keys evenly.`);
  const { headDim = dim / heads } = rest;
  const given = { bias, ...(rest.dtype && { dtype: rest.dtype }) };
  const children: Projections = {
    q: linear(dim, heads * headDim, given),
    k: linear(kvDim, kvHeads * headDim, given),
    v: linear(kvDim, kvHeads * headDim, given),
    out: linear(heads * headDim, dim, given),
  };
  return module(children, ({ q, k, v, out }, input: AttentionInput, { training, key }): AttentionOutput => {
    const { x, keys, mask, cache } = readInput(name, inputFields, input);
    if (x.rank !== 3 || x.shape[2] !== dim)
      throw new ShapeError(`${name}: x is ${x}; expected [batch, length, ${dim}].`);
    const source = keys ?? x;
    if (source.rank !== 3 || source.shape[2] !== kvDim)
      throw new ShapeError(`${name}: the keys are ${source}; expected [batch, keys, ${kvDim}].`);
    const [batch, length] = x.shape as readonly [number, number, number];
    const count = source.shape[1]!;
    const before = cache ? cache.length.astype("int32") : undefined;
    const split = (all: Tensor, of: number) =>
      all.reshape([batch, all.shape[1]!, of, headDim]).permute([0, 2, 1, 3]);
    const turned = (part: Tensor, n: number) =>
      theta === undefined
        ? part
        : rope(part, { theta, positions: before ? arange(n).add(before) : arange(n) });
    const [queries, newKeys, newValues] = [
      turned(split(q(x), heads), length),
      turned(split(k(source), kvHeads), count),
      split(v(source), kvHeads),
    ];
    const written = (old: Tensor, news: Tensor) =>
      old.at([], [], { start: cache!.length, length: count }).set(news);
    if (cache && count > cache.k.shape[2]!)
      throw new ShapeError(
        `${name}: ${count} keys do not fit into the ${cache.k.shape[2]} slots of the cache.`,
      );
    const next = cache && {
      k: written(cache.k, newKeys),
      v: written(cache.v, newValues),
      length: cache.length.add(count) as Tensor<"number">,
    };
    let sight = mask;
    if (next) {
      // Slots beyond those that are filled hold nothing.
      const slots = arange(next.k.shape[2]!).unsqueeze(0);
      const seen = causal
        ? slots.le(arange(length).add(before!).unsqueeze(1))
        : slots.lt(before!.add(count)).expand([length, next.k.shape[2]!]);
      if (mask === undefined) sight = seen;
      else if (mask.dtype === "bool") sight = mask.bitwiseAnd(seen);
      // It is added to a score, for which half of it leaves room; a mask of another dtype is refused below.
      else if (mask.dtype === queries.dtype)
        sight = where(seen, mask, maskedScore(mask.dtype as FloatDType) / 2);
    }
    const drawn = { training: true, ...(key && { key: key.fold("dropout") }) };
    const y = scaledDotProductAttention(queries, next?.k ?? newKeys, next?.v ?? newValues, {
      ...(sight && { mask: sight }),
      causal: causal === true && !next,
      ...(training && dropout > 0 && { weights: (shares) => functional.dropout(shares, dropout, drawn) }),
    });
    const joined = y.permute([0, 2, 1, 3]).reshape([batch, length, heads * headDim]);
    return { y: out(joined), ...(next && { cache: next }) };
  });
}
