import { type DType, isFloat } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { normalizeAxis } from "../base/shape.ts";
import * as ops from "../graph/elementwise.ts";
import { pad } from "../graph/movement.ts";
import { iota, literal, type Node } from "../graph/node.ts";
import { type Operand, Tensor } from "./tensor.ts";

// Functions of several tensors, and activations: compositions of methods and rows of the op table.

/** `condition ? x : y`, broadcast. Exactly zero gradient flows to the branch not taken. */
export function where<D extends DType>(condition: Tensor<"bool">, x: Operand<D>, y: Operand<D>): Tensor<D> {
  const node = (operand: Operand<D>) => (typeof operand === "number" ? literal(operand) : operand.node);
  return new Tensor(ops.where(condition.node, node(x), node(y)));
}

/** Joins tensors along an existing axis; other axes and dtypes are equal. */
export function cat<D extends DType>(tensors: readonly Tensor<D>[], axis = 0): Tensor<D> {
  const first = tensors[0];
  if (!first) throw new ShapeError("cat: takes at least one tensor; given none.");
  const at = normalizeAxis("cat", axis, first.rank);
  for (const other of tensors) {
    if (other.dtype !== first.dtype)
      throw new DTypeError(`cat: dtypes differ: ${first} and ${other}. Cast with .astype(...).`);
    if (other.rank !== first.rank || other.shape.some((length, i) => i !== at && length !== first.shape[i])) {
      throw new ShapeError(`cat: ${first} and ${other} differ outside axis ${axis}.`);
    }
  }
  const total = tensors.reduce((sum, x) => sum + x.shape[at]!, 0);
  const place = iota(
    first.shape.map((length, i) => (i === at ? total : length)),
    at,
  );
  let joined: Node | undefined;
  let offset = 0;
  for (const x of tensors) {
    const length = x.shape[at]!;
    const room = (n: number) => x.shape.map((_, i) => (i === at ? n : 0));
    const padded = pad(x.node, room(offset), room(total - offset - length));
    joined = joined ? ops.where(ops.lt(place, offset), joined, padded) : padded;
    offset += length;
  }
  return new Tensor(joined!);
}

/** Joins tensors of one shape along a new axis. */
export function stack<D extends DType>(tensors: readonly Tensor<D>[], axis = 0): Tensor<D> {
  return cat(
    tensors.map((x) => x.unsqueeze(axis)),
    axis,
  );
}

/** 1 at each index and 0 elsewhere, along a new last axis of length `numClasses`. */
export function oneHot(indices: Tensor<"int32">, numClasses: number): Tensor<"int32"> {
  if (!Number.isInteger(numClasses) || numClasses < 1)
    throw new ValueError(`oneHot: numClasses is ${numClasses}; it is an integer >= 1.`);
  const shape = [...indices.shape, numClasses];
  return new Tensor<"bool">(ops.eq(indices.unsqueeze(-1).node, iota(shape, shape.length - 1))).astype(
    "int32",
  );
}

// Activations. Shapes and dtypes are kept; floats only.

function float<D extends DType>(operation: string, x: Tensor<D>): Tensor<D> {
  if (!isFloat(x.dtype))
    throw new DTypeError(`${operation}: takes floats; given ${x}. Cast with .astype("float32").`);
  return x;
}

/** max(x, 0); gradient 0 at 0, NaN stays NaN. */
export function relu<D extends DType>(x: Tensor<D>): Tensor<D> {
  return where(float("relu", x).le(0), 0, x);
}

/** x where x > 0, `negativeSlope` x elsewhere, with that slope at 0. */
export function leakyRelu<D extends DType>(x: Tensor<D>, negativeSlope = 0.01): Tensor<D> {
  return where(float("leakyRelu", x).gt(0), x, x.mul(negativeSlope));
}

/** x where x > 0, exp(x) - 1 elsewhere. */
export function elu<D extends DType>(x: Tensor<D>): Tensor<D> {
  const positive = float("elu", x).gt(0);
  return where(positive, x, where(positive, 0, x).expm1());
}

/** 1 / (1 + exp(-x)), without overflow. */
export function sigmoid<D extends DType>(x: Tensor<D>): Tensor<D> {
  return new Tensor(ops.sigmoid(x.node));
}

/** x sigmoid(x). */
export function silu<D extends DType>(x: Tensor<D>): Tensor<D> {
  return x.mul(sigmoid(x));
}

/** log(sigmoid(x)), without overflow. */
export function logSigmoid<D extends DType>(x: Tensor<D>): Tensor<D> {
  return softplus(x.neg()).neg();
}

/** log(1 + exp(x)), and x itself where x > 20, as in PyTorch. */
export function softplus<D extends DType>(x: Tensor<D>): Tensor<D> {
  const large = float("softplus", x).gt(20);
  return where(large, x, where(large, 0, x).exp().log1p());
}

/** x Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel 2016, arXiv:1606.08415). */
export function gelu<D extends DType>(x: Tensor<D>): Tensor<D> {
  return x.mul(0.5).mul(float("gelu", x).mul(Math.SQRT1_2).erf().add(1));
}

/** The tanh form of `gelu`, as in GPT-2. */
export function geluTanh<D extends DType>(x: Tensor<D>): Tensor<D> {
  const inner = float("geluTanh", x)
    .add(x.square().mul(x).mul(0.044715))
    .mul(Math.sqrt(2 / Math.PI));
  return x.mul(0.5).mul(inner.tanh().add(1));
}
