import { describe, expect, test } from "vitest";
import { claims } from "../../src/experiments/claims/registry.ts";
import { judgedClaim } from "../../src/experiments/claims/run.ts";
import { estimate } from "../../src/experiments/exponents/statistics.ts";
import type { Run, RunResult } from "../../src/experiments/language/run.ts";
import { dialsOf } from "../../src/experiments/language/tasks.ts";
import {
  choose,
  confidenceOf,
  paired,
  smallestSeen,
  vertex,
} from "../../src/experiments/studies/contrast.ts";
import { studies } from "../../src/experiments/studies/registry.ts";
import { studiesPage } from "../../src/experiments/studies/report.ts";
import type { Bench, Trial } from "../../src/experiments/studies/study.ts";
import { halfOfSets } from "../../src/experiments/studies/targets.ts";
import { hyperOf } from "../../src/gauge/index.ts";

// A world in place of a language model: the loss of a run is a formula.
type World = (run: Trial, update?: number) => number;

/** A number from -1 to 1 of a run and its seed, which no two share by chance. */
function noise(run: Trial): number {
  const text = JSON.stringify(run);
  let hash = 7;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return Math.sin(hash);
}

/** A curvature: at the end it goes with the loss, at the start with alpha over the rank. */
function curvedBy({ recipe: { alpha, r }, probes }: Trial, loss: number): number {
  return probes![0]!.kind === "start" ? (alpha / r) ** 2 : 2 ** loss;
}

function benchOf(world: World, { size = 0.001 } = {}): Bench & { readonly seen: Trial[] } {
  const seen: Trial[] = [];
  return {
    seen,
    choice: [0, 1],
    comparison: [10, 11, 12, 13],
    steps: 40,
    run: async (trial) => {
      seen.push(trial);
      const loss = world(trial) + size * noise(trial);
      const start = { step: 0, loss: 3, accuracy: Math.exp(-3) };
      const result: RunResult = {
        loss,
        accuracy: Math.exp(-loss),
        curve: [start, { step: trial.steps ?? 40, loss, accuracy: Math.exp(-loss) }],
        losses: Array.from({ length: trial.steps ?? 40 }, (_, i) => world(trial, i + 1)),
        trained: 1,
        probes: (trial.probes ?? []).map((probe) => {
          switch (probe.kind) {
            case "task":
              return { before: 1, after: loss + 1, accuracyBefore: 0.5, accuracyAfter: 0.4 };
            case "learned":
              return { loss: loss - 0.1, accuracy: Math.exp(-loss) };
            case "strengths":
              return Object.fromEntries(
                probe.at.map((at) => [String(at), at === 1 ? loss : 3 - at * (3 - loss)]),
              );
            case "spectra":
              return { A: 0, B: 1, change: 0, rank: 1 };
            case "change":
              return {
                intruders: trial.recipe.trained ? 0 : loss,
                rank: trial.recipe.trained ? 20 * loss : trial.recipe.r,
              };
            default:
              return { largest: curvedBy(trial, loss) };
          }
        }),
        seconds: 0,
      };
      return result;
    },
    // A lesson as a trial: its steps are the size of a batch.
    teach: async ({ recipe, width, samples, steps, seed }) => {
      const trial: Trial = {
        task: { name: "style" },
        recipe,
        seed,
        steps: width,
        examples: samples,
        batch: steps,
      };
      seen.push(trial);
      return world(trial) + size * noise(trial);
    },
    // Facts as a trial of that task.
    memorise: async ({ recipe, width, classes, facts, batch, steps, seed }) => {
      const trial: Trial = { task: { name: "facts", count: facts }, recipe, seed, steps, batch };
      seen.push(trial);
      const all = width * (width + 1) + classes * (width + 1);
      const apart = size * noise(trial);
      return {
        losses: Array.from({ length: steps }, (_, i) => world(trial, i) + apart),
        trained: recipe.trained ? all : recipe.r * (3 * width + classes),
      };
    },
  };
}

/** A world in which every rate that is tried has a best one within, whatever else decides. */
const rated =
  (world: World): World =>
  (run, update) => {
    const { optimizer, trained, groups } = run.recipe;
    const best = run.sophia
      ? 2e-3
      : optimizer.name === "sgd"
        ? 0.05
        : optimizer.name === "loraMuon"
          ? 0.1
          : trained
            ? 2e-3
            : groups?.B
              ? 2e-3
              : 8e-3;
    return world(run, update) + 0.01 * Math.log2((run.sophia ?? optimizer).lr / best) ** 2;
  };

const studyOf = (name: string) => studies.find((study) => study.name === name)!;

async function verdictsIn(name: string, world: World): Promise<{ readonly [id: string]: string }> {
  const { checks } = await studyOf(name).measure(benchOf(world));
  return Object.fromEntries(
    Object.entries(checks).map(([id, own]) => {
      const claim = claims.find((each) => each.id === id)!;
      return [id, judgedClaim(claim, { how: "", seed: 0, seeds: 4, seconds: 0, checks: own }).verdict];
    }),
  );
}

describe("designs", () => {
  test.each(studies)("$name says how it decides, and does what it says", async (study) => {
    const { design, claims: judged, title } = study;
    const { spread, ...texts } = design;
    for (const [field, text] of Object.entries(texts)) expect(text, field).toMatch(/\S/);
    expect(spread).toBeGreaterThan(0);
    expect(title).toMatch(/\S/);
    const bench = benchOf(() => 1);
    const { checks, tables } = await study.measure(bench);
    expect(Object.keys(checks).sort()).toEqual([...judged].sort());
    expect(tables.length).toBeGreaterThan(0);
    for (const own of Object.values(checks)) expect(own.length).toBeGreaterThan(0);
    for (const id of judged) expect(claims.map((claim) => claim.id as string)).toContain(id);
    expect(bench.seen.length).toBeLessThanOrEqual(study.count(bench));
    expect(bench.seen.length).toBeGreaterThanOrEqual(0.9 * study.count(bench));
    // Each run names a task that there is, and a recipe that an optimizer takes.
    for (const { task, recipe } of bench.seen) {
      dialsOf(task);
      hyperOf(recipe, "B");
    }
    // What is chosen is chosen by other seeds than it is compared by.
    if (design.choice) expect(new Set(bench.seen.map(({ seed }) => seed)).size).toBe(6);
  });

  test("names are told apart, and each claim that waits for a study has one", () => {
    expect(new Set(studies.map(({ name }) => name)).size).toBe(studies.length);
    for (const claim of claims)
      if ("study" in claim) expect(studyOf(claim.study).claims, claim.id).toContain(claim.id);
  });

  test("half of the 64 sets has each module as often as not, and each pair", () => {
    const names = ["query", "key", "value", "projection", "mlp", "head"] as const;
    for (const one of names)
      for (const other of names)
        expect(halfOfSets.filter((set) => set.includes(one) && set.includes(other))).toHaveLength(
          one === other ? 16 : 8,
        );
  });
});

describe("contrasts", () => {
  test("pairs take out what seeds share", async () => {
    const at = (losses: readonly number[]) => losses.map((loss) => ({ loss }) as RunResult);
    const { value, interval } = paired(at([1.1, 5.2, 9.1]), at([1, 5, 9]));
    expect(value).toBeCloseTo(0.4 / 3);
    expect(interval[0]).toBeGreaterThan(-0.02);
    const wider = paired(at([1.1, 5.2, 9.1]), at([1, 5, 9]), { comparisons: 10 });
    expect(wider.interval[0]).toBeLessThan(interval[0]);
  });

  test("what six seeds can see is a hundredth of a nat, also where six comparisons are made", () => {
    expect(smallestSeen(0.006, 6, confidenceOf(1))).toBeCloseTo(0.0063, 4); // 2.5706 * 0.006 / sqrt(6)
    expect(smallestSeen(0.006, 6, confidenceOf(6))).toBeCloseTo(0.0103, 4);
    expect(smallestSeen(0.006, 4, confidenceOf(6))).toBeGreaterThan(0.018);
    const { interval } = estimate(
      [-1, 1, -1, 1].map((sign) => sign * Math.sqrt(0.75)),
      confidenceOf(2),
    ); // sd 1
    expect(smallestSeen(1, 4, confidenceOf(2))).toBeCloseTo(interval[1], 12);
  });

  test("choosing looks at the seeds of the choice alone, and says where the grid ends", async () => {
    const bench = benchOf(({ seed, steps }) => (seed < 10 ? Math.abs(Math.log(steps! / 8)) : -steps!));
    const trial = (steps: number, seed: number): Trial => ({
      task: { name: "style" },
      recipe: { r: 1, alpha: 1, optimizer: { name: "adamw", lr: 1 } },
      steps,
      seed,
    });
    expect(await choose(bench, [2, 8, 32], trial)).toMatchObject({ best: 8, atEnd: false });
    expect(await choose(bench, [8, 32], trial)).toMatchObject({ best: 8, atEnd: true });
  });

  test("the vertex of a parabola", () => {
    const logs = [0, 1, 2, 3];
    expect(
      vertex(
        logs,
        logs.map((x) => (x - 1.3) ** 2),
      ),
    ).toBeCloseTo(1.3);
    expect(vertex(logs, [0, 1, 2, 3])).toBe(0);
  });
});

// What is planted, and the verdicts then: each study can come to both.
const rateOf = ({ recipe }: Trial) => hyperOf(recipe, "B").lr;
const scaleOf = ({ recipe: { alpha, r, rsLora } }: Trial) => alpha / (rsLora ? Math.sqrt(r) : r);
const ratioOf = ({ recipe }: Trial) => hyperOf(recipe, "B").lr / hyperOf(recipe, "A").lr;
const away = (x: number, best: number) => 0.1 * Math.log2(x / best) ** 2;

/** A linear teacher on which the best rate of LoRA goes with the width to this power, and that of all weights like 1 / width. */
const teacher =
  (exponent: number): World =>
  (run) => {
    const width = Math.log2(run.steps!);
    const best = run.recipe.trained ? -1 - width : -1 + exponent * width;
    return Math.exp(0.1 * (Math.log2(run.recipe.optimizer.lr) - best) ** 2);
  };

/** A linear teacher on which a lesson has this best rate, as its log2; all weights have one that falls like 1 / width. */
const rates =
  (
    best: (lesson: {
      readonly recipe: Trial["recipe"];
      readonly width: number;
      readonly steps: number;
      readonly samples: number;
    }) => number,
  ): World =>
  ({ recipe, steps, batch, examples }) => {
    const [width, all] = [steps!, -2 - Math.log2(steps!)];
    const own = recipe.trained ? all : all + best({ recipe, width, steps: batch!, samples: examples! });
    return Math.exp(0.1 * (Math.log2(recipe.optimizer.lr) - own) ** 2);
  };

/** Facts are learned at one pace, times slower by an adapter, until each of its parameters has so many bits. */
function remembered({
  room,
  slower = 1,
}: {
  readonly room: (offered: number) => number;
  readonly slower?: number;
}): World {
  return ({ recipe, task }, update = 0) => {
    const size = recipe.trained ? 5000 : 208 * recipe.r;
    const offered = (4 * Number(task.count)) / size;
    const pace = 200 * (recipe.trained ? 1 : slower);
    const most = recipe.trained ? 1 : Math.min(1, room(offered) / offered);
    const learned = Math.min(most, 1 - Math.exp(-update / pace));
    return Math.log(16) * (1 - learned) + 0.01 * Math.log2(recipe.optimizer.lr / 2 ** -5) ** 2;
  };
}

const muon = ({ recipe }: Trial) => recipe.optimizer.name === "loraMuon";

const plants: readonly (readonly [
  study: string,
  what: string,
  world: World,
  verdicts: { readonly [id: string]: string },
])[] = [
  [
    "alpha-rank",
    "alpha alone decides",
    ({ recipe }) => 2 - 0.1 * Math.log2(recipe.alpha),
    { "S0-5": "holds", "S0-9": "holds", "S0-22": "holds" },
  ],
  ["alpha-rank", "alpha 32 is best", ({ recipe }) => 1 + away(recipe.alpha, 32), { "S0-5": "contradicted" }],
  ["alpha-rank", "nothing is learned", () => 3.5, { "S0-22": "contradicted" }],
  ["alpha-rank", "the rank helps", ({ recipe }) => 2 - 0.1 * Math.log2(recipe.r), { "S0-9": "contradicted" }],
  [
    "xy",
    "the product of alpha and rate decides",
    (run) =>
      1 +
      away(
        run.recipe.alpha * rateOf({ ...run, recipe: { ...run.recipe, groups: {} } as Run["recipe"] }),
        0.005,
      ),
    { "S0-12": "holds" },
  ],
  ["xy", "alpha decides", ({ recipe }) => 1 + Math.log2(recipe.alpha), { "S0-12": "contradicted" }],
  [
    "rslora",
    "the multiplier decides, larger is better",
    (run) => 2 - 0.1 * Math.log2(scaleOf(run)),
    { "S0-15": "holds", "S0-16": "contradicted", "S0-17": "contradicted" },
  ],
  ["rslora", "nothing matters", () => 1, { "S0-15": "holds", "S0-17": "holds" }],
  [
    "lora-plus",
    "a ratio of 16 is best on the hard task, 1 on the easy one",
    (run) => 0.1 + away(ratioOf(run), run.task.name === "sql" ? 16 : 1),
    { "S2-5": "holds", "S2-7": "holds", "S2-9": "holds", "S2-12": "holds" },
  ],
  [
    "lora-plus",
    "nothing matters",
    () => 0.1,
    { "S2-9": "undecided", "S2-10": "contradicted", "S2-12": "undecided" },
  ],
  [
    "lora-plus",
    "the easy task is not learned",
    (run) => (run.task.name === "pairs" ? 0.36 : 0.1 + away(ratioOf(run), 16)),
    { "S2-5": "holds", "S2-6": "undecided", "S2-7": "undecided", "S2-9": "holds", "S2-10": "undecided" },
  ],
  [
    "lora-plus",
    "equal rates are best",
    (run) => 0.1 + away(ratioOf(run), 1),
    { "S2-5": "contradicted", "S2-9": "contradicted", "S2-12": "contradicted" },
  ],
  [
    "heuristics",
    "the rate makes up for alpha",
    (run) => 1 + away(scaleOf(run) * rateOf(run), 0.03) * 0,
    { "S0-1": "contradicted", "S0-3": "holds", "S4-11": "undecided" },
  ],
  [
    "heuristics",
    "alpha = 2r is best",
    ({ recipe: { alpha, r } }) => 1 + away(alpha / r, 2),
    { "S0-1": "holds", "S4-11": "holds" },
  ],
  [
    "schedules",
    "a schedule helps SGD",
    ({ recipe }) => (recipe.optimizer.name === "sgd" && !recipe.schedule ? 1.5 : 1),
    { "S4-4": "holds", "S4-5": "holds" },
  ],
  [
    "schedules",
    "a schedule helps AdamW",
    ({ recipe }) => (recipe.schedule ? 1 : 1.5),
    { "S4-4": "contradicted", "S4-5": "contradicted" },
  ],
  [
    "targets",
    "the MLP matters",
    ({ targets }) => 2 - 0.3 * Number(targets!.includes("up_proj")),
    { "S4-10": "holds", "N-9": "holds" },
  ],
  [
    "targets",
    "attention matters",
    ({ targets }) => 2 - 0.3 * Number(targets!.includes("q_proj")),
    { "S4-10": "holds", "N-9": "contradicted" },
  ],
  ["targets", "nothing matters", () => 1, { "S4-10": "contradicted" }],
  [
    "forgetting",
    "all weights are worse",
    ({ recipe }) => (recipe.trained ? 1.2 : 1),
    { "S4-16": "holds", "S4-22": "holds", "S4-27": "holds" },
  ],
  [
    "forgetting",
    "all weights are better",
    ({ recipe }) => (recipe.trained ? 0.8 : 1),
    { "S4-22": "contradicted" },
  ],
  [
    "capacity",
    "facts need ranks",
    ({ task, recipe }) => (task.name === "facts" ? 2 - 0.2 * Math.log2(recipe.r) : 1),
    { "S1-2": "holds", "S1-3": "holds", "S4-17": "undecided" },
  ],
  [
    "capacity",
    "style needs ranks too",
    ({ recipe }) => 2 - 0.2 * Math.log2(recipe.r),
    { "S1-2": "contradicted", "S1-3": "contradicted", "N-7": "contradicted" },
  ],
  [
    "capacity",
    "8 kinds need ranks",
    ({ task, recipe }) => (task.parts === 8 ? 2 - 0.2 * Math.log2(recipe.r) : 1),
    { "S1-2": "contradicted", "S4-17": "holds", "N-7": "holds" },
  ],
  ["amount", "large ranks are worse", ({ recipe }) => 1 + 0.1 * Math.log2(recipe.r), { "S1-6": "holds" }],
  [
    "amount",
    "large ranks are better",
    ({ recipe }) => 1 - 0.1 * Math.log2(recipe.r),
    { "S1-6": "contradicted" },
  ],
  ["amount", "nothing matters", () => 1, { "S4-19": "holds" }],
  ["amount", "dropout helps", ({ recipe }) => 1 - (recipe.dropout ?? 0), { "S4-19": "contradicted" }],
  [
    "layers",
    "the last block needs ranks",
    ({ ranks }) => 2 - 0.01 * (ranks?.["layers\\.1\\..*"] ?? 8),
    { "S4-26": "holds" },
  ],
  ["layers", "ranks do not matter", () => 1, { "S4-26": "contradicted" }],
  [
    "batches",
    "large batches cost LoRA",
    ({ batch, recipe }) => 1 + (batch === 32 && !recipe.trained ? 0.1 : 0),
    { "N-10": "holds", "N-11": "holds" },
  ],
  [
    "batches",
    "large batches cost all weights, and PiSSA is better",
    ({ batch, recipe }) =>
      1 + (batch === 32 && recipe.trained ? 0.1 : 0) - (recipe.init === "pissa" ? 0.2 : 0),
    { "N-10": "contradicted", "N-11": "contradicted" },
  ],
  [
    "optimizers",
    "AdamW is better than LoRA-Muon, and that than all weights",
    (run) => 1 + (run.recipe.trained ? 0.2 : muon(run) ? 0.1 : 0),
    { "N-36": "holds" },
  ],
  [
    "optimizers",
    "all weights are best",
    (run) => 1 + (run.recipe.trained ? 0 : muon(run) ? 0.1 : 0.2),
    { "N-36": "contradicted" },
  ],
  [
    "optimizers",
    "Sophia is three times as fast",
    (run, update = 40) => 1 + Math.exp(-((run.sophia ? 3 : 1) * update) / 10),
    { "S4-20": "holds" },
  ],
  [
    "optimizers",
    "Sophia is as fast",
    (_, update = 40) => 1 + Math.exp(-update / 10),
    { "S4-20": "contradicted" },
  ],
  [
    "optimizers",
    "the start from the gradient is three times as fast",
    (run, update = 40) => 1 + Math.exp(-((run.start ? 3 : 1) * update) / 10),
    { "N-39": "holds", "S4-20": "contradicted" },
  ],
  [
    "optimizers",
    "the start from the gradient is as fast",
    (_, update = 40) => 1 + Math.exp(-update / 10),
    { "N-39": "contradicted" },
  ],
  ["spectra", "LoRA leaves intruders", () => 2, { "N-28": "holds", "N-29": "holds" }],
  [
    "spectra",
    "nobody does, and ranks are low",
    () => 0.2,
    { "N-28": "contradicted", "N-29": "contradicted" },
  ],
  ["normalisations", "the group does not matter", () => 1, { "S2-13": "holds" }],
  [
    "normalisations",
    "they want a low rate",
    ({ recipe: { groups } }) => 1 + 0.1 * Number(groups?.base?.lr === groups?.B?.lr),
    { "S2-13": "contradicted" },
  ],
  [
    "curvature",
    "rates make up for alpha, and minima are alike",
    (run) => 1 + (run.recipe.optimizer.lr === 4e-3 ? 0 : 0.01) + away(scaleOf(run) * rateOf(run), 0.03) * 0,
    { "S0-19": "holds" },
  ],
  [
    "curvature",
    "the rank decides, and the best rate falls with alpha",
    (run) => run.recipe.r + away(Math.sqrt(scaleOf(run)) * rateOf(run), 0.012),
    { "S0-19": "contradicted", "N-25": "holds" },
  ],
  [
    "curvature",
    "the best rate grows with alpha",
    (run) => 1 + away(rateOf(run) / Math.sqrt(scaleOf(run)), 0.005),
    { "N-25": "contradicted" },
  ],
  [
    "memory",
    "all ranks learn alike until a parameter has two bits",
    remembered({ room: (offered) => 2 - 0.02 * (offered - 2) }),
    { "N-12": "holds", "N-13": "holds" },
  ],
  [
    "memory",
    "all ranks are slower from the start, and a parameter has one bit",
    remembered({ room: () => 1, slower: 4 }),
    { "N-12": "contradicted", "N-13": "contradicted" },
  ],
  [
    "memory",
    "the more facts the more a parameter has",
    remembered({ room: (offered) => offered / 2 }),
    { "N-13": "undecided" },
  ],
  ["closeness", "distance costs", ({ task }) => 1 + Number(task.share), { "S1-8": "holds" }],
  ["closeness", "distance helps", ({ task }) => 2 - Number(task.share), { "S1-8": "contradicted" }],
  [
    "merging",
    "four bits cost much",
    ({ weights }) => (weights ? 1.5 : 1),
    { "S4-3": "contradicted", "S1-11": "holds", "N-14": "holds" },
  ],
  [
    "merging",
    "four bits cost nothing, seeds neither",
    (run) => 2 - 10 * rateOf(run),
    { "S4-3": "holds", "S4-1": "holds" },
  ],
  ["merging", "seeds decide", ({ seed }) => 1 + (seed % 2) / 10, { "S4-1": "contradicted" }],
  [
    "merging",
    "some seeds are better by a tenth of what the rate gains",
    (run) => 2 - 10 * rateOf(run) + (run.seed === 10 ? 0.04 : 0),
    { "S4-1": "undecided" },
  ],
  [
    "variants",
    "all variants are alike, A = 0 is worse",
    ({ recipe }) => (recipe.init === "swapped" ? 1.3 : 1),
    { "S2-11": "contradicted", "N-20": "holds", "N-24": "holds", "N-27": "holds" },
  ],
  [
    "variants",
    "PiSSA and A = 0 are better",
    ({ recipe }) => (recipe.init === "swapped" || recipe.init === "pissa" ? 0.7 : 1),
    { "S2-11": "holds", "N-20": "contradicted", "N-24": "contradicted", "N-27": "contradicted" },
  ],
  [
    "best-rates",
    "the ratio is 15 in short runs and 10 in others, and 1 from a random B",
    rates(({ recipe, steps }) => (recipe.init === "swapped" ? 0 : Math.log2(steps < 100 ? 15 : 10))),
    { "N-5": "holds", "N-6": "holds", "N-18": "holds" },
  ],
  [
    "best-rates",
    "long runs have a larger ratio, the rank decides, and from a random B the root of the width",
    rates(
      ({ recipe, width, steps }) =>
        4 - Math.log2(recipe.r) / 2 + (recipe.init ? Math.log2(width) / 2 : steps < 100 ? -1 : 0),
    ),
    { "N-5": "contradicted", "N-6": "contradicted", "N-18": "contradicted" },
  ],
  [
    "best-rates",
    "the ratio is 4 in short runs and 2 in others, and many samples have little in common",
    rates(({ recipe, width, steps, samples }) =>
      recipe.init === "swapped" ? (samples > 1 ? Math.log2(width) / 2 : 0) : steps < 100 ? 2 : 1,
    ),
    { "N-5": "holds under a condition", "N-6": "holds", "N-18": "holds under a condition" },
  ],
  [
    "three-exponents",
    "the ratio grows like the root of the width",
    teacher(-0.5),
    { "N-4": "contradicted", "N-8": "holds", "N-16": "contradicted", "N-17": "holds" },
  ],
  [
    "three-exponents",
    "LoRA's best rate falls with the power that was fitted to Llama",
    teacher(-0.781),
    { "N-16": "holds", "N-17": "contradicted" },
  ],
  [
    "three-exponents",
    "the ratio is the same at all widths",
    teacher(-1),
    { "N-4": "holds", "N-8": "holds", "N-17": "contradicted" },
  ],
  [
    "three-exponents",
    "the ratio grows like the width",
    teacher(0),
    { "N-4": "contradicted", "N-8": "contradicted", "N-17": "contradicted" },
  ],
];

const choosing = [
  "heuristics",
  "schedules",
  "forgetting",
  "variants",
  "layers",
  "batches",
  "optimizers",
  "spectra",
  "normalisations",
];

test.each(plants)("%s, where %s", async (name, _, world, expected) => {
  expect(await verdictsIn(name, choosing.includes(name) ? rated(world) : world)).toMatchObject(expected);
});

test("where the best rate is at the end of its grid, nothing is decided", async () => {
  const higher = await verdictsIn(
    "schedules",
    ({ recipe }) => (recipe.schedule ? 1 : 1.5) - recipe.optimizer.lr,
  );
  expect(higher).toEqual({ "S4-4": "undecided", "S4-5": "undecided" });
});

test("the page of a study has its design, tables and curves", async () => {
  const study = studyOf("alpha-rank");
  const bench = benchOf(({ recipe }) => recipe.alpha / recipe.r);
  const { checks, tables, plots } = await study.measure(bench);
  const results = [
    judgedClaim(claims.find(({ id }) => id === "S0-5")!, {
      how: "",
      seed: 0,
      seeds: 4,
      seconds: 0,
      checks: checks["S0-5"]!,
    }),
  ];
  const page = await studiesPage([
    {
      study: study.name,
      title: study.title,
      design: study.design,
      model: { name: "small", key: "0" },
      setting: { steps: 40, batch: 8, seed: 0, choice: 2, comparison: 4 },
      runs: 87,
      seconds: 1,
      results,
      tables,
      plots,
    },
  ]);
  expect(page).toContain("28 runs");
  // Four seeds, and four comparisons of a claim.
  expect(page).toContain(
    "effect that is seen: 0.01078 at 98.75 %, for differences of a standard deviation of 0.004",
  );
  expect(page.match(/<svg /g)).toHaveLength(9); // over alpha, and two over steps for each of four ranks
  expect(page).not.toContain("NaN");
});
