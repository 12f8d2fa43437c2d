import {
  checkArgument,
  type Fields,
  field,
  flagOf,
  integer,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { integerRange } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, numel, type Shape } from "../base/shape.ts";
import { cast } from "../graph/cast.ts";
import { add, bitwiseAnd, mul, rightShift } from "../graph/elementwise.ts";
import type { Node } from "../graph/node.ts";
import { draw, type Key } from "./key.ts";
import { gumbelNoise } from "./quantiles.ts";
import { argsort, topk } from "./sort.ts";
import { Tensor } from "./tensor.ts";

// Draws of whole numbers and of elements.

/** The upper 32 bits of a product of 64: of random bits a number from 0 to `count` - 1. */
export function below(random: Node, count: number): Node {
  if (count === 2 ** 32) return random;
  const [high, low] = [rightShift(random, 16), bitwiseAnd(random, 0xffff)];
  const [top, rest] = [Math.floor(count / 2 ** 16), count % 2 ** 16];
  const carried = add(mul(high, rest), rightShift(mul(low, rest), 16));
  const middle = add(mul(low, top), bitwiseAnd(carried, 0xffff));
  return add(add(mul(high, top), rightShift(carried, 16)), rightShift(middle, 16));
}

export interface RandintOptions {
  /** The least. Default 0. */
  readonly min?: number;
  /** The largest is one less. */
  readonly max: number;
}

const randintFields: Fields<Required<RandintOptions>> = {
  min: integer(...integerRange.int32, 0),
  max: integer(integerRange.int32[0] + 1, 2 ** 31),
};

/**
 * int32 numbers spread evenly over the integers from `min` to `max` - 1, each as likely as others up to a part in 2^32.
 *
 * @throws ValueError unless both are integers with min < max.
 * @example
 * random.randint(random.key(0), [3], { max: 10 });
 */
export function randint(key: Key, shape: Shape, options: RandintOptions): Tensor<"int32"> {
  const { min, max } = readOptions("random.randint", randintFields, options);
  if (min >= max) throw new ValueError(`random.randint: min is ${min} and max ${max}; min is below max.`);
  return new Tensor(add(cast(below(draw("random.randint", key, shape), max - min), "int32"), min));
}

/**
 * The numbers from 0 to n - 1 in random order, or the rows of a tensor: those with the smallest random bits first.
 *
 * @throws ValueError unless n is a number of elements; ShapeError for a scalar.
 * @example
 * random.permutation(random.key(0), 5);
 */
export function permutation(key: Key, n: number): Tensor<"int32">;
export function permutation<T extends Tensor>(key: Key, x: T): T;
export function permutation(key: Key, x: number | Tensor): Tensor {
  const n = countOf("random.permutation", x);
  const order = argsort(new Tensor<"uint32">(draw("random.permutation", key, [n])));
  return x instanceof Tensor ? x.indexSelect(0, order) : order;
}

export interface ChoiceOptions {
  /** May an element be drawn again? Default true. */
  readonly replace?: boolean;
  /** How likely each element is, up to a factor: a vector of floats, none of them negative. Default all alike. */
  readonly p?: Tensor;
}

const choiceFields: Fields<ChoiceOptions> = {
  replace: flagOf(true),
  p: optional(field<Tensor>("a vector of floats", (p) => p instanceof Tensor && p.rank === 1)),
};

/**
 * Draws from the numbers 0 to n - 1, or from the rows of a tensor: as many as `shape` has, with or without putting back
 * (E. J. Gumbel 1954 for weights: the largest of log p with Gumbel noise).
 *
 * @throws ShapeError where more are drawn without putting back than there are, or p has another length.
 * @example
 * random.choice(random.key(0), 10, [3], { replace: false });
 */
export function choice(key: Key, n: number, shape: Shape, options?: ChoiceOptions): Tensor<"int32">;
export function choice<T extends Tensor>(key: Key, x: T, shape: Shape, options?: ChoiceOptions): T;
export function choice(key: Key, x: number | Tensor, shape: Shape, options: ChoiceOptions = {}): Tensor {
  const n = countOf("random.choice", x);
  const { replace, p } = readOptions("random.choice", choiceFields, options);
  checkShape("random.choice", shape);
  const count = numel(shape);
  if (count > 0 && (n === 0 || (!replace && count > n)))
    throw new ShapeError(
      `random.choice: ${count} of ${n} elements cannot be drawn${n === 0 ? "" : " without putting back"}.`,
    );
  if (p && p.size !== n)
    throw new ShapeError(`random.choice: p is ${p}; it has a probability for each of ${n} elements.`);
  const index = indicesOf(key, n, count, replace!, p).reshape(shape);
  if (!(x instanceof Tensor)) return index;
  return x.indexSelect(0, index.reshape([count])).reshape([...shape, ...x.shape.slice(1)]);
}

function indicesOf(
  key: Key,
  n: number,
  count: number,
  replace: boolean,
  p: Tensor | undefined,
): Tensor<"int32"> {
  if (!p) {
    if (replace && count > 0) return randint(key, [count], { max: n });
    return permutation(key, n).slice([0], [count]);
  }
  const logits = p.log();
  const rows = replace ? [count, n] : [n];
  const noisy = logits.add(new Tensor(cast(gumbelNoise(draw("random.choice", key, rows)), logits.dtype)));
  return replace ? noisy.argmax(-1) : topk(noisy, count).indices;
}

function countOf(operation: string, x: number | Tensor): number {
  if (x instanceof Tensor) {
    if (x.rank === 0) throw new ShapeError(`${operation}: ${x} has no rows.`);
    return x.shape[0]!;
  }
  if (typeof x !== "number")
    throw new ValueError(`${operation}: takes a number of elements or a tensor of rows; given ${show(x)}.`);
  checkArgument(operation, "n", x, integer(0, integerRange.int32[1]));
  return x;
}
