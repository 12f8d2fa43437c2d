// Further functions of PyTorch, beside those of `lorantz` and `nn`: loaded only where they are imported.

export {
  adaptiveAvgPool1d,
  adaptiveAvgPool2d,
  adaptiveAvgPool3d,
  adaptiveMaxPool1d,
  adaptiveMaxPool2d,
  adaptiveMaxPool3d,
} from "./adaptive-pool.ts";
export { type CtcOptions, ctcLoss } from "./ctc.ts";
export {
  type CosineSimilarityOptions,
  cdist,
  cosineSimilarity,
  type NormalizeOptions,
  normalize,
  type PairwiseDistanceOptions,
  pairwiseDistance,
} from "./distances.ts";
export { fold } from "./fold.ts";
export { complexMul, type FftOptions, fft, type IrfftOptions, ifft, irfft, rfft } from "./fourier.ts";
export { digamma, lgamma, polygamma } from "./gamma.ts";
export { type AlignCorners, affineGrid, type GridSampleOptions, gridSample } from "./grid-sample.ts";
export { kron } from "./kron.ts";
export {
  type BinaryCrossEntropyOptions,
  binaryCrossEntropy,
  type GaussianNllOptions,
  gaussianNllLoss,
  type PoissonNllOptions,
  poissonNllLoss,
} from "./likelihoods.ts";
export {
  cosineEmbeddingLoss,
  hingeEmbeddingLoss,
  type MarginOptions,
  marginRankingLoss,
  type TripletMarginOptions,
  tripletMarginLoss,
} from "./margin-losses.ts";
export {
  celu,
  type GumbelSoftmaxOptions,
  glu,
  gumbelSoftmax,
  hardSigmoid,
  hardSwish,
  hardshrink,
  hardtanh,
  mish,
  prelu,
  relu6,
  selu,
  softshrink,
  softsign,
  tanhshrink,
} from "./nonlinearities.ts";
export { type InterpolateOptions, interpolate, pixelShuffle, pixelUnshuffle } from "./resample.ts";
export { logit, sinc, xlogy } from "./special.ts";
export {
  type CovOptions,
  corrcoef,
  cov,
  type Histogram,
  type HistogramOptions,
  histogram,
} from "./statistics.ts";
