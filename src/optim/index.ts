export { type AccumulateOptions, type Accumulating, accumulate } from "./accumulate.ts";
export { type AdadeltaHyper, adadelta, adadeltaRule } from "./adadelta.ts";
export { type AdafactorHyper, adafactor, adafactorRule } from "./adafactor.ts";
export { type AdagradHyper, adagrad, adagradRule } from "./adagrad.ts";
export { type AdamHyper, type AdamWHyper, adam, adamRule, adamw, adamwRule } from "./adam.ts";
export { type AdamaxHyper, adamax, adamaxRule } from "./adamax.ts";
export { type Average, averageWith } from "./average.ts";
export {
  type Bound,
  clipByGlobalNorm,
  clipByTensorNorm,
  clipByValue,
  type GlobalNormOptions,
  type TensorNormOptions,
} from "./clip.ts";
export { type Ema, ema } from "./ema.ts";
export * as fields from "./fields.ts";
export type { Betas, Field, Fields, Group, Match, OptimizerOptions, Pair } from "./hyper.ts";
export { type LambHyper, lamb, lambRule } from "./lamb.ts";
export { type LionHyper, lion, lionRule } from "./lion.ts";
export { type LoraMuonHyper, loraMuon, loraMuonRule } from "./lora-muon.ts";
export { type LoraPlusGroup, type LoraPlusOptions, loraPlus } from "./lora-plus.ts";
export { type LoraRiteHyper, loraRite, loraRiteRule } from "./lora-rite.ts";
export { type LossScaled, type LossScaleOptions, lossScaling } from "./loss-scale.ts";
export {
  type AnyHyperOf,
  type AnyOptimizerName,
  type HyperOf,
  isOptimizerName,
  isPairOptimizerName,
  make,
  type OptimizerConfig,
  type OptimizerName,
  optimizerNames,
  type PairHyperOf,
  type PairOptimizerConfig,
  type PairOptimizerName,
  pairRules,
  rules,
} from "./make.ts";
export { type MuonHyper, muon, muonRule } from "./muon.ts";
export { type NAdamHyper, nadam, nadamRule } from "./nadam.ts";
export type { HostNumber, Optimizer, OptimizerState, Schedule } from "./optimizer.ts";
export { type Mixes, makePairOptimizer, type PairRule, type PairScaling } from "./pair.ts";
export { type RAdamHyper, radam, radamRule } from "./radam.ts";
export { type RmspropHyper, rmsprop, rmspropRule } from "./rmsprop.ts";
export { type RpropHyper, rprop, rpropRule } from "./rprop.ts";
export {
  makeOptimizer,
  type NoRule,
  type Powers,
  type Rule,
  type RuleScaling,
  type Slots,
  type Step,
} from "./rule.ts";
export {
  type Scaled,
  type ScaledAdamWHyper,
  type ScaledSgdHyper,
  scaledAdamw,
  scaledAdamwRule,
  scaledSgd,
  scaledSgdRule,
} from "./scaled.ts";
export * as schedule from "./schedule.ts";
export {
  type ScheduleFree,
  type ScheduleFreeAdamWHyper,
  scheduleFreeAdamw,
  scheduleFreeAdamwRule,
} from "./schedule-free.ts";
export { type SgdHyper, sgd, sgdRule } from "./sgd.ts";
export { type SignSgdHyper, signSgd, signSgdRule } from "./sign-sgd.ts";
export { type SkippingState, skipNonFinite } from "./skip.ts";
export { hutchinson, type Sophia, type SophiaHyper, sophia, sophiaRule } from "./sophia.ts";
export { applyUpdates } from "./updates.ts";
