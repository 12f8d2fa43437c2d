import { checkArgument, type Fields, nonNegative, readOptions } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, type Shape, sameShape } from "../base/shape.ts";
import { where } from "../tensor/functions.ts";
import { bernoulli } from "../tensor/random.ts";
import { centered, select, Tensor } from "../tensor/tensor.ts";
import { asIndices, checkTensor, contextFields, optionalTensor, probability } from "./check.ts";
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
