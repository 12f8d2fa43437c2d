import { field } from "../../../base/arguments.ts";
import type { Library } from "../library.ts";
import { peftBase, peftConfig, peftNotes, peftSource } from "./peft-settings.ts";
import { alphaOver, rank } from "./settings.ts";
import { trainer, trainerOptimizers } from "./trainer.ts";

export const unsloth = {
  ...peftBase,
  title: "Unsloth",
  version: "2025.8",
  source: [
    ...peftSource,
    "github.com/unslothai/unsloth, unsloth/models/rl.py (what it replaces in TRL's defaults) and llama.py (get_peft_model: r 16, lora_alpha 16)",
  ],
  settings: {
    ...peftConfig,
    // Its get_peft_model takes no other start, but LoftQ.
    init_lora_weights: {
      is: "init",
      field: field<unknown>(
        'true, false, "gaussian" or "loftq"',
        (value) => typeof value === "boolean" || value === "gaussian" || value === "loftq",
        true,
      ),
      words: { true: "standard", gaussian: "gaussian", false: "random" },
      says: "how A and B start",
    },
    r: rank(16),
    lora_alpha: alphaOver("r, or sqrt(r) with use_rslora", 16),
    ...trainer({ lr: 5e-5, decay: 0.01, optim: "adamw_8bit", schedule: "linear", share: 0.1 }),
  },
  optimizers: trainerOptimizers(),
  others: [
    ...peftBase.others,
    "use_gradient_checkpointing",
    "random_state",
    "embedding_learning_rate",
    "finetune_*",
    "load_in_*",
  ],
  // Its notebooks.
  example: { learning_rate: 2e-4, warmup_steps: 5, max_steps: 60 },
  notes: [...peftNotes, "Unsloth: warmup_ratio is 0.1 by default; it acts where warmup_steps is 0."],
} as const satisfies Library;
