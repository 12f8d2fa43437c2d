import { integer } from "../../../base/arguments.ts";
import type { Library } from "../library.ts";
import { hyper, norm, rank, word } from "./settings.ts";

export const tinker = {
  title: "Tinker",
  version: "0.30",
  source: [
    "tinker-docs.thinkingmachines.ai, tinker.types.AdamParams",
    "github.com/thinking-machines-lab/tinker-cookbook, tinker_cookbook/hyperparam_utils.py, supervised/train.py at 027aaba59df8 and utils/lr_scheduling.py at 148adcf19dc8",
  ],
  groups: "none",
  settings: {
    rank: rank(32),
    learning_rate: hyper(1e-4, "the learning rate of A and B"),
    beta1: hyper(0.9, "the decay of the first moment"),
    beta2: hyper(0.95, "the decay of the second moment"),
    eps: hyper(1e-12, "added to the root of the second moment"),
    weight_decay: hyper(0, "decoupled decay"),
    grad_clip_norm: norm(0),
    lr_schedule: {
      is: "schedule",
      field: word("linear"),
      words: { linear: "warmupLinear", cosine: "warmupCosine", constant: "constant" },
      says: "the cookbook's schedule of supervised training",
    },
    max_steps: {
      is: "total",
      field: integer(-1, Infinity, -1),
      says: "all updates; -1 where epochs decide",
    },
  },
  optimizers: {
    adam: {
      is: "adamw",
      places: {
        lr: "learning_rate",
        "betas.0": "beta1",
        "betas.1": "beta2",
        eps: "eps",
        weightDecay: "weight_decay",
      },
    },
  },
  fixed: { init: "standard", alpha: 32 },
  adapts: ["linear"],
  others: [
    "model_name",
    "base_model",
    "seed",
    "train_mlp",
    "train_attn",
    "train_unembed",
    "num_epochs",
    "log_path",
  ],
  refused: {
    alpha: "Tinker's alpha is 32 for every rank, and is not set.",
    lora_alpha: "Tinker's alpha is 32 for every rank, and is not set.",
  },
  example: {},
  notes: [
    "Tinker: alpha is 32 for every rank; the multiplier is 32 / rank.",
    "Tinker: AdamParams has eps 1e-12; the cookbook's supervised training passes 1e-8 (adam_eps) unless it is told otherwise.",
  ],
} as const satisfies Library;
