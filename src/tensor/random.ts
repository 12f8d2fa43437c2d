import { type Fields, finite, nonNegative, number, readOptions, show } from "../base/arguments.ts";
import { computeDType, isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import type { Shape } from "../base/shape.ts";
import { cast } from "../graph/cast.ts";
import { add, lt, maximum, minimum, mul, rightShift, sub, where } from "../graph/elementwise.ts";
import { bitsOfFloat, erf, floatOfBits } from "../graph/special.ts";
import { below } from "./choices.ts";
import { draw, type Key } from "./key.ts";
import { exponentialNoise, gumbelNoise, normalNoise } from "./quantiles.ts";
import { Tensor } from "./tensor.ts";

export { type ChoiceOptions, choice, permutation, type RandintOptions, randint } from "./choices.ts";
export { Key, key } from "./key.ts";

/** uint32 numbers of which every bit is random. */
export function bits(key: Key, shape: Shape): Tensor<"uint32"> {
  return new Tensor(draw("random.bits", key, shape));
}

export interface UniformOptions {
  readonly min?: number;
  readonly max?: number;
}

/**
 * float32 numbers spread evenly over [min, max): min plus multiples of (max - min) / 2^24, rounded to float32 within
 * the interval, so that `max` itself is never drawn.
 *
 * @throws ValueError unless min, max and their difference are finite in float32, and one lies in [min, max).
 */
export function uniform(key: Key, shape: Shape, options: UniformOptions = {}): Tensor<"float32"> {
  const { min, max } = readOptions("random.uniform", uniformFields, options);
  const unit = mul(cast(rightShift(draw("random.uniform", key, shape), 8), "float32"), 2 ** -24);
  if (min === 0 && max === 1) return new Tensor(unit);
  const [least, largest] = [nextFloat(min), -nextFloat(-max, false)];
  if (!(Number.isFinite(Math.fround(max - min)) && least <= largest))
    throw new ValueError(
      `random.uniform: min is ${min} and max ${max}; they and their difference are finite in float32, and one lies in [min, max).`,
    );
  return new Tensor(minimum(maximum(add(mul(unit, max - min), min), least), largest));
}

/** The least float32 that is at least `x`, or above it. */
function nextFloat(x: number, orEqual = true): number {
  const nearest = Math.fround(x);
  if (nearest > x || (orEqual && nearest === x) || !Number.isFinite(nearest)) return nearest;
  // One step up of its bits, which count up with its size.
  const bits = bitsOfFloat(nearest);
  return nearest === 0 ? 2 ** -149 : floatOfBits(nearest > 0 ? bits + 1 : bits - 1);
}

/** True with probability `p`. */
export function bernoulli(key: Key, p: number, shape: Shape): Tensor<"bool"> {
  if (!(typeof p === "number" && p >= 0 && p <= 1))
    throw new ValueError(`random.bernoulli: p is ${show(p)}; it is a probability from 0 to 1.`);
  return new Tensor(lt(uniform(key, shape).node, p));
}

const uniformFields: Fields<Required<UniformOptions>> = { min: finite(0), max: finite(1) };

export interface NormalOptions {
  readonly mean?: number;
  readonly std?: number;
}

const normalFields: Fields<Required<NormalOptions>> = { mean: finite(0), std: nonNegative(1) };

/**
 * float32 numbers of the normal distribution: the quantile function at 32 random bits, by a table with linear
 * interpolation in integers (error below 2e-6, values up to 6.2).
 */
export function normal(key: Key, shape: Shape, options: NormalOptions = {}): Tensor<"float32"> {
  const { mean, std } = readOptions("random.normal", normalFields, options);
  const words = draw("random.normal", key, shape);
  const unit = key.blank ? cast(words, "float32") : normalNoise(words);
  return new Tensor(std === 1 && mean === 0 ? unit : add(mul(unit, std), mean));
}

export interface TruncatedNormalOptions extends NormalOptions {
  /** In standard deviations from the mean. Default -2. */
  readonly min?: number;
  /** In standard deviations from the mean. Default 2. */
  readonly max?: number;
}

const truncatedFields: Fields<Required<TruncatedNormalOptions>> = {
  ...normalFields,
  min: { ...number, otherwise: -2 },
  max: { ...number, otherwise: 2 },
};

/**
 * float32 numbers of the normal distribution, given that they lie from `min` to `max`: the quantile function of `normal` at
 * random bits between the probabilities of both.
 *
 * @throws ValueError unless min < max, and the normal distribution has a probability of 2^-24 between them.
 * @example
 * random.truncatedNormal(random.key(0), [8], { std: 0.02 });
 */
export function truncatedNormal(
  key: Key,
  shape: Shape,
  options: TruncatedNormalOptions = {},
): Tensor<"float32"> {
  const { mean, std, min, max } = readOptions("random.truncatedNormal", truncatedFields, options);
  const place = (z: number) => Math.round(((1 + erf(z / Math.SQRT2)) / 2) * 2 ** 32);
  const [from, to] = [place(min), place(max)];
  if (!(to - from >= 2 ** 8))
    throw new ValueError(
      `random.truncatedNormal: min is ${min} and max ${max}; between them lies a probability of 2^-24 at least.`,
    );
  const at = add(below(draw("random.truncatedNormal", key, shape), to - from), from);
  // From the place among all numbers to the tail that it is in.
  const unit = normalNoise(where(lt(at, 2 ** 31), add(at, 2 ** 31), sub(2 ** 32 - 1, at)));
  const within = minimum(maximum(unit, min), max);
  return new Tensor(std === 1 && mean === 0 ? within : add(mul(within, std), mean));
}

/**
 * float32 numbers of the exponential distribution of mean 1, by tables of quantiles at 32 random bits, as normal numbers are
 * (error below 1e-5, values up to 22.9).
 *
 * @example
 * random.exponential(random.key(0), [8]);
 */
export function exponential(key: Key, shape: Shape): Tensor<"float32"> {
  return new Tensor(exponentialNoise(draw("random.exponential", key, shape)));
}

/**
 * float32 numbers of the standard Gumbel distribution, -log(-log u): the largest of logits with such noise is a draw from
 * their softmax (E. J. Gumbel 1954; `categorical`). By tables of quantiles at 32 random bits, as normal numbers are (error
 * below 1e-5, values from -3.2 to 22.9).
 *
 * @example
 * random.gumbel(random.key(0), [8]);
 */
export function gumbel(key: Key, shape: Shape): Tensor<"float32"> {
  return new Tensor(gumbelNoise(draw("random.gumbel", key, shape)));
}

/**
 * Draws from the distributions whose unnormalised log-probabilities lie along the last axis of `logits`: int32 indices of
 * the shape without that axis. -Infinity is never drawn beside anything else; a NaN is, as the largest of all. The same bits
 * of logits give the same draws on every backend.
 *
 * @throws DTypeError unless the logits are floats; ShapeError where there is nothing to draw from.
 * @example
 * random.categorical(random.key(0), tensor([[0, 1], [2, -1]])); // int32[2]
 */
export function categorical(key: Key, logits: Tensor): Tensor<"int32"> {
  const what = "random.categorical: the logits";
  if (!(logits instanceof Tensor)) throw new ValueError(`${what} are ${show(logits)}; they are a tensor.`);
  if (!isFloat(logits.dtype) || logits.dtype === "number")
    throw new DTypeError(`${what} are ${logits}; they are floats. Cast with .astype("float32").`);
  if (logits.rank === 0 || logits.shape.at(-1) === 0)
    throw new ShapeError(`${what} are ${logits}; they have classes along their last axis.`);
  const noise = gumbel(key, logits.shape).node;
  const dtype = computeDType(logits.dtype);
  return new Tensor(add(cast(logits.node, dtype), cast(noise, dtype))).argmax(-1);
}
