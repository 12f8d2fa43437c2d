import { beforeAll, describe, expect, test } from "vitest";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { init } from "../../src/runtime/init.ts";
import { tensor } from "../../src/tensor/creation.ts";
import { grad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";

// Layers that take and give more than one tensor, parameters that are others, and the parts of attention that
// architectures differ in.

beforeAll(async () => {
  await init({ backend: "cpu" });
});

const key = random.key(3);
const float64 = (name: string, shape: readonly number[]) =>
  random.normal(key.fold(name), shape).astype("float64");
const values = async (x: Tensor) => [...(await x.data())];
const close = async (actual: Tensor, expected: Tensor) => {
  expect(actual.shape).toEqual(expected.shape);
  const wanted = await values(expected);
  (await values(actual)).forEach((x, i) => {
    expect(x).toBeCloseTo(wanted[i]!, 12);
  });
};

describe("a module of plain data", () => {
  interface Pair {
    readonly x: Tensor;
    readonly mask: Tensor;
  }
  const gated = nn.module({ up: nn.linear(2, 3) }, ({ up }, { x, mask }: Pair) => ({
    y: up(x).mul(mask),
    mask,
  }));
  const model = nn.module({ inner: gated, down: nn.linear(3, 1) }, ({ inner, down }, pair: Pair) =>
    down(inner(pair).y),
  );

  test("takes and gives trees, and keeps its children's types", async () => {
    const params = model.init(key);
    const pair = { x: float64("x", [4, 2]).astype("float32"), mask: tensor([1, 0, 1]) };
    const expected = nn.functional.linear(
      nn.functional.linear(pair.x, params.inner.up.weight, params.inner.up.bias).mul(pair.mask),
      params.down.weight,
      params.down.bias,
    );
    await close(model.apply(params, pair), expected);
    const adapted = lora.inject(model, { r: 1, alpha: 1, targetModules: ["up"] });
    await close(adapted.apply(adapted.init(key, params), pair), expected);
  });

  test("shows the result of every layer by its path", () => {
    const seen: string[] = [];
    const pair = { x: float64("x", [4, 2]).astype("float32"), mask: tensor([1, 0, 1]) };
    model.apply(model.init(key), pair, { watch: (path) => seen.push(path) });
    expect(seen).toEqual(["inner.up", "inner", "down"]);
  });
});

describe("tied parameters", () => {
  const model = nn.module(
    { embed: nn.embedding(5, 3), head: nn.linear(3, 5, { bias: false }) },
    ({ embed, head }, x: Tensor) => head(embed(x)),
    { tied: { "head.weight": "embed.weight" }, output: "head" },
  );
  const tokens = tensor([1, 4], { dtype: "int32" });
  const params = model.init(key);

  test("are drawn once, and get the gradient of both places", async () => {
    expect(tree.entries(params).map(([path]) => path)).toEqual(["embed.weight"]);
    const weight = params.embed.weight;
    const loss = (w: Tensor) =>
      model
        .apply({ embed: { weight: w } }, tokens)
        .square()
        .sum();
    const apart = (a: Tensor, b: Tensor) =>
      nn.functional.linear(nn.functional.embedding(tokens, a), b).square().sum();
    const both = grad((a: Tensor) => apart(a, weight))(weight).add(
      grad((b: Tensor) => apart(weight, b))(weight),
    );
    const actual = await values(grad(loss)(weight));
    const wanted = await values(both);
    actual.forEach((x, i) => {
      expect(x).toBeCloseTo(wanted[i]!, 4);
    });
  });

  test("are left where they are by an adapter, and untied by a merge", async () => {
    const adapted = lora.inject(model, { r: 2, alpha: 4, init: "random", targetModules: ["head"] });
    const own = adapted.init(key, params);
    expect(tree.entries(own).map(([path]) => path)).toEqual(["embed.weight", "head.loraA", "head.loraB"]);
    const merged = lora.merge(adapted, own);
    expect(tree.entries(merged).map(([path]) => path)).toEqual(["embed.weight", "head.weight"]);
    const [before, after] = [
      await values(adapted.apply(own, tokens)),
      await values(model.apply(merged, tokens)),
    ];
    after.forEach((x, i) => {
      expect(x).toBeCloseTo(before[i]!, 4);
    });
  });

  test("the output is no target of all-linear, but of its name", () => {
    const two = nn.module(
      { body: nn.linear(3, 3), head: nn.linear(3, 5) },
      ({ body, head }, x: Tensor) => head(body(x)),
      {
        output: "head",
      },
    );
    const adapted = (targetModules: "all-linear" | string[]) =>
      lora.adaptedLayers(lora.inject(two, { r: 1, alpha: 1, targetModules })).map(([path]) => path);
    expect(adapted("all-linear")).toEqual(["body"]);
    expect(adapted(["head"])).toEqual(["head"]);
  });
});

describe("blocks by number", () => {
  const block = () => nn.sequential({ q: nn.linear(2, 2), v: nn.linear(2, 2) });
  const model = nn.sequential({
    model: nn.sequential({ layers: nn.sequential({ 0: block(), 1: block() }) }),
    head: nn.linear(2, 2),
  });
  const chosen = (config: Omit<lora.InjectConfig, "r" | "alpha">) =>
    lora.adaptedLayers(lora.inject(model, { r: 1, alpha: 1, ...config })).map(([path]) => path);

  test("layersToTransform and layersPattern mean what PEFT means", () => {
    expect(chosen({ targetModules: "all-linear", layersToTransform: 1 })).toEqual([
      "model.layers.1.q",
      "model.layers.1.v",
    ]);
    expect(
      chosen({ targetModules: ["q", "head"], layersToTransform: [0, 1], layersPattern: "layers" }),
    ).toEqual(["model.layers.0.q", "model.layers.1.q"]);
    expect(() => chosen({ targetModules: ["q"], layersToTransform: [2] })).toThrow(
      "layersToTransform 2 matches none of the targets: model.layers.0.q, model.layers.1.q.",
    );
    expect(() => chosen({ targetModules: ["q"], layersToTransform: 0, layersPattern: "h" })).toThrow(
      "matches none",
    );
    expect(() => chosen({ targetModules: ["q"], layersPattern: "layers" })).toThrow("Give both");
  });

  test("excludeModules takes targets away", () => {
    expect(chosen({ targetModules: ["q", "v"], excludeModules: [/layers\.0/] })).toEqual([
      "model.layers.1.q",
      "model.layers.1.v",
    ]);
    expect(() => chosen({ targetModules: ["q"], excludeModules: [undefined] as never })).toThrow(
      "excludeModules is [undefined]; it is a list of names and regular expressions.",
    );
    expect(() =>
      chosen({ targetModules: ["q"], layersToTransform: 0, layersPattern: [{}] as never }),
    ).toThrow("layersPattern is [an object]; it is the name of a list");
    expect(() => chosen({ targetModules: ["q"], excludeModules: ["q"] })).toThrow(
      "leaves none of the targets q",
    );
  });
});

describe("parts of attention", () => {
  const q = float64("q", [2, 6, 3, 4]);
  const k = float64("k", [2, 2, 5, 4]);
  const v = float64("v", [2, 2, 5, 3]);
  const attention = nn.functional.scaledDotProductAttention;
  const repeated = (x: Tensor) => x.repeatInterleave(3, 1);

  test("heads that share keys are those with keys repeated", async () => {
    const mask = random.bernoulli(key, 0.6, [2, 1, 3, 5]);
    const [causal, softCap] = [true, 0.7];
    for (const options of [{}, { causal }, { mask }, { softCap, mask }])
      await close(attention(q, k, v, options), attention(q, repeated(k), repeated(v), options));
  });

  test("a soft cap bounds scores, and weights are shown before they meet the values", async () => {
    const cap = 0.3;
    const scores = q.matmul(repeated(k).transpose()).mul(0.25);
    const expected = scores.div(cap).tanh().mul(cap).softmax(-1);
    await close(attention(q, k, v, { scale: 0.25, softCap: cap }), expected.matmul(repeated(v)));
    await close(
      attention(q, k, v, { scale: 0.25, softCap: cap, weights: (w) => w.mul(2) }),
      expected.mul(2).matmul(repeated(v)),
    );
  });

  test("rope takes positions of each sample, frequencies, and a factor", async () => {
    const x = float64("x", [2, 1, 3, 6]);
    const at = [4, 0, 7, 1, 1, 9];
    const positions = tensor(at, { shape: [2, 1, 3], dtype: "int32" });
    const frequencies = [0.5, 0.01];
    const given = await values(x);
    const expected = given.slice();
    at.forEach((position, row) => {
      frequencies.forEach((frequency, i) => {
        const [a, b] = [given[6 * row + i]!, given[6 * row + i + 2]!];
        const [cos, sin] = [Math.cos(position * frequency), Math.sin(position * frequency)];
        expected[6 * row + i] = 1.5 * (a * cos - b * sin);
        expected[6 * row + i + 2] = 1.5 * (b * cos + a * sin);
      });
    });
    await close(
      nn.functional.rope(x, { positions, frequencies, scale: 1.5 }),
      tensor(Float64Array.from(expected), { shape: x.shape, dtype: "float64" }),
    );
    expect(() => nn.functional.rope(x, { frequencies: [1, 1, 1, 1] })).toThrow("rope: the frequencies are");
  });

  test("rmsNorm as a layer, with an offset on its weight", async () => {
    const x = float64("x", [2, 3]);
    const weight = float64("w", [3]);
    const layer = nn.rmsNorm(3, { offset: 1, eps: 1e-5 });
    await close(layer.apply({ weight }, x), nn.functional.rmsNorm(x, weight.add(1), { eps: 1e-5 }));
    expect(await values(layer.init(key).weight)).toEqual([0, 0, 0]);
    expect(await values(nn.rmsNorm(2).init(key).weight)).toEqual([1, 1]);
  });
});
