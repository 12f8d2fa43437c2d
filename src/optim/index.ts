export { type AdamHyper, adam, adamRule, adamw, adamwRule } from "./adam.ts";
export {
  type Bound,
  clipByGlobalNorm,
  clipByTensorNorm,
  clipByValue,
  type GlobalNormOptions,
  type TensorNormOptions,
} from "./clip.ts";
export type { Betas, Field, Fields, Group, Match, OptimizerOptions } from "./hyper.ts";
export { betas, flag, nonNegative, required } from "./hyper.ts";
export { type LoraPlusGroup, type LoraPlusOptions, loraPlus } from "./loraPlus.ts";
export { type HyperOf, make, type OptimizerConfig, type OptimizerName } from "./make.ts";
export type { HostNumber, Optimizer, OptimizerState, Schedule } from "./optimizer.ts";
export { makeOptimizer, type Rule, type Slots, type Step } from "./rule.ts";
export * as schedule from "./schedule.ts";
export { type SgdHyper, sgd, sgdRule } from "./sgd.ts";
export { applyUpdates } from "./updates.ts";
