// Models with random weights in the forms that the engines read: safetensors, GGUF, and the first values of adapters.
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { init, random, tree } from "../../../dist/index.js";
import { gguf, safetensors } from "../../../dist/io/index.js";
import * as lora from "../../../dist/lora/index.js";
import * as models from "../../../dist/models/index.js";

const common = { model_type: "llama", max_position_embeddings: 512, rms_norm_eps: 1e-5, rope_theta: 10000 };

/** Shapes of known models. */
export const configs = {
  stories260K: {
    ...common,
    ...{ vocab_size: 512, hidden_size: 64, intermediate_size: 172, num_hidden_layers: 5 },
    ...{ num_attention_heads: 8, num_key_value_heads: 4, tie_word_embeddings: true },
  },
  "SmolLM-135M": {
    ...common,
    ...{ vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 30 },
    ...{ num_attention_heads: 9, num_key_value_heads: 3, tie_word_embeddings: true },
  },
};

export const linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/** Writes a model into a folder; with `layers` of its blocks. */
export async function make(folder, config) {
  mkdirSync(folder, { recursive: true });
  const device = await init({ backend: "cpu" });
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const model = models.decoder(models.architecture(config));
  // Larger than a training starts from, so that the likeliest tokens differ from place to place.
  const weights = await tree.evaluate(
    tree.map(model.init(random.key(0)), (leaf) => (leaf.rank === 2 ? leaf.mul(2) : leaf)),
    device,
  );
  const entries = Object.fromEntries(tree.entries(weights));
  await safetensors.write(join(folder, "model.safetensors"), entries);
  const adapted = lora.inject(model, { r: 8, alpha: 16, targetModules: linear });
  const [own] = lora.partition(adapted.init(random.key(1), weights));
  const first = tree.entries(own).filter(([path]) => path.endsWith(".loraA"));
  await safetensors.write(join(folder, "adapters.safetensors"), Object.fromEntries(first));
  await writeGguf(join(folder, "model.gguf"), config, entries);
  device.dispose();
}

const names = {
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.o_proj": "attn_output",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.down_proj": "ffn_down",
  input_layernorm: "attn_norm",
  post_attention_layernorm: "ffn_norm",
};
const outside = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
};

export async function writeGguf(path, config, entries) {
  const { hidden_size, num_attention_heads: heads, num_key_value_heads: shared } = config;
  const tensors = {};
  for (const [name, weight] of Object.entries(entries)) {
    const [, block, part] = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(name) ?? [];
    if (block === undefined) {
      tensors[outside[name]] = weight;
      continue;
    }
    // llama.cpp turns adjacent pairs, so the halves of a head are shuffled together.
    const of = { "self_attn.q_proj": heads, "self_attn.k_proj": shared }[part];
    const own = of
      ? weight.reshape([of, 2, -1, weight.shape[1]]).permute([0, 2, 1, 3]).reshape(weight.shape)
      : weight;
    tensors[`blk.${block}.${names[part]}.weight`] = own;
  }
  const uint32 = (value) => ({ type: "uint32", value });
  const float32 = (value) => ({ type: "float32", value });
  const string = (value) => ({ type: "string", value });
  const array = (of, value) => ({ type: "array", of, value });
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokens = ["<unk>", "<s>", "</s>", ...bytes];
  const kinds = [2, 3, 3, ...bytes.map(() => 6)];
  while (tokens.length < config.vocab_size) kinds.push(1) && tokens.push(`t${tokens.length}`);
  await gguf.write(path, tensors, {
    "general.architecture": string("llama"),
    "llama.block_count": uint32(config.num_hidden_layers),
    "llama.context_length": uint32(config.max_position_embeddings),
    "llama.embedding_length": uint32(hidden_size),
    "llama.feed_forward_length": uint32(config.intermediate_size),
    "llama.attention.head_count": uint32(heads),
    "llama.attention.head_count_kv": uint32(shared),
    "llama.attention.layer_norm_rms_epsilon": float32(config.rms_norm_eps),
    "llama.rope.dimension_count": uint32(hidden_size / heads),
    "llama.rope.freq_base": float32(config.rope_theta),
    "llama.vocab_size": uint32(config.vocab_size),
    "tokenizer.ggml.model": string("llama"),
    "tokenizer.ggml.tokens": array("string", tokens),
    "tokenizer.ggml.scores": array(
      "float32",
      tokens.map((_, i) => -i),
    ),
    "tokenizer.ggml.token_type": array("int32", kinds),
    "tokenizer.ggml.bos_token_id": uint32(1),
    "tokenizer.ggml.eos_token_id": uint32(2),
    "tokenizer.ggml.unknown_token_id": uint32(0),
  });
}
