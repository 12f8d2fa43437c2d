import { integer, optional } from "../../../base/arguments.ts";
import type { Library } from "../library.ts";
import { alphaOver, dropout, hyper, rank, word } from "./settings.ts";
import { dotted, placed, torchOnly, torchOthers } from "./torch.ts";

export const litgpt = {
  title: "LitGPT's finetune_lora",
  version: "0.5",
  source: [
    "github.com/Lightning-AI/litgpt, litgpt/finetune/lora.py at c16c72c04ce0, litgpt/args.py at 02f2fca417cf, litgpt/lora.py",
  ],
  groups: "none",
  settings: {
    lora_r: rank(8),
    lora_alpha: alphaOver("r", 16),
    lora_dropout: dropout(0.05),
    "optimizer.class_path": {
      is: "optimizer",
      field: word("torch.optim.AdamW"),
      says: "a class of torch.optim",
    },
    "optimizer.init_args.lr": hyper(1e-3, "the learning rate of A and B"),
    "train.lr_warmup_steps": {
      is: "warmup",
      field: integer(1, Infinity, 100),
      says: "updates of the warm-up, at least 1",
    },
    "train.max_steps": {
      is: "total",
      field: optional(integer(1)),
      says: "all updates, where epochs do not decide",
    },
  },
  optimizers: dotted("optimizer.init_args"),
  fixed: { init: "standard" },
  schedule: "warmupCosine",
  adapts: ["linear"],
  others: [
    "checkpoint_dir",
    "out_dir",
    "precision",
    "quantize",
    "devices",
    "num_nodes",
    "lora_query",
    "lora_key",
    "lora_value",
    "lora_projection",
    "lora_mlp",
    "lora_head",
    "data",
    "eval",
    "logger_name",
    "seed",
    "train.save_interval",
    "train.log_interval",
    "train.global_batch_size",
    "train.micro_batch_size",
    "train.epochs",
    "train.max_seq_length",
    "train.max_tokens",
    "train.tie_embeddings",
    "train.min_lr",
    "access_token",
    ...torchOthers.map((name) => `optimizer.init_args.${name}`),
  ],
  only: placed((name) => `optimizer.init_args.${name}`, torchOnly),
  refused: {
    optimizer:
      "a name alone has the defaults of its class; give optimizer.class_path, as torch.optim.AdamW, and optimizer.init_args.lr.",
    "train.max_norm": "finetune_lora does not take it; it does not clip.",
    "train.learning_rate": "since 0.4.4 it is optimizer.init_args.lr; give that one.",
    "train.weight_decay": "since 0.4.4 it is optimizer.init_args.weight_decay; give that one.",
    "train.beta1": "since 0.4.4 it is in optimizer.init_args.betas; give that one.",
    "train.beta2": "since 0.4.4 it is in optimizer.init_args.betas; give that one.",
  },
  example: {
    "optimizer.init_args.lr": 2e-4,
    "optimizer.init_args.weight_decay": 0,
    "optimizer.init_args.betas": [0.9, 0.95],
    "train.lr_warmup_steps": 10,
  },
  notes: ["LitGPT: the rate always rises from 0 and falls by half a cosine; gradients are not clipped."],
} as const satisfies Library;
