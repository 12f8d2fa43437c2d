import { fraction, integer, nonNegative } from "../../../base/arguments.ts";
import type { Setting, TheirOptimizer, WarmupRule } from "../library.ts";
import { hyper, norm, word } from "./settings.ts";

// The Trainer of transformers.

/** That of the Trainer, which takes null too. */
export const trainerNorm: Setting = { ...norm(1), nullIs: 0 };

export const schedules = {
  linear: "warmupLinear",
  cosine: "warmupCosine",
  constant: "constant",
  constant_with_warmup: "warmupConstant",
};

export interface TrainerDefaults {
  readonly lr?: number;
  readonly decay: number;
  readonly optim: string;
  readonly schedule: string;
  readonly share?: number;
}

/** Transformers 5. */
export const trainerWarmup: WarmupRule = { rounds: "ceil", below1: true };

export const warmups = (share = 0): { readonly [place: string]: Setting } => ({
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

export function trainer({ lr, decay, optim, schedule, share }: TrainerDefaults): {
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
export function trainerOptimizers(at: (name: string) => string = (name) => name): {
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

export const trainerOthers = [
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

export const trainerOnly = {
  lr_scheduler_kwargs: [],
  label_smoothing_factor: [0],
  neftune_noise_alpha: [],
  optim_target_modules: [],
  adafactor: [false],
};

export const trainerRefused = {
  evaluation_strategy: "Transformers calls it eval_strategy since 4.46; leave it out here.",
  deepspeed:
    "its configuration may bring an optimizer, a schedule and clipping of its own. Leave it out here if it brings none.",
  loraplus_lr_embedding:
    "a rate for embeddings cannot be said in a recipe; leave it out, and embeddings unadapted.",
};
