import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { random, tree } from "../src/index.ts";
import { safetensors } from "../src/io/index.ts";
import * as models from "../src/models/index.ts";

// A tiny model in a folder as the hub has it, made here: Llama's shape with random weights, and a tokenizer of bytes.

export const config = {
  model_type: "llama",
  vocab_size: 258,
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 128,
};

/** The characters that stand for bytes in tokenizers of GPT-2's kind, in the order of the bytes. */
function byteCharacters(): string[] {
  const shown = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(shown(byte) ? byte : 256 + others++));
}

/** Writes it, and needs an open device. Changes of the configuration come on top. */
export async function writeTinyModel(folder: string, changes: Partial<typeof config> = {}): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, content: object) => writeFileSync(join(folder, name), JSON.stringify(content));
  const own = { ...config, ...changes };
  const params = models.decoder(models.architecture(own)).init(random.key(0));
  await safetensors.write(join(folder, "model.safetensors"), Object.fromEntries(tree.entries(params)));
  write("config.json", own);
  const special = [
    { id: 256, content: "<s>", special: true, normalized: false },
    { id: 257, content: "</s>", special: true, normalized: false },
  ];
  write("tokenizer.json", {
    version: "1.0",
    added_tokens: special,
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [256], tokens: ["<s>"] } },
    },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries([...byteCharacters(), "<s>", "</s>"].map((token, id) => [token, id])),
      merges: [],
    },
  });
  write("tokenizer_config.json", { bos_token: "<s>", eos_token: "</s>" });
}
