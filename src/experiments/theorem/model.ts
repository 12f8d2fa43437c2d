import * as nn from "../../nn/index.ts";
import type { Layer } from "../../nn/layer.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** Sizes of the language model and of its batches; small enough for a processor, large enough to learn words. */
export const sizes = { context: 16, embedding: 24, hidden: 128, batch: 128, validation: 512 };

/** The linear layers of the language model, by their paths: where adapters go. */
export const adapted = ["hidden", "output"];

/**
 * A small language model: embeds the last `context` tokens, int32 `[batch, context]`, and maps them through one
 * hidden layer to logits of the next one, `[batch, vocabulary]` (Bengio et al. 2003, "A neural probabilistic
 * language model").
 */
export function languageModel(vocabulary: number): Layer {
  const inputs = sizes.context * sizes.embedding;
  return nn.module(
    {
      embedding: nn.embedding(vocabulary, sizes.embedding),
      hidden: nn.linear(inputs, sizes.hidden),
      output: nn.linear(sizes.hidden, vocabulary),
    },
    ({ embedding, hidden, output }, tokens: Tensor) =>
      output(hidden(embedding(tokens).reshape([tokens.shape[0]!, inputs])).tanh()),
  );
}
