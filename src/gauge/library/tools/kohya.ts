import { integer, nonNegative, optional, positive } from "../../../base/arguments.ts";
import type { Library, TheirOptimizer } from "../library.ts";
import { hyper, norm, rank, word } from "./settings.ts";
import { placed, torch, torchOnly, torchOthers } from "./torch.ts";
import { schedules } from "./trainer.ts";

const kohyaLion: TheirOptimizer = {
  is: "lion",
  places: {
    lr: "learning_rate",
    betas: "optimizer_args:betas",
    weightDecay: "optimizer_args:weight_decay",
  },
  // Those of lion_pytorch and bitsandbytes.
  defaults: { "optimizer_args:betas": [0.9, 0.99], "optimizer_args:weight_decay": 0 },
};
const kohyaAdam: TheirOptimizer = {
  is: "adamw",
  places: { ...kohyaLion.places, eps: "optimizer_args:eps" },
};
const kohyaLions = {
  Lion: kohyaLion,
  Lion8bit: { ...kohyaLion, eightBitStates: true },
  PagedLion8bit: { ...kohyaLion, eightBitStates: true },
};
const kohyaAdams = {
  AdamW8bit: { ...kohyaAdam, eightBitStates: true },
  PagedAdamW8bit: { ...kohyaAdam, eightBitStates: true },
  PagedAdamW: kohyaAdam,
  PagedAdamW32bit: kohyaAdam,
};

export const kohya = {
  title: "kohya's sd-scripts, networks.lora",
  version: "0.9",
  source: ["github.com/kohya-ss/sd-scripts, networks/lora.py and library/train_util.py at 0005867ba509"],
  groups: "ratio",
  settings: {
    network_dim: rank(4),
    network_alpha: {
      is: "alpha",
      field: nonNegative(1),
      says: "alpha; the multiplier is alpha / dim, and 0 is dim",
    },
    "network_args:loraplus_lr_ratio": {
      is: "ratio",
      field: positive(1),
      says: "the rate of B over that of A",
    },
    optimizer_type: { is: "optimizer", field: word("AdamW"), says: "the optimizer" },
    learning_rate: hyper(2e-6, "the learning rate of A and B"),
    lr_scheduler: { is: "schedule", field: word("constant"), words: schedules, says: "the schedule" },
    lr_warmup_steps: {
      is: "warmup",
      field: nonNegative(0),
      says: "updates of the warm-up; below 1 their share of all",
    },
    max_train_steps: { is: "total", field: integer(1, Infinity, 1600), says: "all updates" },
    max_train_epochs: {
      is: "epochs",
      field: optional(integer(1)),
      says: "epochs, which decide instead of max_train_steps where they are given",
    },
    max_grad_norm: norm(1),
  },
  warmup: { rounds: "floor", below1: true, notConstant: true },
  pairs: { optimizer_args: "list", network_args: "list" },
  anyCase: true,
  optimizers: {
    ...torch((name) => (name === "lr" ? "learning_rate" : `optimizer_args:${name}`)),
    ...kohyaLions,
    ...kohyaAdams,
    SGDNesterov: {
      is: "sgd",
      fixed: { nesterov: true },
      places: {
        lr: "learning_rate",
        momentum: "optimizer_args:momentum",
        dampening: "optimizer_args:dampening",
        weightDecay: "optimizer_args:weight_decay",
      },
      defaults: { "optimizer_args:momentum": 0.9 },
    },
  },
  fixed: { init: "standard" },
  adapts: ["linear"],
  others: [
    "pretrained_model_name_or_path",
    "train_data_dir",
    "reg_data_dir",
    "output_*",
    "save_*",
    "lr_scheduler_num_cycles",
    "lr_scheduler_power",
    "network_train_unet_only",
    "train_batch_size",
    "mixed_precision",
    "full_*",
    "resolution",
    "caption_*",
    "cache_*",
    "enable_bucket",
    "bucket_*",
    "min_bucket_reso",
    "max_bucket_reso",
    "shuffle_caption",
    "keep_tokens",
    "seed",
    "clip_skip",
    "xformers",
    "sdpa",
    "gradient_*",
    "sample_*",
    "log*",
    "dataset_*",
    "persistent_data_loader_workers",
    "max_data_loader_n_workers",
    "max_token_length",
    "vae",
    "v2",
    "v_parameterization",
    ...torchOthers.map((name) => `optimizer_args:${name}`),
  ],
  only: {
    network_module: ["networks.lora"],
    network_dropout: [0],
    scale_weight_norms: [],
    min_snr_gamma: [],
    noise_offset: [],
    network_weights: [],
    ...placed((name) => `optimizer_args:${name}`, torchOnly),
  },
  refused: {
    use_8bit_adam: "it is optimizer_type AdamW8bit now; give that one.",
    use_lion_optimizer: "it is optimizer_type Lion now; give that one.",
    dim_from_weights: "the ranks of an adapter are not known here; give network_dim and network_alpha.",
    unet_lr: "a rate for the U-Net of its own cannot be said in a recipe; give learning_rate.",
    text_encoder_lr: "a rate for the text encoder of its own cannot be said in a recipe; give learning_rate.",
  },
  example: { network_dim: 32, network_alpha: 16, learning_rate: 1e-4 },
  notes: [
    "kohya: network_alpha is 1 by default, so that the multiplier is 1 / dim.",
    "kohya: it refuses lr_warmup_steps beside the schedule constant; constant_with_warmup takes them.",
    "kohya: network_dropout zeroes entries between A and B, not of the input.",
  ],
} as const satisfies Library;
