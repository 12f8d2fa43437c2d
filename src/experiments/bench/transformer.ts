import * as nn from "../../nn/index.ts";
import type { Tensor } from "../../tensor/tensor.ts";

export interface TransformerSizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Tokens of an example, each at a position of its own. */
  readonly context: number;
}

/**
 * A transformer that predicts the next token (Radford et al. 2018, "Improving language understanding by generative
 * pre-training"): int32 `[batch, context]` to logits `[batch, context, vocabulary]`.
 *
 * Deviation: each block normalises its inputs and not its results, as GPT-2 does.
 */
export function transformer({ vocabulary, width, layers, heads, context }: TransformerSizes): nn.Layer {
  const blocks = Array.from({ length: layers }, (_, i) => [`block${i}`, block(width, heads)] as const);
  return nn.sequential({
    embedding: nn.embedding(vocabulary, width),
    positions: positions(context, width),
    ...Object.fromEntries(blocks),
    norm: nn.layerNorm(width),
    output: nn.linear(width, vocabulary),
  });
}

/** Adds a vector for each position to `[batch, context, width]`. */
function positions(context: number, width: number): nn.Layer {
  return {
    kind: "positions",
    init: (key) => ({ weight: nn.initializers.normal(key.fold("weight"), [context, width]) }),
    apply: (params, x) => x.add(params.weight as Tensor),
  };
}

function block(width: number, heads: number): nn.Layer {
  const split = (x: Tensor) =>
    x.reshape([...x.shape.slice(0, -1), heads, width / heads]).permute([0, 2, 1, 3]);
  return nn.module(
    {
      norm1: nn.layerNorm(width),
      q: nn.linear(width, width),
      k: nn.linear(width, width, { bias: false }), // a softmax does not see what all scores share
      v: nn.linear(width, width),
      out: nn.linear(width, width),
      norm2: nn.layerNorm(width),
      mlp: nn.mlp([width, 4 * width, width]),
    },
    ({ norm1, q, k, v, out, norm2, mlp }, x) => {
      const before = norm1(x);
      const attended = nn.functional.scaledDotProductAttention(
        split(q(before)),
        split(k(before)),
        split(v(before)),
        { causal: true },
      );
      const y = x.add(out(attended.permute([0, 2, 1, 3]).reshape(x.shape)));
      return y.add(mlp(norm2(y)));
    },
  );
}
