import { ValueError } from "../base/errors.ts";
import type { Activation } from "../nn/activation.ts";
import {
  type Architecture,
  type BlockKind,
  type Names,
  type Norm,
  type Rope,
  roles,
} from "./architecture.ts";
import { Config } from "./config.ts";
import { ropeOf } from "./rope.ts";

// One function for each `model_type`: how its config.json says what an architecture has. Defaults are those of Hugging
// Face's configuration classes, which leave fields out of the file that have them.

/** The architectures that there are, by `model_type`. */
export const families: Readonly<Record<string, (config: Config) => Architecture>> = {
  gpt2,
  llama: (config) => llamaLike(config),
  mistral: (config) =>
    llamaLike(config, { sharedHeads: 8, window: everywhere(config.maybeSize("sliding_window", 4096)) }),
  qwen2: (config) => qwen(config, { biases: true, headNorms: false }),
  qwen3: (config) => qwen(config, { biases: false, headNorms: true }),
  phi3,
  gemma,
  gemma2: (config) =>
    gemma(config, {
      ...gemma2Norms,
      sharedHeads: 4,
      scoreCap: config.maybe("attn_logit_softcapping", 50),
      logitCap: config.maybe("final_logit_softcapping", 30),
      window: (i, types) =>
        (types ? types[i] === sliding : i % 2 === 0) && config.size("sliding_window", 4096),
      scaled: true,
    }),
  gemma3_text: (config) => gemma3(config),
};

/**
 * The architecture that a config.json describes.
 *
 * @throws ValueError for a `model_type` that there is not, a value that is not implemented, or a field that nobody knows
 *   and that may change what the model computes.
 */
export function architecture(json: unknown): Architecture {
  const config = new Config(json);
  const type = config.text("model_type", "");
  const family = Object.hasOwn(families, type) ? families[type] : undefined;
  if (!family)
    throw new ValueError(
      `config.json: model_type is ${type === "" ? "missing" : JSON.stringify(type)}; there are ${Object.keys(families).join(", ")}.${type === "gemma3" ? " Of a Gemma 3 with pictures, give the text_config and the weights of its language model." : ""}`,
    );
  const found = family(config);
  config.finish((name) => isIdle(name));
  checkSizes(found);
  return found;
}

/** Fields that say nothing about what a model computes. */
function isIdle(name: string): boolean {
  return idle.has(name) || name.startsWith("_") || /^(summary|task|problem)_|_token_ids?$/.test(name);
}

const idle = new Set(
  [
    "architectures auto_map cache_implementation chunk_size_feed_forward dtype torch_dtype transformers_version",
    "use_cache gradient_checkpointing return_dict name_or_path output_attentions output_hidden_states output_past",
    "tokenizer_class transformers.js_config attn_implementation torchscript use_bfloat16 tf_legacy_loss",
    "finetuning_task id2label label2id num_labels initializer_range is_decoder bos_token eos_token pad_token prefix",
    // Lengths of contexts that say nothing beside `max_position_embeddings`.
    "n_ctx max_window_layers original_max_position_embeddings model_max_length max_sequence_length",
    "pretraining_tp reorder_and_upcast_attn unsloth_fixed unsloth_version is_llama_config",
    // Settings of generation, which older configurations hold.
    "temperature top_k top_p typical_p do_sample repetition_penalty length_penalty diversity_penalty num_beams",
    "num_beam_groups num_return_sequences max_length min_length early_stopping no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size suppress_tokens begin_suppress_tokens",
  ].flatMap((names) => names.split(" ")),
);

const sliding = "sliding_attention";

type Windows = (block: number, types: readonly string[] | undefined) => number | false | undefined;

const everywhere =
  (window: number | undefined): Windows =>
  (block, types) =>
    types === undefined || types[block] === sliding ? window : undefined;

/** What the relatives of Llama differ in. */
interface Relative {
  readonly eps?: number;
  readonly context?: number;
  /** Where the file leaves it out; null is as many as there are heads. */
  readonly sharedHeads?: number;
  readonly headSize?: number;
  readonly theta?: number;
  readonly offset?: number;
  readonly fused?: boolean;
  readonly headNorms?: boolean;
  readonly resultNorms?: boolean;
  readonly tied?: boolean;
  readonly qkvBias?: boolean;
  readonly activation?: string;
  readonly window?: Windows;
  /** Attention is scaled by `query_pre_attn_scalar` in place of the length of a head. */
  readonly scaled?: boolean;
  readonly scoreCap?: number | undefined;
  readonly logitCap?: number | undefined;
  readonly embeddingScaled?: boolean;
  /** The rotary embedding of a block with a window, where it is another one. */
  readonly localRope?: (size: number, context: number) => Rope;
  readonly names?: Partial<Names>;
}

/** A file may name any number; a graph of more blocks would fill the memory before anything says so. */
const mostBlocks = 10_000;
const mostHeads = 2 ** 16;

function llamaLike(config: Config, relative: Relative = {}): Architecture {
  const width = config.size("hidden_size");
  const heads = config.size("num_attention_heads", undefined, mostHeads);
  const headSize = config.has("head_dim")
    ? config.size("head_dim")
    : (relative.headSize ?? Math.floor(width / heads));
  const context = config.size("max_position_embeddings", relative.context ?? 2048);
  const count = config.size("num_hidden_layers", undefined, mostBlocks);
  const bias = config.flag("attention_bias", false);
  const networkBias = config.flag("mlp_bias", false);
  const norm: Norm = {
    kind: "rms",
    eps: config.number("rms_norm_eps", relative.eps ?? 1e-6),
    offset: relative.offset ?? 0,
  };
  if (config.flag("use_bidirectional_attention", false))
    config.refuse("use_bidirectional_attention", "tokens would see those behind them");
  config.has("quantization_config") &&
    config.refuse("quantization_config", "its weights are stored in another form");
  const rope = globalRope(config, relative, headSize, context);
  const local = relative.localRope?.(headSize, context) ?? rope;
  const scale = (relative.scaled ? config.positive("query_pre_attn_scalar", 256) : headSize) ** -0.5;
  const types = layerTypes(config, count);
  const blocks = Array.from({ length: count }, (_, i): BlockKind => {
    const window = relative.window?.(i, types) || undefined;
    return { scale, rope: window === undefined ? rope : local, ...(window !== undefined && { window }) };
  });
  const activation = relative.activation ?? "hidden_act";
  return {
    family: config.text("model_type"),
    vocabulary: config.size("vocab_size"),
    width,
    hidden: config.size("intermediate_size"),
    context: rope.dynamic ? Math.floor(context * rope.dynamic.factor) : context,
    heads,
    sharedHeads: config.maybeSize("num_key_value_heads", relative.sharedHeads) ?? heads,
    headSize,
    blocks,
    norm,
    headNorms: relative.headNorms ?? false,
    resultNorms: relative.resultNorms ?? false,
    activation: activationOf(config, activation, relative.activation ? "gelu_pytorch_tanh" : "silu"),
    gated: true,
    fused: relative.fused ?? false,
    biases: { qkv: relative.qkvBias ?? bias, out: bias, network: networkBias },
    learnedPositions: false,
    ...(relative.embeddingScaled && { embeddingScale: Math.sqrt(width) }),
    ...(relative.scoreCap !== undefined && { scoreCap: relative.scoreCap }),
    ...(relative.logitCap !== undefined && { logitCap: relative.logitCap }),
    dropout: {
      embedding: config.number("embd_pdrop", 0),
      attention: config.number("attention_dropout", 0),
      residual: config.number("resid_pdrop", 0),
    },
    tied: config.flag("tie_word_embeddings", relative.tied ?? false),
    initialStd: config.number("initializer_range", 0.02),
    names: { ...roles, ...relative.names },
    transposed: false,
  };
}

/** The kinds of the blocks, where the configuration lists them. */
function layerTypes(config: Config, count: number): readonly string[] | undefined {
  if (!config.has("layer_types")) return undefined;
  const types = config.texts("layer_types");
  if (types.length !== count || types.some((type) => type !== sliding && type !== "full_attention"))
    config.refuse("layer_types", `it is "${sliding}" or "full_attention" for each of the ${count} blocks`);
  return types;
}

/** The rotary embedding of blocks that see everything: `rope_theta` and `rope_scaling`, or both in `rope_parameters`. */
function globalRope(config: Config, relative: Relative, size: number, context: number): Rope {
  const scaling = ropeParameters(config, "full_attention");
  const [inside, beside] = [scaling?.maybe("rope_theta"), config.maybe("rope_theta")];
  if (inside !== undefined && beside !== undefined && inside !== beside)
    config.refuse("rope_theta", `its rope parameters say ${inside}`);
  const theta = inside ?? beside ?? relative.theta ?? 10000;
  return finished({ config, scaling, theta, size, context });
}

function ropeParameters(config: Config, type: string): Config | undefined {
  if (config.has("rope_parameters")) {
    const all = config.object("rope_parameters");
    return all.has(type) ? all.object(type) : all;
  }
  return config.has("rope_scaling") ? config.object("rope_scaling") : undefined;
}

/** Of a scaling: the kinds of blocks, which have their own, and what was true of the training. */
const idleInRope = new Set(["full_attention", sliding, "finetuned", "original_max_position_embeddings"]);

function finished(setting: Parameters<typeof ropeOf>[0]): Rope {
  const rope = ropeOf(setting);
  setting.scaling?.finish((name) => idleInRope.has(name));
  return rope;
}

function qwen(config: Config, of: { readonly biases: boolean; readonly headNorms: boolean }): Architecture {
  const window = config.flag("use_sliding_window", false) ? config.size("sliding_window", 4096) : undefined;
  config.has("sliding_window");
  const from = config.number("max_window_layers", 28);
  return llamaLike(config, {
    sharedHeads: 32,
    context: 32768,
    headNorms: of.headNorms,
    ...(of.biases ? { qkvBias: true } : { headSize: 128 }),
    window: (i, types) => (types ? types[i] === sliding : i >= from) && window,
  });
}

function phi3(config: Config): Architecture {
  // Phi-4-mini says of what its configuration once could.
  for (const name of ["full_attn_mod", "interpolate_factor"]) config.only(name, 1);
  return llamaLike(config, {
    fused: true,
    eps: 1e-5,
    window: everywhere(config.maybeSize("sliding_window")),
    names: { act: "activation_fn" },
  });
}

function gemma(config: Config, more: Relative = {}): Architecture {
  return llamaLike(config, {
    sharedHeads: 16,
    context: 8192,
    headSize: 256,
    offset: 1,
    tied: true,
    activation: "hidden_activation",
    embeddingScaled: true,
    ...more,
  });
}

const gemma2Norms: Relative = {
  resultNorms: true,
  names: { beforeNetwork: "pre_feedforward_layernorm" },
};

function gemma3(config: Config): Architecture {
  const pattern = config.size("sliding_window_pattern", config.size("_sliding_window_pattern", 6));
  const [theta, local] = [config.positive("rope_theta", 1e6), config.positive("rope_local_base_freq", 10000)];
  const window = config.size("sliding_window", 4096);
  return gemma(config, {
    ...gemma2Norms,
    sharedHeads: 4,
    context: 131072,
    theta,
    headNorms: true,
    scaled: true,
    scoreCap: config.maybe("attn_logit_softcapping"),
    logitCap: config.maybe("final_logit_softcapping"),
    window: (i, types) => (types ? types[i] === sliding : (i + 1) % pattern !== 0) && window,
    localRope: (size, context) => {
      const all = config.has("rope_parameters") ? config.object("rope_parameters") : undefined;
      const scaling = all?.has(sliding) ? all.object(sliding) : undefined;
      return finished({ config, scaling, theta: scaling?.maybe("rope_theta") ?? local, size, context });
    },
  });
}

function gpt2(config: Config): Architecture {
  const width = config.size("n_embd", 768);
  const heads = config.size("n_head", 12, mostHeads);
  const headSize = width / heads;
  if (config.flag("add_cross_attention", false))
    config.refuse("add_cross_attention", "blocks would attend to an encoder");
  const scale = config.flag("scale_attn_weights", true) ? headSize ** -0.5 : 1;
  const byBlock = config.flag("scale_attn_by_inverse_layer_idx", false);
  return {
    family: "gpt2",
    vocabulary: config.size("vocab_size", 50257),
    width,
    hidden: config.size("n_inner", 4 * width),
    context: config.size("n_positions", 1024),
    heads,
    sharedHeads: heads,
    headSize,
    blocks: Array.from({ length: config.size("n_layer", 12, mostBlocks) }, (_, i) => ({
      scale: byBlock ? scale / (i + 1) : scale,
    })),
    norm: { kind: "layer", eps: config.number("layer_norm_epsilon", 1e-5), offset: 0 },
    headNorms: false,
    resultNorms: false,
    activation: activationOf(config, "activation_function", "gelu_new"),
    gated: false,
    fused: true,
    biases: { qkv: true, out: true, network: true },
    learnedPositions: true,
    dropout: {
      embedding: config.number("embd_pdrop", 0.1),
      attention: config.number("attn_pdrop", 0.1),
      residual: config.number("resid_pdrop", 0.1),
    },
    tied: config.flag("tie_word_embeddings", true),
    initialStd: config.number("initializer_range", 0.02),
    names: {
      ...roles,
      ...{ body: "transformer", embedding: "wte", embeddingDrop: "drop", blocks: "h", last: "ln_f" },
      ...{
        beforeAttention: "ln_1",
        attention: "attn",
        qkv: "c_attn",
        out: "c_proj",
        attentionDrop: "attn_dropout",
      },
      ...{ residualDrop: "resid_dropout", beforeNetwork: "ln_2", up: "c_fc", act: "act", down: "c_proj" },
      networkDrop: "dropout",
    },
    transposed: true,
  };
}

/** Hugging Face's names of activations. */
const activations: Readonly<Record<string, Activation>> = {
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "geluTanh",
  gelu_pytorch_tanh: "geluTanh",
  silu: "silu",
  swish: "silu",
  relu: "relu",
  tanh: "tanh",
  sigmoid: "sigmoid",
};

function activationOf(config: Config, field: string, otherwise: string): Activation {
  const name = config.text(field, otherwise);
  // Gemma's first configurations name another function here than the one that it was trained with.
  if (field === "hidden_activation") config.has("hidden_act");
  const found = Object.hasOwn(activations, name) ? activations[name] : undefined;
  return found ?? config.refuse(field, `there are ${Object.keys(activations).join(", ")}`);
}

function checkSizes({ width, heads, sharedHeads, headSize, blocks, family }: Architecture): void {
  const wrong =
    heads % sharedHeads !== 0
      ? `${heads} heads cannot share ${sharedHeads} heads of keys evenly`
      : !Number.isInteger(headSize)
        ? `a width of ${width} cannot be cut into ${heads} heads`
        : blocks.some(({ rope }) => rope?.frequencies.length === 0)
          ? `heads of ${headSize} cannot be turned in pairs`
          : undefined;
  if (wrong) throw new ValueError(`config.json: ${wrong}; the sizes of this ${family} do not fit together.`);
}
