import { type Recipe, trainable } from "../../gauge/index.ts";
import { type Adapted, adaptedLayers, merge } from "../../lora/index.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import { compile } from "../../tensor/compile.ts";
import { scalar } from "../../tensor/creation.ts";
import { hvp } from "../../tensor/jacobian.ts";
import { key, normal } from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import type { Batch } from "../../text/index.ts";
import { batchLoss } from "./batch-loss.ts";

/**
 * The largest eigenvalue, by size, of the Hessian of a batch's loss in the weights of the adapted layers, by so many rounds
 * of power iteration. It is of the merged weights: in A and B it would depend on the gauge, and say nothing of the function.
 */
export async function curvatureOf(
  model: Adapted<DecoderInput, DecoderOutput>,
  params: Params,
  batch: Batch,
  rounds: number,
): Promise<number> {
  const merged = await tree.evaluate(merge(model, params));
  const weights = adaptedLayers(model).map(([path]) => `${path}.weight`);
  const [own, frozen] = tree.partition<Params>(merged, (_, path) => weights.includes(path));
  const lossOf = (own: Params, batch: Batch) =>
    batchLoss(model.base, tree.combine<Params>(frozen, own), batch);
  return (await powerIteration(lossOf, own, batch, rounds)).quotient;
}

/**
 * The size of that in what a recipe trains, A and B as a rule. It is one of the gauge, as learning rates are. Before the first
 * update, with B = 0, eigenvalues of both signs are about as large, so the size is that of the product with the Hessian.
 */
export async function trainedCurvatureOf(
  model: Adapted<DecoderInput, DecoderOutput>,
  params: Params,
  recipe: Recipe,
  batch: Batch,
  rounds: number,
): Promise<number> {
  const [own, frozen] = trainable<Params>(recipe, params);
  const lossOf = (own: Params, batch: Batch) => batchLoss(model, tree.combine<Params>(frozen, own), batch);
  return (await powerIteration(lossOf, own, batch, rounds)).length;
}

/** The quotient of Rayleigh, and the length of the product of the Hessian with a unit vector, after some rounds. */
async function powerIteration(
  lossOf: (own: Params, batch: Batch) => Tensor,
  own: Params,
  batch: Batch,
  rounds: number,
): Promise<{ readonly quotient: number; readonly length: number }> {
  const dot = (one: Params, other: Params): Tensor =>
    tree
      .entries(tree.zip<Params>([one, other], ([x, y]) => x!.mul(y!).sum()))
      .reduce<Tensor>((sum, [, term]) => sum.add(term), scalar(0) as unknown as Tensor);
  // A round: the vector at length 1, and its product with the Hessian.
  const round = compile((vector: Params, own: Params, batch: Batch) => {
    const length = dot(vector, vector).sqrt();
    const unit = tree.map(vector, (leaf) => leaf.div(length));
    const next = hvp((at: Params) => lossOf(at, batch), own, unit);
    return { next, quotient: dot(unit, next), size: dot(next, next).sqrt() };
  }, {}) as unknown as (
    vector: Params,
    own: Params,
    batch: Batch,
  ) => Promise<{ next: Params; quotient: Tensor; size: Tensor }>;
  let vector = await tree.evaluate(
    tree.map(own, (leaf, path) => normal(key(0).fold("curvature").fold(path), leaf.shape)),
  );
  let found = { quotient: 0, length: 0 };
  for (let i = 0; i < rounds; i++) {
    const { next, quotient, size } = await round(vector, own, batch);
    found = { quotient: (await quotient.item()) as number, length: (await size.item()) as number };
    vector = next;
  }
  return found;
}
