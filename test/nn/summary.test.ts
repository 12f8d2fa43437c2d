import { expect, test } from "vitest";
import { compile, init, pack, random, type Tensor, zeros } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";

const key = random.key(0);

test("a summary has path, shapes, parameters, bytes and operations of each layer", async () => {
  using _device = await init({ backend: "cpu" });
  const model = nn.mlp([6, 5, 4], { activation: "relu" });
  const params = model.init(key);
  const { layers, ...all } = nn.summary(model, params, zeros([3, 6]));
  // 2 * batch * in * out of each product, and the bias.
  const [first, second] = [2 * 3 * 6 * 5 + 3 * 5, 2 * 3 * 5 * 4 + 3 * 4];
  expect(all).toMatchObject({ parameters: 59, bytes: 236 });
  expect(layers.find(({ path }) => path === "fc1")).toEqual({
    path: "fc1",
    kind: "linear",
    tensors: { weight: [5, 6], bias: [5] },
    output: [3, 5],
    parameters: 35,
    bytes: 140,
    flops: first,
  });
  expect(layers.find(({ path }) => path === "fc2")).toMatchObject({ output: [3, 4], flops: second });
  expect(layers[0]).toMatchObject({ path: "", output: [3, 4], parameters: 59, flops: all.flops });
  // As kernels are counted, where nothing is computed twice.
  const { work } = await compile((x: Tensor) => model.apply(params, x)).plan(zeros([3, 6]));
  expect(all.flops).toBe(work.flops);
  expect(all.text.split("\n")[2]).toMatch(/^the model .* \[3,4\] +59 +236 +\d+$/);
});

test("a summary counts nested layers, adapters, packed weights and tied ones", () => {
  const inner = nn.sequential({ a: nn.linear(4, 4), b: nn.linear(4, 4, { bias: false }) });
  const model = lora.inject(nn.sequential({ inner, last: nn.linear(4, 2) }), {
    r: 2,
    alpha: 2,
    targetModules: ["inner.b"],
  });
  const params = model.init(key);
  const { layers } = nn.summary(model, params, zeros([1, 4]));
  const at = (path: string) => layers.find((layer) => layer.path === path)!;
  expect(layers.map(({ path }) => path)).toEqual(["", "inner", "inner.a", "inner.b", "last"]);
  expect(at("inner.b").tensors).toEqual({ weight: [4, 4], loraA: [2, 4], loraB: [4, 2] });
  expect(at("inner").flops).toBe(at("inner.a").flops + at("inner.b").flops);
  expect(at("").flops).toBe(at("inner").flops + at("last").flops);
  expect(at("").parameters).toBe(16 + 4 + 16 + 16 + 8 + 2);

  const linear = nn.linear(64, 8, { bias: false });
  const { weight } = linear.init(key) as { readonly weight: Tensor };
  const packed = nn.summary(linear, { weight: pack(weight, { format: "int8" }) } as nn.Params);
  expect(packed).toMatchObject({ parameters: 512, flops: 0, layers: [{ tensors: { weight: [8, 64] } }] });
  expect(packed.bytes).toBeLessThan(600);

  const tied = nn.module(
    { table: nn.embedding(8, 4), head: nn.linear(4, 8, { bias: false }) },
    ({ table, head }, x: Tensor) => head(table(x)),
    { tied: { "head.weight": "table.weight" } },
  );
  const whole = nn.summary(tied, tied.init(key), zeros([2], { dtype: "int32" }));
  expect(whole.layers.map(({ parameters }) => parameters)).toEqual([32, 32, 32]);
  expect(whole.parameters).toBe(32);
});

test("refuses what is no layer, and what are no parameters", () => {
  for (const none of [undefined, {}, "linear", nn.linear])
    expect(() => nn.summary(none as never, {})).toThrow(
      /^summary: the model is .*; it is a layer such as linear\(8, 32\)\.$/,
    );
  expect(() => nn.summary(nn.linear(2, 3), undefined as never)).toThrow(
    /^summary: the parameters are undefined; pass what this layer's init returned/,
  );
});
