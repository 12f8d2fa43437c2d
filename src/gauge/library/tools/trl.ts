import type { Library } from "../library.ts";
import { peftBase, peftConfig, peftSource } from "./peft-settings.ts";
import { trainer, trainerOptimizers, trainerRefused } from "./trainer.ts";

export const trl = {
  ...peftBase,
  title: "TRL's SFTTrainer",
  version: "1.1",
  source: [...peftSource, "github.com/huggingface/trl, trl/trainer/sft_config.py"],
  settings: {
    ...peftConfig,
    ...trainer({ lr: 2e-5, decay: 0, optim: "adamw_torch_fused", schedule: "linear" }),
  },
  optimizers: trainerOptimizers(),
  others: [
    ...peftBase.others,
    "assistant_only_loss",
    "completion_only_loss",
    "activation_offloading",
    "attn_implementation",
    "chat_template_path",
    "dtype",
    "torch_dtype",
    "load_in_*",
    "loss_type",
    "pad_*",
    "padding_free",
    "eos_token",
    "shuffle_dataset",
    "trust_remote_code",
  ],
  refused: {
    ...trainerRefused,
    use_peft:
      "the command trl has defaults of its own for the adapter (r 16, alpha 32, dropout 0.05); leave it out, and give r, lora_alpha and lora_dropout.",
  },
  // TRL's page on "LoRA Without Regret".
  example: { r: 256, lora_alpha: 16, learning_rate: 2e-4 },
} as const satisfies Library;
