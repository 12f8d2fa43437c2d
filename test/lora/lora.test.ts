import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { loraPlus, sgd } from "../../src/optim/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { ones, tensor } from "../../src/tensor/creation.ts";
import { grad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { runs } from "../thorough.ts";

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const key = random.key(11);
const config = { r: 2, alpha: 6, targetModules: "all-linear" } as const;

const paths = (params: unknown) => tree.entries(params).map(([path]) => path);
const maximum = async (x: Tensor) => Math.max(...Array.from(await x.data(), Math.abs));

describe("scaling", () => {
  test("alpha / r, or alpha / sqrt(r)", () => {
    expect(lora.scaling({ r: 8, alpha: 16 })).toEqual({ r: 8, alpha: 16, rsLora: false, value: 2 });
    expect(lora.scaling({ r: 4, alpha: 16, rsLora: true }).value).toBe(8);
  });

  test("rsLoRA is LoRA with alpha sqrt(r) (corollary 5 of the theory)", () => {
    for (const r of [1, 4, 16, 64]) {
      expect(lora.scaling({ r, alpha: 3, rsLora: true }).value).toBe(
        lora.scaling({ r, alpha: 3 * Math.sqrt(r) }).value,
      );
    }
  });

  test.for([0, -1, 1.5, Number.NaN])("refuses r = %d", (r) => {
    expect(() => lora.scaling({ r, alpha: 1 })).toThrow(`lora: r is ${r}; a rank is an integer >= 1`);
  });

  test.for([0, Infinity, Number.NaN])("refuses alpha = %d", (alpha) => {
    expect(() => lora.inject(nn.linear(4, 4), { ...config, alpha })).toThrow(`lora: alpha is ${alpha}`);
  });
});

describe("an adapted linear layer", () => {
  test("is base(x) + scaling (x A^T) B^T", async () => {
    const model = lora.inject(nn.linear(2, 3), config);
    const params = {
      weight: tensor([
        [1, 0],
        [0, 1],
        [1, 1],
      ]),
      bias: tensor([1, 2, 3]),
      loraA: tensor([
        [1, 2],
        [3, 4],
      ]),
      loraB: tensor([
        [1, 0],
        [0, 1],
        [1, -1],
      ]),
    };
    // x = [1, 1]: base [2, 3, 5], A x = [3, 7], B A x = [3, 7, -4], scaling 3.
    expect(await model.apply(params, tensor([[1, 1]])).toArray()).toEqual([[11, 24, -7]]);
    const biased = lora.inject(nn.linear(2, 3), { ...config, branchBias: true });
    expect(
      await biased.apply({ ...params, loraBias: tensor([1, 1, 1]) }, tensor([[1, 1]])).toArray(),
    ).toEqual([[14, 27, -4]]);
  });

  test("starts as the base, and with the same base parameters", async () => {
    const base = nn.linear(5, 3);
    for (const init of ["standard", "swapped"] as const) {
      const model = lora.inject(base, { ...config, init });
      const params = model.init(key);
      const x = random.normal(key.fold("x"), [4, 5]);
      expect(await model.apply(params, x).data()).toEqual(await base.apply(base.init(key), x).data());
    }
  });

  test("initial values: Kaiming-uniform within 1/sqrt(fan in), the other side zero, each times its factor", async () => {
    const start = async (more: Partial<lora.InjectConfig>) => {
      const { loraA, loraB } = lora.inject(nn.linear(64, 48), { ...config, r: 16, ...more }).init(key) as {
        loraA: Tensor;
        loraB: Tensor;
      };
      expect([loraA.shape, loraB.shape]).toEqual([
        [16, 64],
        [48, 16],
      ]);
      return [await maximum(loraA), await maximum(loraB)] as const;
    };
    const [a, zeroB] = await start({});
    const [zeroA, b] = await start({ init: "swapped" });
    expect([zeroA, zeroB]).toEqual([0, 0]);
    expect(a).toBeLessThanOrEqual(1 / 8);
    expect(a).toBeGreaterThan(0.9 / 8);
    expect(b).toBeLessThanOrEqual(1 / 4);
    expect(b).toBeGreaterThan(0.9 / 4);
    expect(await start({ init: "random" })).toEqual([a, b]);
    expect(await start({ init: "random", initScale: { A: 4, B: 0.5 } })).toEqual([4 * a, b / 2]);
  });

  test("has the dtype of the weight", () => {
    const params = lora
      .inject(nn.linear(4, 4, { dtype: "float64" }), { ...config, branchBias: true, init: "random" })
      .init(key);
    expect(tree.leaves(params).map((leaf) => leaf.dtype)).toEqual(Array(5).fill("float64"));
  });

  test("drops inputs of the adapter only, and only in training", async () => {
    const base = nn.linear(64, 8);
    const model = lora.inject(base, { ...config, dropout: 0.5, init: "random" });
    const params = model.init(key);
    const x = ones([1, 64]);
    const whole = await model.apply(params, x).data();
    const context = { training: true, key: random.key(5) };
    const dropped = await model.apply(params, x, context).data();
    expect(dropped).not.toEqual(whole);
    expect(await model.apply(params, x, context).data()).toEqual(dropped);
    const masked = nn.functional.dropout(x, 0.5, context);
    const none = { ...params, weight: ones([8, 64]).mul(0), bias: ones([8]).mul(0) };
    const [branch, rest] = [model.apply(none, masked), base.apply(params, x)];
    expect(await rest.add(branch).data()).toEqual(dropped);
    expect(() => model.apply(params, x, { training: true })).toThrow("key");
  });

  test("gradients go where the theory says: dA = s B^T G, dB = s G A^T", async () => {
    const model = lora.inject(nn.linear(5, 3), { ...config, init: "random" });
    const params = model.init(key);
    const x = random.normal(key.fold("x"), [4, 5]);
    const [adapter, frozen] = lora.partition(params);
    const { loraA, loraB } = grad((own: nn.Params) =>
      model.apply(tree.combine<nn.Params>(frozen, own), x).square().sum().mul(0.5),
    )(adapter) as { loraA: Tensor; loraB: Tensor };
    const g = model.apply(params, x).transpose().matmul(x);
    const { loraA: a, loraB: b } = params as { loraA: Tensor; loraB: Tensor };
    expect(await maximum(loraA.sub(b.transpose().matmul(g).mul(3)))).toBeLessThan(1e-5);
    expect(await maximum(loraB.sub(g.matmul(a.transpose()).mul(3)))).toBeLessThan(1e-5);
  });

  test("refuses parameters without an adapter", () => {
    const base = nn.linear(4, 4);
    const model = lora.inject(base, config);
    expect(() => model.apply(base.init(key), ones([1, 4]))).toThrow("no loraA and loraB here");
    expect(() => model.init(key, nn.linear(4, 5).init(key))).toThrow("expected [4,4]");
  });
});

describe("injection", () => {
  const block = (size: number) =>
    nn.sequential({ q: nn.linear(size, size), k: nn.linear(size, size), norm: nn.layerNorm(size) });
  const model = nn.sequential({ first: block(4), second: block(4), head: nn.linear(4, 6) });
  const adapted = (
    targetModules: lora.InjectConfig["targetModules"],
    more: Partial<lora.InjectConfig> = {},
  ) => lora.adaptedLayers(lora.inject(model, { ...config, targetModules, ...more })).map(([path]) => path);

  test("names match a path or its end, expressions anywhere", () => {
    expect(adapted(["q"])).toEqual(["first.q", "second.q"]);
    expect(adapted(["second.k", "head"])).toEqual(["second.k", "head"]);
    expect(adapted([/^first\./, "head"])).toEqual(["first.q", "first.k", "head"]);
    expect(adapted([/q$/g, "q"])).toEqual(["first.q", "second.q"]);
    expect(adapted("all-linear")).toEqual(["first.q", "first.k", "second.q", "second.k", "head"]);
  });

  test("refuses unknown targets, naming those there are", () => {
    expect(() => adapted(["q", "v"])).toThrow(
      "target v matches no layer. Linear layers are: first.q, first.k, second.q, second.k, head.",
    );
    expect(() => adapted([/xyz/])).toThrow("target /xyz/ matches no layer");
    expect(() => adapted(["norm"])).toThrow("target norm names a layerNorm layer, not a linear one");
    expect(() => adapted(["ead"])).toThrow("matches no layer");
    expect(() => adapted([])).toThrow('targetModules is []; it is "all-linear" or a list');
    for (const wrong of [[5], [undefined], "fc1", null])
      expect(() => adapted(wrong as never)).toThrow("lora.inject: targetModules is");
    expect(() => lora.inject(nn.dropout(0.1), config)).toThrow("no linear layer");
  });

  test("refuses bad configurations", () => {
    expect(() => adapted(["head"], { r: -1 })).toThrow("r is -1");
    for (const dropout of [1, -0.1, Number.NaN])
      expect(() => adapted(["head"], { dropout })).toThrow(`dropout is ${dropout}`);
    expect(() => adapted(["head"], { initScale: { A: 0 } })).toThrow("initScale.A is 0");
    expect(() => adapted(["head"], { init: "zero" as "standard" })).toThrow(
      "init is zero; it is one of standard, swapped, random",
    );
  });

  test("adapters lie beside the parameters they adapt, which stay as given", async () => {
    const params = model.init(key);
    const whole = lora.inject(model, { ...config, targetModules: ["q", "head"] }).init(random.key(2), params);
    const [adapter, frozen] = lora.partition(whole);
    expect(paths(adapter)).toEqual([
      "first.q.loraA",
      "first.q.loraB",
      "second.q.loraA",
      "second.q.loraB",
      "head.loraA",
      "head.loraB",
    ]);
    expect(tree.leaves(frozen)).toEqual(tree.leaves(params));
    expect(lora.trainableCount(whole)).toBe(2 * 2 * (4 + 4) + 2 * (4 + 6));
    expect(tree.combine(frozen, adapter)).toEqual(whole);
  });

  test("an adapter starts from its key and path, whatever else is adapted", async () => {
    const start = async (targets: string[]) => {
      const params = lora
        .inject(model, { ...config, targetModules: targets })
        .init(random.key(2), model.init(key));
      return (params.head as { loraA: Tensor }).loraA.data();
    };
    expect(await start(["head"])).toEqual(await start(["q", "head"]));
  });

  test("functions of models refuse what is none", () => {
    const params = model.init(key) as nn.Params;
    for (const none of [undefined, {}, nn.linear] as never[]) {
      for (const call of [
        () => lora.inject(none, { r: 1, alpha: 1, targetModules: "all-linear" }),
        () => lora.adaptedLayers(none),
        () => lora.merge(none, params),
        () => lora.unmerge(none, params, params),
        () => lora.packBase(none, params, { format: "int8" }),
        () => lora.attenuate(none, params, 0.5),
      ])
        expect(call).toThrow(/^lora: the model is .*; it is a layer such as linear\(8, 32\)\.$/);
      for (const call of [() => lora.setAdapter(none, "a"), () => lora.nameAdapter(none, params, "a")])
        expect(call).toThrow(/the model is .*; it is one with adapters, such as lora\.inject returns\.$/);
    }
  });

  test("counts of the theory: Llama-2-7B's shapes", () => {
    const zero = (shape: readonly number[]) => ones([1]).expand(shape);
    const of = (inputs: number, outputs: number, n: number) =>
      Array.from({ length: n }, () => ({
        weight: zero([outputs, inputs]),
        loraA: zero([8, inputs]),
        loraB: zero([outputs, 8]),
      }));
    const attention = of(4096, 4096, 4);
    const layers = { attention, up: of(4096, 11008, 2), down: of(11008, 4096, 1) };
    expect(lora.trainableCount(of(20000, 10000, 1))).toBe(240_000);
    expect(32 * lora.trainableCount(layers)).toBe(19_988_480);
    expect(32 * lora.trainableCount(layers) + lora.trainableCount(of(4096, 32000, 1))).toBe(20_277_248);
  });

  test("LoRA+ groups take the B of every adapter", () => {
    const [adapter] = lora.partition(lora.inject(model, config).init(key));
    const optimizer = sgd({ lr: 1, groups: loraPlus({ ratio: 16 }) });
    expect(paths(adapter).map((path) => optimizer.hyper(path).lr)).toEqual(
      paths(adapter).map((path) => (path.endsWith("loraB") ? 16 : 1)),
    );
  });
});

describe("merge", () => {
  const base = nn.mlp([6, 7, 5]);

  test("the base model with merged parameters is the adapted model, and unmerge leads back", async () => {
    const draws = fc.record({
      seed: fc.nat(),
      alpha: fc.double({ min: 0.1, max: 16, noNaN: true }),
      rsLora: fc.boolean(),
      branchBias: fc.boolean(),
    });
    const trainedBiases = fc.constantFrom("none", "lora_only", "all");
    await fc.assert(
      fc.asyncProperty(draws, trainedBiases, async ({ seed, ...more }, bias) => {
        const model = lora.inject(base, { ...config, ...more, init: "random" });
        const params = tree.map(model.init(random.key(seed)), (leaf, path) =>
          path.endsWith("loraBias") ? random.normal(random.key(seed).fold(path), leaf.shape) : leaf,
        );
        const merged = lora.merge(model, params);
        expect(paths(merged)).toEqual(paths(base.init(key)));
        const x = random.normal(key.fold(seed), [4, 6]);
        const y = model.apply(params, x);
        expect(await maximum(base.apply(merged, x).sub(y))).toBeLessThan(2e-6 * (1 + (await maximum(y))));

        const [adapter] = lora.partition(params, { bias });
        const again = lora.unmerge(model, merged, adapter);
        for (const [path, leaf] of tree.entries(params)) {
          const back = tree.entries(again).find(([name]) => name === path)![1];
          // Half a unit in the last place of the merged value, and half of the value's own.
          const size = Math.max(
            await maximum(leaf),
            ...(await Promise.all(tree.leaves(merged).map(maximum))),
          );
          expect(await maximum(back.sub(leaf)), path).toBeLessThanOrEqual(size * 2 ** -23);
        }
      }),
      { numRuns: runs(20) },
    );
  });

  test("is exact where the sums are", async () => {
    const model = lora.inject(nn.linear(2, 2, { bias: false }), { ...config, alpha: 4 });
    const params = {
      weight: tensor([
        [1, 2],
        [3, 4],
      ]),
      loraA: tensor([
        [1, 0],
        [0, 1],
      ]),
      loraB: tensor([
        [1, 2],
        [3, 4],
      ]),
    };
    const merged = lora.merge(model, params);
    expect(await (merged.weight as Tensor).toArray()).toEqual([
      [3, 6],
      [9, 12],
    ]);
    const again = lora.unmerge(model, merged, lora.partition(params)[0]);
    expect(await (again.weight as Tensor).toArray()).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  test("refuses parameters without an adapter, and a branch bias with nowhere to go", () => {
    const model = lora.inject(base, config);
    expect(() => lora.merge(model, base.init(key))).toThrow("no loraA and loraB");
    const biased = lora.inject(nn.linear(3, 3, { bias: false }), { ...config, branchBias: true });
    expect(() => lora.merge(biased, biased.init(key))).toThrow("no bias of the base layer to go into");
  });
});
