import { type Adapted, adaptedLayers, scaling } from "../../lora/index.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import { compile } from "../../tensor/compile.ts";
import { grad } from "../../tensor/grad.ts";
import { svd } from "../../tensor/linalg.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import type { Batch } from "../../text/index.ts";
import { batchLoss } from "./batch-loss.ts";

/** That of the paper's code. */
const gamma = 16;

/**
 * Parameters whose adapters start from the gradient of their layers' weights on a batch, as LoRA-GA's (arXiv 2407.05000): rows of
 * A are the first r right singular vectors, columns of B the next r left ones, both times the fourth root of the outputs over the root
 * of gamma. The weight gives away what the adapter has, so that the function stays as it is.
 *
 * @param params With B = 0.
 */
export async function startFromGradient(
  model: Adapted<DecoderInput, DecoderOutput>,
  params: Params,
  batch: Batch,
): Promise<Params> {
  const layers = new Map(adaptedLayers(model));
  const [weights, others] = tree.partition<Params>(params, (_, path) =>
    layers.has(path.replace(/\.weight$/, "")),
  );
  const gradients = await compile((own: Params, frozen: Params, batch: Batch) =>
    grad((own: Params) => batchLoss(model, tree.combine<Params>(own, frozen), batch))(own),
  )(weights, others, batch);
  const started = new Map<string, Tensor>();
  const all = new Map(tree.entries(params));
  for (const [path, gradient] of tree.entries(gradients)) {
    const layer = path.replace(/\.weight$/, "");
    const { config } = Object.values(layers.get(layer)!.adapters)[0]!; // the lab injects one
    const { u, v } = svd(gradient);
    const size = gradient.shape[0]! ** 0.25 / gamma ** 0.5;
    const A = v.slice([0, 0], [null, config.r]).transpose().mul(size);
    const B = u.slice([0, config.r], [null, 2 * config.r]).mul(size);
    started.set(`${layer}.loraA`, A).set(`${layer}.loraB`, B);
    started.set(path, all.get(path)!.sub(B.matmul(A).mul(scaling(config).value)));
  }
  return tree.evaluate(tree.map(params, (leaf, path) => started.get(path) ?? leaf));
}
