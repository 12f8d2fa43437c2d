import { checkArgument, type Fields, flagOf, optional, readOptions } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { numel, type Shape } from "../base/shape.ts";
import { uniform } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aKey, checkFloatDType, checkTensor, floatDType, initializer, size } from "./check.ts";
import {
  type AvgPoolOptions,
  avgPool1d,
  avgPool2d,
  avgPool3d,
  type ConvOptions,
  type ConvTransposeOptions,
  conv1d as conv1dOf,
  conv2d as conv2dOf,
  conv3d as conv3dOf,
  convFields,
  convTranspose1d as convTranspose1dOf,
  convTranspose2d as convTranspose2dOf,
  convTranspose3d as convTranspose3dOf,
  each,
  type MaxPoolOptions,
  maxPool1d,
  maxPool2d,
  maxPool3d,
  type PerAxis,
  perAxis,
  transposeFields,
} from "./conv.ts";
import { type Initializer, kaimingUniform } from "./initializers.ts";
import type { Layer } from "./layer.ts";
import type { LinearParams } from "./linear.ts";
import { parameter } from "./params.ts";

// Convolution and pooling as layers.

interface OwnOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Initial weight. Default `initializers.kaimingUniform`, so uniform in +-1/sqrt(inputs of one output). */
  readonly init?: Initializer;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

export interface ConvLayerOptions extends ConvOptions, OwnOptions {}
export interface ConvTransposeLayerOptions extends ConvTransposeOptions, OwnOptions {}

/** A convolution; its parameters are `{ weight, bias?: [out] }`, the weight of PyTorch's shape. */
export interface Convolution<K extends string = string> extends Layer<LinearParams> {
  readonly kind: K;
  readonly in: number;
  readonly out: number;
  /** The shape of the weight. */
  readonly shape: Shape;
  /** How windows lie. */
  readonly options: ConvTransposeOptions;
}

const ownFields: Fields<OwnOptions> = { bias: flagOf(true), init: optional(initializer), dtype: floatDType };

type Apply = (x: Tensor, weight: Tensor, bias: Tensor | undefined, options: ConvTransposeOptions) => Tensor;

function convolution<K extends string>(
  name: K,
  axes: number,
  transposed: boolean,
  apply: Apply,
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvTransposeLayerOptions,
): Convolution<K> {
  const fields = {
    ...(transposed ? transposeFields : convFields),
    ...ownFields,
  } as Fields<ConvTransposeLayerOptions>;
  const { bias, init = kaimingUniform, dtype: wanted, ...rest } = readOptions(name, fields, options);
  checkArgument(name, "in", inputs, size);
  checkArgument(name, "out", outputs, size);
  checkArgument(name, "kernel", kernel, perAxis(1, 1));
  const lengths = each(name, "kernel", kernel, axes);
  const { groups = 1 } = rest;
  if (inputs % groups !== 0 || outputs % groups !== 0)
    throw new ValueError(
      `${name}: ${inputs} inputs and ${outputs} outputs do not divide into ${groups} groups.`,
    );
  const dtype = checkFloatDType(name, wanted);
  const shape = transposed ? [inputs, outputs / groups, ...lengths] : [outputs, inputs / groups, ...lengths];
  // PyTorch's bound is by the second axis of the weight, in the transposed form too.
  const bound = 1 / Math.sqrt(numel(shape.slice(1)));
  return {
    kind: name,
    in: inputs,
    out: outputs,
    shape,
    options: rest,
    init: (key) => ({
      weight: init(checkArgument(name, "the key", key, aKey).fold("weight"), shape).astype(dtype),
      ...(bias && {
        bias: uniform(key.fold("bias"), [outputs], { min: -bound, max: bound }).astype(dtype),
      }),
    }),
    apply: (params, x) => {
      if (checkTensor(name, "x", x).shape[1] !== inputs)
        throw new ShapeError(
          `${name}: x is ${x}; expected [batch, ${inputs}, ...], the inputs of the layer.`,
        );
      return apply(
        x,
        parameter(name, params, "weight"),
        bias ? parameter(name, params, "bias") : undefined,
        rest,
      );
    },
  };
}

/**
 * A convolution along one axis, `[batch, in, length]` to `[batch, out, ...]`, with PyTorch's initial values; see
 * `functional.conv1d`. Parameters are `{ weight: [out, in / groups, kernel], bias?: [out] }`.
 *
 * @throws ValueError for sizes that are not integers >= 1, or do not divide into the groups.
 * @example
 * const layer = conv1d(3, 8, 5, { padding: 2 });
 * const y = layer.apply(layer.init(random.key(0)), ones([2, 3, 16])); // float32[2,8,16]
 */
export function conv1d(
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvLayerOptions = {},
): Convolution<"conv1d"> {
  return convolution("conv1d", 1, false, conv1dOf, inputs, outputs, kernel, options);
}

/**
 * A convolution of images, `[batch, in, height, width]` to `[batch, out, ...]`; else as `conv1d`.
 *
 * @throws As `conv1d`.
 * @example
 * const layer = conv2d(3, 8, 3, { padding: 1 });
 * const y = layer.apply(layer.init(random.key(0)), ones([1, 3, 6, 6])); // float32[1,8,6,6]
 */
export function conv2d(
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvLayerOptions = {},
): Convolution<"conv2d"> {
  return convolution("conv2d", 2, false, conv2dOf, inputs, outputs, kernel, options);
}

/** A convolution in three dimensions; else as `conv1d`. @throws As `conv1d`. */
export function conv3d(
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvLayerOptions = {},
): Convolution<"conv3d"> {
  return convolution("conv3d", 3, false, conv3dOf, inputs, outputs, kernel, options);
}

/**
 * The adjoint of a convolution along one axis, with parameters `{ weight: [in, out / groups, kernel], bias?: [out] }`; see
 * `functional.convTranspose1d`.
 *
 * @throws As `conv1d`.
 */
export function convTranspose1d(
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvTransposeLayerOptions = {},
): Convolution {
  return convolution("convTranspose1d", 1, true, convTranspose1dOf, inputs, outputs, kernel, options);
}

/**
 * The adjoint of a convolution of images; else as `convTranspose1d`.
 *
 * @throws As `conv1d`.
 * @example
 * const layer = convTranspose2d(8, 3, 2, { stride: 2 });
 * const y = layer.apply(layer.init(random.key(0)), ones([1, 8, 4, 4])); // float32[1,3,8,8]
 */
export function convTranspose2d(
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvTransposeLayerOptions = {},
): Convolution {
  return convolution("convTranspose2d", 2, true, convTranspose2dOf, inputs, outputs, kernel, options);
}

/** The adjoint of a convolution in three dimensions; else as `convTranspose1d`. @throws As `conv1d`. */
export function convTranspose3d(
  inputs: number,
  outputs: number,
  kernel: PerAxis,
  options: ConvTransposeLayerOptions = {},
): Convolution {
  return convolution("convTranspose3d", 3, true, convTranspose3dOf, inputs, outputs, kernel, options);
}

const maxPools = [maxPool1d, maxPool2d, maxPool3d];
const avgPools = [avgPool1d, avgPool2d, avgPool3d];

function pool<O>(
  kind: string,
  of: (x: Tensor, size: PerAxis, options: O) => Tensor,
  kernel: PerAxis,
  options: O,
): Layer {
  return { kind, init: () => ({}), apply: (_, x) => of(x, kernel, options) };
}

/**
 * The largest element of each window, over as many axes as `axes` says; see `functional.maxPool2d`. No parameters.
 *
 * @throws ValueError if `axes` is not 1, 2 or 3.
 * @example
 * const y = maxPool(2, 2).apply({}, ones([1, 3, 4, 4])); // float32[1,3,2,2]
 */
export function maxPool(axes: number, kernel: PerAxis, options: MaxPoolOptions = {}): Layer {
  return pool("maxPool", one("maxPool", maxPools, axes), kernel, options);
}

/** The mean of each window; else as `maxPool`. @throws As `maxPool`. */
export function avgPool(axes: number, kernel: PerAxis, options: AvgPoolOptions = {}): Layer {
  return pool("avgPool", one("avgPool", avgPools, axes), kernel, options);
}

function one<F>(name: string, of: readonly F[], axes: number): F {
  const found = of[axes - 1];
  if (!found) throw new ValueError(`${name}: axes is ${axes}; windows are of 1, 2 or 3 axes.`);
  return found;
}
