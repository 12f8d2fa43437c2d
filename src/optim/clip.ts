import {
  checkArgument,
  field,
  functionOf,
  nonNegative,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { onesLike, scalar } from "../tensor/creation.ts";
import { wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import type { HostNumber } from "./optimizer.ts";

/** A bound: one number for all, or one for each path. Host numbers may come out of a compiled step. */
export type Bound = number | HostNumber | ((path: string) => number | HostNumber);

export interface GlobalNormOptions {
  /** Factor on the gradient at a path inside the norm; clipping itself stays one factor for all. Default 1. */
  readonly weight?: (path: string) => number;
  /** Keeps the division finite. Default 1e-6, PyTorch's. */
  readonly eps?: number;
}

/**
 * Scales all gradients by `min(1, maxNorm / (norm + eps))` with the norm of all of them together, as PyTorch's
 * `clip_grad_norm_`. Returns them and the norm before clipping, a scalar; gradients of float16 in float32.
 *
 * The plain norm mixes tensors of different scale, so it is not invariant under rescaling A against B; with
 * `weight` it is `sqrt(sum of weight^2 |g|^2)`, which can be.
 *
 * @throws ValueError for a bound that is not a finite number > 0, or a tree without tensors.
 * @example
 * const { gradients: clipped, norm } = clipByGlobalNorm(gradients, 1);
 */
export function clipByGlobalNorm<G>(
  gradients: G,
  maxNorm: number | HostNumber,
  options: GlobalNormOptions = {},
): { readonly gradients: G; readonly norm: Tensor } {
  const name = "clipByGlobalNorm";
  const { weight, eps } = readOptions(
    name,
    {
      weight: optional(functionOf<(path: string) => number>("a function of the path")),
      eps: nonNegative(1e-6),
    },
    options,
  );
  const bound = lifted(name, "maxNorm", maxNorm);
  const squares = entriesOf(name, gradients).map(([path, gradient]) => {
    const own = wide(gradient);
    const weighted = weight ? own.mul(lifted(name, `weight of ${path}`, weight(path))) : own;
    return weighted.square().sum();
  });
  const norm = squares.reduce((sum, square) => sum.add(square)).sqrt();
  const factor = shrinking(norm, bound, eps);
  return { gradients: tree.map(gradients, (gradient) => wide(gradient).mul(factor)), norm };
}

export interface TensorNormOptions {
  /** Keeps the division finite; for all paths or for each. Default 1e-6. */
  readonly eps?: number | ((path: string) => number);
}

/**
 * Scales each gradient by `min(1, maxNorm / (its norm + eps))`, each on its own; those of float16 come back in float32.
 *
 * @throws ValueError for a bound that is not a finite number > 0, or a tree without tensors.
 */
export function clipByTensorNorm<G>(gradients: G, maxNorm: Bound, options: TensorNormOptions = {}): G {
  const name = "clipByTensorNorm";
  const { eps } = readOptions(
    name,
    { eps: field<number | ((path: string) => number)>("a number or a function of the path", isEps, 1e-6) },
    options,
  );
  entriesOf(name, gradients);
  return tree.map(gradients, (gradient, path) => {
    const own = typeof eps === "function" ? eps(path) : eps;
    checkArgument(name, "eps", own, nonNegative(1e-6));
    const bound = boundOf(name, "maxNorm", maxNorm, path);
    const whole = wide(gradient);
    return whole.mul(shrinking(whole.square().sum().sqrt(), bound, own));
  });
}

/**
 * Every element of every gradient at least `-maxValue` and at most `maxValue`.
 *
 * @throws ValueError for a bound that is not a finite number > 0, or a tree without tensors.
 */
export function clipByValue<G>(gradients: G, maxValue: Bound): G {
  entriesOf("clipByValue", gradients);
  return tree.map(gradients, (gradient, path) => {
    const bound = boundOf("clipByValue", "maxValue", maxValue, path);
    return gradient.clamp(bound.neg(), bound);
  });
}

/** The gradients of a tree by their paths. @throws ValueError if there are none. */
function entriesOf(name: string, gradients: unknown): [path: string, gradient: Tensor][] {
  const entries = tree.entries(gradients);
  if (entries.length === 0)
    throw new ValueError(`${name}: takes a tree of gradients; ${show(gradients)} has none.`);
  return entries;
}

function shrinking(norm: Tensor, bound: HostNumber, eps: number): Tensor {
  return onesLike(norm)
    .mul(bound)
    .div(norm.add(scalar(eps)))
    .minimum(1);
}

function boundOf(name: string, what: string, bound: Bound, path: string): HostNumber {
  return typeof bound === "function"
    ? lifted(name, `${what} of ${path}`, bound(path))
    : lifted(name, what, bound);
}

function lifted(name: string, what: string, value: number | HostNumber): HostNumber {
  if (tree.isTensor(value) && value.size === 1) return value;
  if (!(typeof value === "number" && value > 0 && value < Infinity)) {
    throw new ValueError(`${name}: ${what} is ${show(value)}; it is a finite number > 0.`);
  }
  return scalar(value);
}

const isEps = (eps: unknown) => typeof eps === "function" || typeof eps === "number";
