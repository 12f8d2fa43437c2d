import type { Architecture } from "../../models/index.ts";
import * as nn from "../../nn/index.ts";
import { tensor } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Engine } from "./engine.ts";
import type { Reference } from "./fields.ts";

// Token ids of reference files, and the losses of predicting them.

/** Rows of token ids: int32 `[batch, length]`. */
export function idTensor(rows: readonly (readonly number[])[]): Tensor<"int32"> {
  return tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0]!.length], dtype: "int32" });
}

/** The mean loss of logits `[batch, length, vocabulary]` whose position t predicts label t + 1, where that is not -100. */
export function shiftedLoss(logits: Tensor, labels: Tensor): Tensor {
  const [batch, length, vocabulary] = logits.shape as [number, number, number];
  return nn.crossEntropy(
    logits.slice([0, 0], [null, length - 1]).reshape([batch * (length - 1), vocabulary]),
    labels.slice([0, 1]).reshape([batch * (length - 1)]),
  );
}

/** Tokens to which texts are filled up, so that those of similar length share a program. */
const step = 64;

/** What a decoder makes of one text: logits `[1, length, vocabulary]`, the likeliest tokens and the loss, of the text alone. */
export function readText(
  engine: Engine,
  { blocks, context }: Architecture,
  logitsOf: (tokens: Tensor<"int32">) => Tensor,
  ids: readonly number[],
): Promise<{ readonly logits: Tensor; readonly likeliest: Tensor; readonly loss: Tensor }> {
  // Tokens do not see those behind them, but some rotary embeddings depend on how many there are.
  const alone = blocks.some(({ rope }) => rope?.dynamic ?? rope?.long);
  const length = alone ? ids.length : Math.min(context, step * Math.ceil(ids.length / step));
  const filled = (value: number) =>
    idTensor([[...ids, ...new Array<number>(length - ids.length).fill(value)]]);
  const logits = logitsOf(filled(0));
  const loss = shiftedLoss(logits, filled(-100));
  return engine.evaluate({ logits, likeliest: logits.argmax(-1), loss });
}

export function listed(values: readonly number[]): Reference {
  return { shape: [values.length], dtype: "float", data: Float64Array.from(values) };
}

export function single(value: number): Reference {
  return { shape: [], dtype: "float", data: Float64Array.of(value) };
}

export function integers(values: readonly number[]): Reference {
  return { shape: [values.length], dtype: "int64", data: Float64Array.from(values) };
}

/** Numbers that the host has, in float64. */
export function column(values: readonly number[]): Tensor {
  return tensor(Float64Array.from(values));
}
