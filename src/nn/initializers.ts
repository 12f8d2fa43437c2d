import { checkArgument, type Fields, field, oneOf, positive, readOptions } from "../base/arguments.ts";
import { ShapeError } from "../base/errors.ts";
import { checkShape, numel, type Shape } from "../base/shape.ts";
import * as creation from "../tensor/creation.ts";
import * as random from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Makes the initial values of a parameter; float32, cast where another dtype is wanted. */
export type Initializer = (key: random.Key, shape: Shape) => Tensor<"float32">;

export interface KaimingOptions {
  /**
   * Factor on 1 / sqrt(fan), the standard deviation that keeps the variance of a linear map. sqrt(2) is for
   * ReLU, 5/3 for tanh; the default 1 / sqrt(3) is PyTorch's for its Linear (a = sqrt 5 in its own terms).
   */
  readonly gain?: number;
  /** Inputs (default) or outputs of one weight. */
  readonly fan?: "in" | "out";
}

export interface XavierOptions {
  /** Factor on the standard deviation. Default 1. */
  readonly gain?: number;
}

/**
 * Uniform with standard deviation gain / sqrt(fan) (He et al. 2015, arXiv:1502.01852): bounds
 * gain * sqrt(3 / fan), by default 1 / sqrt(in).
 *
 * @throws ShapeError for a shape that is not `[out, in, ...]`.
 * @example
 * const weight = kaimingUniform(random.key(0), [10, 64]);
 */
export function kaimingUniform(
  key: random.Key,
  shape: Shape,
  options: KaimingOptions = {},
): Tensor<"float32"> {
  return evenly(key, shape, kaimingStd("kaimingUniform", shape, options));
}

/** Normal with standard deviation gain / sqrt(fan) (He et al. 2015). */
export function kaimingNormal(
  key: random.Key,
  shape: Shape,
  options: KaimingOptions = {},
): Tensor<"float32"> {
  return random.normal(key, shape, { std: kaimingStd("kaimingNormal", shape, options) });
}

/** Uniform with standard deviation gain * sqrt(2 / (in + out)) (Glorot and Bengio 2010). */
export function xavierUniform(key: random.Key, shape: Shape, options: XavierOptions = {}): Tensor<"float32"> {
  return evenly(key, shape, xavierStd("xavierUniform", shape, options));
}

/** Normal with standard deviation gain * sqrt(2 / (in + out)) (Glorot and Bengio 2010). */
export function xavierNormal(key: random.Key, shape: Shape, options: XavierOptions = {}): Tensor<"float32"> {
  return random.normal(key, shape, { std: xavierStd("xavierNormal", shape, options) });
}

/** Normal numbers of the given mean and standard deviation, 0 and 1 by default. */
export function normal(key: random.Key, shape: Shape, options: random.NormalOptions = {}): Tensor<"float32"> {
  return random.normal(key, shape, options);
}

/** Numbers spread evenly over [min, max), [0, 1) by default. */
export function uniform(
  key: random.Key,
  shape: Shape,
  options: random.UniformOptions = {},
): Tensor<"float32"> {
  return random.uniform(key, shape, options);
}

/** Zeros; the key is not used. */
export function zeros(key: random.Key, shape: Shape): Tensor<"float32"> {
  checkArgument("zeros", "the key", key, anyKey);
  return creation.zeros(shape);
}

const anyKey = field("a key such as random.key(0)", (key: unknown) => key instanceof random.Key);

function evenly(key: random.Key, shape: Shape, std: number): Tensor<"float32"> {
  const bound = std * Math.sqrt(3);
  return random.uniform(key, shape, { min: -bound, max: bound });
}

const kaiming: Fields<Required<KaimingOptions>> = {
  gain: positive(Math.sqrt(1 / 3)),
  fan: oneOf(["in", "out"], "in"),
};

function kaimingStd(name: string, shape: Shape, options: KaimingOptions): number {
  const { gain, fan } = readOptions(`initializers.${name}`, kaiming, options);
  const fans = fansOf(name, shape);
  return gain / Math.sqrt(fans[fan]);
}

function xavierStd(name: string, shape: Shape, options: XavierOptions): number {
  const { gain } = readOptions(`initializers.${name}`, { gain: positive(1) }, options);
  const fans = fansOf(name, shape);
  return gain * Math.sqrt(2 / (fans.in + fans.out));
}

/** Inputs and outputs of a weight `[out, in, ...]`; further axes (a convolution's window) count in both. */
function fansOf(name: string, shape: Shape): { readonly in: number; readonly out: number } {
  checkShape(`initializers.${name}`, shape);
  const [outputs, inputs, ...window] = shape;
  if (outputs === undefined || inputs === undefined) {
    throw new ShapeError(
      `initializers.${name}: shape [${shape.join(",")}] has no inputs and outputs; it is [out, in]. Use initializers.uniform or initializers.normal.`,
    );
  }
  const size = numel(window);
  return { in: inputs * size, out: outputs * size };
}
