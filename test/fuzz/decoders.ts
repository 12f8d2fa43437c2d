import fc from "fast-check";
import { type random, type Tensor, tree } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import { families } from "../../src/models/families.ts";
import * as models from "../../src/models/index.ts";
import type { Params } from "../../src/nn/index.ts";
import type { Field, Type } from "./types.ts";

// Decoders of every family, of small sizes: what a config.json says is drawn, and tokens go through the model as a whole and
// in two parts with a cache, through adapters, and through what these are merged to.

const oneOf = (...values: readonly (string | number | boolean)[]): Type => ({
  kind: "union",
  of: values.map((value) => ({ kind: "literal", value })),
});

/** What is drawn of a configuration. */
export interface Sizes {
  /** Heads of keys and values, and those of queries for each. */
  readonly sharedHeads: number;
  readonly group: number;
  readonly headSize: number;
  readonly hidden: number;
  readonly vocabulary: number;
  readonly blocks: number;
  readonly window: number;
  readonly tied: boolean;
  readonly remat: boolean;
  readonly r: number;
  readonly dora: boolean;
  readonly way: "whole" | "cached" | "adapted" | "merged";
}

const sizes: Readonly<Record<keyof Sizes, Type>> = {
  sharedHeads: oneOf(1, 2),
  group: oneOf(1, 2),
  headSize: oneOf(2, 4, 6),
  hidden: oneOf(3, 8, 17),
  vocabulary: oneOf(16, 17, 33),
  blocks: oneOf(1, 1, 2),
  window: oneOf(1, 2, 3),
  tied: oneOf(true, false),
  remat: oneOf(false, true),
  r: oneOf(1, 2, 3),
  dora: oneOf(false, true),
  way: oneOf("whole", "cached", "adapted", "merged"),
};

export const sizesType: Type = {
  kind: "object",
  fields: Object.entries(sizes).map(([name, type]): Field => ({ name, type, optional: false })),
};

/** Positions that a model is made for: more tokens are refused. */
const context = 12;

/** Fields that a family has beside those of all relatives of Llama. */
const own: Readonly<Record<string, (sizes: Sizes) => Record<string, unknown>>> = {
  mistral: ({ window }) => ({ sliding_window: window }),
  qwen2: ({ window }) => ({ use_sliding_window: true, sliding_window: window, max_window_layers: 1 }),
  phi3: ({ window }) => ({ sliding_window: window }),
  gemma2: ({ window, headSize }) => ({
    ...{ sliding_window: window, query_pre_attn_scalar: headSize },
    ...{ attn_logit_softcapping: 5, final_logit_softcapping: 3 },
  }),
  gemma3_text: ({ window, headSize }) => ({
    ...{ sliding_window: window, sliding_window_pattern: 2, query_pre_attn_scalar: headSize },
  }),
};

function configOf(family: string, of: Sizes): Record<string, unknown> {
  const heads = of.sharedHeads * of.group;
  const width = heads * of.headSize;
  const all = { model_type: family, vocab_size: of.vocabulary, tie_word_embeddings: of.tied };
  if (family === "gpt2")
    return {
      ...{ ...all, n_embd: width, n_head: heads, n_layer: of.blocks, n_inner: of.hidden },
      ...{ n_positions: context },
    };
  return {
    ...{ ...all, hidden_size: width, intermediate_size: of.hidden, num_hidden_layers: of.blocks },
    ...{ num_attention_heads: heads, num_key_value_heads: of.sharedHeads, head_dim: of.headSize },
    ...{ max_position_embeddings: context, ...own[family]?.(of) },
  };
}

/** Names of the decoders that there are. */
export const decoders: readonly string[] = Object.keys(families);

/** Decoders of every family and size, with a seed for their parameters. */
export const drawnModel = fc
  .record({
    family: fc.constantFrom(...decoders),
    seed: fc.nat(9),
    of: fc.record(
      Object.fromEntries(
        Object.entries(sizes).map(([name, type]) => [
          name,
          fc.constantFrom(
            ...(type.kind === "union" ? type.of : []).map((one) => (one as { value: unknown }).value),
          ),
        ]),
      ),
    ),
  })
  .map(({ family, seed, of }) => {
    const drawn = of as unknown as Sizes; // a value of each type
    return { family, seed, sizes: drawn, vocabulary: drawn.vocabulary };
  });

/** The decoder of such a drawing. */
export const modelOf = ({ family, sizes: of }: { readonly family: string; readonly sizes: Sizes }) =>
  models.decoder(models.architecture(configOf(family, of)));

/** What a decoder gives for tokens of any shape and size. */
export function runDecoder(family: string, of: Sizes, given: Tensor, key: random.Key, by: Tensor): Tensor[] {
  const model = models.decoder(models.architecture(configOf(family, of)), { remat: of.remat });
  const moved = (params: Params) => tree.map(params, (p) => p.add(by.sum().astype(p.dtype as "float32")));
  const base = moved(model.init(key));
  const tokens = given.bitwiseAnd(15).reshape([given.rank === 2 ? given.shape[0]! : 1, -1]);
  const [batch, length] = tokens.shape as [number, number];
  switch (of.way) {
    case "whole":
      return [model.apply(base, { tokens }, { training: true, key }).logits];
    case "cached": {
      const cut = Math.ceil(length / 2);
      const read = (from: number, to: number, cache: models.Cache) =>
        model.apply(base, { tokens: tokens.slice([0, from], [batch, to]), cache });
      const first = read(0, cut, models.emptyCache(model.architecture, { batch, slots: length + 1 }));
      return length > cut ? [first.logits, read(cut, length, first.cache!).logits] : [first.logits];
    }
    default: {
      const adapted = lora.inject(model, { r: of.r, alpha: 2, dora: of.dora, targetModules: "all-linear" });
      const params = moved(adapted.init(key.fold("adapters"), base));
      return of.way === "adapted"
        ? [adapted.apply(params, { tokens }).logits]
        : [model.apply(lora.merge(adapted, params), { tokens }).logits];
    }
  }
}
