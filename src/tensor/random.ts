import {
  type Fields,
  finite,
  isIntegerIn,
  nonNegative,
  readOptions,
  refuseFurther,
  show,
} from "../base/arguments.ts";
import { computeDType, integerRange, isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, numel, type Shape } from "../base/shape.ts";
import { cast, meet } from "../graph/cast.ts";
import {
  add,
  bitwiseAnd,
  leftShift,
  lt,
  maximum,
  minimum,
  mul,
  neg,
  rightShift,
  sub,
  where,
} from "../graph/elementwise.ts";
import { expand, reshape } from "../graph/movement.ts";
import { constant, iota, type Node } from "../graph/node.ts";
import { gather } from "../graph/reduce.ts";
import { bitsOfFloat, floatOfBits } from "../graph/special.ts";
import { threefry } from "../graph/threefry.ts";
import { hostNode } from "../runtime/storage.ts";
import { Tensor } from "./tensor.ts";

/**
 * Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as
 * easy as 1, 2, 3"). A key is a place in a tree of streams; element i of a draw is a function of key and i
 * alone. All arithmetic is on integers, so that every backend draws the same bits, normal numbers too.
 */
export class Key {
  /** @internal Two uint32 words. */
  readonly words: readonly [Node, Node];

  /** @internal */
  constructor(words: readonly [Node, Node]) {
    this.words = words;
  }

  /**
   * The key of a purpose, a parameter path, a step or an example below this one. A number may change from step to step
   * without anything being compiled again; an int32 scalar, such as `vmap` gives one of a vector, gives the key of the
   * number that it holds.
   *
   * @example
   * random.key(0).fold("dropout").fold("layers.0").fold(step)
   */
  fold(data: string | number | Tensor<"number"> | Tensor<"int32">): Key {
    if (typeof data !== "string" && typeof data !== "number" && !(data instanceof Tensor))
      throw new ValueError(`fold: takes a name or an integer; given ${show(data)}.`);
    const word = typeof data === "string" ? constant(hash(data), "uint32", true) : whole(data);
    // Names and numbers are told apart by the second counter word, so that "1" and 1 differ.
    return new Key(threefry(this.words, [word, constant(typeof data === "string" ? 1 : 2, "uint32")]));
  }
}

refuseFurther(Key.prototype, {});

/** The root key of a seed, an integer from 0 to 2^32 - 1. */
export function key(seed: number): Key {
  if (!isIntegerIn(seed, ...integerRange.uint32))
    throw new ValueError(`random.key: seed ${show(seed)} is not an integer from 0 to 2^32 - 1.`);
  return new Key([constant(seed, "uint32", true), constant(0, "uint32")]);
}

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
  const random = draw("random.normal", key, shape);
  const size = quantile(random, tables.normal());
  const signed = where(lt(random, 2 ** 31), size, neg(size));
  const unit = mul(cast(signed, "float32"), 1 / normalUnit);
  return new Tensor(std === 1 && mean === 0 ? unit : add(mul(unit, std), mean));
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
  const random = draw("random.gumbel", key, shape);
  const upper = lt(random, 2 ** 31);
  const values = quantile(random, tables.gumbel(), cast(where(upper, 0, quantileCells + 1), "int32"));
  return new Tensor(mul(cast(values, "float32"), 1 / gumbelUnit));
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

/**
 * The value of a table of quantiles, for random bits of which the highest chooses the tail, in the table's unit.
 *
 * @param from Where in the table the entries of the tail begin.
 */
function quantile(random: Node, quantiles: Node, from?: Node): Node {
  // Shift the lower 31 bits up until the highest is set: the octave of the tail probability.
  let m = leftShift(random, 1);
  let octave: Node = constant(quantileOctaves - 1, "int32");
  for (const shift of [16, 8, 4, 2, 1]) {
    const small = lt(rightShift(m, 32 - shift), 1);
    m = where(small, leftShift(m, shift), m);
    octave = where(small, sub(octave, shift), octave);
  }
  octave = where(lt(octave, 0), 0, octave); // all 31 bits zero
  const cell = add(
    mul(octave, cellsPerOctave),
    bitwiseAnd(cast(rightShift(m, 23), "int32"), cellsPerOctave - 1),
  );
  const rest = cast(bitwiseAnd(rightShift(m, 8), 0x7fff), "int32");
  const place = from ? add(cell, from) : cell;
  const [low, high] = [lookUp(quantiles, place), lookUp(quantiles, add(place, 1))];
  return add(low, rightShift(mul(sub(high, low), rest), 15));
}

function draw(operation: string, key: Key, shape: Shape): Node {
  if (!(key instanceof Key))
    throw new ValueError(`${operation}: the key is ${show(key)}; make one with random.key(0).`);
  checkShape(operation, shape);
  if (numel(shape) > integerRange.int32[1])
    throw new ShapeError(
      `${operation}: [${shape.join(",")}] has more than 2^31 - 1 elements. Draw in parts, of keys of their own.`,
    );
  const counter = cast(iota([numel(shape)], 0), "uint32");
  const [word] = threefry(key.words, [counter, constant(0, "uint32")]);
  return expand(reshape(word, shape), shape);
}

function whole(data: number | Tensor<"number"> | Tensor<"int32">): Node {
  if (typeof data !== "number") {
    if (data.dtype === "int32" && data.rank === 0) return cast(data.node, "uint32");
    if (data.dtype !== "number")
      throw new DTypeError(
        `fold: takes a name, an integer, a host number or an int32 scalar; given ${data}.`,
      );
    return meet(data.node, "uint32", "fold");
  }
  if (!isIntegerIn(data, ...integerRange.uint32))
    throw new ValueError(`fold: ${data} is not an integer from 0 to 2^32 - 1.`);
  return constant(data, "uint32", true);
}

/** FNV-1a over UTF-16 units. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

// Tables of quantiles: entry 256 o + j holds the value with tail probability ((1 + j/256) 2^o + 1/2) / 2^32 in units, for
// o = 0 to 30. Units are such that no value needs more digits than a float32 has.

const quantileOctaves = 31;
const cellsPerOctave = 256;
const quantileCells = quantileOctaves * cellsPerOctave;
const normalUnit = 2 ** 21;
const gumbelUnit = 2 ** 19;

/** A node for each draw of values that are computed once: what went to one device does not follow to the next. */
const tables = {
  normal: tableOf(() => quantilesOf(upperQuantile, normalUnit)),
  // The upper tail, then the lower one.
  gumbel: tableOf(() => [
    ...quantilesOf((p) => -Math.log(-Math.log1p(-p)), gumbelUnit),
    ...quantilesOf((p) => -Math.log(-Math.log(p)), gumbelUnit),
  ]),
};

function tableOf(make: () => readonly number[]): () => Node {
  let table: Int32Array | undefined;
  return () => {
    table ??= Int32Array.from(make());
    return hostNode(table, [table.length], "int32");
  };
}

function lookUp(quantiles: Node, cell: Node): Node {
  const column = reshape(cell, [numel(cell.shape)]);
  return reshape(gather(quantiles, column, 0), cell.shape);
}

/** What a distribution has at the tail probabilities of a table. */
function quantilesOf(at: (p: number) => number, unit: number): number[] {
  return Array.from({ length: quantileCells + 1 }, (_, i) => {
    const size = (1 + (i % cellsPerOctave) / cellsPerOctave) * 2 ** Math.floor(i / cellsPerOctave);
    return Math.round(at(Math.min((size + 0.5) / 2 ** 32, 0.5)) * unit);
  });
}

/** z with P(Z > z) = p for p up to 1/2; relative error 1.2e-9 (the rational approximations of P. J. Acklam). */
function upperQuantile(p: number): number {
  const horner = (coefficients: readonly number[], x: number) =>
    coefficients.reduce((sum, c) => sum * x + c, 0);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return -(
      horner(
        [
          -7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734,
          4.374664141464968, 2.938163982698783,
        ],
        q,
      ) / horner([7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1], q)
    );
  }
  const q = 0.5 - p;
  const r = q * q;
  return (
    (q *
      horner(
        [
          -3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2,
          -3.066479806614716e1, 2.506628277459239,
        ],
        r,
      )) /
    horner(
      [
        -5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1,
        -1.328068155288572e1, 1,
      ],
      r,
    )
  );
}
