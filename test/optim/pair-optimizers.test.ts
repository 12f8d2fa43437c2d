import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import { compile, init, random, type Tensor, tensor, tree, valueAndGrad } from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { inverseFactor, inverseRoot, orthogonalised } from "../../src/optim/small-matrix.ts";
import { describeComposed } from "../devices.ts";
import { long } from "../long.ts";
import { cases, everyNth, thorough } from "../thorough.ts";

// Optimizers of both factors of a layer: their formulas on small numbers, their exact laws, and what they follow.

const wide = (rows: number[][]): Tensor => tensor(rows, { dtype: "float64" });
const rows = async (x: Tensor): Promise<number[][]> => {
  const [values, width] = [[...(await x.data())], x.shape[1]!];
  return Array.from({ length: x.shape[0]! }, (_, i) => values.slice(i * width, (i + 1) * width));
};

beforeAll(async () => {
  await init({ backend: "cpu" });
});

describe("small matrices", () => {
  const s = wide([
    [4, 2, 0.4],
    [2, 3, 0.5],
    [0.4, 0.5, 2],
  ]);

  test("the inverse factor whitens", async () => {
    const half = inverseFactor(s);
    const one = await rows(half.matmul(s).matmul(half.transpose()));
    one.forEach((row, i) => {
      row.forEach((x, j) => {
        expect(x).toBeCloseTo(i === j ? 1 : 0, 14);
      });
    });
    const lower = await rows(half);
    expect([lower[0]![1], lower[0]![2], lower[1]![2]]).toEqual([0, 0, 0]);
    // 4 = 2^2: L^-1 of 16 S is that of S over 4, to the last bit.
    expect(await rows(inverseFactor(s.mul(16)).mul(4))).toEqual(lower);
  });

  test("the inverse root", async () => {
    const root = inverseRoot(s);
    const one = await rows(root.matmul(s).matmul(root));
    one.forEach((row, i) => {
      row.forEach((x, j) => {
        expect(x).toBeCloseTo(i === j ? 1 : 0, 12);
      });
    });
    const spread = wide([
      [1, 0],
      [0, 1e-7],
    ]);
    expect((await rows(inverseRoot(spread)))[1]![1]).toBeCloseTo(1e7 ** 0.5, 6);
  });

  test("orthogonalised: singular values near 1, tall and wide alike, and 0 stays 0", async () => {
    const x = random.normal(random.key(3), [3, 7]).astype("float64");
    const y = await rows(orthogonalised(x));
    const turned = await rows(orthogonalised(x.transpose()).transpose());
    for (const [i, row] of y.entries()) {
      for (const [j, value] of row.entries()) expect(turned[i]![j]).toBeCloseTo(value, 12);
      const length = Math.hypot(...row);
      expect(length).toBeGreaterThan(0.5);
      expect(length).toBeLessThan(1.3);
    }
    expect((await rows(orthogonalised(wide([[0, 0]]))))[0]).toEqual([0, 0]);
  });
});

describe("formulas", () => {
  const A = wide([[1, 2]]);
  const B = wide([[3], [1], [0]]);
  const [gA, gB] = [wide([[0.5, -1]]), wide([[1], [2], [-2]])];
  const params = { loraA: A, loraB: B };
  const once = async (optimizer: optim.Optimizer) => {
    const [updates] = optimizer.update({ loraA: gA, loraB: gB }, optimizer.init(params), params);
    return [...(await updates.loraA.data()), ...(await updates.loraB.data())];
  };
  const close = (found: number[], expected: number[], digits = 13) => {
    expect(found).toHaveLength(expected.length);
    found.forEach((x, i) => {
      expect(x).toBeCloseTo(expected[i]!, digits);
    });
  };

  // r = 1: B^T B = 10, A A^T = 5.
  test("scaled descent divides by the Gram matrix of the other factor", async () => {
    close(await once(optim.scaledSgd({ lr: 0.1, reg: 0.5 })), [
      (-0.1 * 0.5) / 10.5,
      (0.1 * 1) / 10.5,
      -0.1 / 5.5,
      -0.2 / 5.5,
      0.2 / 5.5,
    ]);
  });

  test("scaled AdamW takes the divided gradient", async () => {
    const g = [0.5 / 10.5, -1 / 10.5, 1 / 5.5, 2 / 5.5, -2 / 5.5];
    const start = [1, 2, 3, 1, 0];
    close(
      await once(optim.scaledAdamw({ lr: 0.1, reg: 0.5, eps: 0.01, weightDecay: 0.2 })),
      g.map((x, i) => (-0.1 * x) / (Math.abs(x) + 0.01) - 0.02 * start[i]!),
    );
  });

  test("LoRA-RITE in its first update: the gradient in the basis of the other factor, over its root mean square", async () => {
    const found = await once(optim.loraRite({ lr: 0.1, reg: 0, eps: 0 }));
    // r = 1: L^-1 g / rms(L^-1 g), over L again.
    const a = [0.5, -1].map((x) => (-0.1 * x) / Math.sqrt((0.25 + 1) / 2) / Math.sqrt(10));
    const b = [1, 2, -2].map((x) => (-0.1 * x) / Math.sqrt(9 / 3) / Math.sqrt(5));
    close(found, [...a, ...b], 10);
  });

  test("LoRA-Muon: half a step for each factor, of the length of the other's inverse", async () => {
    const found = await once(optim.loraMuon({ lr: 0.1, reg: 0, momentum: 0 }));
    // For one row the iteration is a polynomial of its length, 1: five times 3.4445 x - 4.775 x^3 + 2.0315 x^5.
    let s = 1;
    for (let i = 0; i < 5; i++) s = 3.4445 * s - 4.775 * s ** 3 + 2.0315 * s ** 5;
    const a = [0.5, -1].map((x) => (-0.05 * s * x) / Math.sqrt(1.25) / Math.sqrt(10));
    const b = [1, 2, -2].map((x) => (-0.05 * s * x) / 3 / Math.sqrt(5));
    close(found, [...a, ...b]);
    const decayed = await once(optim.loraMuon({ lr: 0.1, reg: 0, momentum: 0, weightDecay: 2 }));
    const k = Math.sqrt(0.8);
    close(
      decayed,
      [...a, ...b].map((x, i) => x / k + (k - 1) * [1, 2, 3, 1, 0][i]!),
    );
  });

  test("from B = 0 the first update is finite and moves B only", async () => {
    const zero = { loraA: A, loraB: wide([[0], [0], [0]]) };
    for (const name of ["scaledSgd", "scaledAdamw", "loraRite", "loraMuon"] as const) {
      const optimizer = optim.make({ name, lr: 0.1 });
      const gradients = { loraA: wide([[0, 0]]), loraB: gB };
      let state = optimizer.init(zero);
      let params = zero;
      for (let t = 0; t < 3; t++) {
        const [updates, next] = optimizer.update(gradients, state, params);
        [params, state] = [optim.applyUpdates(params, updates), next];
        expect([...(await params.loraB.data())].every((x) => Number.isFinite(x) && x !== 0)).toBe(true);
      }
      expect([...(await params.loraA.data())]).toEqual(
        name === "scaledAdamw"
          ? [1 - 0, 2].map((x) => x * (1 - 0.1 * 0.01) ** 3).map((x) => expect.closeTo(x, 12))
          : [1, 2],
      );
    }
  });

  test("says what it cannot take", () => {
    const optimizer = optim.scaledSgd({ lr: 0.1 });
    expect(() => optimizer.init({ weight: A })).toThrow(/scaledSgd: weight is no factor of a pair/);
    expect(() => optimizer.init({ q: { loraA: A } })).toThrow(/no q.loraB beside q.loraA/);
    expect(() => optimizer.init({ loraA: A, loraB: A })).toThrow(/loraA is \[r, in\] and loraB \[out, r\]/);
    expect(() => optim.loraMuon({ lr: 2, weightDecay: 0.5 })).toThrow(/lr \* weightDecay is 1/);
    expect(() => optim.make({ name: "loraRite", lr: 0.1, reg: -1 })).toThrow("loraRite: reg is -1");
  });
});

const sizes = { r: 3, in: 7, out: 5 };
const model = lora.inject(nn.linear(sizes.in, sizes.out), {
  r: sizes.r,
  alpha: 6,
  init: "random",
  targetModules: "all-linear",
});
const data = (dtype: "float32" | "float64") => {
  const normal = (name: string, shape: number[]): Tensor =>
    random.normal(random.key(11).fold(name), shape).astype(dtype) as Tensor;
  const params = tree.map(model.init(random.key(5)), (leaf) => leaf.astype(dtype));
  return { x: normal("x", [9, sizes.in]), y: normal("y", [9, sizes.out]), params };
};

/** Trains the two factors of a layer with a scaling of its own. */
async function train(
  optimizer: optim.Optimizer,
  { x, y }: { readonly x: Tensor; readonly y: Tensor },
  from: nn.Params,
  scaling: number,
  steps: number,
) {
  const { weight, loraA, loraB } = from as Record<string, Tensor>;
  type Pair = { readonly loraA: Tensor; readonly loraB: Tensor };
  const step = compile((own: Pair, state: optim.OptimizerState, s: Tensor<"number">) => {
    const [value, gradients] = valueAndGrad((p: Pair) => {
      const branch = x.matmul(p.loraA.transpose()).matmul(p.loraB.transpose());
      return nn.mseLoss(x.matmul(weight!.transpose()).add(branch.mul(s)), y);
    })(own);
    const [updates, next] = optimizer.update(gradients, state, own);
    return { params: optim.applyUpdates(own, updates), state: next, value };
  });
  let params: Pair = { loraA: loraA!, loraB: loraB! };
  let state = optimizer.init(params);
  const losses: number[] = [];
  for (let t = 0; t < steps; t++) {
    const after = await step(params, state, scaling);
    ({ params, state } = after);
    losses.push(await after.value.item());
  }
  return { losses, params };
}

const configs: readonly optim.PairOptimizerConfig[] = [
  { name: "scaledSgd", lr: 0.05, reg: 0.1, momentum: 0.9, weightDecay: 0.01 },
  { name: "scaledAdamw", lr: 0.02, reg: 0.1, eps: 1e-3, weightDecay: 0.1 },
  { name: "loraRite", lr: 0.02, reg: 0.1, eps: 1e-4, weightDecay: 0.1 },
  { name: "loraMuon", lr: 0.02, reg: 0.1, weightDecay: 0.1 },
];
const made = (config: optim.PairOptimizerConfig): optim.Optimizer =>
  optim.make(config as { name: "scaledSgd"; lr: number });

/** The config under a gauge, as the recipe that has it is moved. */
function moved(g: gauge.Gauge, { name, ...hyper }: optim.PairOptimizerConfig): optim.PairOptimizerConfig {
  const recipe = { r: 3, alpha: 6, init: "random", optimizer: { name, ...hyper } } as gauge.Recipe;
  const { A, B } = gauge.apply(g, recipe).groups!;
  const groups = [
    { match: "loraA", ...A },
    { match: "loraB", ...B },
  ];
  return { name, ...hyper, groups } as unknown as optim.PairOptimizerConfig;
}

describe("exact laws of the scalar gauge", () => {
  test.each(configs.map((config) => [config.name, config] as const))("%s", async (name, config) => {
    for (const [dtype, a, b, tolerance] of [
      ["float64", 0.37, 1.9, 1e-11],
      ["float32", 1 / 4, 8, 0],
    ] as const) {
      const steps = thorough ? 30 : 8;
      const { params, ...task } = data(dtype);
      const g = gauge.of({ a, b });
      const one = await train(made(config), task, params, 2, steps);
      const partner = made(moved(g, config));
      const other = await train(partner, task, gauge.applyParams(g, params), 2 * g.k, steps);
      const errors = one.losses.map((loss, i) => Math.abs(other.losses[i]! - loss) / loss);
      expect(Math.max(...errors), `${name} in ${dtype}`).toBeLessThanOrEqual(tolerance);
      if (tolerance > 0) continue;
      const [mixed, found] = [await one.params.loraA.mul(a).data(), await other.params.loraA.data()];
      expect(found).toEqual(mixed);
    }
  });

  test("one number left unscaled breaks it: each matters", async () => {
    const { params, ...task } = data("float64");
    const g = gauge.of({ a: 0.37, b: 1.9 });
    for (const config of everyNth(3, configs)) {
      const one = await train(made(config), task, params, 2, 12);
      const partner = moved(g, config);
      for (const key of Object.keys(config).filter((key) => !["name", "momentum"].includes(key))) {
        const groups = partner.groups!.map((group) => ({ ...group, [key]: config[key as "lr"] }));
        const wrong = await train(
          made({ ...partner, groups } as optim.PairOptimizerConfig),
          task,
          gauge.applyParams(g, params),
          2 * g.k,
          12,
        );
        const error = Math.max(...one.losses.map((loss, i) => Math.abs(wrong.losses[i]! - loss) / loss));
        expect(error, `${config.name} ${key}`).toBeGreaterThan(1e-6);
      }
    }
  });
});

describe("recipes", () => {
  const recipeOf = (optimizer: object, rest: object = {}) =>
    ({ r: 3, alpha: 6, init: "random", optimizer, ...rest }) as unknown as gauge.Recipe;
  const task = { ...data("float32"), steps: 12 };
  /** A run by a recipe, which may start in the middle of another one. */
  async function lossesOf(recipe: gauge.Recipe, from = task.params, steps = task.steps) {
    const optimizer = gauge.optimizerOf(recipe);
    return train(optimizer, task, from, recipe.alpha / recipe.r, steps);
  }

  test.each(everyNth(3, configs).map((config) => [config.name, config] as const))(
    "%s: explain says what training shows",
    async (name, config) => {
      const x = recipeOf(config);
      const g = gauge.of({ a: 1 / 4, b: 8 });
      const partner = gauge.apply(g, x);
      expect(gauge.explain(x, partner)).toMatchObject({ exact: true, bitwise: true, gauge: g });
      const own = await lossesOf(x);
      expect((await lossesOf(partner, gauge.applyParams(g, task.params))).losses).toEqual(own.losses);
      // Each number of each factor counts.
      for (const role of cases<"A" | "B">(["B"], ["A"])) {
        for (const [field, value] of Object.entries(config)) {
          if (typeof value !== "number") continue;
          const other = recipeOf(config, { groups: { [role]: { [field]: value * 0.75 } } });
          expect(gauge.equivalent(x, other), `${name} ${field} of ${role}`).toBe(false);
          expect((await lossesOf(other)).losses).not.toEqual(own.losses);
        }
      }
      // A frozen factor has no other numbers.
      const frozen = (reg: number) => recipeOf(config, { groups: { A: { lr: 0, reg } } });
      expect(gauge.explain(frozen(0.5), frozen(2))).toMatchObject({ exact: true, bitwise: true });
      expect((await lossesOf(frozen(0.5))).losses).toEqual((await lossesOf(frozen(2))).losses);
    },
  );

  test("the state moves along in the middle of a run", async () => {
    for (const config of everyNth(3, configs)) {
      const x = recipeOf(config);
      const g = gauge.of({ a: 4, b: 1 / 2 });
      const { loraA, loraB } = task.params as Record<"loraA" | "loraB", Tensor>;
      const moved = (tree: { loraA: Tensor; loraB: Tensor }) => gauge.applyParams(g, tree);
      const gradients = { loraA: loraA.mul(0.1), loraB: loraB.square() };
      const params = { loraA, loraB };
      const own = gauge.optimizerOf(x);
      const other = gauge.optimizerOf(gauge.apply(g, x));
      // Compiled: the two run one program.
      const compiled = ({ update }: optim.Optimizer) =>
        compile((of: typeof params, state: optim.OptimizerState, at: typeof params) => {
          const [change, next] = update(of, state, at);
          return { change, next };
        });
      const step = compiled(own);
      const { next: after } = await step(gradients, own.init(params), params);
      const { change } = await step(gradients, after, params);
      const { change: partner } = await compiled(other)(
        gauge.applyGradients(g, gradients),
        gauge.applyState(g, after, config),
        moved(params),
      );
      const expected = moved(change);
      for (const side of ["loraA", "loraB"] as const)
        expect(await partner[side].data()).toEqual(await expected[side].data());
    }
  });

  test("what does not hold for pairs is refused", () => {
    const x = recipeOf({ name: "scaledSgd", lr: 0.1, reg: 0 }, { init: "standard" });
    expect(() => gauge.apply(gauge.onlyB(4), x)).toThrow(
      "reg of A is 0 and B starts at zero, so that scaledSgd divides 0 by 0",
    );
    expect(() => gauge.bitwiseRange(x, {})).toThrow("the optimizer is scaledSgd, whose Gram matrices");
    const turn = gauge.matrix([
      [0.6, -0.8, 0],
      [0.8, 0.6, 0],
      [0, 0, 1],
    ]);
    const shear = gauge.matrix([
      [1, 2, 0],
      [0, 1, 0],
      [0, 0, 1],
    ]);
    expect(gauge.matrixRefusal(shear, x)).toBeUndefined();
    const damped = recipeOf({ name: "scaledSgd", lr: 0.1, reg: 0 }, { groups: { B: { reg: 1 } } });
    expect(gauge.matrixRefusal(turn, damped)).toBeUndefined();
    expect(gauge.matrixRefusal(shear, damped)).toMatch(/scaledSgd with a positive reg/);
  });
});

const invertible = fc
  .array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 9, maxLength: 9 })
  // Diagonally dominant: far from singular.
  .map((x) => [0, 1, 2].map((i) => [0, 1, 2].map((j) => (i === j ? 3 : 0) + x[3 * i + j]!)));

describe("matrix gauges", () => {
  const deviation = async (config: optim.PairOptimizerConfig, g: gauge.MatrixGauge, steps = 20) => {
    const { params, ...task } = data("float64");
    const one = await train(made(config), task, params, 2, steps);
    const other = await train(made(config), task, gauge.applyMatrix(g, params), 2, steps);
    const errors = one.losses.map((loss, i) => Math.abs(other.losses[i]! - loss) / loss);
    const mixed = await gauge.applyMatrix(g, { loraA: one.params.loraA, loraB: one.params.loraB });
    const off = await mixed.loraA.sub(other.params.loraA).abs().amax().div(mixed.loraA.abs().amax()).item();
    return Math.max(...errors, off);
  };
  const followers: readonly optim.PairOptimizerConfig[] = [
    { name: "scaledSgd", lr: 0.05, reg: 0, momentum: 0.9 },
    { name: "loraRite", lr: 0.02, reg: 0, eps: 1e-6 },
    { name: "loraMuon", lr: 0.02, reg: 0, weightDecay: 0.1 },
  ];

  test.each(followers.map((config) => [config.name, config] as const))(
    "%s follows any invertible M",
    async (_, config) => {
      await fc.assert(
        fc.asyncProperty(invertible, async (rows) => {
          const g = gauge.matrix(rows);
          expect(gauge.matrixRefusal(g, config)).toBeUndefined();
          expect(await deviation(config, g)).toBeLessThan(1e-8);
        }),
        { numRuns: 4 },
      );
    },
  );

  test("rescaled factors: LoRA-Muon and LoRA-RITE take the same path, AdamW and scaled AdamW do not", async () => {
    const multiple = (c: number) =>
      gauge.matrix([0, 1, 2].map((i) => [0, 1, 2].map((j) => (i === j ? c : 0))));
    for (const c of [3, 9, 27]) {
      expect(await deviation({ name: "loraMuon", lr: 0.02, reg: 0 }, multiple(c))).toBeLessThan(1e-10);
      expect(await deviation({ name: "loraRite", lr: 0.02, reg: 0, eps: 1e-6 }, multiple(c))).toBeLessThan(
        1e-10,
      );
      expect(await deviation({ name: "scaledAdamw", lr: 0.02, reg: 0 }, multiple(c))).toBeGreaterThan(1e-3);
    }
    const { params, ...task } = data("float64");
    const one = await train(optim.adamw({ lr: 0.02 }), task, params, 2, 20);
    const other = await train(optim.adamw({ lr: 0.02 }), task, gauge.applyMatrix(multiple(9), params), 2, 20);
    expect(Math.abs(other.losses.at(-1)! / one.losses.at(-1)! - 1)).toBeGreaterThan(1e-2);
  });

  long("a positive reg follows rotations only, and scaled AdamW signed permutations", async () => {
    const shear = gauge.matrix([
      [1, 0.5, 0],
      [0, 1, 0],
      [0, 0, 1],
    ]);
    const turn = gauge.matrix([
      [0.6, -0.8, 0],
      [0.8, 0.6, 0],
      [0, 0, 1],
    ]);
    const swap = gauge.matrix([
      [0, -1, 0],
      [1, 0, 0],
      [0, 0, 1],
    ]);
    for (const config of configs) {
      expect(await deviation(config, swap)).toBeLessThan(1e-9);
      expect(gauge.matrixRefusal(swap, config)).toBeUndefined();
      expect(await deviation(config, shear)).toBeGreaterThan(1e-5);
      expect(gauge.matrixRefusal(shear, config)).toMatch(
        new RegExp(`${config.name}.*(reg|signed permutations)`),
      );
      const turned = await deviation(config, turn);
      if (config.name === "scaledAdamw") expect(turned).toBeGreaterThan(1e-5);
      else expect(turned).toBeLessThan(1e-9);
      expect(gauge.matrixRefusal(turn, config) === undefined).toBe(config.name !== "scaledAdamw");
    }
  });
});

describeComposed("the law to the last bit, and one result", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  test.each(configs.map((config) => [config.name, config] as const))("%s", async (_, config) => {
    const { params, ...task } = data("float32");
    const g = gauge.of({ a: 1 / 4, b: 8 });
    const one = await train(made(config), task, params, 2, 4);
    const other = await train(made(moved(g, config)), task, gauge.applyParams(g, params), 2 * g.k, 4);
    expect(other.losses).toEqual(one.losses);
    // In float64 on the reference evaluator's side: the same losses up to float32.
    if (backend === "cpu") return;
    await init({ backend: "cpu" });
    const { params: wideParams, ...wideTask } = data("float64");
    const exact = await train(made(config), wideTask, wideParams, 2, 4);
    await init({ backend });
    one.losses.forEach((loss, i) => {
      expect(loss / exact.losses[i]!).toBeCloseTo(1, 4);
    });
  });
});

describe("found by experiment", () => {
  type Own = Readonly<Record<string, number>>;
  const few = { updates: 3, horizon: 4, shapes: [[2, 3]] };
  // The others take longer: test/gauge/zoo.long.test.ts.
  test.each(everyNth(2, configs.slice(0, 2)).map((config) => [config.name, config] as const))(
    "%s, with numbers of its own for each factor",
    async (name, config) => {
      const { name: _, momentum: __, ...hyper } = config as unknown as { momentum?: number } & Own; // its options are numbers
      const make = ({ A, B }: { A: Own; B: Own }) =>
        made({ ...config, ...A, groups: [{ match: "loraB", ...B }] } as optim.PairOptimizerConfig);
      const { scaling } = optim.pairRules[name] as unknown as { scaling: optim.PairScaling<object> };
      const { own, partner } = scaling.hyper(made(config).defaults as object) as { own: Own; partner: Own };
      const both = { A: hyper, B: hyper };
      const found = await gauge.discoverSymmetry(make, { hyper: both, pair: "A", ...few });
      if (!found.exists) throw new Error(found.text);
      for (const key of Object.keys(hyper)) {
        expect(found.hyper[`A.${key}`], `A ${key}`).toBe(own[key] ?? 0);
        expect(found.hyper[`B.${key}`], `B ${key}`).toBe(partner[key] ?? 0);
      }
      expect(found.bitwise).toBe(true);
    },
  );

  long("one reg for both factors is exact for no c", async () => {
    const make = (own: Own) => optim.scaledSgd({ lr: 0.1, ...own });
    const found = await gauge.discoverSymmetry(make, { hyper: { lr: 0.1, reg: 0.1 }, pair: "B", ...few });
    expect(found.exists).toBe(false);
  });
});
