import { checkArgument, checkCount, finite, integer, positive, show } from "../base/arguments.ts";
import { type DType, integerRange, isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { checkShape, normalizeAxis } from "../base/shape.ts";
import * as ops from "../graph/elementwise.ts";
import { iota } from "../graph/node.ts";
import * as update from "../graph/update.ts";
import { checkInt32, counted } from "./indices.ts";
import { nodeOf, type Operand, Tensor, tensorNode } from "./tensor.ts";

// Functions of several tensors, and activations: compositions of methods and rows of the op table.

/**
 * `condition ? x : y`, broadcast. Exactly zero gradient flows to the branch not taken. Of two numbers it is float32; if the
 * condition compares host numbers too, it is a host number.
 *
 * @example
 * where(x.gt(0), 1, 0); // float32, of the shape of x
 */
export function where(condition: Tensor<"bool">, x: number, y: number): Tensor<"float32">;
export function where<D extends DType>(condition: Tensor<"bool">, x: Operand<D>, y: Operand<D>): Tensor<D>;
export function where<D extends DType>(condition: Tensor<"bool">, x: Operand<D>, y: Operand<D>): Tensor<D> {
  return new Tensor(
    ops.where(tensorNode("where", "the condition", condition), nodeOf("where", x), nodeOf("where", y)),
  );
}

/** Joins tensors along an existing axis; other axes and dtypes are equal. */
export function cat<D extends DType>(tensors: readonly Tensor<D>[], axis = 0): Tensor<D> {
  const first = checkTensors("cat", tensors);
  const at = normalizeAxis("cat", axis, first.rank);
  for (const other of tensors) {
    if (other.dtype !== first.dtype)
      throw new DTypeError(`cat: dtypes differ: ${first} and ${other}. Cast with .astype(...).`);
    if (other.rank !== first.rank || other.shape.some((length, i) => i !== at && length !== first.shape[i])) {
      throw new ShapeError(`cat: ${first} and ${other} differ outside axis ${axis}.`);
    }
  }
  return new Tensor(
    update.cat(
      tensors.map((x) => x.node),
      at,
    ),
  );
}

/** Joins tensors of one shape along a new axis. */
export function stack<D extends DType>(tensors: readonly Tensor<D>[], axis = 0): Tensor<D> {
  checkTensors("stack", tensors);
  return cat(
    tensors.map((x) => x.unsqueeze(axis)),
    axis,
  );
}

/** Checks that these are tensors, one at least, and returns the first. */
function checkTensors<D extends DType>(operation: string, tensors: readonly Tensor<D>[]): Tensor<D> {
  if (!Array.isArray(tensors))
    throw new ValueError(
      `${operation}: takes a list of tensors, ${operation}([x, y]); given ${show(tensors)}.`,
    );
  tensors.forEach((x: Tensor<D>, i) => {
    tensorNode(operation, `element ${i}`, x);
  });
  if (tensors.length === 0) throw new ShapeError(`${operation}: takes at least one tensor; given none.`);
  return tensors[0] as Tensor<D>;
}

/**
 * 1 at each index and 0 elsewhere, along a new last axis of length `numClasses`. Indices are 0 to `numClasses - 1`: those
 * whose values the host has are checked, and a device gives zeros for others.
 */
export function oneHot(indices: Tensor<"int32">, numClasses: number): Tensor<"int32"> {
  checkInt32("oneHot", "the indices", indices);
  checkArgument("oneHot", "numClasses", numClasses, integer(1, integerRange.int32[1]));
  const shape = [...indices.shape, numClasses];
  checkShape("oneHot", shape);
  const index = counted(indices.unsqueeze(-1).node, { what: "oneHot: index", from: 0, length: numClasses });
  return new Tensor<"bool">(ops.eq(index, iota(shape, shape.length - 1))).astype("int32");
}

// Activations. Shapes and dtypes are kept; floats only.

/** The argument, if it is a float; functions refuse more than they have, which JavaScript would drop. */
function float<D extends DType>(
  operation: string,
  x: Tensor<D>,
  given: ArrayLike<unknown>,
  most = 1,
): Tensor<D> {
  checkCount(operation, given, most);
  tensorNode(operation, "x", x);
  if (!isFloat(x.dtype))
    throw new DTypeError(`${operation}: takes floats; given ${x}. Cast with .astype("float32").`);
  return x;
}

/** max(x, 0); gradient 0 at 0, NaN stays NaN. */
export function relu<D extends DType>(x: Tensor<D>): Tensor<D> {
  return where(float("relu", x, arguments).le(0), 0, x);
}

/** x where x > 0, `negativeSlope` x elsewhere, with that slope at 0. */
export function leakyRelu<D extends DType>(x: Tensor<D>, negativeSlope = 0.01): Tensor<D> {
  checkArgument("leakyRelu", "negativeSlope", negativeSlope, finite());
  return where(float("leakyRelu", x, arguments, 2).gt(0), x, x.mul(negativeSlope));
}

/** x where x > 0, `alpha` (exp(x) - 1) elsewhere, with slope `alpha` at 0 (Clevert et al. 2015, arXiv:1511.07289). */
export function elu<D extends DType>(x: Tensor<D>, alpha = 1): Tensor<D> {
  checkArgument("elu", "alpha", alpha, finite());
  const positive = float("elu", x, arguments, 2).gt(0);
  const below = where(positive, 0, x).expm1();
  return where(positive, x, alpha === 1 ? below : below.mul(alpha));
}

/** 1 / (1 + exp(-x)), without overflow. */
export function sigmoid<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(ops.sigmoid(float("sigmoid", x, arguments).node));
}

/** x sigmoid(x). */
export function silu<D extends DType>(x: Tensor<D>): Tensor<D> {
  return float("silu", x, arguments).mul(sigmoid(x));
}

/** log(sigmoid(x)), without overflow. */
export function logSigmoid<D extends DType>(x: Tensor<D>): Tensor<D> {
  const negative = float("logSigmoid", x, arguments).lt(0);
  return where(negative, x, 0).sub(where(negative, x, x.neg()).exp().log1p());
}

/** log(1 + exp(beta x)) / beta, and x itself where beta x > `threshold`, as in PyTorch. */
export function softplus<D extends DType>(x: Tensor<D>, beta = 1, threshold = 20): Tensor<D> {
  checkArgument("softplus", "beta", beta, positive());
  checkArgument("softplus", "threshold", threshold, finite());
  const scaled =
    beta === 1 ? float("softplus", x, arguments, 3) : float("softplus", x, arguments, 3).mul(beta);
  const large = scaled.gt(threshold);
  const soft = where(large, 0, scaled).exp().log1p();
  return where(large, x, beta === 1 ? soft : soft.div(beta));
}

/** x Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel 2016, arXiv:1606.08415). */
export function gelu<D extends DType>(x: Tensor<D>): Tensor<D> {
  return float("gelu", x, arguments).mul(0.5).mul(x.mul(Math.SQRT1_2).erf().add(1));
}

/** The tanh form of `gelu`, as in GPT-2. */
export function geluTanh<D extends DType>(x: Tensor<D>): Tensor<D> {
  const inner = float("geluTanh", x, arguments)
    .add(x.square().mul(x).mul(0.044715))
    .mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}
