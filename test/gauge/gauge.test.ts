import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { loraPlus, make, type Optimizer } from "../../src/optim/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { ones, tensor } from "../../src/tensor/creation.ts";
import { grad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import * as tree from "../../src/tensor/tree.ts";

// The gauge as data: what becomes of numbers, and what is refused. That training agrees is theorem.test.ts.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const adamw = { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } } as const satisfies gauge.Recipe;
const sgd = { r: 8, alpha: 16, optimizer: { name: "sgd", lr: 0.5 } } as const satisfies gauge.Recipe;

describe("gauges", () => {
  test("k a b is 1", () => {
    expect(gauge.of({ a: 4, b: 1 / 8 })).toEqual({ a: 4, b: 1 / 8, k: 2 });
    expect(gauge.common(16)).toEqual({ a: 1 / 4, b: 1 / 4, k: 16 });
    expect(gauge.onlyB(8)).toEqual({ a: 1, b: 1 / 8, k: 8 });
    expect(gauge.inverse(gauge.of({ a: 4, b: 1 / 8 }))).toEqual({ a: 1 / 4, b: 8, k: 1 / 2 });
    for (const k of [2, 3, 512, 1e-5]) expect(gauge.apply(gauge.common(k), adamw).alpha).toBe(16 * k);
  });

  test("factors by role", () => {
    const g = gauge.of({ a: 4, b: 1 / 8 });
    expect((["A", "B", "branchBias", "base"] as const).map((role) => gauge.factor(g, role))).toEqual([
      4,
      1 / 8,
      1 / 2,
      1,
    ]);
  });

  test("bitwise where all factors are powers of two", () => {
    for (let i = -300; i <= 300; i++) expect(gauge.bitwise(gauge.of({ a: 2 ** i, b: 2 ** -7 }))).toBe(true);
    expect(gauge.bitwise(gauge.common(4))).toBe(true);
    expect(gauge.bitwise(gauge.common(2))).toBe(false);
    expect(gauge.bitwise(gauge.onlyB(2))).toBe(true);
    expect(gauge.bitwise(gauge.onlyB(3))).toBe(false);
    expect(gauge.bitwise(gauge.of({ a: 3, b: 4 }))).toBe(false);
  });

  test.for([0, -2, Number.NaN, Infinity])("refuses the factor %d", (x) => {
    expect(() => gauge.of({ a: x, b: 1 })).toThrow(/gauge\.of: (a|k) is .*positive and finite/);
    expect(() => gauge.common(x)).toThrow(/gauge\.common: .*positive and finite/);
    expect(() => gauge.onlyB(x)).toThrow(/gauge\.onlyB: .*positive and finite/);
  });

  test("refuses what is no gauge", () => {
    expect(() => gauge.apply({ a: 2, b: 2, k: 1 }, adamw)).toThrow(
      "k a b is 4 for a = 2, b = 2, k = 1; it must be 1",
    );
    expect(() => gauge.applyParams({ a: 2, b: 2, k: 1 }, {})).toThrow("it must be 1");
  });
});

describe("recipes", () => {
  test("only B, AdamW: alpha k; B's rate / k, eps k, decay k; no initial value changes (corollary 3)", () => {
    const partner = gauge.apply(gauge.onlyB(4), adamw);
    expect(partner).toEqual({
      ...adamw,
      alpha: 64,
      groups: { B: { lr: 1e-3 / 4, betas: [0.9, 0.999], eps: 4e-8, weightDecay: 0.04 } },
    });
  });

  test("common factor, AdamW: both rates / sqrt k, initial A / sqrt k (corollary 2)", () => {
    const own = { lr: 1e-3 / 4, betas: [0.9, 0.999], eps: 4e-8, weightDecay: 0.04 };
    expect(gauge.apply(gauge.common(16), adamw)).toEqual({
      ...adamw,
      alpha: 256,
      initScale: { A: 1 / 4 },
      groups: { A: own, B: own },
    });
  });

  test("common factor, SGD: both rates / k, decay k (corollary 1)", () => {
    const recipe = {
      ...sgd,
      init: "random",
      optimizer: { ...sgd.optimizer, momentum: 0.9, weightDecay: 0.1 },
    } as const;
    const partner = gauge.apply(gauge.common(16), recipe);
    expect(partner.initScale).toEqual({ A: 1 / 4, B: 1 / 4 });
    for (const role of ["A", "B"] as const) {
      expect(gauge.hyperOf(partner, role)).toEqual({
        ...gauge.hyperOf(recipe, role),
        lr: 0.5 / 16,
        weightDecay: 0.1 * 16,
      });
    }
  });

  test("Adam's decay goes by the square, AdamW's does not", () => {
    const g = gauge.onlyB(4);
    const adam = gauge.apply(g, { ...sgd, optimizer: { name: "adam", lr: 1e-3, weightDecay: 0.5 } });
    const adamw = gauge.apply(g, { ...sgd, optimizer: { name: "adamw", lr: 1e-3, weightDecay: 0.5 } });
    expect(gauge.hyperOf(adam, "B").weightDecay).toBe(8);
    expect(gauge.hyperOf(adamw, "B").weightDecay).toBe(2);
  });

  test("LoRA+ is a change of alpha (corollary 4)", () => {
    const ratio = 16;
    const [group] = loraPlus({ ratio });
    const plus = { ...adamw, groups: { B: { lr: adamw.optimizer.lr * group!.lrScale } } };
    const twin = gauge.apply(gauge.onlyB(ratio), plus);
    expect(twin.alpha).toBe(ratio * adamw.alpha);
    expect(gauge.hyperOf(twin, "B")).toEqual({
      lr: adamw.optimizer.lr,
      betas: [0.9, 0.999],
      eps: ratio * 1e-8,
      weightDecay: ratio * 0.01,
    });
    expect(gauge.hyperOf(twin, "A")).toEqual(gauge.hyperOf(plus, "A"));
  });

  test("a gauge and its inverse leave a recipe's numbers as they were", () => {
    const g = gauge.of({ a: 4, b: 1 / 32 });
    const recipe = { ...adamw, init: "random", clip: { kind: "tensorNorm", maxNorm: 1 } } as const;
    const again = gauge.apply(gauge.inverse(g), gauge.apply(g, recipe));
    expect(again.alpha).toBe(recipe.alpha);
    expect(again.initScale).toEqual({ A: 1, B: 1 });
    for (const role of ["A", "B"] as const)
      expect(gauge.hyperOf(again, role)).toEqual(gauge.hyperOf(recipe, role));
    expect(again.clip).toEqual({ kind: "tensorNorm", maxNorm: { A: 1, B: 1 }, eps: { A: 1e-6, B: 1e-6 } });
  });

  test("a swapped start moves no initial A; a branch bias has factor 1 / k; the base keeps its numbers", () => {
    const recipe = {
      ...sgd,
      init: "swapped",
      branchBias: true,
      trained: ["A", "B", "branchBias", "base"],
    } as const;
    const partner = gauge.apply(gauge.of({ a: 2, b: 4 }), recipe);
    expect(partner.initScale).toEqual({ B: 4 });
    expect(recipe.trained.map((role) => gauge.hyperOf(partner, role).lr)).toEqual([2, 8, 32, 0.5]);
  });

  test("a recipe is plain data", () => {
    const partner = gauge.apply(gauge.common(4), { ...adamw, clip: { kind: "value", maxValue: 1 } });
    expect(JSON.parse(JSON.stringify(partner))).toEqual(partner);
  });

  test("clipping: thresholds and stabilisers are divided by c, weights multiplied", () => {
    const g = gauge.of({ a: 2, b: 1 / 4 });
    const clip = (clip: gauge.Clip, by = g) => gauge.apply(by, { ...adamw, clip }).clip;
    expect(clip({ kind: "value", maxValue: 1 })).toEqual({ kind: "value", maxValue: { A: 1 / 2, B: 4 } });
    expect(clip({ kind: "tensorNorm", maxNorm: { A: 1, B: 3 }, eps: 1e-6 })).toEqual({
      kind: "tensorNorm",
      maxNorm: { A: 1 / 2, B: 12 },
      eps: { A: 1e-6 / 2, B: 1e-6 * 4 },
    });
    expect(clip({ kind: "globalNorm", maxNorm: 1, weights: { B: 8 } })).toEqual({
      kind: "globalNorm",
      maxNorm: 1,
      weights: { A: 2, B: 2 },
    });
    expect(clip({ kind: "globalNorm", maxNorm: 1 }, gauge.of({ a: 4, b: 4 }))).toEqual({
      kind: "globalNorm",
      maxNorm: 1 / 4,
      eps: 1e-6 / 4,
    });
  });
});

describe("refusals", () => {
  const takes: Readonly<Record<string, (recipe: gauge.Recipe) => unknown>> = {
    apply: (recipe) => gauge.apply(gauge.onlyB(2), recipe),
    applyLayers: (recipe) => gauge.applyLayers({ fc: gauge.onlyB(2) }, recipe),
    applyState: ({ optimizer }) => gauge.applyState(gauge.onlyB(2), {} as never, optimizer),
    optimizerOf: (recipe) => gauge.optimizerOf(recipe),
    trainable: (recipe) => gauge.trainable(recipe, {}),
    explicit: (recipe) => gauge.explicit(recipe),
  };
  test.each(Object.entries(takes))("%s takes no recipe without an optimizer", (name, call) => {
    for (const wrong of [5, {}, { r: 8, alpha: 16, optimiser: {} }, { r: 8, alpha: 16, optimizer: null }])
      expect(() => call(wrong as never)).toThrow(
        new RegExp(`^gauge\\.${name}: takes an? (recipe|optimizer)`),
      );
  });

  const g = gauge.of({ a: 2, b: 1 / 4 });

  test("the plain global norm, unless all trained parameters have one factor", () => {
    const clip = { kind: "globalNorm", maxNorm: 1 } as const;
    expect(() => gauge.apply(g, { ...adamw, clip })).toThrow(
      /plain global norm .* A by 2, B by 0\.25, and the norm mixes them.*weights/,
    );
    const even = gauge.of({ a: 2, b: 2 });
    expect(() => gauge.apply(even, { ...adamw, clip, trained: ["A", "B", "base"] })).toThrow("base by 1");
    expect(() => gauge.apply(even, { ...adamw, clip })).not.toThrow();
  });

  test("eps 0 where a first gradient is zero", () => {
    const recipe = { ...adamw, optimizer: { ...adamw.optimizer, eps: 0 } };
    expect(() => gauge.apply(g, recipe)).toThrow(/eps of A is 0 and B starts at zero.*0 by 0/);
    expect(() => gauge.apply(g, { ...recipe, init: "swapped" })).toThrow(
      /eps of B is 0 and A starts at zero/,
    );
    expect(() => gauge.apply(g, { ...recipe, init: "random" })).not.toThrow();
    expect(() => gauge.apply(g, { ...recipe, groups: { A: { eps: 1e-8 } } })).not.toThrow();
    expect(() => gauge.apply(g, { ...recipe, trained: ["B"] })).not.toThrow();
  });

  test("an optimizer or a state without a rule", () => {
    // As from JavaScript, or from a file.
    const shampoo = { ...adamw, optimizer: { name: "shampoo", lr: 1e-3 } } as unknown as gauge.Recipe;
    expect(() => gauge.apply(g, shampoo)).toThrow(
      'there is no optimizer "shampoo". The optimizers are sgd, adam, adamw',
    );
    const state = { ...make({ name: "adam", lr: 1 }).init({}), vMin: {} };
    expect(() => gauge.applyState(g, state, "adam")).toThrow(
      "adam keeps vMin, for which no exact rule is known",
    );
    expect(() => gauge.applyState(g, state, "shampoo")).toThrow('optimizer "shampoo"');
  });

  test("numbers outside the normal range of float32", () => {
    expect(() => gauge.apply(gauge.onlyB(2 ** 130), adamw)).toThrow(/outside the normal range of float32/);
    expect(() => gauge.apply(gauge.onlyB(2 ** -100), sgd)).toThrow(
      /lr of B becomes .*outside the normal range/,
    );
    expect(() => gauge.applyParams(gauge.onlyB(2 ** 130), { loraB: ones([2]) })).toThrow(
      "the factor on loraB becomes",
    );
  });

  test("what LoRA or the optimizer refuse", () => {
    expect(() => gauge.apply(g, { ...adamw, alpha: 0 })).toThrow("alpha is 0");
    expect(() => gauge.apply(g, { ...adamw, optimizer: { name: "adamw", lr: -1 } })).toThrow("lr is -1");
    const clip = { kind: "value", maxValue: { A: 1 } } as const;
    expect(() => gauge.apply(g, { ...adamw, clip })).toThrow("clip.maxValue has no number for B");
  });
});

describe("trees", () => {
  test("gradients of the partner are the original ones under the gauge, bit for bit", async () => {
    const g = gauge.of({ a: 1 / 4, b: 8 });
    const model = (alpha: number) => lora.linear(nn.linear(5, 3), { r: 2, alpha, init: "random" });
    const params = await tree.evaluate(model(6).init(random.key(5)));
    const x = random.normal(random.key(6), [4, 5]);
    const gradients = (alpha: number, from: nn.Params) =>
      tree.evaluate(grad((p: nn.Params) => model(alpha).apply(p, x).square().sum())(from));
    const expected = tree.entries(gauge.applyGradients(g, await gradients(6, params)));
    const found = tree.entries(await gradients(6 * g.k, gauge.applyParams(g, params)));
    for (const [i, [path, leaf]] of found.entries()) {
      expect(expected[i]![0]).toBe(path);
      expect(await leaf.data()).toEqual(await expected[i]![1].data());
    }
  });

  const model = lora.inject(nn.linear(4, 3), {
    r: 2,
    alpha: 4,
    init: "random",
    branchBias: true,
    targetModules: "all-linear",
  });
  const g = gauge.of({ a: 2, b: 1 / 8 });

  test("parameters by their role, and the function with alpha k stays", async () => {
    const params = model.init(random.key(3));
    const partner = gauge.applyParams(g, params);
    for (const [path, leaf] of tree.entries(params)) {
      const c = gauge.factor(g, lora.roleOf(path));
      const other = tree.entries(partner).find(([name]) => name === path)![1];
      expect(await other.data()).toEqual((await leaf.data()).map((x) => x * c));
    }
    const rescaled = lora.inject(nn.linear(4, 3), {
      ...adamw,
      r: 2,
      alpha: 4 * g.k,
      branchBias: true,
      targetModules: "all-linear",
    });
    const x = random.normal(random.key(4), [5, 4]);
    expect(await rescaled.apply(partner, x).data()).toEqual(await model.apply(params, x).data());
  });

  test("states by slot: averages / c, averages of squares / c^2, steps as they are", async () => {
    const state = { step: 7, m: { loraA: 6, loraB: 6 }, v: { loraA: 36, loraB: 36 } };
    const tensors = { ...make({ name: "adam", lr: 1 }).init({}), m: vectors(state.m), v: vectors(state.v) };
    const partner = gauge.applyState(g, tensors, "adam");
    const values = await Promise.all(
      tree.entries(partner).map(async ([path, leaf]) => [path, await leaf.item()]),
    );
    expect(Object.fromEntries(values)).toEqual({
      step: 0,
      "m.loraA": 3,
      "m.loraB": 48,
      "v.loraA": 9,
      "v.loraB": 2304,
    });
  });

  const vectors = (values: Record<string, number>) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, tensor([value])]));
});

describe("the optimizer of a recipe", () => {
  const params = { fc: { weight: ones([3, 4]), loraA: ones([2, 4]), loraB: ones([3, 2]) } };

  test("has each role's hyperparameters", () => {
    const recipe = { ...adamw, groups: { B: { lr: 0.1 } } };
    const optimizer = gauge.optimizerOf(recipe) as Optimizer<{ lr: number }>;
    expect(["fc.loraA", "fc.loraB"].map((path) => optimizer.hyper(path).lr)).toEqual([1e-3, 0.1]);
  });

  test("updates what is trained, after clipping", async () => {
    const recipe = { ...sgd, clip: { kind: "value", maxValue: { A: 0.25, B: 0.5 } } } as const;
    const [trained, frozen] = gauge.trainable(recipe, params);
    expect(tree.entries(frozen).map(([path]) => path)).toEqual(["fc.weight"]);
    const optimizer = gauge.optimizerOf(recipe);
    const [updates] = optimizer.update(trained, optimizer.init(trained), trained);
    const values = await Promise.all(
      tree.entries(updates).map(async ([path, leaf]) => [path, (await leaf.data())[0]]),
    );
    expect(Object.fromEntries(values)).toEqual({ "fc.loraA": -0.125, "fc.loraB": -0.25 });
  });
});
