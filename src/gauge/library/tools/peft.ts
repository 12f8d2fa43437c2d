import { positive } from "../../../base/arguments.ts";
import type { Library } from "../library.ts";
import {
  ownOptimizer,
  ownSettings,
  peftBase,
  peftConfig,
  peftNotes,
  peftOnly,
  peftOthers,
  peftSource,
  peftWritten,
} from "./peft-settings.ts";
import { hyper, word } from "./settings.ts";
import { torch, torchOnly, torchOthers } from "./torch.ts";
import {
  schedules,
  trainer,
  trainerNorm,
  trainerOptimizers,
  trainerOthers,
  trainerRefused,
  trainerWarmup,
  warmups,
} from "./trainer.ts";

export const peft = {
  title: "PEFT with an optimizer of torch.optim",
  version: "0.20",
  source: peftSource.slice(0, 1),
  written: peftWritten,
  ...ownOptimizer,
  settings: { ...peftConfig, ...ownSettings() },
  adapts: ["linear", "embedding"],
  others: [...peftOthers, ...torchOthers],
  only: { ...peftOnly, ...torchOnly, rank_pattern: [], alpha_pattern: [] },
  refused: {},
  example: { lr: 2e-4 },
  notes: [
    ...peftNotes,
    "PEFT: pass an optimizer with one group for lora_A and one for lora_B; TrainingArguments has one rate, one eps and one decay for both.",
  ],
} as const satisfies Library;

export const peftTrainer = {
  ...peftBase,
  title: "PEFT with the Trainer",
  version: "0.20, Transformers 5",
  source: peftSource,
  settings: {
    ...peftConfig,
    ...trainer({ lr: 5e-5, decay: 0, optim: "adamw_torch_fused", schedule: "linear" }),
  },
  optimizers: trainerOptimizers(),
  example: {},
} as const satisfies Library;

export const peftLoraplus = {
  title: "PEFT's create_loraplus_optimizer",
  anyCase: true,
  version: "0.20",
  source: [...peftSource.slice(0, 1), "the same, src/peft/optimizers/loraplus.py"],
  groups: "ratio",
  noDecay: ["branchBias"],
  written: peftWritten,
  settings: {
    ...peftConfig,
    optimizer_cls: { is: "optimizer", field: word("AdamW"), says: "a class of torch.optim" },
    lr: hyper(undefined, "the learning rate of A"),
    loraplus_lr_ratio: { is: "ratio", field: positive(), says: "the rate of B over that of A" },
    loraplus_weight_decay: hyper(0, "the decay, of all but biases; weight_decay has no effect"),
    max_grad_norm: trainerNorm,
    lr_scheduler_type: {
      is: "schedule",
      field: word("linear"),
      words: schedules,
      says: "the schedule, when a Trainer runs the optimizer",
    },
    ...warmups(),
  },
  warmup: trainerWarmup,
  optimizers: torch((name) => (name === "weight_decay" ? "loraplus_weight_decay" : name)),
  // Its embeddings get the rate of A for both matrices.
  adapts: ["linear"],
  others: [...peftOthers, ...trainerOthers, ...torchOthers],
  only: { ...peftOnly, ...torchOnly, rank_pattern: [], alpha_pattern: [] },
  refused: {
    ...trainerRefused,
    weight_decay:
      "each group has the decay of loraplus_weight_decay, 0 by default, and this one has no effect; give that one.",
  },
  example: { lr: 5e-5, loraplus_lr_ratio: 16 },
  notes: peftNotes,
} as const satisfies Library;
