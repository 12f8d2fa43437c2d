import { oneOf, positive } from "../../../base/arguments.ts";
import type { Library } from "../library.ts";
import { dropout, hyper, rank, word } from "./settings.ts";

export const mlxLm = {
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
} as const satisfies Library;
