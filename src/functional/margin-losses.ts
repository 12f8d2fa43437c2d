import { type Fields, finite, flag, nonNegative, positive, readOptions } from "../base/arguments.ts";
import { checkPair, type LossOptions, lossFields, reduceAll } from "../nn/losses.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type PairwiseDistanceOptions, pairwiseDistance } from "./distances.ts";

// Losses of what should be near and what should be far, up to a margin; names, values and reductions are PyTorch's. Targets are 1
// and -1, in the dtype of the input.

export interface MarginOptions extends LossOptions {
  /** How far is enough. */
  readonly margin?: number;
}

const fieldsOf = (margin: number): Fields<Required<MarginOptions>> => ({
  ...lossFields,
  margin: finite(margin),
});

/**
 * 1 - cos where the target is 1, max(0, cos - margin) where it is -1, with the cosine of the angle between rows along the last
 * axis. `x` and `y` are `[..., dim]`, `target` `[...]`; the margin is 0 by default.
 *
 * @throws ShapeError if the shapes do not fit.
 * @example
 * cosineEmbeddingLoss(tensor([[1, 0], [1, 0]]), tensor([[1, 0], [1, 0]]), tensor([1, -1])); // (0 + 1) / 2
 */
export function cosineEmbeddingLoss(
  x: Tensor,
  y: Tensor,
  target: Tensor,
  options: MarginOptions = {},
): Tensor {
  const { reduction, margin } = readOptions("cosineEmbeddingLoss", fieldsOf(0), options);
  checkPair("cosineEmbeddingLoss", x, y);
  // As ATen: 1e-12 keeps squares of norms apart from 0.
  const size = (v: Tensor) => v.square().sum(-1).add(1e-12);
  const cosine = x
    .mul(y)
    .sum(-1)
    .div(size(x).mul(size(y)).sqrt());
  checkPair("cosineEmbeddingLoss", cosine, target);
  const far = where(target.eq(-1), above(cosine.sub(margin)), 0);
  return reduceAll(where(target.eq(1), cosine.neg().add(1), far), reduction);
}

/**
 * max(0, margin - target (x - y)): x is to be the larger one by the margin where the target is 1, y where it is -1. The margin is 0
 * by default.
 *
 * @throws ShapeError if the shapes differ.
 */
export function marginRankingLoss(x: Tensor, y: Tensor, target: Tensor, options: MarginOptions = {}): Tensor {
  const { reduction, margin } = readOptions("marginRankingLoss", fieldsOf(0), options);
  checkPair("marginRankingLoss", x, y);
  checkPair("marginRankingLoss", x, target);
  return reduceAll(above(x.sub(y).mul(target).neg().add(margin)), reduction);
}

/**
 * The input where the target is 1, max(0, margin - input) where it is -1: of distances. The margin is 1 by default.
 *
 * @throws ShapeError if the shapes differ.
 */
export function hingeEmbeddingLoss(input: Tensor, target: Tensor, options: MarginOptions = {}): Tensor {
  const { reduction, margin } = readOptions("hingeEmbeddingLoss", fieldsOf(1), options);
  checkPair("hingeEmbeddingLoss", input, target);
  const far = where(target.eq(-1), above(input.neg().add(margin)), 0);
  return reduceAll(where(target.eq(1), input, far), reduction);
}

export interface TripletMarginOptions extends MarginOptions, Omit<PairwiseDistanceOptions, "keepdim"> {
  /** Takes the negative's distance from the positive where that is less (Balntas et al. 2016). Default false. */
  readonly swap?: boolean;
}

const tripletFields: Fields<Required<TripletMarginOptions>> = {
  ...fieldsOf(1),
  p: positive(2),
  eps: nonNegative(1e-6),
  swap: flag,
};

/**
 * max(0, d(anchor, positive) - d(anchor, negative) + margin), with `pairwiseDistance` of order `p` along the last axis. The margin
 * is 1 by default.
 *
 * @throws ShapeError if the shapes differ.
 * @example
 * tripletMarginLoss(tensor([[0, 0]]), tensor([[0, 1]]), tensor([[0, 1.5]])); // 1 - 1.5 + 1
 */
export function tripletMarginLoss(
  anchor: Tensor,
  near: Tensor,
  far: Tensor,
  options: TripletMarginOptions = {},
): Tensor {
  const { reduction, margin, swap, ...distance } = readOptions("tripletMarginLoss", tripletFields, options);
  checkPair("tripletMarginLoss", anchor, near);
  checkPair("tripletMarginLoss", anchor, far);
  const between = (x: Tensor, y: Tensor) => pairwiseDistance(x, y, distance);
  const own = between(anchor, far);
  const apart = swap ? own.minimum(between(near, far)) : own;
  return reduceAll(above(between(anchor, near).sub(apart).add(margin)), reduction);
}

/** max(x, 0), where 0 has slope 1 as in ATen's clamp_min. */
const above = (x: Tensor) => where(x.lt(0), 0, x);
