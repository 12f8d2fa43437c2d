import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Batch } from "../../text/index.ts";
import { nextToken } from "../../train/index.ts";

/** The mean loss of a batch over its tokens that count. */
export function batchLoss(
  model: Layer<Params, DecoderInput, DecoderOutput>,
  params: Params,
  { targets, ...input }: Batch,
): Tensor {
  const { sum, count } = nextToken(model.apply(params, input).logits, targets);
  return sum.div(count);
}
