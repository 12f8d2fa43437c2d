import {
  field,
  fraction,
  integer,
  nonNegative,
  oneOf,
  optional,
  positive,
  required,
} from "../../base/arguments.ts";
import type { Library, Setting, TheirOptimizer, WarmupRule } from "./library.ts";

// The libraries. Their defaults were read in the sources named beside them, at the commit where one is given; a version is
// that of the source as it was read, and of `torch.optim` the defaults are those that PyTorch documents.

const either = (otherwise: boolean) =>
  field<unknown>("true or false", (value) => typeof value === "boolean", otherwise);
const word = (otherwise?: string) =>
  field<unknown>("a text", (value) => typeof value === "string", otherwise);
const dropout = (otherwise: number): Setting => ({
  is: "dropout",
  field: fraction(otherwise),
  says: "the probability with which an entry of the adapter's input is zeroed",
});
const rank = (otherwise?: number): Setting => ({
  is: "r",
  field: integer(1, Infinity, otherwise),
  says: "the rank",
});
const alphaOver = (divisor: string, otherwise?: number): Setting => ({
  is: "alpha",
  field: positive(otherwise),
  says: `alpha; the multiplier is alpha / ${divisor}`,
});
const hyper = (otherwise: number | undefined, says: string): Setting => ({
  is: "hyper",
  field: otherwise === undefined ? required : nonNegative(otherwise),
  says,
});
const norm = (otherwise: number): Setting => ({
  is: "maxNorm",
  field: nonNegative(otherwise),
  says: "the threshold of the global norm; 0 for no clipping",
});
/** That of the Trainer, which takes null too. */
const trainerNorm: Setting = { ...norm(1), nullIs: 0 };

/** `torch.optim`, whose defaults are those of the optimizers here. `at` says where an argument is set. */
function torch(at: (name: string) => string): { readonly [name: string]: TheirOptimizer } {
  const places = (pairs: { readonly [hyper: string]: string }) =>
    Object.fromEntries(Object.entries(pairs).map(([own, theirs]) => [own, at(theirs)]));
  const common = { lr: "lr", weightDecay: "weight_decay" };
  const moments = { ...common, betas: "betas", eps: "eps" };
  return {
    AdamW: { is: "adamw", places: places({ ...moments, amsgrad: "amsgrad" }) },
    Adam: { is: "adam", places: places({ ...moments, amsgrad: "amsgrad" }) },
    SGD: {
      is: "sgd",
      places: places({ ...common, momentum: "momentum", dampening: "dampening", nesterov: "nesterov" }),
    },
    Adamax: { is: "adamax", places: places(moments) },
    NAdam: { is: "nadam", places: places({ ...moments, momentumDecay: "momentum_decay" }) },
    RAdam: { is: "radam", places: places(moments) },
    RMSprop: {
      is: "rmsprop",
      places: places({ ...common, alpha: "alpha", eps: "eps", momentum: "momentum", centered: "centered" }),
    },
    Adagrad: {
      is: "adagrad",
      places: places({
        ...common,
        eps: "eps",
        lrDecay: "lr_decay",
        initialAccumulatorValue: "initial_accumulator_value",
      }),
    },
    Adadelta: { is: "adadelta", places: places({ ...common, rho: "rho", eps: "eps" }) },
    Rprop: { is: "rprop", places: places({ lr: "lr", etas: "etas", stepSizes: "step_sizes" }) },
  };
}

/** Arguments of `torch.optim` that say how it computes, and those that change it. */
const torchOthers = ["foreach", "fused", "capturable", "differentiable"];
const torchOnly = { maximize: [false], decoupled_weight_decay: [false] };
const placed = <T>(at: (name: string) => string, of: { readonly [name: string]: T }) =>
  Object.fromEntries(Object.entries(of).map(([name, value]) => [at(name), value]));

// PEFT and the Trainer, with what is made of them.

const peftConfig: { readonly [place: string]: Setting } = {
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
    says: "how A and B start",
  },
  use_dora: { is: "dora", field: either(false), says: "DoRA" },
  lora_bias: { is: "branchBias", field: either(false), says: "a bias in lora_B, inside the scaled branch" },
};

const peftOthers = [
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
const peftWritten = { at: "peft_version", since: "0.8" };

const peftOnly = {
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

const peftNotes = ["PEFT: lora_alpha is 8 by default and does not follow r; give it."];

const schedules = {
  linear: "warmupLinear",
  cosine: "warmupCosine",
  constant: "constant",
  constant_with_warmup: "warmupConstant",
};

interface TrainerDefaults {
  readonly lr?: number;
  readonly decay: number;
  readonly optim: string;
  readonly schedule: string;
  readonly share?: number;
}

/** Transformers 5. */
const trainerWarmup: WarmupRule = { rounds: "ceil", below1: true };

const warmups = (share = 0): { readonly [place: string]: Setting } => ({
  warmup_steps: {
    is: "warmup",
    field: nonNegative(0),
    says: "updates of the warm-up; below 1 their share of all",
  },
  warmup_ratio: {
    is: "warmupShare",
    field: fraction(share),
    says: "the share of all updates that the warm-up takes where warmup_steps is 0",
  },
  max_steps: { is: "total", field: integer(-1, Infinity, -1), says: "all updates; -1 where epochs decide" },
});

function trainer({ lr, decay, optim, schedule, share }: TrainerDefaults): {
  readonly [place: string]: Setting;
} {
  return {
    optim: { is: "optimizer", field: word(optim), says: "the optimizer" },
    learning_rate: hyper(lr, "the learning rate of A and B"),
    weight_decay: hyper(decay, "the decay, of all but biases"),
    adam_beta1: hyper(0.9, "for the Adams and Lion"),
    adam_beta2: hyper(0.999, "for the Adams and Lion"),
    adam_epsilon: hyper(1e-8, "for the Adams"),
    max_grad_norm: trainerNorm,
    lr_scheduler_type: { is: "schedule", field: word(schedule), words: schedules, says: "the schedule" },
    ...warmups(share),
  };
}

/** The Trainer's optimizers; `at` renames their settings. */
function trainerOptimizers(at: (name: string) => string = (name) => name): {
  readonly [name: string]: TheirOptimizer;
} {
  const common = { lr: at("learning_rate"), weightDecay: at("weight_decay") };
  const betas = { "betas.0": at("adam_beta1"), "betas.1": at("adam_beta2") };
  const adamw: TheirOptimizer = { is: "adamw", places: { ...common, ...betas, eps: at("adam_epsilon") } };
  const short = { ...adamw, eightBitStates: true };
  const lion: TheirOptimizer = { is: "lion", places: { ...common, ...betas } };
  const pairs = (names: { readonly [hyper: string]: string }) =>
    Object.fromEntries(Object.entries(names).map(([own, theirs]) => [own, `optim_args:${theirs}`]));
  return {
    adamw_torch: adamw,
    adamw_torch_fused: adamw,
    adamw_torch_xla: adamw,
    adamw_torch_npu_fused: adamw,
    adamw_apex_fused: adamw,
    paged_adamw_32bit: adamw,
    adamw_8bit: short,
    adamw_bnb_8bit: short,
    paged_adamw_8bit: short,
    lion_32bit: lion,
    paged_lion_32bit: lion,
    lion_8bit: { ...lion, eightBitStates: true },
    paged_lion_8bit: { ...lion, eightBitStates: true },
    sgd: {
      is: "sgd",
      places: {
        ...common,
        ...pairs({ momentum: "momentum", dampening: "dampening", nesterov: "nesterov" }),
      },
    },
    rmsprop: {
      is: "rmsprop",
      places: {
        ...common,
        ...pairs({ alpha: "alpha", eps: "eps", momentum: "momentum", centered: "centered" }),
      },
    },
    // The Trainer turns its relative step and its scale by the parameter off.
    adafactor: { is: "adafactor", fixed: { scaleParameter: false }, places: common },
    adagrad: {
      is: "adagrad",
      places: {
        ...common,
        ...pairs({
          eps: "eps",
          lrDecay: "lr_decay",
          initialAccumulatorValue: "initial_accumulator_value",
        }),
      },
    },
  };
}

const trainerOthers = [
  "output_dir",
  "overwrite_output_dir",
  "run_name",
  "do_*",
  "eval_*",
  "per_device_*",
  "gradient_accumulation_steps",
  "gradient_checkpointing*",
  "num_train_epochs",
  "logging_*",
  "log_*",
  "save_*",
  "bf16*",
  "fp16*",
  "tf32",
  "seed",
  "data_seed",
  "dataloader_*",
  "dataset_*",
  "report_to",
  "push_to_hub",
  "hub_*",
  "group_by_length",
  "remove_unused_columns",
  "ddp_*",
  "fsdp*",
  "deepspeed",
  "torch_compile*",
  "resume_from_checkpoint",
  "load_best_model_at_end",
  "metric_for_best_model",
  "greater_is_better",
  "label_names",
  "use_cpu",
  "disable_tqdm",
  "include_*",
  "accelerator_config",
  "auto_find_batch_size",
  "average_tokens_across_devices",
  "batch_eval_metrics",
  "debug",
  "full_determinism",
  "half_precision_backend",
  "ignore_data_skip",
  "jit_mode_eval",
  "length_column_name",
  "liger_kernel_config",
  "local_rank",
  "mp_parameters",
  "no_cuda",
  "parallelism_config",
  "past_index",
  "prediction_loss_only",
  "project",
  "ray_scope",
  "restore_callback_states_from_checkpoint",
  "skip_memory_metrics",
  "torch_empty_cache_steps",
  "torchdynamo",
  "tpu_*",
  "trackio_*",
  "train_sampling_strategy",
  "use_ipex",
  "use_legacy_prediction_loop",
  "use_liger_kernel",
  "use_mps_device",
  "packing*",
  "max_length",
  "max_seq_length",
  "model_*",
];

const trainerOnly = {
  lr_scheduler_kwargs: [],
  label_smoothing_factor: [0],
  neftune_noise_alpha: [],
  optim_target_modules: [],
  adafactor: [false],
};

const trainerRefused = {
  evaluation_strategy: "Transformers calls it eval_strategy since 4.46; leave it out here.",
  loraplus_lr_embedding:
    "a rate for embeddings cannot be said in a recipe; leave it out, and embeddings unadapted.",
};

const peftSource = [
  "github.com/huggingface/peft, src/peft/tuners/lora/config.py and layer.py",
  "github.com/huggingface/transformers, src/transformers/training_args.py and trainer_optimizer.py",
];

const peftBase = {
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

const ownOptimizer: Pick<Library, "groups" | "optimizers" | "warmup" | "anyCase"> = {
  groups: "any",
  anyCase: true,
  optimizers: torch((name) => name),
  warmup: trainerWarmup,
};

const ownSettings = (lr?: number): { readonly [place: string]: Setting } => ({
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

/** Classes of `torch.optim` by their full names, their arguments below a place. */
const dotted = (below: string) =>
  Object.fromEntries(
    Object.entries(torch((name) => `${below}.${name}`)).map(([name, each]) => [`torch.optim.${name}`, each]),
  );

const torchtuneAdam: TheirOptimizer = {
  is: "adamw",
  places: {
    lr: "optimizer.lr",
    betas: "optimizer.betas",
    eps: "optimizer.eps",
    weightDecay: "optimizer.weight_decay",
  },
};

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

/** Libraries by name. */
export const libraries = {
  loralib: {
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
  },
  peft: {
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
  },
  "peft-trainer": {
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
  },
  "peft-loraplus": {
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
  },
  trl: {
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
  },
  unsloth: {
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
  },
  axolotl: {
    title: "Axolotl",
    version: "0.15",
    source: [
      "github.com/axolotl-ai-cloud/axolotl, src/axolotl/utils/schemas/peft.py and training.py",
      "the same, src/axolotl/core/builders/base.py at ceda25b60826",
    ],
    groups: "ratio",
    noDecay: ["branchBias"],
    settings: {
      lora_r: rank(),
      lora_alpha: alphaOver("r, or sqrt(r) with peft_use_rslora"),
      lora_dropout: dropout(0),
      peft_use_rslora: { is: "rsLora", field: either(false), says: "divide alpha by sqrt(r)" },
      peft_use_dora: { is: "dora", field: either(false), says: "DoRA" },
      peft_init_lora_weights: { ...peftConfig.init_lora_weights!, says: "how A and B start" },
      loraplus_lr_ratio: { is: "ratio", field: positive(1), says: "the rate of B over that of A" },
      optimizer: { is: "optimizer", field: word("adamw_torch_fused"), says: "the optimizer" },
      learning_rate: hyper(undefined, "the learning rate, of A with a ratio"),
      weight_decay: hyper(0, "the decay, of all but biases"),
      adam_beta1: hyper(0.9, "for the Adams and Lion"),
      adam_beta2: hyper(0.999, "for the Adams and Lion"),
      adam_epsilon: hyper(1e-8, "for the Adams"),
      max_grad_norm: norm(1),
      lr_scheduler: { is: "schedule", field: word("cosine"), words: schedules, says: "the schedule" },
      ...warmups(0.03),
      warmup_steps: {
        is: "warmup",
        field: integer(0, Infinity, 0),
        says: "updates of the warm-up; 1 is taken for 2",
      },
    },
    warmup: { rounds: "floor", unlessGiven: true, most: 100, instead: { 1: 2 } },
    pairs: { optim_args: "text" },
    optimizers: trainerOptimizers(),
    adapts: ["linear"],
    only: {
      ...trainerOnly,
      adapter: ["lora", "qlora"],
      lora_modules_to_save: [],
      cosine_min_lr_ratio: [],
      cosine_constant_lr_ratio: [],
      lr_groups: [],
      embedding_lr: [],
      embedding_lr_scale: [],
      peft: [],
    },
    others: [
      ...trainerOthers,
      "base_model*",
      "eval_sample_packing",
      "train_on_inputs",
      "lora_model_dir",
      "xformers_attention",
      "sdp_attention",
      "s2_attention",
      "eager_attention",
      "loss_watchdog_*",
      "load_in_*",
      "strict",
      "datasets",
      "test_datasets",
      "val_set_size",
      "sequence_len",
      "sample_packing",
      "pad_to_sequence_len",
      "lora_target_*",
      "lora_fan_in_fan_out",
      "lora_mlp_kernel",
      "lora_qkv_kernel",
      "lora_o_kernel",
      "micro_batch_size",
      "num_epochs",
      "special_tokens",
      "tokens",
      "wandb_*",
      "flash_attention",
      "attn_implementation",
      "chat_template*",
      "plugins",
      "liger_*",
      "saves_per_epoch",
      "evals_per_epoch",
      "tokenizer_type",
      "trust_remote_code",
      "type_of_model",
      "early_stopping_patience",
    ],
    refused: {
      ...trainerRefused,
      relora: "restarts cannot be said in a recipe.",
      lora_alpha_pattern: "Axolotl has none; leave it out.",
    },
    example: { lora_r: 32, lora_alpha: 16, lora_dropout: 0.05, learning_rate: 2e-4, warmup_steps: 10 },
    notes: [
      "Axolotl: lora_r, lora_alpha and learning_rate have no default; give them.",
      "Axolotl: the warm-up is 3 % of all updates by default, at most 100.",
    ],
  },
  litgpt: {
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
        field: positive(100),
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
  },
  torchtune: {
    title: "torchtune's LoRA recipes",
    version: "0.6",
    source: [
      "github.com/pytorch/torchtune, torchtune/modules/peft/lora.py and torchtune/training/lr_schedulers.py",
      "the same, recipes/lora_finetune_single_device.py and recipes/configs/llama3_1/8B_lora_single_device.yaml",
    ],
    groups: "none",
    settings: {
      "model.lora_rank": rank(8),
      "model.lora_alpha": alphaOver("lora_rank", 16),
      "model.lora_dropout": dropout(0),
      "model.use_dora": { is: "dora", field: either(false), says: "DoRA" },
      "optimizer._component_": {
        is: "optimizer",
        field: word("torch.optim.AdamW"),
        says: "a class of torch.optim or bitsandbytes",
      },
      "optimizer.lr": hyper(undefined, "the learning rate of A and B"),
      "lr_scheduler._component_": {
        is: "schedule",
        field: word("torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"),
        words: {
          "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup": "warmupCosine",
          "torchtune.modules.get_cosine_schedule_with_warmup": "warmupCosine",
        },
        says: "the schedule, half a cosine to the end of the run",
      },
      "lr_scheduler.num_warmup_steps": {
        is: "warmup",
        field: integer(0),
        says: "updates of the warm-up; it has no default",
      },
      clip_grad_norm: {
        is: "maxNorm",
        field: optional(positive()),
        says: "the threshold of the global norm; none by default",
      },
    },
    optimizers: {
      ...dotted("optimizer"),
      "bitsandbytes.optim.AdamW8bit": { ...torchtuneAdam, eightBitStates: true },
      "bitsandbytes.optim.PagedAdamW8bit": { ...torchtuneAdam, eightBitStates: true },
      "bitsandbytes.optim.PagedAdamW": torchtuneAdam,
    },
    fixed: { init: "standard" },
    adapts: ["linear"],
    others: [
      "model._component_",
      "model.lora_attn_modules",
      "model.apply_lora_to_mlp",
      "model.apply_lora_to_output",
      "model.quantize_base",
      "model.max_seq_len",
      "tokenizer",
      "checkpointer",
      "dataset*",
      "loss",
      "profiler",
      "metric_logger",
      "resume_from_checkpoint",
      "save_adapter_weights_only",
      "output_dir",
      "seed",
      "shuffle",
      "batch_size*",
      "epochs",
      "max_steps_per_epoch",
      "gradient_accumulation_steps",
      "compile",
      "device",
      "dtype",
      "enable_activation_*",
      "log_*",
      "run_val_every_n_steps",
      "custom_sharded_layers",
      "fsdp_*",
      ...torchOthers.map((name) => `optimizer.${name}`),
    ],
    only: {
      ...placed((name) => `optimizer.${name}`, torchOnly),
      "lr_scheduler.num_cycles": [0.5],
      optimizer_in_bwd: [false],
    },
    refused: {
      lora_rank: "it is model.lora_rank; give that one.",
      lora_alpha: "it is model.lora_alpha; give that one.",
    },
    example: {
      "model.lora_rank": 8,
      "model.lora_alpha": 16,
      "optimizer.lr": 3e-4,
      "optimizer.weight_decay": 0.01,
      "lr_scheduler.num_warmup_steps": 100,
    },
    notes: [
      "torchtune: the schedule is half a cosine after a warm-up, to the end of the run; clip_grad_norm clips where it is given, and at 0 makes all gradients 0.",
    ],
  },
  "mlx-lm": {
    title: "MLX-LM's lora command",
    version: "0.31",
    source: [
      "github.com/ml-explore/mlx-lm, mlx_lm/lora.py and mlx_lm/tuner/lora.py",
      "github.com/ml-explore/mlx, python/mlx/optimizers/optimizers.py at 022eabb734ec",
    ],
    groups: "none",
    settings: {
      "lora_parameters.rank": rank(8),
      "lora_parameters.scale": {
        is: "scale",
        field: positive(20),
        says: "the multiplier itself; it is not divided by the rank",
      },
      "lora_parameters.dropout": dropout(0),
      fine_tune_type: {
        is: "dora",
        field: oneOf(["lora", "dora", "full"], "lora"),
        words: { lora: false, dora: true },
        says: "lora or dora",
      },
      optimizer: { is: "optimizer", field: word("adam"), says: "the optimizer" },
      learning_rate: hyper(1e-5, "the learning rate of A and B"),
    },
    optimizers: {
      adam: {
        is: "adam",
        fixed: { biasCorrection: false },
        places: {
          lr: "learning_rate",
          betas: "optimizer_config.adam.betas",
          eps: "optimizer_config.adam.eps",
          biasCorrection: "optimizer_config.adam.bias_correction",
        },
      },
      adamw: {
        is: "adamw",
        fixed: { biasCorrection: false },
        places: {
          lr: "learning_rate",
          betas: "optimizer_config.adamw.betas",
          eps: "optimizer_config.adamw.eps",
          weightDecay: "optimizer_config.adamw.weight_decay",
          biasCorrection: "optimizer_config.adamw.bias_correction",
        },
      },
      sgd: {
        is: "sgd",
        places: {
          lr: "learning_rate",
          momentum: "optimizer_config.sgd.momentum",
          weightDecay: "optimizer_config.sgd.weight_decay",
          nesterov: "optimizer_config.sgd.nesterov",
        },
      },
    },
    fixed: { init: "standard" },
    // Its embeddings start with A random and B zero.
    adapts: ["linear"],
    others: [
      "model",
      "train",
      "data",
      "seed",
      "num_layers",
      "batch_size",
      "iters",
      "val_batches",
      "steps_per_*",
      "resume_adapter_file",
      "adapter_path",
      "save_every",
      "test*",
      "max_seq_length",
      "config",
      "grad_*",
      "mask_prompt",
      "report_to",
      "project_name",
      "wandb",
      "clear_cache_threshold",
      "trust_remote_code",
      "lora_parameters.keys",
    ],
    // MLX applies dampening to the first gradient too.
    only: { lr_schedule: [], "optimizer_config.sgd.dampening": [0] },
    refused: {
      "lora_parameters.alpha":
        "MLX-LM's multiplier is scale, and alpha has no effect; give scale, alpha / rank.",
      lora_layers: "it is num_layers now; leave it out here.",
      max_grad_norm: "MLX-LM does not clip.",
      weight_decay: "it is optimizer_config.adamw.weight_decay.",
      use_dora: "it is fine_tune_type dora now; give that one.",
    },
    example: {},
    notes: [
      "MLX-LM: scale is the multiplier itself, not alpha; its default with rank 8 is 20, alpha 160. A key alpha has no effect.",
      "MLX-LM: its Adams correct no bias unless bias_correction is true; gradients are not clipped.",
    ],
  },
  kohya: {
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
      "network_module",
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
      text_encoder_lr:
        "a rate for the text encoder of its own cannot be said in a recipe; give learning_rate.",
    },
    example: { network_dim: 32, network_alpha: 16, learning_rate: 1e-4 },
    notes: [
      "kohya: network_alpha is 1 by default, so that the multiplier is 1 / dim.",
      "kohya: it refuses lr_warmup_steps beside the schedule constant; constant_with_warmup takes them.",
      "kohya: network_dropout zeroes entries between A and B, not of the input.",
    ],
  },
  tinker: {
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
  },
  burn: {
    title: "Burn",
    version: "0.22",
    source: [
      "docs.rs/burn-core 0.22, src/module/lora.rs",
      "docs.rs/burn-optim 0.22, AdamConfig and AdamWConfig (github.com/tracel-ai/burn, crates/burn-optim/src/optim/adamw.rs at 01832cc2d6a9)",
    ],
    groups: "none",
    settings: {
      rank: rank(),
      alpha: alphaOver("rank"),
      init_std: {
        is: "initStd",
        field: { ...positive(), optional: true },
        says: "the standard deviation of the initial A; 1 / rank by default",
      },
      optimizer: { is: "optimizer", field: word("Adam"), says: "Adam or AdamW" },
      learning_rate: hyper(undefined, "given to each step"),
      beta_1: hyper(0.9, "the decay of the first moment"),
      beta_2: hyper(0.999, "the decay of the second moment"),
      epsilon: hyper(1e-5, "added to the root of the second moment"),
      weight_decay: {
        is: "hyper",
        field: { ...required, optional: true },
        says: "AdamW: 1e-4 by default; Adam: none",
      },
    },
    optimizers: {
      Adam: {
        is: "adam",
        places: {
          lr: "learning_rate",
          "betas.0": "beta_1",
          "betas.1": "beta_2",
          eps: "epsilon",
          weightDecay: "weight_decay",
        },
      },
      AdamW: {
        is: "adamw",
        places: {
          lr: "learning_rate",
          "betas.0": "beta_1",
          "betas.1": "beta_2",
          eps: "epsilon",
          weightDecay: "weight_decay",
        },
        defaults: { weight_decay: 1e-4 },
      },
    },
    fixed: { init: "gaussian" },
    adapts: ["linear"],
    others: ["param_group", "dtype"],
    only: { grad_clipping: [], amsgrad: [false], cautious_weight_decay: [false] },
    refused: {},
    example: { rank: 8, alpha: 16, learning_rate: 1e-4 },
    notes: [
      "Burn: A starts normal with standard deviation 1 / rank, so that s times its size falls as 1 / rank^2.",
      "Burn: epsilon is 1e-5 by default.",
    ],
  },
} as const satisfies { readonly [name: string]: Library };

export type LibraryName = keyof typeof libraries;

/** A library by its name, with the type that all have. */
export function libraryOf(name: LibraryName): Library {
  return libraries[name];
}
