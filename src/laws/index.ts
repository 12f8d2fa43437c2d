export {
  type AdaptedLinear,
  type DTypeOption,
  type FromAdaptedOptions,
  type FromOptimizerOptions,
  fromAdapted,
  fromOptimizer,
  fromRule,
  fromSchedule,
  injected,
  type PlainState,
} from "./adapters.ts";
export * as arbitrary from "./arbitrary/index.ts";
export type { LoraConfig } from "./arbitrary/lora.ts";
export { type CloseOptions, close, identical, untouched } from "./compare.ts";
export {
  type Awaitable,
  check,
  type Law,
  LawError,
  law,
  type RunParameters,
  run,
  type Verdict,
} from "./law.ts";
export type { BuiltLora, LayerUnderTest, LoraFeature, LoraParams } from "./lora/layer.ts";
export { lora } from "./lora.ts";
export type { Matrix } from "./matrix.ts";
export { type AdapterSwitch, type AdapterUnderTest, type Merging, merge } from "./merge.ts";
export {
  type Exponents,
  type Hyper,
  type OptimizerInstance,
  type OptimizerUnderTest,
  optimizer,
  type Vector,
} from "./optimizer.ts";
export { type RateAt, type ScheduleUnderTest, schedule } from "./schedule.ts";
