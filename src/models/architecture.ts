import type { Activation } from "../nn/activation.ts";

/**
 * A decoder-only transformer as data. What tells GPT-2, Llama, Qwen, Gemma and Phi apart are fields of this; there is one
 * `decoder` for all of them.
 */
export interface Architecture {
  /** The `model_type` of its config.json. */
  readonly family: string;
  readonly vocabulary: number;
  /** Of the vectors between blocks. */
  readonly width: number;
  /** Of the layer between the two of a block's network. */
  readonly hidden: number;
  /** Positions that the model was made for. */
  readonly context: number;
  readonly heads: number;
  /** Heads of keys and values; each serves `heads / sharedHeads` heads of queries. */
  readonly sharedHeads: number;
  /** The length of a head's queries and keys. */
  readonly headSize: number;
  /** One for each block. */
  readonly blocks: readonly BlockKind[];
  readonly norm: Norm;
  /** Each head's queries and keys are normalised before they are turned. */
  readonly headNorms: boolean;
  /** The results of attention and of the network are normalised too, before they are added. */
  readonly resultNorms: boolean;
  readonly activation: Activation;
  /** The network is down(act(gate(x)) * up(x)), not down(act(up(x))). */
  readonly gated: boolean;
  /** Queries, keys and values come out of one layer; and gate and up, where there is a gate. */
  readonly fused: boolean;
  readonly biases: { readonly qkv: boolean; readonly out: boolean; readonly network: boolean };
  /** Positions are a table of vectors that are added to the tokens'; else queries and keys are turned. */
  readonly learnedPositions: boolean;
  /** Factor on the vectors of tokens. */
  readonly embeddingScale?: number;
  /** Bound of attention scores: cap * tanh(score / cap). */
  readonly scoreCap?: number;
  /** The same of logits. */
  readonly logitCap?: number;
  /** Probabilities of dropping, in training. */
  readonly dropout: { readonly embedding: number; readonly attention: number; readonly residual: number };
  /** The output layer has the weights of the embedding. */
  readonly tied: boolean;
  /** Scores of so many classes in place of those of the next token. */
  readonly labels?: number;
  /** Standard deviation of initial weights. */
  readonly initialStd: number;
  readonly names: Names;
  /** Linear weights lie in x out in the file. */
  readonly transposed: boolean;
}

/** What blocks of one model may differ in. */
export interface BlockKind {
  /** Factor on attention scores. */
  readonly scale: number;
  /** A query attends to so many positions, its own among them. Default: all before it. */
  readonly window?: number;
  /** How queries and keys are turned; not at all where positions are learned. */
  readonly rope?: Rope;
}

/** Frequencies of the rotary embedding, and what scaling them to longer contexts adds. */
export interface Rope {
  /** The angle that a position adds, for each pair. */
  readonly frequencies: readonly number[];
  /** Factor on what is turned. */
  readonly factor: number;
  /** From so many positions on the frequencies are others. */
  readonly long?: { readonly from: number; readonly frequencies: readonly number[] };
  /** The base grows with the sequence, from so many positions on: "dynamic NTK", u/emozilla and u/bloc97 2023. */
  readonly dynamic?: { readonly from: number; readonly factor: number };
}

export interface Norm {
  /** Of the mean of squares, or of what is left without the mean, with a bias. */
  readonly kind: "rms" | "layer";
  readonly eps: number;
  /** Added to the weight. */
  readonly offset: number;
}

/** Parts of a decoder, by what they do. */
export const roles = {
  body: "model",
  embedding: "embed_tokens",
  positions: "wpe",
  embeddingDrop: "embed_dropout",
  blocks: "layers",
  last: "norm",
  head: "lm_head",
  beforeAttention: "input_layernorm",
  attention: "self_attn",
  afterAttention: "post_attention_layernorm",
  qkv: "qkv_proj",
  q: "q_proj",
  k: "k_proj",
  v: "v_proj",
  qNorm: "q_norm",
  kNorm: "k_norm",
  attentionDrop: "attention_dropout",
  out: "o_proj",
  residualDrop: "resid_attn_dropout",
  beforeNetwork: "post_attention_layernorm",
  network: "mlp",
  afterNetwork: "post_feedforward_layernorm",
  gateUp: "gate_up_proj",
  gate: "gate_proj",
  up: "up_proj",
  act: "act_fn",
  down: "down_proj",
  networkDrop: "resid_mlp_dropout",
} as const;

export type PartRole = keyof typeof roles;

/** What the parts are called in a checkpoint: those of Llama, unless an architecture says otherwise. */
export type Names = { readonly [R in PartRole]: string };

/** The architecture of a decoder that may have adapters, or undefined for another model. */
export function findArchitecture(model: unknown): Architecture | undefined {
  for (
    let at: unknown = model;
    typeof at === "object" && at !== null;
    at = (at as { readonly base?: unknown }).base
  )
    if ("architecture" in at) return at.architecture as Architecture; // of a decoder
  return undefined;
}
