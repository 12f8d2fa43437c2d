import type { Library } from "../library.ts";
import { ownOptimizer, ownSettings } from "./peft-settings.ts";
import { alphaOver, dropout, rank } from "./settings.ts";
import { torchOnly, torchOthers } from "./torch.ts";

export const loralib = {
  title: "loralib with an optimizer of torch.optim",
  version: "0.1.2",
  source: ["github.com/microsoft/LoRA, loralib/layers.py", "the same, examples/NLG/README.md"],
  ...ownOptimizer,
  settings: {
    r: rank(),
    lora_alpha: alphaOver("r", 1),
    lora_dropout: dropout(0),
    ...ownSettings(),
  },
  fixed: { init: "standard" },
  adapts: ["linear", "embedding"],
  others: ["fan_in_fan_out", "merge_weights", "enable_lora", ...torchOthers],
  only: torchOnly,
  refused: {},
  example: {
    r: 4,
    lora_alpha: 32,
    lora_dropout: 0.1,
    lr: 2e-4,
    weight_decay: 0.01,
    lr_scheduler_type: "linear",
    warmup_steps: 500,
  },
  notes: [
    "loralib: its defaults are r = 0 (no adapter) and lora_alpha = 1; give both.",
    "loralib: an embedding starts with A = 0 and B random, the other way round than a linear layer.",
  ],
} as const satisfies Library;
