import * as nn from "../nn/index.ts";
import type { Layer, Params } from "../nn/layer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Architecture, BlockKind, Rope } from "./architecture.ts";
import { assemble } from "./assemble.ts";
import { type BlockCache, written } from "./cache.ts";
import { linear, normOf } from "./parts.ts";
import { type Places, sight } from "./places.ts";

/** What goes from block to block. */
export interface Stream {
  /** `[batch, length, width]` */
  readonly x: Tensor;
  readonly places: Places;
  /** Of this block. */
  readonly cache?: BlockCache;
}

/** What a block gives. */
export type Passed = Pick<Stream, "x" | "cache">;

/** Attention of the tokens of a call to themselves, and to those in the cache. */
export function attention(architecture: Architecture, kind: BlockKind): Layer<Params, Stream, Passed> {
  const { width, heads, sharedHeads, headSize, biases, fused, headNorms, dropout, scoreCap } = architecture;
  const [queries, keys] = [heads * headSize, sharedHeads * headSize];
  const project = (out: number) => linear(architecture, width, out, biases.qkv);
  return assemble(
    architecture.names,
    {
      qkv: fused ? project(queries + 2 * keys) : undefined,
      q: fused ? undefined : project(queries),
      k: fused ? undefined : project(keys),
      v: fused ? undefined : project(keys),
      qNorm: headNorms ? normOf(architecture, headSize) : undefined,
      kNorm: headNorms ? normOf(architecture, headSize) : undefined,
      attentionDrop: dropout.attention > 0 ? nn.dropout(dropout.attention) : undefined,
      out: linear(architecture, queries, width, biases.out),
    },
    ({ qkv, q, k, v, qNorm, kNorm, attentionDrop, out }, { x, places, cache }: Stream, context) => {
      const [batch, length] = x.shape as [number, number, number];
      const [forQ, forK, forV] = qkv ? cut(qkv(x), [queries, keys, keys]) : [q!(x), k!(x), v!(x)];
      const split = (y: Tensor, norm?: (y: Tensor) => Tensor) => {
        const parts = y.reshape([batch, length, y.shape[2]! / headSize, headSize]);
        return (norm ? norm(parts) : parts).permute([0, 2, 1, 3]);
      };
      const query = turned(split(forQ!, qNorm), kind.rope, places);
      const key = turned(split(forK!, kNorm), kind.rope, places);
      const value = split(forV!);
      const now = cache && {
        k: written(cache.k, key, places.slot!, 2),
        v: written(cache.v, value, places.slot!, 2),
      };
      const attended = nn.functional.scaledDotProductAttention(query, now?.k ?? key, now?.v ?? value, {
        mask: sight(places, kind.window),
        scale: kind.scale,
        ...(scoreCap !== undefined && { softCap: scoreCap }),
        weights: (weights) => {
          context.watch?.("weights", weights);
          return attentionDrop ? attentionDrop(weights) : weights;
        },
      });
      const joined = attended.permute([0, 2, 1, 3]).reshape([batch, length, queries]);
      context.watch?.("attended", joined);
      return { x: out(joined), ...(now && { cache: now }) };
    },
  );
}

/** Parts of the last axis, of these lengths. */
export function cut(x: Tensor, lengths: readonly number[]): Tensor[] {
  const before = x.shape.slice(1).map(() => null);
  let at = 0;
  return lengths.map((length) => {
    const from = at;
    at += length;
    return x.slice([...before, from], [...before, at]);
  });
}

/** Queries or keys, `[batch, heads, length, size]`, with the rotary embedding. */
function turned(x: Tensor, rope: Rope | undefined, { positions, frequencies }: Places): Tensor {
  if (!rope) return x;
  return nn.functional.rope(x, {
    positions: positions.rank === 1 ? positions : positions.unsqueeze(1),
    frequencies: frequencies.get(rope)!, // of every block
    scale: rope.factor,
  });
}
