export { type Activation, activation } from "./activation.ts";
export {
  type BatchNormInput,
  type BatchNormLayerOptions,
  type BatchNormOutput,
  type BatchNormState,
  batchNorm,
  type GroupNormLayerOptions,
  groupNorm,
  instanceNorm,
} from "./channel-norms.ts";
export {
  avgPool,
  type ConvLayerOptions,
  type Convolution,
  type ConvTransposeLayerOptions,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  maxPool,
} from "./convolution.ts";
export { dropout } from "./dropout.ts";
export { type Embedding, type EmbeddingOptions, embedding } from "./embedding.ts";
export * as functional from "./functional.ts";
export * as initializers from "./initializers.ts";
export type { AnyLayer, Context, Layer, Params, ParamsLike, ParamsOf } from "./layer.ts";
export { isLinear, type Linear, type LinearOptions, type LinearParams, linear } from "./linear.ts";
export { type LinearCrossEntropyOptions, linearCrossEntropy } from "./linear-cross-entropy.ts";
export {
  type BceOptions,
  bceWithLogits,
  type CrossEntropyOptions,
  crossEntropy,
  type HuberOptions,
  huberLoss,
  type KlDivOptions,
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
export {
  type AttentionCache,
  type AttentionInput,
  type AttentionOutput,
  attentionCache,
  type MultiHeadAttentionOptions,
  multiHeadAttention,
} from "./multi-head-attention.ts";
export { type LayerNormLayerOptions, layerNorm, type RmsNormLayerOptions, rmsNorm } from "./norm.ts";
export { type Parameter, type ParameterOptions, parameter } from "./parameter.ts";
export {
  gru,
  type LstmState,
  lstm,
  type Recurred,
  type RecurrentOptions,
  type RecurrentParams,
  type Sequence,
  type StackedOptions,
  type StackedParams,
} from "./recurrent.ts";
export { type LayerSummary, type ModelSummary, summary } from "./summary.ts";
