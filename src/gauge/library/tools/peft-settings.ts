import { field } from "../../../base/arguments.ts";
import type { Library, Setting } from "../library.ts";
import { alphaOver, dropout, either, hyper, norm, rank, word } from "./settings.ts";
import { torch } from "./torch.ts";
import { schedules, trainerOnly, trainerOthers, trainerRefused, trainerWarmup, warmups } from "./trainer.ts";

// PEFT's configuration, and what runs it.

export const peftConfig: { readonly [place: string]: Setting } = {
  r: rank(8),
  lora_alpha: alphaOver("r, or sqrt(r) with use_rslora", 8),
  lora_dropout: dropout(0),
  use_rslora: { is: "rsLora", field: either(false), says: "divide alpha by sqrt(r)" },
  init_lora_weights: {
    is: "init",
    field: field<unknown>(
      "true, false or a name",
      (value) => typeof value === "boolean" || typeof value === "string",
      true,
    ),
    // gaussian: A normal with standard deviation 1/r; false: both random.
    words: {
      true: "standard",
      gaussian: "gaussian",
      false: "random",
      orthogonal: "orthogonal",
      pissa: "pissa",
      olora: "olora",
    },
    nullIs: false,
    says: "how A and B start",
  },
  use_dora: { is: "dora", field: either(false), says: "DoRA" },
  lora_bias: { is: "branchBias", field: either(false), says: "a bias in lora_B, inside the scaled branch" },
};

export const peftOthers = [
  "task_type",
  "auto_mapping",
  "base_model_name_or_path",
  "revision",
  "inference_mode",
  "target_modules",
  "target_parameters",
  "exclude_modules",
  "fan_in_fan_out",
  "megatron_*",
  "runtime_config",
  "qalora_group_size",
  "ensure_weight_tying",
  "layers_to_transform",
  "layers_pattern",
];

/** adapter_config.json has it; use_rslora is of 0.8. */
export const peftWritten = { at: "peft_version", since: "0.8" };

export const peftOnly = {
  peft_type: ["LORA"],
  bias: ["none"],
  modules_to_save: [],
  layer_replication: [],
  trainable_token_indices: [],
  loftq_config: [],
  eva_config: [],
  corda_config: [],
  lora_ga_config: [],
  alora_invocation_tokens: [],
  arrow_config: [],
  use_qalora: [false],
  use_bdlora: [false],
};

export const peftNotes = ["PEFT: lora_alpha is 8 by default and does not follow r; give it."];

export const peftSource = [
  "github.com/huggingface/peft, src/peft/tuners/lora/config.py and layer.py",
  "github.com/huggingface/transformers, src/transformers/training_args.py and trainer_optimizer.py",
];

export const peftBase = {
  groups: "none",
  noDecay: ["branchBias"],
  written: peftWritten,
  warmup: trainerWarmup,
  adapts: ["linear", "embedding"],
  pairs: { optim_args: "text" },
  refused: trainerRefused,
  only: { ...peftOnly, ...trainerOnly, rank_pattern: [], alpha_pattern: [] },
  others: [...peftOthers, ...trainerOthers],
  notes: peftNotes,
} as const;

export const ownOptimizer: Pick<Library, "groups" | "optimizers" | "warmup" | "anyCase"> = {
  groups: "any",
  anyCase: true,
  optimizers: torch((name) => name),
  warmup: trainerWarmup,
};

export const ownSettings = (lr?: number): { readonly [place: string]: Setting } => ({
  optimizer: { is: "optimizer", field: word("AdamW"), says: "a class of torch.optim" },
  lr: hyper(lr, "the learning rate of all groups that have none of their own"),
  max_grad_norm: {
    ...norm(0),
    says: "the threshold of clip_grad_norm_, called before each step; 0 for none",
  },
  lr_scheduler_type: {
    is: "schedule",
    field: word("constant"),
    words: schedules,
    says: "transformers.get_scheduler's name",
  },
  ...warmups(),
});
