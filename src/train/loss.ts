import { show } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { adaptedLayers } from "../lora/walk.ts";
import { findArchitecture } from "../models/architecture.ts";
import type { DecoderInput, DecoderOutput } from "../models/index.ts";
import { type Context, crossEntropy, linearCrossEntropy } from "../nn/index.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { childParams, parameter, withTied } from "../nn/params.ts";
import { scalar } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isTensor } from "../tensor/tree.ts";
import type { Batch } from "../text/index.ts";

/** What a loss is the mean over: the sum of the losses of what counts, and how many count. */
export interface Terms {
  /** A scalar float. */
  readonly sum: Tensor;
  /** A scalar: how many targets count. */
  readonly count: Tensor;
  /** A scalar: how many of them were predicted, for the accuracy. */
  readonly correct?: Tensor;
}

/**
 * The loss of a batch. As terms it is `sum / count`, and batches weigh as much as what counts in them; a scalar is a mean
 * of its own, and all batches weigh the same.
 */
export type Loss<P, B> = (params: P, batch: B, context: Context) => Tensor | Terms;

/** A loss as terms: a scalar is the mean over one. */
export function termsOf(value: Tensor | Terms): Terms {
  if (isTensor(value)) return { sum: checkScalar(value), count: scalar(1) };
  const { sum, count } = (value ?? {}) as Partial<Terms>; // whatever the caller's function returned
  if (!isTensor(sum) || !isTensor(count))
    throw new ValueError(
      `train: the loss returned ${show(value)}; it returns a scalar tensor, or { sum, count } of scalar tensors.`,
    );
  checkScalar(sum);
  return value;
}

function checkScalar(x: Tensor): Tensor {
  if (x.rank !== 0)
    throw new ShapeError(
      `train: the loss is ${show(x)}; it is a scalar. Take its mean, or return { sum, count }.`,
    );
  return x;
}

/**
 * Cross-entropy of the next token as terms: `logits` `[batch, length, vocabulary]`, `targets` int32 `[batch, length]` with
 * -100 where nothing counts.
 *
 * @example
 * const loss = (params: nn.Params, { tokens, targets }: Batch) => nextToken(model.apply(params, { tokens }).logits, targets);
 */
export function nextToken(logits: Tensor, targets: Tensor): Terms {
  const counts = targets.ne(ignored);
  return {
    sum: crossEntropy(logits, targets, { reduction: "sum" }),
    count: counts.astype("float32").sum() as Tensor,
    correct: logits.argmax(-1).eq(targets).astype("float32").sum() as Tensor,
  };
}

/**
 * The loss of a decoder, adapted or not, on batches of `lorantz/text`. Logits over a large vocabulary are made a few rows at
 * a time and not kept, unless something else than the output weight makes them: a cap, an adapter on it.
 *
 * @example
 * train({ params, loss: languageLoss(model), batches: await text.batches(data, { size: 8, seed: 0 }), recipe, steps: 100 });
 */
export function languageLoss(model: Layer<Params, DecoderInput, DecoderOutput>): Loss<Params, Batch> {
  const head = largeHead(model);
  return (params, { targets, ...input }, context) => {
    const { hidden, logits } = model.apply(params, input, context);
    const terms = nextToken(logits, targets);
    if (!head) return terms;
    const all = withTied(model, params);
    const own = head.split(".").reduce((at, name) => childParams("languageLoss", at, name), all);
    const weight = parameter("languageLoss", own, "weight");
    return { ...terms, sum: linearCrossEntropy(hidden, weight, targets, { reduction: "sum" }) };
  };
}

/** A vocabulary from which on logits are worth not keeping. */
const large = 8192;

/** The path of the output layer of a decoder with a large vocabulary whose logits are the weight's product alone. */
function largeHead(model: Layer<Params, DecoderInput, DecoderOutput>): string | undefined {
  const architecture = findArchitecture(model);
  if (!architecture) return undefined;
  const { vocabulary, logitCap, labels, tied, names } = architecture;
  if (vocabulary < large || logitCap !== undefined || labels !== undefined) return undefined;
  const adapted = adaptedLayers(model).map(([at]) => at);
  const from = tied ? [`${names.body}.${names.embedding}`] : [];
  return [names.head, ...from].some((path) => adapted.includes(path)) ? undefined : names.head;
}

/** The target that does not count. */
export const ignored = -100;
