import { random, ShapeError, tensor, ValueError } from "lorantz";
import * as lora from "lorantz/lora";
import * as nn from "lorantz/nn";
import { expect, test } from "vitest";

// What a layer is called with is an argument like any other: no wrong one gives an error of the language.

const key = random.key(3);
const layers = {
  linear: nn.linear(3, 2),
  embedding: nn.embedding(3, 2),
  mlp: nn.mlp([3, 2]),
  conv1d: nn.conv1d(3, 2, 3),
  conv2d: nn.conv2d(3, 2, 3),
  conv3d: nn.conv3d(3, 2, 3),
  convTranspose1d: nn.convTranspose1d(3, 2, 3),
  convTranspose2d: nn.convTranspose2d(3, 2, 3),
  convTranspose3d: nn.convTranspose3d(3, 2, 3),
  maxPool: nn.maxPool(2, 2),
  avgPool: nn.avgPool(2, 2),
  batchNorm: nn.batchNorm(3),
  groupNorm: nn.groupNorm(1, 3),
  instanceNorm: nn.instanceNorm(3),
  layerNorm: nn.layerNorm(3),
  rmsNorm: nn.rmsNorm(3),
  dropout: nn.dropout(0.5),
  activation: nn.activation("gelu"),
  gru: nn.gru(3, 2),
  "stacked lstm": nn.lstm(3, 2, { layers: 2 }),
  lstm: nn.lstm(3, 2),
  attention: nn.multiHeadAttention(4, 2),
  "lora of linear": lora.linear(nn.linear(3, 2), { r: 1, alpha: 2 }),
  "lora of conv1d": lora.convolution(nn.conv1d(3, 2, 3), { r: 1, alpha: 2 }),
  adapted: lora.inject(nn.mlp([3, 2]), { r: 1, alpha: 2, targetModules: "all-linear" }),
};
const x = tensor([[[1, 2, 3]]]);
const parts = [undefined, null, true, 5, "x", [], {}, Symbol("x"), key];
const wrong: readonly unknown[] = [...parts, ...parts.map((part) => ({ x: part })), { x, other: 1 }, x.node];
const states = [
  true,
  5,
  "x",
  [],
  {},
  { h: 5, c: x },
  { mean: x, variance: 5 },
  { k: x, v: x, length: 2 },
  key,
];

test.each(Object.entries<nn.AnyLayer>(layers))("%s", (_, layer) => {
  const params = layer.init(key);
  const call = (input: unknown, context?: unknown) =>
    layer.apply(params as never, input as never, context as nn.Context);
  const refused = (input: unknown) => {
    for (const context of [undefined, { training: true, key }])
      try {
        call(input, context);
        expect.unreachable(`took ${String(input)}`);
      } catch (error) {
        if (!(error instanceof ValueError || error instanceof ShapeError)) throw error;
      }
  };
  for (const input of wrong) refused(input);
  for (const state of states)
    for (const name of ["state", "cache", "keys", "mask"]) refused({ x, [name]: state });
});
