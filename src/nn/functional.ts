import { checkArgument, type Fields, nonNegative, readOptions } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, type Shape, sameShape } from "../base/shape.ts";
import { where } from "../tensor/functions.ts";
import { bernoulli } from "../tensor/random.ts";
import { centered, select, Tensor } from "../tensor/tensor.ts";
import { asIndices, checkTensor, contextFields, optionalTensor, probability, size } from "./check.ts";
import type { Context } from "./layer.ts";

export { type AttentionOptions, type RopeOptions, rope, scaledDotProductAttention } from "./attention.ts";
export {
  type AvgPoolOptions,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d,
  conv2d,
  conv3d,
  convTranspose1d,
  convTranspose2d,
  convTranspose3d,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  type PerAxis,
  type PoolOptions,
  type UnfoldOptions,
  unfold,
} from "./conv.ts";

// What layers compute, as functions of their parameters.

/**
 * x W^T + b. `x` is `[..., in]`, `weight` `[out, in]`, `bias` `[out]`; the result is `[..., out]`.
 *
 * @throws ShapeError if the last axis of `x` is not `in`, or the bias is not `[out]`.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  checkTensor("linear", "the input", x);
  const [outputs, inputs] = checkTensor("linear", "the weight", weight).shape;
  checkArgument("linear", "the bias", bias ?? undefined, optionalTensor);
  if (weight.rank !== 2) throw new ShapeError(`linear: the weight is [out, in]; given ${weight}.`);
  if (x.shape.at(-1) !== inputs) {
    throw new ShapeError(
      `linear: the input ${x} must end in the ${inputs} inputs of the weight ${weight}. Transpose the weight, or reshape the input?`,
    );
  }
  if (bias && !sameShape(bias.shape, [outputs!]))
    throw new ShapeError(`linear: the bias is ${bias}; expected [${outputs}], the outputs of ${weight}.`);
  const product = x.matmul(weight.transpose());
  return bias ? product.add(bias) : product;
}

/**
 * Rows of a table: `indices` int32 of any shape, `table` `[vocabulary, dim]`; the result is `[...indices, dim]`.
 * Negative indices count from the last row. Indices whose values the host has are checked; a device takes the first or
 * last row for others, which then gets the gradient too.
 *
 * @throws DTypeError if the indices are not int32; ShapeError if the table is not a matrix.
 */
export function embedding(indices: Tensor, table: Tensor): Tensor {
  const index = asIndices("embedding", "the indices", indices);
  checkTensor("embedding", "the table", table);
  if (table.rank !== 2) throw new ShapeError(`embedding: the table is [vocabulary, dim]; given ${table}.`);
  const rows = select("embedding", table.node, 0, index.reshape([-1]).node);
  return new Tensor(rows).reshape([...indices.shape, table.shape[1]!]);
}

export interface LayerNormOptions {
  /** Factors, of the normalised shape. */
  readonly weight?: Tensor | undefined;
  /** Added last, of the normalised shape. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

const layerNormFields: Fields<LayerNormOptions> = {
  weight: optionalTensor,
  bias: optionalTensor,
  eps: nonNegative(1e-5),
};

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias over the last axes, those of `normalizedShape`, with the
 * biased variance (Ba et al. 2016, arXiv:1607.06450).
 *
 * @throws ShapeError if `x` does not end in `normalizedShape`, or weight or bias have another shape.
 */
export function layerNorm(x: Tensor, normalizedShape: Shape, options: LayerNormOptions = {}): Tensor {
  const { weight, bias, eps = 1e-5 } = readOptions("layerNorm", layerNormFields, options);
  checkTensor("layerNorm", "the input", x);
  checkShape("layerNorm", normalizedShape);
  const axes = trailingAxes("layerNorm", x, normalizedShape);
  for (const [name, tensor] of [
    ["weight", weight],
    ["bias", bias],
  ] as const) {
    if (tensor && !sameShape(tensor.shape, normalizedShape))
      throw new ShapeError(`layerNorm: the ${name} is ${tensor}; expected [${normalizedShape.join(",")}].`);
  }
  const shifted = centered(x, axes);
  const normal = shifted.mul(shifted.square().mean(axes, { keepdim: true }).add(eps).rsqrt());
  const scaled = weight ? normal.mul(weight) : normal;
  return bias ? scaled.add(bias) : scaled;
}

export interface ChannelNormOptions {
  /** Factors, `[channels]`. */
  readonly weight?: Tensor | undefined;
  /** Added last, `[channels]`. */
  readonly bias?: Tensor | undefined;
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
}

const channelNormFields: Fields<ChannelNormOptions> = layerNormFields;

/** `[channels]` in the place of the second axis. */
function perChannel(operation: string, what: string, x: Tensor, of: Tensor): Tensor {
  const channels = x.shape[1];
  if (!sameShape(of.shape, [channels!]))
    throw new ShapeError(`${operation}: the ${what} is ${of}; expected [${channels}], the channels of ${x}.`);
  return of.reshape(x.shape.map((length, axis) => (axis === 1 ? length : 1)));
}

function affine(operation: string, x: Tensor, { weight, bias }: ChannelNormOptions): Tensor {
  const scaled = weight ? x.mul(perChannel(operation, "weight", x, weight)) : x;
  return bias ? scaled.add(perChannel(operation, "bias", x, bias)) : scaled;
}

function checkChannels(operation: string, x: Tensor): void {
  if (checkTensor(operation, "the input", x).rank < 2)
    throw new ShapeError(`${operation}: the input is ${x}; expected [batch, channels, ...].`);
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias, with the mean and biased variance of each group of channels of each
 * example (Wu and He 2018, arXiv:1803.08494). `x` is `[batch, channels, ...]`; with as many groups as channels it is
 * instance normalisation.
 *
 * @throws ShapeError if `x` has less than two axes, its channels do not divide into the groups, or weight or bias have other
 * shapes.
 */
export function groupNorm(x: Tensor, groups: number, options: ChannelNormOptions = {}): Tensor {
  const { eps = 1e-5, ...given } = readOptions("groupNorm", channelNormFields, options);
  checkChannels("groupNorm", x);
  checkArgument("groupNorm", "groups", groups, size);
  const [batch, channels] = x.shape as readonly [number, number];
  if (channels % groups !== 0)
    throw new ShapeError(`groupNorm: the ${channels} channels of ${x} do not divide into ${groups} groups.`);
  const each = x.size / Math.max(batch * groups, 1);
  const shifted = centered(x.reshape([batch, groups, each]), [2]);
  const normal = shifted.mul(shifted.square().mean(2, { keepdim: true }).add(eps).rsqrt());
  return affine("groupNorm", normal.reshape(x.shape), given);
}

/**
 * (x - mean) / sqrt(variance + eps) * weight + bias with a mean and a variance for each channel (Ioffe and Szegedy 2015,
 * arXiv:1502.03167). `x` is `[batch, channels, ...]`; whose statistics they are is the caller's affair (`batchNorm` of
 * `nn` keeps them).
 *
 * @throws ShapeError if `x` has less than two axes, or anything is not `[channels]`.
 */
export function batchNorm(
  x: Tensor,
  seen: { readonly mean: Tensor; readonly variance: Tensor },
  options: ChannelNormOptions = {},
): Tensor {
  const { eps = 1e-5, ...given } = readOptions("batchNorm", channelNormFields, options);
  checkChannels("batchNorm", x);
  const mean = perChannel("batchNorm", "mean", x, checkTensor("batchNorm", "the mean", seen?.mean));
  const variance = perChannel(
    "batchNorm",
    "variance",
    x,
    checkTensor("batchNorm", "the variance", seen.variance),
  );
  return affine("batchNorm", x.sub(mean).mul(variance.add(eps).rsqrt()), given);
}

/**
 * x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang and Sennrich 2019, arXiv:1910.07467).
 *
 * @throws ShapeError if the weight is not a vector of the last axis of `x`.
 */
export function rmsNorm(x: Tensor, weight?: Tensor, options: { readonly eps?: number } = {}): Tensor {
  const { eps } = readOptions("rmsNorm", { eps: nonNegative(1e-6) }, options);
  checkTensor("rmsNorm", "the input", x);
  checkArgument("rmsNorm", "the weight", weight ?? undefined, optionalTensor);
  const length = x.shape.at(-1);
  if (length === undefined || (weight && !sameShape(weight.shape, [length]))) {
    throw new ShapeError(
      `rmsNorm: x is ${x} and the weight ${String(weight)}; the weight is a vector of the last axis of x.`,
    );
  }
  const normal = x.mul(x.square().mean(-1, { keepdim: true }).add(eps).rsqrt());
  return weight ? normal.mul(weight) : normal;
}

/**
 * In training, zero with probability `p` and x / (1 - p) otherwise (Srivastava et al. 2014); x itself
 * outside training. The mask is a function of the context's key alone.
 *
 * @throws ValueError if `p` is not from 0 to below 1, without a context, or in training without a key.
 * @example
 * dropout(x, 0.1, { training: true, key: random.key(0).fold("dropout").fold(step) });
 */
export function dropout(x: Tensor, p: number, context: Context): Tensor {
  checkTensor("dropout", "the input", x);
  checkArgument("dropout", "p", p, probability);
  // A forgotten context would be no dropout, in silence.
  if (context === undefined)
    throw new ValueError(
      "dropout: the context is missing. Pass { training: true, key } or { training: false }.",
    );
  const { training, key } = readOptions("dropout", contextFields, context);
  if (!training || p === 0) return x;
  if (!key)
    throw new ValueError(
      "dropout: training needs random numbers; the context has no key. Pass { training: true, key: random.key(seed).fold(step) }.",
    );
  return where(bernoulli(key, 1 - p, x.shape), x.mul(1 / (1 - p)), 0);
}

function trailingAxes(operation: string, x: Tensor, shape: Shape): number[] {
  if (
    shape.length === 0 ||
    shape.length > x.rank ||
    !sameShape(x.shape.slice(x.rank - shape.length), shape)
  ) {
    throw new ShapeError(
      `${operation}: the input ${x} does not end in [${shape.join(",")}], the shape to normalise over.`,
    );
  }
  return shape.map((_, i) => x.rank - shape.length + i);
}
