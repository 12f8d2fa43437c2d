import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { applyUpdates, type OptimizerState } from "../../src/optim/index.ts";
import { optimizerNames } from "../../src/optim/make.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { valueAndGrad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import * as tree from "../../src/tensor/tree.ts";
import { cases, everyNth, runs } from "../thorough.ts";
import { initial, problems, type Setting, train } from "../trainer.ts";

// Recipes compared, converted and thinned out; what is said of two recipes is checked by running both.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const adamw = (alpha: number, lr: number): gauge.Recipe<"adamw"> => ({
  r: 8,
  alpha,
  optimizer: { name: "adamw", lr },
});

/** A recipe whose fields are not known to the compiler, as from a file. */
const unchecked = (fields: object) => fields as unknown as gauge.Recipe;

// What is drawn.

const scale = (min: number, max: number) =>
  fc.double({ min: Math.log(min), max: Math.log(max), noNaN: true }).map(Math.exp);

/** Each optimizer in a form that has an exact rule. */
const optimizers = fc.oneof(
  ...[
    { name: "sgd", momentum: 0.9, weightDecay: 0.01 },
    { name: "sgd", decoupledWeightDecay: true, weightDecay: 0.1 },
    { name: "adam", weightDecay: 0.01 },
    { name: "adam", epsInsideRoot: true, eps: 1e-6 },
    { name: "adamw" },
    { name: "adamw", decayTimesLr: false, weightDecay: 1e-3 },
    { name: "adamw", amsgrad: true },
    { name: "adamax" },
    { name: "nadam" },
    { name: "rmsprop", momentum: 0.5, centered: true },
    { name: "adagrad", initialAccumulatorValue: 0.1 },
    { name: "rprop" },
    { name: "lion", weightDecay: 0.1 },
    { name: "signSgd", momentum: 0.9 },
    { name: "radam" },
    { name: "adadelta" },
  ].map((fields) => scale(1e-4, 1e-2).map((lr) => ({ ...fields, lr }))),
);

const recipes: fc.Arbitrary<gauge.Recipe> = fc
  .record({
    r: fc.integer({ min: 1, max: 16 }),
    alpha: scale(1, 64),
    rsLora: fc.boolean(),
    init: fc.constantFrom("standard", "swapped", "random", "gaussian", "olora"),
    optimizer: optimizers,
    clip: fc.option(
      fc.constantFrom(
        { kind: "value", maxValue: 1 },
        { kind: "tensorNorm", maxNorm: 0.5 },
        { kind: "globalNorm", maxNorm: 1, weights: { A: 1, B: 2 } },
      ),
      { nil: undefined },
    ),
    rateOfB: fc.option(scale(1e-4, 1e-2), { nil: undefined }),
    sigma: fc.option(scale(0.1, 10), { nil: undefined }),
  })
  .map(({ rateOfB, sigma, clip, ...fields }) =>
    unchecked({
      ...fields,
      ...(clip && { clip }),
      ...(rateOfB !== undefined && { groups: { B: { lr: rateOfB } } }),
      ...(sigma !== undefined && { initScale: fields.init === "swapped" ? { B: sigma } : { A: sigma } }),
    }),
  );

const power = fc.integer({ min: -6, max: 6 }).map((i) => 2 ** i);
const powersOfTwo = fc.tuple(power, power).map(([a, b]) => gauge.of({ a, b }));
const anyGauge = fc.tuple(scale(1 / 16, 16), scale(1 / 16, 16)).map(([a, b]) => gauge.of({ a, b }));

const numbersOf = (recipe: gauge.Recipe) => ({
  r: recipe.r,
  alpha: recipe.alpha,
  initScale: { A: recipe.initScale?.A ?? 1, B: recipe.initScale?.B ?? 1 },
  groups: gauge.trainedRoles(recipe).map((role) => gauge.hyperOf(recipe as gauge.Recipe<"adamw">, role)),
});

describe("canonical", () => {
  const formulas = (recipe: gauge.Recipe) =>
    gauge.canonical(recipe).invariants.map(({ formula, value }) => [formula, value]);

  test("AdamW: theorem 2", () => {
    const recipe = { ...adamw(16, 1e-3), initScale: { A: 4 } };
    expect(formulas(recipe)).toEqual([
      ["lr_A / sigma", 1e-3 / 4],
      ["sigma eps_A", 4e-8],
      ["lr_A wd_A", 1e-5],
      ["s sigma lr_B", 8e-3],
      ["eps_B / (s sigma)", 1e-8 / 8],
      ["lr_B wd_B", 1e-5],
    ]);
  });

  test("SGD, Adam with coupled decay, a random B, a swapped start, LAMB", () => {
    const of = (optimizer: object, rest: object = {}) =>
      gauge.canonical(unchecked({ r: 8, alpha: 16, optimizer, ...rest })).invariants.map((x) => x.formula);
    expect(of({ name: "sgd", lr: 1 })).toEqual(["lr_A / sigma^2", "(s sigma)^2 lr_B"]);
    expect(of({ name: "adam", lr: 1, weightDecay: 1 })).toContain("sigma^2 wd_A");
    expect(of({ name: "adam", lr: 1, weightDecay: 1 })).toContain("wd_B / (s sigma)^2");
    expect(of({ name: "adam", lr: 1 }, { init: "random" })).toContain("s sigma tau");
    expect(of({ name: "lion", lr: 1, weightDecay: 1 }, { init: "swapped" })).toEqual([
      "s tau lr_A",
      "lr_A wd_A",
      "lr_B / tau",
      "lr_B wd_B",
    ]);
    // A trust ratio of a zero B holds B's scale, so the scaling cannot be chosen.
    expect(of({ name: "lamb", lr: 1 })).toContain("s sigma");
  });

  test("optimizers of pairs: numbers go with both factors", () => {
    const of = (optimizer: object) =>
      gauge
        .canonical(unchecked({ r: 8, alpha: 16, optimizer: { lr: 1, ...optimizer } }))
        .invariants.map((x) => x.formula);
    expect(of({ name: "scaledSgd", momentum: 0.5, weightDecay: 1 })).toEqual([
      "s^2 lr_A",
      "wd_A / s^2",
      "(s sigma)^2 reg_A",
      "s^2 lr_B",
      "wd_B / s^2",
      "reg_B / sigma^2",
    ]);
    expect(of({ name: "scaledAdamw", weightDecay: 0 })).toEqual([
      "lr_A / sigma",
      "eps_A / (s^2 sigma)",
      "(s sigma)^2 reg_A",
      "s sigma lr_B",
      "sigma eps_B / s",
      "reg_B / sigma^2",
    ]);
    expect(of({ name: "loraMuon", weightDecay: 0.5 })).toContain("s lr_A");
    expect(of({ name: "loraRite" })).toContain("eps_B / s^2");
  });

  test("there is one for every optimizer", () => {
    for (const name of optimizerNames)
      expect(formulas(unchecked({ r: 8, alpha: 16, optimizer: { name, lr: 1e-3 } })).length).toBeGreaterThan(
        1,
      );
  });

  test("rsLoRA is LoRA with alpha sqrt(r) (corollary 5)", () => {
    const rs = { ...adamw(16, 1e-3), r: 16, rsLora: true };
    expect(gauge.canonical(rs)).toEqual(gauge.canonical({ ...adamw(64, 1e-3), r: 16 }));
  });
});

describe("explain", () => {
  test("Run X and Run Y of the article", () => {
    const [x, y] = [adamw(1, 0.00512), adamw(512, 1e-5)];
    const result = gauge.explain(x, y);
    expect(result).toMatchObject({
      relation: "loraPlus",
      exact: false,
      bitwise: false,
      gauge: { a: 1, b: 1 / 512, k: 512 },
      loraPlus: { alpha: 1, lr: 1e-5, ratio: 512 },
    });
    const of = (name: string) => result.invariants.find((each) => each.name === name)!;
    expect(of("lr.B").equal).toBe(true);
    expect(of("lr.A").ratio).toBeCloseTo(1 / 512, 12);
    const partner = result.partner!;
    expect(partner.alpha).toBe(512);
    expect(gauge.hyperOf(partner as typeof x, "A").lr).toBe(0.00512);
    expect(gauge.hyperOf(partner as typeof x, "B")).toMatchObject({
      lr: 1e-5,
      eps: 512e-8,
      weightDecay: 5.12,
    });
    expect(gauge.hyperOf(result.loraPlus!.recipe as typeof x, "B")).toMatchObject({
      lr: 0.00512,
      eps: 1e-8 / 512,
    });
    expect(gauge.explain(x, partner)).toMatchObject({ relation: "same", exact: true, bitwise: true });
    const text = result.words.join("\n");
    for (const said of [
      "not the same run",
      "B moves alike as long as A has not moved",
      "lr_A / sigma, is 0.00512 in X and 1e-5 in Y: 512 times smaller in Y",
      "Y is LoRA+ with ratio 512 at alpha 1: lr_A 1e-5, lr_B 0.00512, eps_A 1e-8, eps_B 1.953125e-11",
      "X's exact partner at alpha 512 is lr_A 0.00512, lr_B 1e-5, eps_A 1e-8, eps_B 5.12e-6",
    ])
      expect(text).toContain(said);
  });

  test("a gauge partner is the same run, by that gauge; bit for bit for powers of two", () => {
    fc.assert(
      fc.property(recipes, powersOfTwo, (x, g) => {
        const result = gauge.explain(x, gauge.apply(g, gauge.explicit(x)));
        expect(result).toMatchObject({ relation: "same", exact: true, bitwise: true });
        for (const name of ["a", "b", "k"] as const) expect(result.gauge![name]).toBeCloseTo(g[name], 9);
      }),
    );
    fc.assert(
      fc.property(recipes, anyGauge, (x, g) => {
        expect(gauge.equivalent(x, gauge.apply(g, gauge.explicit(x)))).toBe(true);
      }),
    );
  });

  test("PiSSA divides its start by the root of the scaling: powers of four are bitwise", () => {
    const x = { ...adamw(16, 1e-3), init: "pissa" } as const;
    const half = gauge.apply(gauge.common(4), x);
    expect(half.initScale).toBeUndefined();
    expect(gauge.explain(x, half)).toMatchObject({
      exact: true,
      bitwise: true,
      gauge: { a: 0.5, b: 0.5, k: 4 },
    });
    const two = gauge.convert(x, { to: "alpha", alpha: 32 });
    expect(two).toMatchObject({ exact: true, bitwise: false });
    expect(two.initScale.A).toBeCloseTo(Math.SQRT2, 12);
    expect(two.initScale.B).toBeCloseTo(Math.SQRT1_2, 12);
    expect(gauge.explain(x, two.recipe)).toMatchObject({ exact: true, bitwise: false });
    expect(gauge.explain(x, { ...x, alpha: 32 }).exact).toBe(false);
    const back = gauge.convert(two.recipe, { to: "loraPlus", alpha: 16 });
    expect(back.initScale.A).toBeCloseTo(1, 12);
    expect(gauge.equivalent(x, back.recipe)).toBe(true);
  });

  test("another rate, eps, start or decay is another run", () => {
    fc.assert(
      fc.property(recipes, anyGauge, fc.double({ min: 1.01, max: 3, noNaN: true }), (x, g, factor) => {
        const y = gauge.apply(g, gauge.explicit(x));
        const group = gauge.hyperOf(y as gauge.Recipe<"adamw">, "B");
        const changed = unchecked({ ...y, groups: { ...y.groups, B: { ...group, lr: group.lr * factor } } });
        const result = gauge.explain(x, changed);
        expect(result.exact).toBe(false);
        expect(result.invariants.find(({ name }) => name === "lr.B")!.ratio).toBeCloseTo(factor, 9);
      }),
    );
  });

  test("relations", () => {
    const x = adamw(16, 1e-3);
    const relation = (y: gauge.Recipe) => gauge.explain(x, y).relation;
    expect(relation({ ...x, optimizer: { name: "adamw", lr: 2e-3, weightDecay: 0.005 } })).toBe("rate");
    expect(relation({ ...x, groups: { B: { lr: 4e-3 } } })).toBe("loraPlus");
    expect(relation({ ...x, groups: { B: { eps: 1e-6 } } })).toBe("sameButConstants");
    expect(relation({ ...x, init: "random" })).toBe("different");
    expect(relation({ ...x, r: 4 })).toBe("different");
    expect(relation({ ...x, clip: { kind: "value", maxValue: 1 } })).toBe("different");
    expect(relation(unchecked({ ...x, optimizer: { name: "adam", lr: 1e-3 } }))).toBe("sameButConstants");
    expect(relation(unchecked({ ...x, optimizer: { name: "nadam", lr: 1e-3 } }))).toBe("different");
    const { fixed, words } = gauge.explain(x, { ...x, dropout: 0.1 });
    expect(fixed).toEqual([{ name: "dropout", x: 0, y: 0.1 }]);
    expect(words).toContain("dropout is 0 in X and 0.1 in Y; no gauge changes it.");
  });

  test("words: no difference of 1, and invariants are called so", () => {
    const x = adamw(16, 1e-3);
    const near = gauge.explain(x, adamw(16, 1e-3 * (1 + 3e-11)));
    expect(near.exact).toBe(false);
    expect(near.words.join()).not.toMatch(/\b1 times/);
    expect(near.words.join()).toContain("larger by 3e-11 of itself in Y");
    const { words } = gauge.explain(x, adamw(16, 2e-3));
    expect(words).toContain(
      "The invariant of A's rate, lr_A / sigma, is 0.001 in X and 0.002 in Y: 2 times larger in Y.",
    );
    const lion = unchecked({ r: 8, alpha: 16, optimizer: { name: "lion", lr: 1e-3 } });
    expect(gauge.explain(x, lion).words.join()).toContain("optimizer is adam in X and lion in Y");
  });

  test("two random starts with another product are different runs", () => {
    const x = { ...adamw(16, 1e-3), init: "random" } as const;
    const result = gauge.explain(x, { ...x, initScale: { B: 3 } });
    expect(result.relation).toBe("different");
    expect(result.invariants.find(({ name }) => name === "start")).toMatchObject({ ratio: 3, equal: false });
  });

  test("the plain global norm, and the same norm with a common factor on everything", () => {
    const x = { ...adamw(16, 1e-3), clip: { kind: "globalNorm", maxNorm: 1 } } as const;
    expect(gauge.explain(x, gauge.apply(gauge.common(16), x))).toMatchObject({ exact: true, bitwise: true });
    expect(gauge.explain(x, { ...x, clip: { ...x.clip, weights: { A: 1 } } }).exact).toBe(true);
    const moved = gauge.apply(gauge.onlyB(4), gauge.explicit(x));
    expect(gauge.explain(x, moved)).toMatchObject({ exact: true, bitwise: true });
    const { clip: _, ...unclipped } = moved;
    expect(gauge.explain(x, { ...unclipped, clip: x.clip }).relation).toBe("different");
  });
});

describe("running both recipes", () => {
  const setting: Setting = {
    problem: problems["one layer, mean squared error"]!,
    dtype: "float32",
    seed: 5,
    steps: 6,
  };
  const losses = async (recipe: gauge.Recipe) => {
    const run = await train(setting, recipe, { params: await initial(setting, recipe), done: 0 });
    return run.steps.map((step) => step.get("loss")![0]!);
  };
  const base = (optimizer: object) => unchecked({ r: 2, alpha: 4, optimizer });
  const forms = [
    base({ name: "sgd", lr: 0.05, momentum: 0.9 }),
    base({ name: "adamw", lr: 0.02, eps: 1e-3 }),
    base({ name: "lion", lr: 0.01 }),
    base({ name: "adam", lr: 0.02, eps: 1e-3, weightDecay: 0.1 }),
  ];

  test.each(everyNth(2, forms))(
    "recipes that explain calls the same run give the same bits: $optimizer.name",
    async (x) => {
      const targets: gauge.Target[] = [
        { to: "alpha", alpha: 64 },
        { to: "alpha", alpha: 1, gauge: "common" },
        { to: "gauge", a: 8, b: 1 / 2 },
        { to: "loraPlus", alpha: 32 },
      ];
      const own = await losses(x);
      for (const target of targets) {
        const { recipe, bitwise } = gauge.convert(x, target);
        expect(bitwise).toBe(true);
        expect(gauge.explain(x, recipe).bitwise).toBe(true);
        expect(await losses(recipe)).toEqual(own);
      }
      const { recipe } = gauge.convert(x, { to: "alpha", alpha: 7 });
      const other = await losses(recipe);
      other.forEach((loss, i) => {
        expect(Math.abs(loss / own[i]! - 1)).toBeLessThan(1e-5);
      });
    },
  );

  test.each(everyNth(2, forms))(
    "recipes that it calls different give other losses: $optimizer.name",
    async (x) => {
      const own = await losses(x);
      const moved = gauge.convert(x, { to: "alpha", alpha: 8 }).recipe;
      for (const y of [
        { ...x, alpha: 8 },
        { ...moved, groups: {} },
        unchecked({ ...x, groups: { A: { lr: 0.04 } } }),
      ]) {
        expect(gauge.explain(x, y).exact).toBe(false);
        const other = await losses(y);
        const difference = Math.max(...other.map((loss, i) => Math.abs(loss / own[i]! - 1)));
        expect(difference).toBeGreaterThan(1e-4);
      }
    },
  );

  test("RAdam has an exact partner once its second rate is written out; kept as it is it deviates", async () => {
    const x = base({ name: "radam", lr: 0.02 });
    const target = { to: "alpha", alpha: 64 } as const;
    expect(() => gauge.convert(x, target)).toThrow("no exact rule is known");
    const own = await losses(x);
    const exact = gauge.convert(x, target, { inexact: "rewrite" });
    expect(exact).toMatchObject({ exact: true, bitwise: true, deviations: [] });
    expect(await losses(exact.recipe)).toEqual(own);
    const kept = gauge.convert(x, target, { inexact: "anyway" });
    expect(kept).toMatchObject({
      exact: false,
      deviations: [{ field: "lrUnrectified", role: "B" }],
    });
    expect(await losses(kept.recipe)).not.toEqual(own);
  });

  test("Adadelta in both forms; with two eps, the rate goes by the root of the second", async () => {
    const one = base({ name: "adadelta", lr: 1, eps: 1e-4 });
    const two = base({ name: "adadelta", lr: 1, epsGradient: 1e-4, epsUpdate: 1e-5 });
    for (const x of [one, two]) {
      const { recipe, bitwise } = gauge.convert(x, { to: "alpha", alpha: 64 });
      expect(bitwise).toBe(true);
      expect(await losses(recipe)).toEqual(await losses(x));
    }
    const { fixed, invariants } = gauge.explain(one, two);
    expect(fixed).toEqual([]);
    expect(invariants.map(({ formula, equal }) => [formula, equal])).toEqual([
      ["lr_A sqrt(epsUpdate_A) / sigma", false],
      ["sigma^2 epsGradient_A", true],
      ["s sigma lr_B sqrt(epsUpdate_B)", false],
      ["epsGradient_B / (s sigma)^2", true],
    ]);
    // The rate of updates four times as large, from an average a sixteenth as large.
    const moved = { name: "adadelta", lr: 4, epsGradient: 1e-4, epsUpdate: 1e-5 / 16 };
    expect(gauge.explain(two, base(moved))).toMatchObject({ exact: true, bitwise: false });
    const other = await losses(base(moved));
    for (const [i, loss] of (await losses(two)).entries()) expect(other[i]! / loss).toBeCloseTo(1, 5);
  });

  test("LAMB from B = 0: the gauge that leaves B alone is exact", async () => {
    const x = base({ name: "lamb", lr: 0.02 });
    expect(() => gauge.convert(x, { to: "alpha", alpha: 64 })).toThrow("B starts at zero");
    const { recipe, bitwise } = gauge.convert(x, { to: "alpha", alpha: 64, gauge: "a" });
    expect(bitwise).toBe(true);
    expect(gauge.explain(x, recipe).bitwise).toBe(true);
    expect(await losses(recipe)).toEqual(await losses(x));
    const kept = gauge.convert(x, { to: "alpha", alpha: 64 }, { inexact: "anyway" });
    expect(kept.deviations).toMatchObject([{ field: "start", role: "B" }]);
    expect(gauge.explain(x, kept.recipe).exact).toBe(false);
  });

  test("what Run Y lacks is the rate of A, and it shows", async () => {
    const [x, y] = [0.0512, 0.0512 / 512].map((lr) =>
      base({ name: "adamw", lr, eps: 1e-12, weightDecay: 0 }),
    ) as [gauge.Recipe, gauge.Recipe];
    const [big, result] = [{ ...y, alpha: 4 * 512 }, gauge.explain(x, { ...y, alpha: 4 * 512 })];
    const [own, partner, other] = [await losses(x), await losses(result.partner!), await losses(big)];
    expect(partner).toEqual(own);
    expect(other[1]).toBeCloseTo(own[1]!, 5); // after one update only B has moved, alike up to eps
    expect(Math.abs(other[5]! / own[5]! - 1)).toBeGreaterThan(1e-3);
  });
});

describe("convert", () => {
  test("there and back is the identity, exactly for powers of two", () => {
    fc.assert(
      fc.property(recipes, power, fc.constantFrom("a", "b", "common"), (recipe, k, by) => {
        const x = gauge.explicit(recipe);
        const there = gauge.convert(x, { to: "alpha", alpha: x.alpha * k, gauge: by });
        expect(there.alpha).toBe(x.alpha * k);
        expect(there.exact).toBe(true);
        const back = gauge.convert(there.recipe, { to: "alpha", alpha: x.alpha, gauge: by });
        if (there.bitwise) expect(numbersOf(back.recipe)).toEqual(numbersOf(x));
        expect(gauge.equivalent(x, back.recipe)).toBe(true);
        expect(back.alpha).toBe(x.alpha);
      }),
    );
  });

  test("every target keeps the run", () => {
    const targets: fc.Arbitrary<gauge.Target> = fc.oneof(
      scale(0.5, 500).map((alpha) => ({ to: "alpha", alpha }) as const),
      fc.constant({ to: "alpha", alpha: "r" } as const),
      fc.tuple(scale(0.1, 10), scale(0.1, 10)).map(([a, b]) => ({ to: "gauge", a, b }) as const),
      fc.constant({ to: "commonRate" } as const),
      scale(0.5, 500).map((alpha) => ({ to: "commonRate", by: "initScale", alpha }) as const),
      fc.constant({ to: "loraPlus" } as const),
      scale(0.5, 100).map((ratio) => ({ to: "loraPlus", ratio }) as const),
    );
    fc.assert(
      fc.property(recipes, targets, (recipe, target) => {
        const x = gauge.explicit(recipe);
        const y = gauge.convert(x, target);
        expect(y.exact).toBe(true);
        expect(gauge.explain(x, y.recipe, { tolerance: 1e-11 }).relation).toBe("same");
        const [A, B] = [y.groups.A!.lr as number, y.groups.B!.lr as number];
        if (target.to === "commonRate") expect(A).toBe(B);
        if (target.to === "loraPlus") {
          const first = recipe.init === "swapped" ? y.initScale.B : y.initScale.A;
          expect(first).toBeCloseTo(1, 12);
          if (target.ratio) expect(B / A / target.ratio).toBeCloseTo(1, 9);
          else expect(y.alpha).toBeCloseTo(x.r, 9);
        }
      }),
    );
  });

  test("the fields of a result", () => {
    expect(gauge.convert(adamw(16, 2e-4), { to: "alpha", alpha: 32 })).toMatchObject({
      optimizer: "adamw",
      r: 8,
      alpha: 32,
      scaling: 4,
      initScale: { A: 1, B: 1 },
      groups: {
        A: { lr: 2e-4, eps: 1e-8, weightDecay: 0.01 },
        B: { lr: 1e-4, eps: 2e-8, weightDecay: 0.02 },
      },
      exact: true,
      bitwise: true,
      gauge: { a: 1, b: 0.5, k: 2 },
    });
    expect(gauge.convert(adamw(16, 2e-4), { to: "alpha", alpha: 64, gauge: "common" })).toMatchObject({
      initScale: { A: 0.5, B: 1 },
      groups: { A: { lr: 1e-4 }, B: { lr: 1e-4 } },
      bitwise: true,
    });
  });

  test("LoRA+ and alpha (corollary 4)", () => {
    const plus = { ...adamw(16, 2e-4), groups: { B: { lr: 16 * 2e-4 } } };
    const one = gauge.convert(plus, { to: "commonRate" });
    expect(one.alpha).toBeCloseTo(256, 10);
    expect(one.groups.B).toMatchObject({ lr: 2e-4 });
    expect(one.groups.B!.eps).toBeCloseTo(16e-8, 15);
    const same = gauge.convert(plus, { to: "commonRate", by: "initScale" });
    expect(same.alpha).toBe(16);
    expect(same.groups.A!.lr).toBeCloseTo(8e-4, 12);
    expect(same.initScale.A).toBeCloseTo(4, 12);
    const again = gauge.convert(one.recipe, { to: "loraPlus", ratio: 16 });
    expect(again.alpha).toBeCloseTo(16, 10);
  });

  test("applied anyway: the plain norm, with what comes of it", () => {
    const x = { ...adamw(16, 2e-4), clip: { kind: "globalNorm", maxNorm: 1 } } as const;
    expect(() => gauge.convert(x, { to: "alpha", alpha: 32 })).toThrow("plain global norm");
    const { deviations, recipe } = gauge.convert(x, { to: "alpha", alpha: 32 }, { inexact: "anyway" });
    expect(recipe.clip).toEqual(x.clip);
    expect(deviations).toMatchObject([{ field: "clip" }]);
    const exact = gauge.convert(x, { to: "alpha", alpha: 32 }, { inexact: "rewrite" });
    expect(exact).toMatchObject({
      exact: true,
      bitwise: true,
      recipe: { clip: { weights: { A: 1, B: 0.5 } } },
    });
    const even = gauge.approximate(gauge.of({ a: 2, b: 2 }), x);
    expect(even).toMatchObject({ deviations: [], recipe: { clip: { maxNorm: 0.5, eps: 5e-7 } } });
  });
});

describe("a gauge for each layer", () => {
  const base = nn.mlp([5, 6, 3], { activation: (x) => x.tanh() });
  const recipe = {
    r: 2,
    alpha: 4,
    init: "random",
    optimizer: { name: "adamw", lr: 0.02, eps: 1e-4 },
    groups: { B: { lr: 0.05 } },
  } as const;
  const gauges = { fc1: gauge.onlyB(16), fc2: gauge.of({ a: 4, b: 1 / 2 }) };
  const [x, y] = [random.normal(random.key(1), [4, 5]), random.normal(random.key(2), [4, 3])];

  /** The losses of some steps, from parameters and from the state of an optimizer. */
  async function losses(layered: gauge.LayeredRecipe, start: nn.Params, from?: OptimizerState) {
    const pattern = gauge.alphaPattern(layered);
    const model = lora.inject(base, {
      ...layered.recipe,
      targetModules: "all-linear",
      ...(Object.keys(pattern).length > 0 && { alphaPattern: pattern }),
    });
    const optimizer = gauge.optimizerOfLayers(layered);
    const [trained, fixed] = lora.partition(start);
    let own = trained;
    let state = from ?? optimizer.init(own);
    const seen: number[] = [];
    for (let t = 0; t < 4; t++) {
      const [loss, gradients] = valueAndGrad((own: nn.Params) =>
        nn.mseLoss(model.apply(tree.combine<nn.Params>(fixed, own), x), y),
      )(own);
      const [updates, next] = optimizer.update(gradients, state, own);
      own = await tree.evaluate(applyUpdates(own, updates));
      state = await tree.evaluate(next);
      seen.push(await loss.item());
    }
    return { seen, params: tree.combine<nn.Params>(fixed, own), state };
  }

  const initialParams = () =>
    tree.evaluate(lora.inject(base, { ...recipe, targetModules: "all-linear" }).init(random.key(3)));

  const clips = cases<[string, gauge.Clip | undefined]>(
    [["the global norm", { kind: "globalNorm", maxNorm: 0.5 }]],
    [
      ["no clipping", undefined],
      ["each tensor's norm", { kind: "tensorNorm", maxNorm: 0.1 }],
      ["values", { kind: "value", maxValue: 0.01 }],
    ],
  );
  test.each(clips)("gives the same bits, also from the middle of a run: %s", async (_, clip) => {
    const clipped: gauge.Recipe = { ...recipe, ...(clip && { clip }) };
    const params = await initialParams();
    const plain = await losses({ recipe: clipped, layers: {} }, params);
    const partner = gauge.applyLayers(gauges, clipped);
    expect([partner.layers.fc1!.alpha, partner.layers.fc2!.alpha]).toEqual([64, 2]);
    const moved = await losses(partner, gauge.applyLayerParams(gauges, params));
    expect(moved.seen).toEqual(plain.seen);
    const further = await losses({ recipe: clipped, layers: {} }, plain.params, plain.state);
    const middle = await losses(
      partner,
      gauge.applyLayerParams(gauges, plain.params),
      gauge.applyLayerState(gauges, plain.state, clipped),
    );
    expect(middle.seen).toEqual(further.seen);
    const wrong = await losses({ recipe: clipped, layers: {} }, gauge.applyLayerParams(gauges, params));
    expect(wrong.seen).not.toEqual(plain.seen);
  });

  test("only layers of that very path", () => {
    const pattern = gauge.alphaPattern(gauge.applyLayers({ "a.fc1": gauge.onlyB(2) }, recipe));
    const [[key]] = Object.entries(pattern) as [[string, number]];
    const expression = new RegExp(`^(.*\\.)?(${key})$`);
    expect(["a.fc1", "b.a.fc1", "axfc1", "a.fc12"].map((path) => expression.test(path))).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });

  test("what is refused names the layer", async () => {
    const params = await initialParams();
    expect(() => gauge.applyLayerParams({ fc3: gauge.onlyB(2) }, params)).toThrow("of a layer fc3");
    expect(() => gauge.applyLayers({ fc1: gauge.onlyB(2 ** 140) }, recipe)).toThrow(
      /applyLayers: fc1: .*outside the normal range/,
    );
  });
});

describe("the range of powers of two", () => {
  const recipe = (optimizer: object) => unchecked({ r: 2, alpha: 4, optimizer });
  const seen = { min: 2 ** -10, max: 1 };
  const sizes: gauge.Magnitudes = {
    A: { parameter: seen, gradient: seen },
    B: { parameter: seen, gradient: seen },
  };

  test("squares of gradients leave first; SGD has none", () => {
    const adam = gauge.bitwiseRange(
      recipe({ name: "adam", lr: 2 ** -10, betas: [0.875, 1 - 2 ** -10] }),
      sizes,
      { room: 1 },
    );
    // B's gradients go by k: 2^-10 2^-20 k^2 >= 2^-126 and k^2 < 2^128. Its eps, about 2^-27, goes by k.
    expect(adam.exponents).toEqual([-48, 63]);
    expect(adam.limits).toMatchObject([
      { quantity: "gradient^2", role: "B", power: -2 },
      { quantity: "gradient^2", role: "B", power: -2 },
    ]);
    const sgd = gauge.bitwiseRange(recipe({ name: "sgd", lr: 2 ** -10 }), sizes, { room: 1 });
    expect(sgd.exponents).toEqual([-68, 58]); // lr of B, 2^-10 / k^2, leaves first
    expect(sgd.limits).toMatchObject([{ quantity: "lr" }, { quantity: "lr" }]);
    const wide = gauge.bitwiseRange(recipe({ name: "adam", lr: 2 ** -10 }), sizes, { dtype: "float64" });
    expect(wide.exponents![0]).toBeLessThan(-400);
  });

  test("factors in float16 leave its range long before squares of gradients leave that of float32", () => {
    const half = gauge.bitwiseRange(recipe({ name: "adam", lr: 2 ** -10 }), sizes, {
      dtype: "float16",
      room: 1,
    });
    // B's parameters go by 1 / k: 2^-10 / k >= 2^-14, and 1 / k < 2^16.
    expect(half.exponents).toEqual([-15, 4]);
    expect(half.limits).toMatchObject([
      { quantity: "parameter", role: "B", power: 1 },
      { quantity: "parameter", role: "B", power: 1 },
    ]);
    // @ts-expect-error no such range
    expect(() => gauge.bitwiseRange(recipe({ name: "adam", lr: 1 }), sizes, { dtype: "int32" })).toThrow(
      'gauge.bitwiseRange: dtype is "int32"; it is float16, bfloat16, float32 or float64.',
    );
  });

  test("the common gauge goes twice as far, in powers of four", () => {
    const x = recipe({ name: "adam", lr: 2 ** -10 });
    const [least, largest] = gauge.bitwiseRange(x, sizes, { gauge: "common" }).exponents!;
    expect([least % 2, largest % 2].map(Math.abs)).toEqual([0, 0]);
    expect(least).toBeLessThan(gauge.bitwiseRange(x, sizes).exponents![0]);
  });

  test("a run that is out of range itself has none", () => {
    const tiny = { A: { gradient: { min: 1e-30, max: 1 } } };
    expect(gauge.bitwiseRange(recipe({ name: "adam", lr: 1e-3 }), tiny)).toMatchObject({
      exponents: null,
      limits: [{ quantity: "gradient^2", role: "A" }, {}],
    });
  });

  const both = [
    { name: "sgd" },
    { name: "sgd", momentum: 0.9 },
    { name: "adam" },
    { name: "adamw", weightDecay: 0.25 },
    { name: "adamax" },
    { name: "nadam" },
    { name: "radam", lrUnrectified: 0.02 },
    { name: "rmsprop" },
    { name: "adagrad" },
    { name: "adadelta", lr: 1 },
    { name: "rprop", stepSizes: [2 ** -10, 1] },
    { name: "lion" },
    { name: "signSgd" },
    { name: "lamb" },
  ];
  test.each(both)("runs at both ends of it agree bit for bit: $name", async (form) => {
    const setting: Setting = {
      problem: problems["one layer, mean squared error"]!,
      dtype: "float32",
      seed: 7,
      steps: 6,
    };
    const losses = async (recipe: gauge.Recipe) => {
      const run = await train(setting, recipe, { params: await initial(setting, recipe), done: 0 });
      return { losses: run.steps.map((step) => step.get("loss")![0]!), end: run.end };
    };
    const x = unchecked({ r: 2, alpha: 4, optimizer: { lr: 0.02, ...form }, init: "random" });
    const own = await losses(x);
    const { params, state } = own.end;
    // What stands for gradients: first moments, or else the change of the parameters.
    const { m, velocity, last } = state as { readonly [slot: string]: unknown };
    const sizes = await gauge.magnitudes({ params, gradients: m ?? velocity ?? last ?? params, state });
    const [least, largest] = gauge.bitwiseRange(x, sizes).exponents!;
    expect(least).toBeLessThan(-10);
    expect(largest).toBeGreaterThan(10);
    for (const p of [least, largest]) {
      const { losses: other } = await losses(gauge.apply(gauge.onlyB(2 ** p), x));
      expect(other).toEqual(own.losses);
    }
  });
});

describe("grids of scalings", () => {
  const alphas = (text: string) =>
    gauge
      .gridCells(gauge.gridOfText(text))
      .map(({ recipe: { r, alpha, rsLora = false } }) => [r, alpha, rsLora]);
  const rest = "optimizer=sgd lr=0.1";

  test("a multiplier holds at every rank", () => {
    expect(alphas(`${rest} r=4,16 scaling=2`)).toEqual([
      [4, 8, false],
      [16, 32, false],
    ]);
    expect(alphas(`${rest} r=4,16 scaling=2 rsLora=true`)).toEqual([
      [4, 4, true],
      [16, 8, true],
    ]);
    expect(alphas(`${rest} scaling=0.5,1 r=8`)).toEqual([
      [8, 4, false],
      [8, 8, false],
    ]);
  });

  test("modes are values like others", () => {
    const text = `${rest} r=4 alpha=8 scaling=lora,rslora`;
    expect(alphas(text)).toEqual([
      [4, 8, false],
      [4, 8, true],
    ]);
    expect(gauge.gridCells(gauge.gridOfText(text))[1]!.at).toEqual({ scaling: "rslora" });
    expect(gauge.dedupe(gauge.gridOfText(`${rest} r=4,8 alpha=8 scaling=rslora`)).runs).toHaveLength(2);
  });

  test("what sets the multiplier twice is refused", () => {
    for (const [text, named] of [
      ["r=4,8 alpha=8 scaling=2", "alpha"],
      ["r=4 alpha=8,16 scaling=2", "alpha"],
      ["r=4 alpha=8 rsLora=true,false scaling=rslora", "rsLora"],
    ] as const)
      expect(() => gauge.dedupe(gauge.gridOfText(`${rest} ${text}`))).toThrow(
        `both scaling and ${named} are given`,
      );
    expect(() => gauge.dedupe(gauge.gridOfText(`${rest} r=4 scaling=1,-1`))).toThrow("vary.scaling has -1");
  });

  test("a field of one value does not vary", () => {
    const recipe = { r: 4, alpha: 8, optimizer: { name: "sgd", lr: 0.1 } } as const;
    const plan = gauge.dedupe({ recipe, vary: { alpha: [16], r: [4, 8] } });
    expect(plan.knobs.map(({ name }) => name)).toEqual(["r"]);
  });
});

describe("dedupe", () => {
  test("SGD over powers of two: alpha and ratio are one knob", () => {
    const recipe = { r: 8, alpha: 8, optimizer: { name: "sgd", lr: 0.25 } } as const;
    const plan = gauge.dedupe({ recipe, vary: { alpha: [8, 16, 32], ratio: [1, 4, 16] } });
    expect(plan.cells).toBe(9);
    expect(plan.runs.map(({ cells }) => cells)).toEqual([[0], [1, 3], [2, 4, 6], [5, 7], [8]]);
    expect(plan.dimensions).toBe(1);
    expect(plan.lines).toHaveLength(1);
    expect(plan.lines[0]!.groups).toEqual([0, 1, 2, 3, 4]);
    expect(plan.sweep.map(({ alpha }) => alpha)).toEqual([8, 8, 8, 8, 8]);
    expect(plan.sweep.map((each) => gauge.hyperOf(each as typeof recipe, "B").lr)).toEqual([
      0.25, 1, 4, 16, 64,
    ]);
    expect(plan.words).toContain(
      "alpha and ratio move the rates in one direction: one of them can do it all.",
    );
  });

  test("Adam: the same, up to eps; and four knobs of rates for two quantities (theorem 2)", () => {
    const recipe = { r: 8, alpha: 8, optimizer: { name: "adam", lr: 1e-3 } } as const;
    const vary = { alpha: [8, 16], "initScale.A": [1, 2], "optimizer.lr": [1e-3, 2e-3], ratio: [1, 2] };
    const plan = gauge.dedupe({ recipe, vary });
    expect(plan.cells).toBe(16);
    expect(plan.dimensions).toBe(2);
    // lr_A / sigma and s sigma lr_B, from k, sigma, lr and lambda each 1 or 2.
    const keys = new Set<string>();
    for (const k of [1, 2])
      for (const sigma of [1, 2])
        for (const lr of [1, 2])
          for (const lambda of [1, 2]) keys.add(`${lr / sigma} ${k * sigma * lr * lambda}`);
    expect(plan.groups).toHaveLength(keys.size);
    const bare = { ...recipe, optimizer: { ...recipe.optimizer, eps: 1e-300 } };
    expect(gauge.dedupe({ recipe: bare, vary: { ratio: [1, 2] } }).runs).toHaveLength(2);
  });

  test("cells are one run exactly if they are equivalent", () => {
    const fewPowers = fc.subarray([1, 2, 4, 8], { minLength: 1, maxLength: 3 });
    const lion = { r: 4, alpha: 4, optimizer: { name: "lion", lr: 1e-3, weightDecay: 0 } } as const;
    fc.assert(
      fc.property(fewPowers, fewPowers, fewPowers, (alpha, sigma, ratio) => {
        const plan = gauge.dedupe({ recipe: lion, vary: { alpha, "initScale.A": sigma, ratio } });
        expect(plan.runs.flatMap(({ cells }) => cells).sort((x, y) => x - y)).toEqual(
          Array.from({ length: plan.cells }, (_, i) => i),
        );
        plan.sweep.forEach((x, i) => {
          plan.sweep.forEach((y, j) => {
            expect(gauge.equivalent(x, y)).toBe(i === j);
          });
        });
      }),
      { numRuns: runs(30) },
    );
  });

  test("a field that no gauge moves moves something; directions that differ need both knobs", () => {
    const recipe = { r: 8, alpha: 8, optimizer: { name: "adam", lr: 1e-3 } } as const;
    const betas = gauge.dedupe({
      recipe,
      vary: {
        "optimizer.betas": [
          [0.9, 0.999],
          [0.9, 0.99],
        ],
      },
    });
    expect(betas.runs).toHaveLength(2);
    expect(betas.words).toContain("optimizer.betas moves betas.A.1, betas.B.1.");
    const schedule = [
      { kind: "warmupConstant", warmup: 0 },
      { kind: "warmupConstant", warmup: 8 },
      { kind: "constant" },
    ];
    const schedules = gauge.dedupe({ recipe, vary: { schedule } });
    expect(schedules.runs.map(({ cells }) => cells)).toEqual([[0, 2], [1]]);
    // The rate moves A and B alike, the initial A one up and one down.
    const two = gauge.dedupe({ recipe, vary: { "optimizer.lr": [1e-3, 2e-3], "initScale.A": [1, 2] } });
    expect(two.dimensions).toBe(2);
    expect(two.words.join()).not.toContain("one of them");
    const rate = gauge.dedupe({ recipe, vary: { "optimizer.lr": [1e-3, 2e-3, 4e-3] } });
    expect(rate.dimensions).toBe(1);
  });

  test("a list of recipes", () => {
    const x = adamw(16, 1e-3);
    const plan = gauge.dedupe([x, { ...x, alpha: 32 }, gauge.apply(gauge.common(4), x)]);
    expect(plan.runs.map(({ cells }) => cells)).toEqual([[0, 2], [1]]);
    expect(plan.knobs).toEqual([]);
  });

  test("what is refused", () => {
    const recipe = adamw(16, 1e-3);
    const many = Array.from({ length: 100 }, (_, i) => i + 1);
    expect(() => gauge.dedupe({ recipe, vary: { alpha: many, ratio: many } })).toThrow(
      "the grid has 10000 cells; at most 4096 are taken",
    );
    expect(() => gauge.dedupe([])).toThrow("the grid has no cells");
    expect(() => gauge.dedupe({ recipe, vary: { alpha: [] } })).toThrow("vary.alpha is []; it is a list");
    expect(() => gauge.dedupe({ recipe, vary: { "optimizer.lt": [1] } })).toThrow(
      "gauge.dedupe: cell 0: optimizer has the unknown field lt",
    );
    expect(() => gauge.dedupe({ recipe, vary: { alpha: [1, -1] } })).toThrow(
      "gauge.dedupe: cell 1: alpha is -1",
    );
    expect(() => gauge.dedupe({ recipe, vary: { "r.x": [1] } })).toThrow("leads into 8");
    expect(() => gauge.dedupe({ recipe, vary: { ratio: [1], "groups.B.lr": [1] } })).toThrow(
      "both ratio and",
    );
  });
});

describe("bad recipes", () => {
  const good = { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } };
  test.each<[object | null, string]>([
    [null, "the recipe is null"],
    [{}, "r is missing; it is an integer >= 1"],
    [{ ...good, r: 1.5 }, "r is 1.5"],
    [{ r: 8, optimizer: good.optimizer }, "alpha is missing; it is a finite number > 0"],
    [{ ...good, alpha: -16 }, "alpha is -16"],
    [{ ...good, alpha: Number.NaN }, "alpha is NaN"],
    [{ ...good, alpha: "16" }, 'alpha is "16"'],
    [{ ...good, alpah: 3 }, "the unknown field alpah. Fields are r, alpha"],
    [{ ...good, dropout: 1 }, "dropout is 1"],
    [{ ...good, init: "zero" }, 'init is "zero"; it is "standard"'],
    [{ ...good, initScale: { A: 0 } }, "initScale.A is 0"],
    [{ ...good, initScale: { B: 2 } }, 'initScale.B is 2, but init "standard" starts B at zero'],
    [{ ...good, rsLora: "yes" }, 'rsLora is "yes"'],
    [{ ...good, optimizer: undefined }, "optimizer is missing"],
    [
      { ...good, optimizer: { name: "scaledSgd", lr: 1 }, dora: true },
      'optimizer.name is "scaledSgd", which updates A and B together and nothing else, but trained are A, B, magnitude',
    ],
    [{ ...good, optimizer: { name: "loraMuon", lr: 1 }, trained: ["B"] }, "Set trained to A and B"],
    [{ ...good, optimizer: { name: "loraRite", lr: 1, reg: -1 } }, "loraRite: reg is -1"],
    [{ ...good, optimizer: { name: "adamw", lr: 1, reg: 1 } }, "optimizer has the unknown field reg"],
    [{ ...good, optimizer: { name: "adamv", lr: 1 } }, 'optimizer.name is "adamv"; it is "sgd", "adam"'],
    [{ ...good, optimizer: { name: "adamw" } }, "lr is missing"],
    [{ ...good, optimizer: { name: "adamw", lr: Infinity } }, "lr is Infinity"],
    [{ ...good, optimizer: { name: "adamw", lr: 1, esp: 1 } }, "optimizer has the unknown field esp"],
    [{ ...good, optimizer: { name: "sgd", lr: 1, nesterov: true } }, "nesterov needs momentum > 0"],
    [{ ...good, groups: { C: {} } }, "groups has the unknown field C"],
    [{ ...good, groups: { B: { lr: -1 } } }, "groups.B: adamw: lr is -1"],
    [{ ...good, groups: { base: { lr: 1 } } }, "groups.base is given, but base is not trained"],
    [{ ...good, trained: ["A", "A"] }, "names each at most once"],
    [{ ...good, trained: [] }, "trained is []"],
    [{ ...good, trained: ["A", "magnitude"] }, "dora is not true"],
    [{ ...good, dora: true, adapts: ["embedding"] }, "DoRA adapts linear, conv1d"],
    [{ ...good, branchBias: true, adapts: ["embedding"] }, "a branch bias adapts linear, conv1d"],
    [{ ...good, dora: true, branchBias: true }, "two kinds of adapters"],
    [{ ...good, r: 7, init: "orthogonal" }, "r is even"],
    [{ ...good, trained: ["branchBias"] }, "branchBias is not true"],
    [{ ...good, clip: { kind: "norm" } }, 'clip.kind is "norm"'],
    [{ ...good, clip: { kind: "globalNorm" } }, "clip.maxNorm is missing"],
    [{ ...good, clip: { kind: "value", maxValue: { A: 1 } } }, "clip.maxValue.B is missing"],
    [
      { ...good, clip: { kind: "globalNorm", maxNorm: 1, maxValue: 1 } },
      "clip has the unknown field maxValue",
    ],
  ])("%j", (recipe, message) => {
    expect(() => gauge.checkRecipe(recipe)).toThrow(message);
    expect(() => gauge.canonical(recipe as gauge.Recipe)).toThrow(message);
  });

  test("bad targets", () => {
    const x = adamw(16, 1e-3);
    const to = (target: object) => () => gauge.convert(x, target as gauge.Target);
    expect(to({ to: "moon" })).toThrow('to is "moon"');
    expect(to({ to: "library", library: "keras" })).toThrow('library is "keras"; it is one of loralib');
    expect(to({ to: "alpha", alpha: -1 })).toThrow("alpha is -1");
    expect(to({ to: "alpha", alpha: 32, gauge: "c" })).toThrow("gauge is c");
    expect(to({ to: "alpha", alpha: 1e300 })).toThrow("outside the normal range of float32");
    expect(to({ to: "gauge", a: 1e-200, b: 1e-200 })).toThrow("positive and finite");
    expect(to({ to: "gauge", a: 0, b: 1 })).toThrow("gauge.of");
    expect(to({ to: "loraPlus", ratio: 0 })).toThrow("ratio is 0");
    expect(to({ to: "loraPlus", ratio: 2, alpha: 8 })).toThrow("each follows from the other");
    expect(to({ to: "commonRate", alpha: 8 })).toThrow('use by: "initScale"');
    const lamb = { r: 8, alpha: 16, optimizer: { name: "lamb", lr: 1 }, groups: { B: { lr: 2 } } } as const;
    expect(() => gauge.convert(lamb, { to: "commonRate" })).toThrow(
      "no gauge changes the ratio of the learning rates of lamb, 1 for A and 2 for B",
    );
    const tied = { ...lamb, groups: {} };
    expect(() => gauge.convert(tied, { to: "loraPlus", ratio: 4 })).toThrow("which is 1, so it cannot be 4");
    expect(() => gauge.explain(x, x, { tolerance: -1 })).toThrow("tolerance is -1");
  });
});
