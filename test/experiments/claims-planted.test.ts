import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test, vi } from "vitest";
import { claims } from "../../src/experiments/claims/registry.ts";
import type { Result } from "../../src/experiments/claims/run.ts";
import { describeResult } from "../../src/experiments/claims/summary.ts";
import type { Verdict } from "../../src/experiments/claims/verdict.ts";
import { cases, everyNth } from "../thorough.ts";

// What is planted to see each verdict turn: other figures in an article, a bug in the library, or a world in which
// the theory does not hold. A plant replaces functions or constants of one module while the claim is tested.

type Replace = (original: Record<string, unknown>) => Record<string, unknown>;

interface Plant {
  readonly what: string;
  /** Below src/. */
  readonly module: string;
  readonly replace: Replace;
}

/** A function that wraps an exported one. Its arguments are those of whatever it replaces. */
type Any = (...args: readonly never[]) => unknown;
const around =
  (
    name: string,
    wrap: (original: (...args: unknown[]) => unknown) => (...args: never[]) => unknown,
  ): Replace =>
  (original) => ({ [name]: wrap(original[name] as Any as (...args: unknown[]) => unknown) });

const figures = (what: string, values: Record<string, unknown>): Plant => ({
  what,
  module: "experiments/claims/figures.ts",
  replace: () => values,
});

interface ScalingArguments {
  readonly r: number;
  readonly alpha: number;
  readonly rsLora?: boolean;
}

const scaling = (what: string, value: (config: ScalingArguments) => number): Plant => ({
  what,
  module: "lora/scaling.ts",
  replace: around("scaling", (original) => (config: ScalingArguments) => ({
    ...(original(config) as object),
    value: value(config),
  })),
});

const rootScaling = scaling(
  "the library divides alpha by sqrt(r) where it should by r",
  ({ alpha, r }) => alpha / Math.sqrt(r),
);
const noRsLora = scaling("the library takes rsLora for LoRA", ({ alpha, r }) => alpha / r);

const sameAtEveryRank = scaling(
  "alpha/sqrt(r) is alpha/r times sqrt(8) at every rank",
  ({ alpha, r, rsLora }) => (rsLora ? (alpha * Math.sqrt(8)) / r : alpha / r),
);
const squaredAlpha = scaling("the library multiplies by alpha twice", ({ alpha, r }) => (alpha * alpha) / r);

const optimizer = (what: string, from: readonly string[], to: object): Plant => ({
  what,
  module: "optim/make.ts",
  replace: around("make", (original) => (config: { name: string; lr: number; groups?: object }) => {
    const { lr, groups } = config;
    return original(from.includes(config.name) ? { ...to, lr, ...(groups && { groups }) } : config);
  }),
});

const adamIsSgd = optimizer("Adam does not normalise gradients", ["adam", "adamw"], { name: "sgd" });
const sgdIsAdam = optimizer("SGD normalises gradients", ["sgd"], { name: "adam" });
const muonIsAdam = optimizer("LoRA-Muon treats each number by itself", ["loraMuon"], { name: "adam" });
const adafactorIsAdam = optimizer("Adafactor keeps a square of each number", ["adafactor"], { name: "adam" });
const noGroups: Plant = {
  what: "the optimizer ignores the group of B",
  module: "optim/make.ts",
  replace: around(
    "make",
    (original) =>
      ({ groups: _, ...config }: { groups?: object }) =>
        original(config),
  ),
};

const stays = (name: "eps" | "reg", otherwise: number): Plant => ({
  what: `the gauge leaves ${name} as it is`,
  module: "gauge/apply.ts",
  replace: around("apply", (original) => (g: never, recipe: { optimizer: { [name: string]: unknown } }) => {
    const partner = original(g, recipe) as { groups?: Record<string, object> };
    const kept = { [name]: recipe.optimizer[name] ?? otherwise };
    const groups = Object.entries(partner.groups ?? {}).map(([role, own]) => [role, { ...own, ...kept }]);
    return { ...partner, groups: Object.fromEntries(groups) };
  }),
});
const epsStays = stays("eps", 1e-8);
const regStays = stays("reg", 1e-6);

const onlySwaps: Plant = {
  what: "G only swaps two components",
  module: "experiments/claims/mixing.ts",
  replace: around("mixture", () => () => {
    const rows = [
      [0, 1, 0, 0],
      [1, 0, 0, 0],
      [0, 0, 1, 0],
      [0, 0, 0, 1],
    ];
    return { matrix: rows, inverse: rows, kind: "signed permutation" };
  }),
};

const sameInput: Plant = {
  what: "an independent input has the same effect as the training input",
  module: "experiments/exponents/update.ts",
  replace: around(
    "firstUpdate",
    (original) => (setting: object, quantity: never) =>
      original({ ...setting, inputs: "training" }, quantity),
  ),
};

const easyTarget: Plant = {
  what: "rank 1 solves every task",
  module: "experiments/exponents/rates.ts",
  replace: around(
    "scanRates",
    (original) => (setting: never, choice: never, options: object) =>
      original(setting, choice, { ...options, targetRank: 1 }),
  ),
};

const noMerge: Plant = {
  what: "merging leaves the adapter out",
  module: "lora/merge.ts",
  replace: () => ({
    merge: (_: unknown, params: unknown) => params,
    unmerge: (_: unknown, params: unknown) => params,
  }),
};

const dropSecond: Plant = {
  what: "combining adapters leaves the second out",
  module: "lora/combine.ts",
  replace: around(
    "combineAdapters",
    (original) => (model: never, params: never, options: { weights: object }) => {
      const [first] = Object.entries(options.weights);
      return original(model, params, { ...options, weights: Object.fromEntries([first!]) });
    },
  ),
};

const startFollowsAlpha: Plant = {
  what: "the initial A is divided by the scaling",
  module: "lora/start.ts",
  replace: around(
    "start",
    (original) => (adapter: { config: object; scaling: { value: number } }, key: never, base: never) =>
      original(
        { ...adapter, config: { ...adapter.config, initScale: { A: 1 / adapter.scaling.value } } },
        key,
        base,
      ),
  ),
};

const oneMoment: Plant = {
  what: "the accountant counts one of Adam's two numbers",
  module: "experiments/accountant.ts",
  replace: around("trainingBytes", (original) => (trained: number) => original(trained, { moments: 1 })),
};

const wholeWeight: Plant = {
  what: "the library trains W0 too",
  module: "lora/roles.ts",
  replace: around("partition", () => (params: unknown) => [params, {}]),
};

const neverApart: Plant = {
  what: "no losses are ever apart",
  module: "experiments/claims/linear.ts",
  replace: around("deviation", () => () => 0),
};

/** A claim, what is planted, and the verdict then; where that takes a second and more, with how many seeds show it. */
const plants: readonly (readonly [id: string, plant: Plant, turned: Verdict, seeds?: number])[] = [
  ["S0-2", rootScaling, "contradicted", 6],
  ["S0-4", rootScaling, "contradicted"],
  ["S0-7", figures("the article's runs were at a rate of 1e-2", { learningRate: 1e-2 }), "contradicted", 2],
  ["S0-8", figures("the article's runs were at a rate of 1e-2", { learningRate: 1e-2 }), "contradicted", 2],
  ["S0-9", rootScaling, "contradicted", 8],
  ["S0-10", easyTarget, "contradicted", 8],
  ["S0-11", epsStays, "contradicted", 4],
  ["S0-12", figures("run Y is run X", { runY: { r: 8, alpha: 1, lr: 0.00512 } }), "holds", 4],
  [
    "S0-12",
    figures("run Y has the alpha of run X", { runY: { r: 8, alpha: 1, lr: 1e-5 } }),
    "contradicted",
    10,
  ],
  ["S0-13", rootScaling, "contradicted", 4],
  ["S0-14", noRsLora, "contradicted", 2],
  ["S0-16", noRsLora, "contradicted", 8],
  ["S0-17", sameAtEveryRank, "holds", 8],
  ["S0-18", noRsLora, "wrong"],
  ["S0-20", rootScaling, "contradicted", 4],
  [
    "S1-1",
    figures("the article gives 13.0B and 1.6 %", { quantised: { stored: 13.016, percent: 1.6 } }),
    "holds",
  ],
  ["S1-5", easyTarget, "contradicted", 8],
  ["S1-7", oneMoment, "contradicted"],
  ["S1-9", noMerge, "contradicted"],
  ["S1-9", squaredAlpha, "contradicted"],
  ["S1-10", noMerge, "contradicted"],
  ["S1-10", squaredAlpha, "contradicted"],
  ["S2-1", wholeWeight, "wrong"],
  ["S2-2", adamIsSgd, "contradicted", 10],
  ["S2-3", sameInput, "holds", 2],
  ["S2-4", sameInput, "holds", 2],
  ["S2-4", adamIsSgd, "contradicted", 4],
  ["S2-8", noGroups, "contradicted", 2],
  ["S3-1", sgdIsAdam, "contradicted", 2],
  ["S3-2", sgdIsAdam, "contradicted", 2],
  ["S3-3", sgdIsAdam, "contradicted", 2],
  ["S3-4", startFollowsAlpha, "contradicted"],
  ["S3-5", sgdIsAdam, "contradicted"],
  ["S3-6", sgdIsAdam, "contradicted", 4],
  ["S3-7", sgdIsAdam, "contradicted", 2],
  [
    "S4-2",
    figures("QLoRA took 2.46 hours", {
      qlora: {
        lora: { memory: 21.33, hours: 1.85 },
        qlora: { memory: 14.18, hours: 2.46 },
        saved: 33,
        slower: 33,
      },
    }),
    "holds",
  ],
  [
    "S4-6",
    figures("AdamW took 14.167 GB at r = 8 and 17.0555 at r = 256, as 16 bits on all layers give", {
      optimizers: {
        sgd: { r8: 14.15, r256: 14.46 },
        adamw: { r8: 14.167, r256: 17.0555 },
        parameters: 4_194_304,
        megabytes: 16.78,
      },
    }),
    "holds",
  ],
  [
    "S4-8",
    figures("the article counts the embedding too", {
      layers: { model: 6_738_415_616, two: 4_194_304, all: 20_566_016, factor: 5 },
    }),
    "wrong",
  ],
  [
    "S4-9",
    figures("the article names query and value twice", {
      twoProjections: [
        ["query", "value"],
        ["query", "value"],
      ],
    }),
    "holds",
  ],
  [
    "S4-13",
    figures("the article has 280,000 parameters", {
      example: { out: 10_000, in: 20_000, r: 8, parameters: 280_000, fewer: 830 },
    }),
    "wrong",
  ],
  [
    "S4-14",
    figures("the text's A is 8 x 20,000, as the code's", { factors: { A: [8, 20_000], B: [10_000, 8] } }),
    "holds",
  ],
  ["S4-23", noMerge, "contradicted"],
  ["S4-24", noMerge, "contradicted"],
  ["S4-24", dropSecond, "contradicted"],
  ["N-1", epsStays, "contradicted", 4],
  ["N-2", adamIsSgd, "contradicted", 16],
  ["N-3", noGroups, "contradicted"],
  ["N-15", wholeWeight, "contradicted"],
  ["N-22", neverApart, "contradicted", 2],
  ["N-23", squaredAlpha, "contradicted", 16],
  ["N-31", adafactorIsAdam, "holds", 14],
  ["N-33", onlySwaps, "contradicted"],
  ["N-34", muonIsAdam, "contradicted"],
  ["N-37", regStays, "contradicted"],
  ["N-38", noMerge, "contradicted"],
];

async function verdictWith(id: string, { module, replace }: Plant, seeds: number): Promise<Result> {
  const path = `../../src/${module}`;
  vi.resetModules();
  vi.doMock(path, async (importOriginal) => {
    const original = await importOriginal<Record<string, unknown>>();
    return { ...original, ...replace(original) };
  });
  try {
    const { init } = await import("../../src/runtime/init.ts");
    const { testClaims } = await import("../../src/experiments/claims/run.ts");
    const { claims: planted } = await import("../../src/experiments/claims/registry.ts");
    using _device = await init({ backend: "cpu" });
    const [result] = await testClaims(
      planted.filter((claim) => claim.id === id),
      { seeds },
    );
    return result!;
  } finally {
    vi.doUnmock(path);
  }
}

describe("planted", () => {
  afterEach(() => vi.resetModules());
  // The first table of the page with a claim in it has its verdict.
  const page = readFileSync(new URL("../../docs/claims.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| ((?:S\d|N)-\d+) \|.*\| ([^|]+) \|$/gm)].map(
    ([, id, verdict]) => [id, verdict] as const,
  );
  const before = new Map(rows.reverse());

  const [quick, slow] = [false, true].map((many) =>
    plants.filter(([, , , seeds]) => (seeds !== undefined) === many),
  );
  test.each(
    cases(everyNth(2, quick!), slow!).map(
      ([id, plant, turned, seeds = 2]) => [id, plant.what, turned, plant, seeds] as const,
    ),
  )("%s, if %s: %s", async (id, _, turned, plant, seeds) => {
    const result = await verdictWith(id, plant, seeds);
    expect(result.verdict, describeResult(result)).toBe(turned);
  });

  test("every verdict turns, and the page has the table", () => {
    const tested = claims.filter((claim) => "test" in claim).map(({ id }) => id);
    expect([...new Set(plants.map(([id]) => id))]).toEqual(tested);
    for (const [id, , turned] of plants) expect(before.get(id), id).not.toBe(turned);
    const table = plants.map(
      ([id, { what }, turned]) => `| ${id} | ${what} | ${before.get(id)} | ${turned} |`,
    );
    expect(page).toContain(table.join("\n"));
  });
});
