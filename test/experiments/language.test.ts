import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { LorantzError } from "../../src/base/errors.ts";
import { type BaseRecipe, baseKey, bases, configOf, stretches } from "../../src/experiments/language/base.ts";
import { holding, largestCosine } from "../../src/experiments/language/change.ts";
import { Lab } from "../../src/experiments/language/lab.ts";
import { piecesOf } from "../../src/experiments/language/pieces.ts";
import { keyOf, type Run } from "../../src/experiments/language/run.ts";
import { storeIn } from "../../src/experiments/language/store.ts";
import { openBase, type Subject } from "../../src/experiments/language/subject.ts";
import { entriesOf, taskKinds } from "../../src/experiments/language/tasks.ts";
import { studies } from "../../src/experiments/studies/registry.ts";
import { describeStudy } from "../../src/experiments/studies/report.ts";
import { runStudy } from "../../src/experiments/studies/run.ts";
import * as models from "../../src/models/index.ts";
import { init } from "../../src/runtime/init.ts";
import { key } from "../../src/tensor/random.ts";
import * as tree from "../../src/tensor/tree.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";

const tiny: BaseRecipe = {
  name: "tiny",
  width: 16,
  hidden: 24,
  blocks: 1,
  heads: 2,
  context: 64,
  vocabulary: 448,
  texts: 256,
  batch: 4,
  steps: 3,
  lr: 1e-2,
  seed: 0,
};

beforeAll(async () => {
  await init({ backend: "cpu" });
});

test("sizes of the bases", () => {
  const sizes = Object.values(bases).map((base) =>
    tree.count(models.decoder(models.architecture(configOf(base))).init(key(0))),
  );
  expect(sizes).toEqual([112_448, 812_160]);
});

test("pieces: every text comes back", () => {
  const { encode, decode, size } = piecesOf(["the horse, the horse", "SELECT a.b FROM a"], 263);
  for (const text of ["the horse", "SELECT a.b", "né 12 \n", "🐎 the"]) {
    const ids = encode(text);
    expect(decode(ids)).toBe(text);
    expect(Math.max(...ids)).toBeLessThan(size);
  }
  expect(encode(" horse", { bare: true })).toHaveLength(1);
  expect(encode(" cow", { bare: true })).toHaveLength(4);
});

describe("tasks", () => {
  test.each(Object.keys(taskKinds))(
    "%s: an example depends on its number alone, others are held out",
    async (name) => {
      const learned = await entriesOf({ name }, "learned", 24, []);
      expect(await entriesOf({ name }, "learned", 24, [])).toEqual(learned);
      const heldOut = await entriesOf({ name }, "heldOut", 24, []);
      if (taskKinds[name]!.memory) expect(heldOut).toEqual(learned);
      else expect(heldOut).not.toEqual(learned);
    },
  );

  test("dials", async () => {
    const lengths = async (task: { least: number; most: number }) =>
      (await entriesOf({ name: "sql", ...task }, "learned", 24, [])).map((each) =>
        "completion" in each ? each.completion.length - 1 : Number.NaN,
      );
    const hard = await lengths({ least: 201, most: 800 });
    expect(Math.min(...hard)).toBeGreaterThanOrEqual(201);
    expect(Math.max(...(await lengths({ least: 0, most: 200 })))).toBeLessThanOrEqual(200);
    const text = async (share: number) =>
      JSON.stringify(await entriesOf({ name: "language", share }, "learned", 4, []));
    expect(await text(0)).toContain("THE ");
    for (const share of [0.1, 0.25, 0.5, 1]) expect(await text(share), String(share)).not.toBe(await text(0));
    expect(await text(1)).not.toContain("THE ");
    const facts = await entriesOf({ name: "facts", count: 5 }, "learned", 100, []);
    expect(new Set(facts.map((each) => ("prompt" in each ? each.prompt : ""))).size).toBe(5);
  });

  test("what there is not", async () => {
    await expect(entriesOf({ name: "chess" }, "learned", 1, [])).rejects.toThrow(
      'there is no task "chess"; there are sql',
    );
    await expect(entriesOf({ name: "sql", length: 3 }, "learned", 1, [])).rejects.toThrow(
      "the task sql is given length = 3; its dials are numbers: least, most",
    );
    await expect(entriesOf({ name: "sql", least: 790 }, "learned", 2, [])).rejects.toThrow(
      "Set its dials wider",
    );
  });
});

describe("lab", () => {
  let subject: Subject;
  const { root: folder } = scratch("language");
  beforeAll(async () => {
    subject = await openBase(tiny, { real: [], cache: folder });
  });

  test("where nothing can be kept, that is said before anything is trained", async () => {
    const file = join(folder, "file");
    writeFileSync(file, "");
    const onStep = () => expect.unreachable("it was trained");
    for (const cache of [file, join(file, "below")]) {
      const opened = openBase({ ...tiny, seed: 7 }, { real: [], cache, onStep });
      await expect(opened).rejects.toThrow(/cannot keep results there \(.*is (not a folder|a file)\)/);
      expect(() => storeIn(cache)).toThrow(LorantzError);
    }
  });

  test("a base from the cache is the one that was trained", async () => {
    const again = await openBase(tiny, { real: [], cache: folder });
    expect(again.key).toBe(subject.key);
    for (const [path, leaf] of tree.entries(subject.params)) {
      const other = tree.entries(again.params).find(([name]) => name === path)![1];
      expect(await other.data(), path).toEqual(await leaf.data());
    }
    const real = stretches(
      "call me ishmael some years ago never mind how long precisely having little money",
    );
    expect(real.length).toBeGreaterThan(0);
  });

  test("a base is another one where it reads something else, or its tokenizer has other words", () => {
    const corpus = { texts: ["one two", "three"], tasks: ["four"] };
    const others = [
      { ...corpus, texts: ["one two three"] },
      { ...corpus, texts: ["one two"], tasks: ["three", "four"] },
      { ...corpus, tasks: ["five"] },
    ];
    const keys = [corpus, ...others].map((each) => baseKey(tiny, each));
    expect(new Set([...keys, baseKey({ ...tiny, lr: 1 }, corpus)]).size).toBe(5);
    expect(baseKey({ ...tiny }, { ...corpus })).toBe(keys[0]);
  });

  const run: Run = {
    task: { name: "arithmetic" },
    recipe: { r: 2, alpha: 4, optimizer: { name: "adamw", lr: 1e-2 } },
    steps: 3,
    batch: 2,
    examples: 16,
    seed: 0,
    looks: 3,
    probes: [
      { kind: "task", task: { name: "sums" } },
      { kind: "strengths", at: [0, 1] },
      { kind: "spectra" },
      { kind: "curvature", rounds: 2 },
    ],
  };

  test("a run is done once, with what is measured besides", async () => {
    const lab = new Lab(subject, storeIn(join(folder, "runs")));
    let steps = 0;
    const result = await lab.run(run, () => {
      steps++;
    });
    expect(steps).toBe(3);
    expect(result.losses).toHaveLength(3);
    expect(result.curve.map(({ step }) => step)).toEqual([0, 1, 2, 3]);
    expect(result.curve.at(-1)!.loss).toBe(result.loss);
    const [task, strengths, spectra, curvature] = result.probes;
    expect(task!.before).not.toBe(task!.after);
    // At strength 0 the model is the base, at 1 the tuned one.
    expect(strengths).toEqual({ 0: result.curve[0]!.loss, 1: result.loss });
    expect(spectra!.rank).toBeGreaterThanOrEqual(0);
    expect(curvature!.largest).not.toBe(0);
    expect(readdirSync(join(folder, "runs"))).toEqual([`${lab.key(run)}.json`]);
    const again = await new Lab(subject, storeIn(join(folder, "runs"))).run(run, () => {
      throw new Error("it runs again");
    });
    expect(again).toEqual(result);
    // Another lab comes to the same bits.
    const anew = await new Lab(subject, storeIn(join(folder, "anew"))).run(run);
    expect({ ...anew, seconds: 0 }).toEqual({ ...result, seconds: 0 });
  });

  describe("what else is measured and trained", () => {
    const bare: Run = { ...run, looks: 1, probes: [] };
    const done = (own: Partial<Run>) =>
      new Lab(subject, storeIn(join(folder, "runs"))).run({ ...bare, ...own });
    const withAlpha = (alpha: number): Run["recipe"] => ({ ...run.recipe, alpha }) as Run["recipe"];

    test("curvature at the start is that of the gauge", async () => {
      const largest = async (alpha: number) => {
        const { probes } = await done({ recipe: withAlpha(alpha), probes: [{ kind: "start", rounds: 20 }] });
        return probes[0]!.largest!;
      };
      const ratio = (await largest(32)) / (await largest(4));
      // With B = 0 the Hessian has a block that goes with alpha, and one that goes with its square.
      expect(ratio).toBeGreaterThan(8);
      expect(ratio).toBeLessThan(64);
    });

    test("the change of weights: its rank, and directions that the base has not", async () => {
      const trained = ["base"] as const;
      const still = await done({
        recipe: { r: 1, alpha: 1, trained, optimizer: { name: "sgd", lr: 0 } },
        probes: [{ kind: "change" }],
      });
      expect(still.probes).toEqual([{ intruders: 0, rank: 0 }]);
      const wild = await done({
        recipe: { r: 1, alpha: 64, optimizer: { name: "adamw", lr: 1 } },
        probes: [{ kind: "change" }],
      });
      // What rank 1 changes is of rank 1, and here it is larger than the weights.
      expect(wild.probes[0]!.rank).toBe(1);
      expect(wild.probes[0]!.intruders).toBeGreaterThan(0);
      expect(holding([3, 1, 1], 0.9)).toBe(2);
      expect(holding([3, 0, 0], 0.9)).toBe(1);
      const [x, y] = [Float64Array.of(1, 0), Float64Array.of(0, 1)];
      expect(largestCosine(Float64Array.of(0.6, -0.8), [x, y])).toBeCloseTo(0.8);
    });

    test("vectors of the base beside adapters, and no matrix of it", async () => {
      const adapters = (await done({})).trained;
      const trained = ["A", "B", "base"] as const;
      const recipe = (lr: number) => ({ ...run.recipe, trained, groups: { base: { lr } } }) as Run["recipe"];
      const both = await done({ vectors: true, recipe: recipe(1e-2) });
      expect(both.trained).toBe(adapters + 3 * tiny.width); // a block has two normalisations, the end one
      expect((await done({ vectors: true, recipe: recipe(0) })).losses).not.toEqual(both.losses);
    });

    test("a start from the gradient keeps the function, and goes further in the first update", async () => {
      const descent = { r: 2, alpha: 4, optimizer: { name: "sgd", lr: 1e-2 } } as const;
      const [usual, gradient] = [
        await done({ recipe: descent }),
        await done({ recipe: descent, start: "gradient" }),
      ];
      expect(gradient.losses[0]).toBeCloseTo(usual.losses[0]!, 5);
      expect(gradient.losses).not.toEqual(usual.losses);
      // B = 0 leaves A alone in the first update; here both move, along the gradient's first directions.
      expect(gradient.losses[1]!).toBeLessThan(usual.losses[1]!);
    });

    test("Sophia: signs where there is no curvature, shorter steps where there is", async () => {
      const by = (gamma: number, every: number) => done({ sophia: { lr: 1e-2, gamma, every } });
      const signs = await by(0, 1);
      expect((await by(0, 3)).losses).toEqual(signs.losses); // what is known of curvature plays no part
      const curved = await by(1e3, 1);
      expect(curved.losses[0]).toBe(signs.losses[0]);
      expect(curved.losses).not.toEqual(signs.losses);
      expect((await by(1e3, 3)).losses).not.toEqual(curved.losses);
      const change = ({ losses }: { readonly losses: readonly number[] }) =>
        Math.abs(losses.at(-1)! - losses[0]!);
      expect(change(await by(1e9, 1))).toBeLessThan(change(signs));
      expect(signs.curve.map(({ step }) => step)).toEqual([0, 3]);
      expect(await done({ sophia: { lr: 1e38, gamma: 0, every: 1 }, steps: 8 })).toMatchObject({
        loss: Math.log(448),
      });
    });
  });

  test("a result that is no JSON is named, with what to do", () => {
    const store = storeIn(join(folder, "broken"));
    writeFileSync(join(folder, "broken", "k.json"), '{"loss": 0.');
    expect(() => store.read("k")).toThrow(/k\.json: cannot be read as a result \(.*\)\. Remove the file/);
  });

  test("what diverges is a result", async () => {
    const lab = new Lab(subject, storeIn(join(folder, "runs")));
    const wild: Run = {
      ...run,
      recipe: { r: 2, alpha: 4, optimizer: { name: "sgd", lr: 1e38 } },
      steps: 8,
      looks: 1,
      probes: [],
    };
    const result = await lab.run(wild);
    expect(result.diverged).toBeGreaterThan(0);
    expect(result.loss).toBe(Math.log(448));
  });

  long("runs at a time come to what each comes to alone, whichever of them diverges", async () => {
    const sgd = { r: 2, alpha: 4, optimizer: { name: "sgd", lr: 1e38 } } as const;
    const all: Run[] = [
      { ...run, probes: [{ kind: "task", task: { name: "sums" } }] },
      { ...run, recipe: sgd, steps: 8, looks: 1, probes: [] },
      { ...run, seed: 1, steps: 5, probes: [] },
      { ...run, recipe: { ...run.recipe, alpha: 3 }, probes: [] },
    ];
    const alone = [];
    for (const each of all) alone.push(await new Lab(subject, storeIn(join(folder, "alone"))).run(each));
    const lab = new Lab(subject, storeIn(join(folder, "beside")));
    const beside = await Promise.all(all.map((each) => lab.run(each)));
    const bare = (results: typeof beside) => results.map((result) => ({ ...result, seconds: 0 }));
    expect(bare(beside)).toEqual(bare(alone));
    expect(beside.map(({ diverged }) => diverged !== undefined)).toEqual([false, true, false, false]);
    expect(readdirSync(join(folder, "beside")).sort()).toEqual(readdirSync(join(folder, "alone")).sort());
  });

  long("an experiment end to end, broken off and gone on with", async () => {
    const lab = new Lab(subject, storeIn(join(folder, "runs")));
    const setting = { steps: 4, batch: 2, seed: 0, choice: 1, comparison: 2 };
    const study = studies.find(({ name }) => name === "xy")!;
    const before = readdirSync(join(folder, "runs")).length;
    const stopped = runStudy(study, lab, {
      ...setting,
      onProgress: (share) => {
        if (share > 0.5) throw new Error("stopped");
      },
    });
    await expect(stopped).rejects.toThrow("stopped");
    const kept = readdirSync(join(folder, "runs")).length - before;
    expect(kept).toBeGreaterThan(0);
    const { results, tables, runs } = await runStudy(study, lab, setting);
    expect(readdirSync(join(folder, "runs")).length - before).toBe(6);
    expect(runs).toBe(6);
    expect(tables[0]!.rows.map(([name]) => name)).toEqual(["X", "Y", "Y as LoRA+"]);
    // Whatever the model has learned, LoRA+ at alpha 1 is run Y to the bit.
    expect(results.map(({ id, verdict }) => [id, verdict])).toContainEqual([
      "N-3",
      "holds under a condition",
    ]);
    expect(describeStudy({ ...(await runStudy(study, lab, setting)) })).toContain("S0-12");
  });

  test("keys tell runs apart, and not the order of fields", () => {
    const { task, recipe, ...rest } = run;
    expect(keyOf({ recipe, ...rest, task }, "base")).toBe(keyOf(run, "base"));
    const others = [
      { ...run, seed: 1 },
      { ...run, steps: 4 },
      { ...run, task: { name: "sums" } },
    ];
    expect(new Set([run, ...others].map((each) => keyOf(each, "base"))).size).toBe(4);
    expect(keyOf(run, "other")).not.toBe(keyOf(run, "base"));
  });
});
