import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { long } from "../long.ts";
import { unchecked } from "../random-recipes.ts";
import { convertedToTarget, itselfInDisguise, otherByRate } from "../recipe-runs.ts";
import { thorough } from "../thorough.ts";
import { apart, losses } from "../tiny.ts";

// Equality of runs: what explain says of two recipes is what training them shows.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const of = (optimizer: object, rest: object = {}) => unchecked({ r: 2, alpha: 4, optimizer, ...rest });

/** A decay in the gradient, and one beside it with the momentum that makes up for it. */
const coupled = { name: "sgd", lr: 0.125, momentum: 0.75, dampening: 0.8, weightDecay: 0.5 };
const decoupled = { ...coupled, momentum: 0.8, decoupledWeightDecay: true };

/** That explain calls them one run, and training too; with `bits` to the last bit. */
async function expectOne(x: gauge.Recipe, y: gauge.Recipe, bits: boolean): Promise<void> {
  const result = gauge.explain(x, y);
  expect(result.words.join("\n")).toContain("are the same run");
  expect(result).toMatchObject({ exact: true, relation: "same", bitwise: bits });
  expect(gauge.explain(y, x)).toMatchObject({ exact: true, bitwise: bits });
  expect(gauge.dedupe([x, y]).runs).toHaveLength(1);
  const [one, other] = [await losses(x), await losses(y)];
  if (bits) expect(other).toEqual(one);
  else expect(apart(one, other)).toBeLessThan(1e-4);
}

describe("one run written in two ways", () => {
  const lr = 0.02;
  test.each<[string, gauge.Recipe, gauge.Recipe]>([
    [
      "a default",
      of({ name: "adamw", lr }),
      of({ name: "adamw", lr, decayTimesLr: true, amsgrad: false, eps: 1e-8 }),
    ],
    ["decay 0", of({ name: "adam", lr }), of({ name: "adamw", lr, weightDecay: 0, decayTimesLr: false })],
    ["decay 0 in SGD", of({ name: "sgd", lr }), of({ name: "sgd", lr, decoupledWeightDecay: true })],
    ["dampening without momentum", of({ name: "sgd", lr }), of({ name: "sgd", lr, dampening: 0.5 })],
    [
      "an eps that both forms of Adadelta replace",
      of({ name: "adadelta", lr, eps: 1e-3 }),
      of({ name: "adadelta", lr, eps: 7, epsGradient: 1e-3, epsUpdate: 1e-3 }),
    ],
    [
      "one average for both of Lion's",
      of({ name: "lion", lr, betas: [0.9, 0.9] }),
      of({ name: "signSgd", lr }),
    ],
    [
      "a correction of averages that forget at once",
      of({ name: "adam", lr, betas: [0, 0] }),
      of({ name: "adam", lr, betas: [0, 0], biasCorrection: false }),
    ],
    [
      "NAdam without momentum",
      of({ name: "adam", lr, betas: [0, 0.9], eps: 1e-3 }),
      of({ name: "nadam", lr, betas: [0, 0.9], eps: 1e-3, momentumDecay: 0.1 }),
    ],
    [
      "an average that Lion does not look at",
      of({ name: "lion", lr, betas: [0, 0.9] }),
      of({ name: "signSgd", lr, momentum: 0 }),
    ],
    [
      "a step that Rprop moves into its bounds",
      of({ name: "rprop", lr: 1e-9, stepSizes: [1e-3, 1] }),
      of({ name: "rprop", lr: 1e-3, stepSizes: [1e-3, 1] }),
    ],
    [
      "clipping before signs",
      of({ name: "rprop", lr }, { clip: { kind: "globalNorm", maxNorm: 1e-3 } }),
      of({ name: "rprop", lr }),
    ],
    [
      "RAdam that never waits to the end",
      of({ name: "radam", lr, betas: [0.9, 0.5] }),
      of({ name: "radam", lr: 5, lrUnrectified: lr, betas: [0.9, 0.6], eps: 1 }),
    ],
    [
      "RAdam that waits for ever, without momentum",
      of({ name: "radam", lr, betas: [0, 0.5], weightDecay: 0.25 }),
      of({ name: "sgd", lr, weightDecay: 0.25 }),
    ],
    [
      "RAdam whose rate is 0 after the same number of updates",
      of({ name: "radam", lr: 0, lrUnrectified: lr, betas: [0.5, 0.9], eps: 1e-3 }),
      of({ name: "radam", lr: 0, lrUnrectified: lr, betas: [0.5, 0.91], eps: 1e-8 }),
    ],
    [
      "a step of Rprop that stays 0",
      of({ name: "rprop", lr: 0, stepSizes: [0, 1] }),
      of({ name: "sgd", lr: 0 }),
    ],
    [
      "a cycle without heights",
      of(
        { name: "sgd", lr },
        { schedule: { kind: "oneCycle", totalSteps: 9, divFactor: 1, finalDivFactor: 1 } },
      ),
      of({ name: "sgd", lr }, { schedule: { kind: "cosineRestarts", period: 1, etaMinFraction: 0.5 } }),
    ],
    [
      "all numbers, where steps are a share of a matrix that is 0",
      of({ name: "adafactor", lr, epsParameter: 0 }, { branchBias: true }),
      of(
        { name: "adafactor", lr: 0.5, epsParameter: 0, weightDecay: 0.25 },
        { alpha: 8, branchBias: true, groups: { A: { lr: 0.25, epsParameter: 1 } } },
      ),
    ],
    [
      "numbers of a frozen matrix",
      of({ name: "adam", lr }, { groups: { A: { lr: 0, weightDecay: 3 } } }),
      of({ name: "adam", lr }, { groups: { A: { lr: 0, betas: [0, 0], eps: 1 } } }),
    ],
    [
      "a rate of 0 and no training",
      of({ name: "adam", lr }, { groups: { A: { lr: 0 } } }),
      of({ name: "adam", lr }, { trained: ["B"] }),
    ],
    [
      "A where B stays zero",
      of({ name: "sgd", lr }, { trained: ["A", "base"] }),
      of({ name: "sgd", lr: 7 }, { alpha: 3, trained: ["A", "base"], groups: { base: { lr } } }),
    ],
    [
      "a bias that stays zero",
      of({ name: "adam", lr }, { branchBias: true, trained: ["A", "B"] }),
      of({ name: "adam", lr }),
    ],
    [
      "an initialisation that embeddings do not have",
      of({ name: "adam", lr }, { adapts: ["embedding"], init: "gaussian", dropout: 0.5 }),
      of({ name: "adam", lr }, { adapts: ["embedding"] }),
    ],
    [
      "a threshold for each role",
      of({ name: "adam", lr }, { clip: { kind: "value", maxValue: 0.01 } }),
      of({ name: "adam", lr }, { clip: { kind: "value", maxValue: { A: 0.01, B: 0.01 } } }),
    ],
    [
      "weights, threshold and eps times one number",
      of({ name: "adam", lr }, { clip: { kind: "globalNorm", maxNorm: 0.125, eps: 0.5 } }),
      of(
        { name: "adam", lr },
        { clip: { kind: "globalNorm", maxNorm: 0.25, eps: 1, weights: { A: 2, B: 2 } } },
      ),
    ],
    [
      "a product that stays zero, whose gradient a norm counts",
      of(
        { name: "sgd", lr },
        { dora: true, groups: { B: { lr: 0 } }, clip: { kind: "globalNorm", maxNorm: 0.01 } },
      ),
      of(
        { name: "sgd", lr },
        {
          alpha: 8,
          dora: true,
          groups: { B: { lr: 0 } },
          clip: { kind: "globalNorm", maxNorm: 0.01, weights: { B: 0.5 } },
        },
      ),
    ],
  ])("%s, to the bit", (_, x, y) => expectOne(x, y, true));

  test.each<[string, gauge.Recipe, gauge.Recipe]>([
    [
      "a decay that is added to the gradient, without momentum",
      of({ name: "sgd", lr, weightDecay: 0.5 }),
      of({ name: "sgd", lr, weightDecay: 0.5, decoupledWeightDecay: true }),
    ],
    [
      "a decay that the rate does not multiply",
      of({ name: "adamw", lr, weightDecay: 0.5 }),
      of({ name: "adamw", lr, weightDecay: lr * 0.5, decayTimesLr: false }),
    ],
    [
      "RMSprop, and Adam without a first moment and corrections",
      of({ name: "rmsprop", lr, alpha: 0.9, eps: 1e-3, weightDecay: 0.25 }),
      of({ name: "adam", lr, betas: [0, 0.9], eps: 1e-3, weightDecay: 0.25, biasCorrection: false }),
    ],
    [
      "the variance of one gradient, which is 0",
      of({ name: "rmsprop", lr, alpha: 0, centered: true, eps: 0.5, momentum: 0.5, weightDecay: 0.25 }),
      of({ name: "sgd", lr: 2 * lr, momentum: 0.5, weightDecay: 0.25 }),
    ],
    [
      "RMSprop that forgets at once, where Adam's corrections are 1",
      of({ name: "rmsprop", lr, alpha: 0, eps: 1e-3 }),
      of({ name: "adamw", lr, betas: [0, 0], eps: 1e-3, weightDecay: 0 }),
    ],
    [
      "Adam's average of one gradient is Adamax's size of it",
      of({ name: "adam", lr, betas: [0.5, 0], eps: 1e-3, weightDecay: 0.25 }),
      of({ name: "adamax", lr, betas: [0.5, 0], eps: 1e-3, weightDecay: 0.25 }),
    ],
    [
      "half a cosine in two forms",
      of({ name: "adam", lr }, { schedule: { kind: "cosine", tMax: 7 } }),
      of({ name: "adam", lr }, { schedule: { kind: "warmupCosine", warmup: 0, total: 7 } }),
    ],
    ["a decay in the gradient beside momentum and dampening that make up for it", of(coupled), of(decoupled)],
    [
      "eps 0 inside the root",
      of({ name: "adam", lr, eps: 0 }, { init: "random" }),
      of({ name: "adam", lr, eps: 0, epsInsideRoot: true }, { init: "random" }),
    ],
  ])("%s, up to rounding", (_, x, y) => expectOne(x, y, false));
});

describe("two runs that look alike", () => {
  const lr = 0.05;
  test.each<[string, gauge.Recipe, gauge.Recipe]>([
    [
      "decay in the other form",
      of({ name: "adam", lr, weightDecay: 0.3 }),
      of({ name: "adamw", lr, weightDecay: 0.3 }),
    ],
    [
      "a frozen matrix in the norm",
      of(
        { name: "sgd", lr },
        { groups: { B: { lr: 0 } }, init: "random", clip: { kind: "globalNorm", maxNorm: 0.1 } },
      ),
      of({ name: "sgd", lr }, { trained: ["A"], init: "random", clip: { kind: "globalNorm", maxNorm: 0.1 } }),
    ],
    [
      "alpha and B's rate where embeddings start at random in B",
      of({ name: "adam", lr }, { adapts: ["linear", "embedding"] }),
      of(
        { name: "adam", lr },
        { adapts: ["linear", "embedding"], alpha: 8, groups: { B: { lr: lr / 2, eps: 2e-8 } } },
      ),
    ],
    [
      "alpha and the rates of B and its bias, under a trust ratio",
      of({ name: "lamb", lr }, { branchBias: true }),
      of(
        { name: "lamb", lr },
        {
          branchBias: true,
          alpha: 8,
          initScale: { A: 0.5 },
          groups: { A: { eps: 2e-6, weightDecay: 0.02 } },
        },
      ),
    ],
    [
      "such a decay, at a rate that changes",
      of(coupled, { schedule: { kind: "cosine", tMax: 8 } }),
      of(decoupled, { schedule: { kind: "cosine", tMax: 8 } }),
    ],
    [
      "rates where steps are a share of matrices that are not 0",
      of({ name: "adafactor", lr, epsParameter: 0 }, { init: "random" }),
      of({ name: "adafactor", lr: 2 * lr, epsParameter: 0 }, { init: "random" }),
    ],
    ["DoRA", of({ name: "sgd", lr }), of({ name: "sgd", lr }, { dora: true })],
    [
      "frozen magnitudes",
      of({ name: "sgd", lr }, { dora: true }),
      of({ name: "sgd", lr }, { dora: true, trained: ["A", "B"] }),
    ],
    ["the base", of({ name: "sgd", lr }), of({ name: "sgd", lr }, { trained: ["A", "B", "base"] })],
    ["betas", of({ name: "adam", lr }), of({ name: "adam", lr, betas: [0.9, 0.9] })],
    [
      "RMSprop, and Adam with corrections",
      of({ name: "rmsprop", lr, alpha: 0.9, eps: 1e-3 }),
      of({ name: "adam", lr, betas: [0, 0.9], eps: 1e-3 }),
    ],
    [
      "RMSprop with momentum",
      of({ name: "rmsprop", lr, alpha: 0.9, eps: 1e-3, momentum: 0.5 }),
      of({ name: "adam", lr, betas: [0.5, 0.9], eps: 1e-3, biasCorrection: false }),
    ],
    [
      "the average of RAdam and the velocity of SGD",
      of({ name: "radam", lr, betas: [0.5, 0.5] }),
      of({ name: "sgd", lr, momentum: 0.5, dampening: 0.5 }),
    ],
    [
      "largest and mean size",
      of({ name: "adamax", lr, betas: [0, 0.5], eps: 1e-3 }),
      of({ name: "adam", lr, betas: [0, 0.5], eps: 1e-3 }),
    ],
  ])("%s", async (_, x, y) => {
    expect(gauge.equivalent(x, y)).toBe(false);
    expect(gauge.dedupe([x, y]).runs).toHaveLength(2);
    expect(apart(await losses(x), await losses(y))).toBeGreaterThan(1e-5);
  });
});

test("a run is itself under every gauge that apply takes, and in every disguise", () =>
  itselfInDisguise(thorough ? 3 : 1));

test("what is converted is the same run, and what is refused is another", () => convertedToTarget(3));

long("what apply refuses to move differs when it is moved all the same", async () => {
  const clip = { kind: "globalNorm", maxNorm: 0.05 } as const;
  const cases = [
    of({ name: "sgd", lr: 0.05 }, { clip }),
    of({ name: "lamb", lr: 0.05 }),
    of({ name: "lamb", lr: 0.05 }, { init: "random", branchBias: true }),
    of({ name: "lamb", lr: 0.05 }, { adapts: ["embedding"], init: "swapped" }),
    of({ name: "radam", lr: 0.02 }),
  ];
  for (const x of cases) {
    expect(() => gauge.apply(gauge.onlyB(16), x)).toThrow();
    const { recipe, deviations } = gauge.approximate(gauge.onlyB(16), x);
    expect(deviations.length).toBeGreaterThan(0);
    expect(gauge.equivalent(x, recipe)).toBe(false);
    expect(apart(await losses(x), await losses(recipe))).toBeGreaterThan(1e-4);
  }
});

test("a number that counts makes another run", () => otherByRate(thorough ? 3 : 1));

test("rates within the tolerance of their neighbours only are several runs", () => {
  const chain = Array.from({ length: 8 }, (_, i) => of({ name: "sgd", lr: 0.1 * (1 + 0.7e-9 * i) }));
  const { runs } = gauge.dedupe(chain, { tolerance: 1e-9 });
  expect(runs.length).toBeGreaterThan(3);
  for (const { cells } of runs)
    for (const i of cells)
      for (const j of cells) expect(gauge.equivalent(chain[i]!, chain[j]!, { tolerance: 1e-9 })).toBe(true);
  // Pairs of numbers are compared as numbers.
  const rprop = of({ name: "rprop", lr: 0.01, stepSizes: [1e-6, 0.3] });
  const there = gauge.convert(rprop, { to: "gauge", a: 3, b: 7 }).recipe;
  expect(gauge.dedupe([rprop, there]).runs).toHaveLength(1);
});

test("what shrinks beside a zero matrix counts where a global norm sees the zero one's gradient", async () => {
  const x = unchecked({
    r: 1,
    alpha: 1,
    init: "swapped",
    dora: true,
    optimizer: { name: "adamax", lr: 0.01, eps: 1e-3, weightDecay: 0.25 },
    groups: { A: { lr: 0 } },
    clip: { kind: "globalNorm", maxNorm: 0.01 },
  });
  const y = gauge.apply(gauge.of({ a: 1, b: 8 }), x);
  expect(gauge.explain(x, y)).toMatchObject({ exact: true, bitwise: true });
  expect(await losses(y)).toEqual(await losses(x));
  const slower = unchecked({ ...x, groups: { A: { lr: 0 }, B: { lr: 0.04 } } });
  expect(gauge.equivalent(x, slower)).toBe(false);
  expect(apart(await losses(x), await losses(slower))).toBeGreaterThan(0);
  const { clip: _, ...free } = x;
  expect(gauge.equivalent(unchecked(free), unchecked({ ...free, groups: slower.groups }))).toBe(true);
});
