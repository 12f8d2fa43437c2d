import type { Context } from "../nn/index.ts";
import { applyUpdates, type Optimizer, type OptimizerState } from "../optim/index.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import { stack, where } from "../tensor/functions.ts";
import { valueAndGrad } from "../tensor/grad.ts";
import { wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { type Loss, termsOf } from "./loss.ts";

// A step as functions from graph to graph; `train` compiles them.

/** What is reported of gradients. */
export interface Watched {
  /** The norm of all gradients together, before they are clipped. */
  readonly norm: Tensor;
  /** The place among the parameters of the first whose gradient is not finite; their number if there is none. */
  readonly broken: Tensor;
}

/** What a loss was the mean over. */
export interface Measured {
  readonly loss: Tensor;
  readonly count: Tensor;
}

/** Parameters and optimizer state after an update. */
export interface Updated<P> {
  readonly params: P;
  readonly state: OptimizerState;
}

/** The mean loss of a batch, what it is the mean over, and its gradient with respect to the trained parameters. */
export function gradientsOf<P, B>(
  loss: Loss<P, B>,
  trained: P,
  frozen: unknown,
  batch: B,
  context: Context,
): Measured & { readonly gradients: P } {
  const [[mean, count], gradients] = valueAndGrad((own: P): readonly [Tensor, Tensor] => {
    const value = loss(tree.combine<P>(frozen, own), batch, context);
    const { sum, count } = termsOf(value);
    // A scalar is its own mean.
    return [tree.isTensor(value) ? value : sum.div(count.astype(sum.dtype as "float32")), count];
  })(trained);
  return { loss: mean, count, gradients };
}

/** The update of an optimizer for some gradients, and what is reported of them. */
export function updated<P>(
  optimizer: Optimizer,
  gradients: P,
  state: OptimizerState,
  params: P,
): Updated<P> & Watched {
  const [updates, next] = optimizer.update(gradients, state, params);
  return { params: applyUpdates(params, updates), state: next, ...watched(gradients) };
}

function watched(gradients: unknown): Watched {
  const leaves = tree.leaves(gradients).map(wide);
  const squares = leaves.map((leaf) => leaf.square().sum() as Tensor);
  const broken = leaves.map((leaf) => leaf.isFinite().logicalNot().astype("float32").sum() as Tensor);
  return {
    norm: squares.reduce((sum, square) => plusWide(sum, square)).sqrt(),
    broken: broken.reduceRight<Tensor>(
      (rest, count, i) => where(count.gt(0), scalar(i).astype("float32"), rest),
      scalar(leaves.length).astype("float32") as Tensor,
    ),
  };
}

function plusWide(x: Tensor, y: Tensor): Tensor {
  return x.dtype === y.dtype ? x.add(y) : x.astype("float64").add(y.astype("float64"));
}

/** Gradients of several batches on the way to those of one large one: each times what its loss is the mean over. */
export function added<P>(sum: P, gradients: P, count: Tensor): P {
  return tree.zip([sum, gradients], ([before, gradient]) => {
    const whole = wide(gradient!);
    // The mean over nothing is NaN.
    return before!.add(where(count.eq(0), 0, whole.mul(count.astype(whole.dtype as "float32"))));
  });
}

/** What `added` starts from. */
export function noGradients<P>(params: P): P {
  return tree.map(params, (parameter) => zerosLike(wide(parameter)));
}

/** Scalars as one tensor, so that they are read at once; in float32, or float64 where one is. */
export function together(scalars: readonly Tensor[]): Tensor {
  const dtype = scalars.some((x) => x.dtype === "float64") ? "float64" : "float32";
  return stack(scalars.map((x) => x.astype(dtype))) as Tensor;
}
