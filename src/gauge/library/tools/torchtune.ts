import { integer, optional, positive } from "../../../base/arguments.ts";
import type { Library, TheirOptimizer } from "../library.ts";
import { alphaOver, dropout, either, hyper, rank, word } from "./settings.ts";
import { dotted, placed, torchOnly, torchOthers } from "./torch.ts";

const torchtuneAdam: TheirOptimizer = {
  is: "adamw",
  places: {
    lr: "optimizer.lr",
    betas: "optimizer.betas",
    eps: "optimizer.eps",
    weightDecay: "optimizer.weight_decay",
  },
};

export const torchtune = {
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
} as const satisfies Library;
