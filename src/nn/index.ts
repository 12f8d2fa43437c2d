export { type Activation, activation } from "./activation.ts";
export { dropout } from "./dropout.ts";
export { type Embedding, type EmbeddingOptions, embedding } from "./embedding.ts";
export * as functional from "./functional.ts";
export * as initializers from "./initializers.ts";
export type { AnyLayer, Context, Layer, Params, ParamsLike, ParamsOf } from "./layer.ts";
export { isLinear, type Linear, type LinearOptions, type LinearParams, linear } from "./linear.ts";
export { type LinearCrossEntropyOptions, linearCrossEntropy } from "./linear-cross-entropy.ts";
export {
  bceWithLogits,
  type CrossEntropyOptions,
  crossEntropy,
  type HuberOptions,
  huberLoss,
  klDiv,
  type LossOptions,
  l1Loss,
  mseLoss,
  type NllOptions,
  nllLoss,
  type Reduction,
  type SmoothL1Options,
  smoothL1Loss,
} from "./losses.ts";
export { type MlpOptions, mlp } from "./mlp.ts";
export { type ChildFunctions, type ModuleOptions, module, sequential } from "./module.ts";
export { type LayerNormLayerOptions, layerNorm, type RmsNormLayerOptions, rmsNorm } from "./norm.ts";
export { type LayerSummary, type ModelSummary, summary } from "./summary.ts";
