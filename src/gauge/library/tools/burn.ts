import { positive, required } from "../../../base/arguments.ts";
import type { Library } from "../library.ts";
import { alphaOver, hyper, rank, word } from "./settings.ts";

const places = {
  lr: "learning_rate",
  "betas.0": "beta_1",
  "betas.1": "beta_2",
  eps: "epsilon",
  weightDecay: "weight_decay",
};

export const burn = {
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
    Adam: { is: "adam", places },
    AdamW: { is: "adamw", places, defaults: { weight_decay: 1e-4 } },
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
} as const satisfies Library;
