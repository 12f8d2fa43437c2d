import {
  checkArgument,
  type Fields,
  flagOf,
  fraction,
  nonNegative,
  optional,
  readOptions,
} from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import { ones, zeros } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aTensor, checkFloatDType, contextFields, floatDType, readInput, size, tensorsOf } from "./check.ts";
import * as functional from "./functional.ts";
import type { Layer } from "./layer.ts";
import type { LinearParams } from "./linear.ts";
import { parameter } from "./params.ts";

// Norms over channels, the second axis of [batch, channels, ...lengths], as layers.

export interface GroupNormLayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** Whether there are weight and bias. Default true, and false for `instanceNorm`, as in PyTorch. */
  readonly affine?: boolean;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

export interface BatchNormLayerOptions {
  /** Added to the variance. Default 1e-5. */
  readonly eps?: number;
  /** How much of a batch's mean and variance enters what is kept. Default 0.1. */
  readonly momentum?: number;
  /** Whether there are weight and bias. Default true. */
  readonly affine?: boolean;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

const fieldsWith = (affine: boolean): Fields<GroupNormLayerOptions> => ({
  eps: nonNegative(1e-5),
  affine: flagOf(affine),
  dtype: floatDType,
});

/** Weight 1 and bias 0 for each channel, or nothing. */
function affineOf(channels: number, affine: boolean, dtype: FloatDType) {
  return affine ? { weight: ones([channels], { dtype }), bias: zeros([channels], { dtype }) } : {};
}

/** A layer of groups, by name. */
function grouped(
  name: string,
  groups: number,
  channels: number,
  options: GroupNormLayerOptions,
  affineByDefault: boolean,
): Layer<Partial<LinearParams>> {
  const {
    eps = 1e-5,
    affine = affineByDefault,
    ...given
  } = readOptions(name, fieldsWith(affineByDefault), options);
  checkArgument(name, "channels", channels, size);
  checkArgument(name, "groups", groups, size);
  if (channels % groups !== 0)
    throw new ValueError(`${name}: ${channels} channels do not divide into ${groups} groups.`);
  const dtype = checkFloatDType(name, given.dtype);
  return {
    kind: name,
    init: () => affineOf(channels, affine, dtype),
    apply: (params, x) =>
      functional.groupNorm(x, groups, {
        weight: affine ? parameter(name, params, "weight") : undefined,
        bias: affine ? parameter(name, params, "bias") : undefined,
        eps,
      }),
  };
}

/**
 * Normalises each of `groups` of channels of each example (Wu and He 2018, arXiv:1803.08494); see `functional.groupNorm`.
 * Parameters are `{ weight: [channels], bias: [channels] }`.
 *
 * @throws ValueError for sizes that are not integers >= 1, or channels that do not divide into the groups.
 * @example
 * const layer = groupNorm(2, 8);
 * const y = layer.apply(layer.init(random.key(0)), ones([3, 8, 5])); // float32[3,8,5]
 */
export function groupNorm(
  groups: number,
  channels: number,
  options: GroupNormLayerOptions = {},
): Layer<Partial<LinearParams>> {
  return grouped("groupNorm", groups, channels, options, true);
}

/**
 * Normalises each channel of each example by itself (Ulyanov et al. 2016, arXiv:1607.08022), with the statistics of what it
 * is given, in training or not; without parameters unless `affine` is true.
 *
 * @throws ValueError for channels that are not an integer >= 1.
 * @example
 * const y = instanceNorm(8).apply({}, ones([3, 8, 5])); // float32[3,8,5]
 */
export function instanceNorm(
  channels: number,
  options: GroupNormLayerOptions = {},
): Layer<Partial<LinearParams>> {
  return grouped("instanceNorm", channels, channels, options, false);
}

/** What a batch norm has seen: means and variances, `[channels]`. */
export interface BatchNormState {
  readonly mean: Tensor;
  readonly variance: Tensor;
}

/** A batch, and what was seen before it: mean 0 and variance 1 if that is left out. */
export interface BatchNormInput {
  readonly x: Tensor;
  readonly state?: BatchNormState | undefined;
}

const inputFields: Fields<BatchNormInput> = {
  x: aTensor,
  state: optional(tensorsOf<BatchNormState>("mean", "variance")),
};

export interface BatchNormOutput {
  readonly y: Tensor;
  readonly state: BatchNormState;
}

/**
 * Batch normalisation (Ioffe and Szegedy 2015, arXiv:1502.03167). It takes `{ x, state }` with `x` `[batch, channels, ...]`,
 * and gives `{ y, state }`: the state is data like any other, that goes in and comes out. In training it normalises by the
 * mean and variance of the batch, and the next state is (1 - momentum) state + momentum of the batch's, with the unbiased
 * variance, as in PyTorch; outside of training it normalises by the state, which stays. Parameters are
 * `{ weight: [channels], bias: [channels] }`.
 *
 * @throws ValueError for channels that are not an integer >= 1; ShapeError if `x` has others, or in training one value of
 * each, or the state does not fit.
 * @example
 * const layer = batchNorm(8);
 * const params = layer.init(random.key(0));
 * const { state } = layer.apply(params, { x: ones([4, 8]) }, { training: true });
 * const { y } = layer.apply(params, { x: ones([4, 8]), state });
 */
export function batchNorm(
  channels: number,
  options: BatchNormLayerOptions = {},
): Layer<Partial<LinearParams>, BatchNormInput, BatchNormOutput> {
  const name = "batchNorm";
  const {
    eps = 1e-5,
    momentum = 0.1,
    affine = true,
    ...given
  } = readOptions(
    name,
    { ...fieldsWith(true), momentum: fraction(0.1) } as Fields<BatchNormLayerOptions>,
    options,
  );
  checkArgument(name, "channels", channels, size);
  const dtype = checkFloatDType(name, given.dtype);
  return {
    kind: name,
    init: () => affineOf(channels, affine, dtype),
    apply: (params, input, context) => {
      const { x, state: before } = readInput(name, inputFields, input);
      const { training } = readOptions(name, contextFields, context);
      if (x.rank < 2 || x.shape[1] !== channels)
        throw new ShapeError(`${name}: x is ${x}; expected [batch, ${channels}, ...].`);
      const state = before ?? {
        mean: zeros([channels], { dtype: x.dtype as FloatDType }),
        variance: ones([channels], { dtype: x.dtype as FloatDType }),
      };
      for (const [what, of] of Object.entries(state) as [string, Tensor][])
        if (!sameShape(of.shape, [channels]))
          throw new ShapeError(`${name}: the state's ${what} is ${of}; expected [${channels}].`);
      const weights = {
        weight: affine ? parameter(name, params, "weight") : undefined,
        bias: affine ? parameter(name, params, "bias") : undefined,
        eps,
      };
      if (!training) return { y: functional.batchNorm(x, state, weights), state };
      const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
      const count = x.size / channels;
      if (count === 1)
        throw new ShapeError(
          `${name}: x is ${x}, one value of each channel, which has no variance. Train with more, or leave training out.`,
        );
      const seen = { mean: x.mean(axes), variance: x.var(axes, { correction: 0 }) };
      const follow = (old: Tensor, now: Tensor) => old.mul(1 - momentum).add(now.detach().mul(momentum));
      return {
        y: functional.batchNorm(x, seen, weights),
        state: {
          mean: follow(state.mean, seen.mean),
          variance: follow(state.variance, seen.variance.mul(count / (count - 1))),
        },
      };
    },
  };
}
