import {
  anAxis,
  checkArgument,
  checkCount,
  type Fields,
  field,
  flag,
  nonNegative,
  readOptions,
} from "../base/arguments.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { norm } from "../tensor/norms.ts";
import type { Tensor } from "../tensor/tensor.ts";

// How far apart vectors are. Floats of one dtype; where a distance is 0 it has gradient 0.

const order = field<number>("a number > 0, or Infinity", (p) => typeof p === "number" && p > 0, 2);

function checkBoth(operation: string, x: Tensor, y: Tensor): void {
  checkFloat(operation, x);
  checkFloat(operation, y);
  if (x.dtype !== y.dtype)
    throw new DTypeError(`${operation}: dtypes differ: ${x} and ${y}. Cast with .astype(...).`);
}

export interface NormalizeOptions {
  /** The order of the norm. Default 2. */
  readonly p?: number;
  /** The axis of the vectors. Default the last; PyTorch's is 1. */
  readonly axis?: number;
  /** The least norm that is divided by. Default 1e-12. */
  readonly eps?: number;
}

const normalizeFields: Fields<Required<NormalizeOptions>> = {
  p: order,
  axis: anAxis(-1),
  eps: nonNegative(1e-12),
};

/**
 * x / max(norm, eps), with the norm of the vectors along an axis.
 *
 * @example
 * normalize(tensor([[3, 4], [0, 0]])); // [[0.6, 0.8], [0, 0]]
 */
export function normalize(x: Tensor, options: NormalizeOptions = {}): Tensor {
  const { p, axis, eps } = readOptions("normalize", normalizeFields, options);
  checkFloat("normalize", x);
  return x.div(norm(x, { ord: p, axis, keepdim: true }).maximum(eps));
}

export type CosineSimilarityOptions = Omit<NormalizeOptions, "p">;

/**
 * The cosine of the angle between vectors along an axis: the sum of products of both, each divided by max(its norm, eps). Shapes
 * broadcast; `eps` is 1e-8 by default. PyTorch's axis is 1 by default, here it is the last.
 *
 * @example
 * cosineSimilarity(tensor([[1, 0], [1, 1]]), tensor([1, 0])); // [1, 0.7071068]
 */
export function cosineSimilarity(x: Tensor, y: Tensor, options: CosineSimilarityOptions = {}): Tensor {
  const { axis, eps } = readOptions(
    "cosineSimilarity",
    { axis: anAxis(-1), eps: nonNegative(1e-8) },
    options,
  );
  checkBoth("cosineSimilarity", x, y);
  const unit = (v: Tensor) => normalize(v, { axis, eps });
  return unit(x).mul(unit(y)).sum(axis);
}

export interface PairwiseDistanceOptions {
  /** The order of the norm. Default 2. */
  readonly p?: number;
  /** Added to each difference. Default 1e-6. */
  readonly eps?: number;
  /** Whether the last axis stays, with length 1. Default false. */
  readonly keepdim?: boolean;
}

const pairwiseFields: Fields<Required<PairwiseDistanceOptions>> = {
  p: order,
  eps: nonNegative(1e-6),
  keepdim: flag,
};

/**
 * The norm of x - y + eps along the last axis, of pairs of vectors; shapes broadcast.
 *
 * @example
 * pairwiseDistance(tensor([[3, 4]]), tensor([[0, 0]])); // [5.0000014]
 */
export function pairwiseDistance(x: Tensor, y: Tensor, options: PairwiseDistanceOptions = {}): Tensor {
  const { p, eps, keepdim } = readOptions("pairwiseDistance", pairwiseFields, options);
  checkBoth("pairwiseDistance", x, y);
  return norm(x.sub(y).add(eps), { ord: p, axis: -1, keepdim });
}

/**
 * The distance of each row of x `[..., n, dim]` from each of y `[..., m, dim]`, `[..., n, m]`: the norm of order `p` (2 by default,
 * Infinity too) of their difference. Differences are summed as they are, so that near rows keep their digits; nothing of the size
 * n m dim is stored.
 *
 * @throws ShapeError if x and y are no matrices of rows of one length.
 * @example
 * cdist(tensor([[0, 0], [3, 4]]), tensor([[0, 0]])); // [[0], [5]]
 */
export function cdist(x: Tensor, y: Tensor, p = 2): Tensor {
  checkCount("cdist", arguments, 3);
  checkBoth("cdist", x, y);
  if (x.rank < 2 || y.rank < 2 || x.shape.at(-1) !== y.shape.at(-1))
    throw new ShapeError(`cdist: x is ${x} and y is ${y}; expected [..., n, dim] and [..., m, dim].`);
  checkArgument("cdist", "p", p, order);
  return norm(x.unsqueeze(-2).sub(y.unsqueeze(-3)), { ord: p, axis: -1 });
}
