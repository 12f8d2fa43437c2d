import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import { run } from "../../src/cli/run.ts";
import { asPredicted, compare } from "../../src/experiments/theorem/compare.ts";
import { prepare, type Text } from "../../src/experiments/theorem/own-model.ts";
import { type PlannedRun, plan } from "../../src/experiments/theorem/plan.ts";
import type { Results } from "../../src/experiments/theorem/results.ts";
import type { Trained } from "../../src/experiments/theorem/train.ts";
import { apply, hyperOf, onlyB, type Recipe } from "../../src/gauge/index.ts";
import { backends } from "../devices.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { cases } from "../thorough.ts";

const whale =
  "The whale swam on through the grey sea, and no man on the ship could say where it would rise. ";
const address =
  "Fellow citizens, the state of our union is strong; we ask the Congress to act on this plan. ";
const text = (name: string, words: string): Text => ({ name, text: words.repeat(60) });

const { root: folder } = scratch("theorem-job");
beforeAll(() => {
  writeFileSync(join(folder, "base.txt"), whale.repeat(60));
  writeFileSync(join(folder, "target.txt"), address.repeat(60));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.doUnmock("../../src/experiments/theorem/plan.ts");
});

/** What is done when a job writes something. */
let heard: (text: string) => void = () => {};

/** Runs `lorantz theorem` on the two small texts; returns the code and what went to stdout and stderr. */
async function theorem(program: typeof run, ...args: string[]) {
  const written = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    vi.spyOn(process[name], "write").mockImplementation((chunk) => {
      written[name] += String(chunk);
      heard(String(chunk));
      return true;
    });
  }
  const texts = ["--base", join(folder, "base.txt"), "--target", join(folder, "target.txt")];
  const code = await program(["theorem", ...texts, ...args]);
  vi.restoreAllMocks();
  heard = () => {};
  return { code, ...written };
}

const settings = ["--steps", "20", "--seed", "7"];
const resultsIn = (out: string): Results => JSON.parse(readFileSync(join(out, "results.json"), "utf8"));

const named = (name: string): PlannedRun => plan.find((candidate) => candidate.name === name)!;

test("every run is compared with an earlier one, in a gauge that fits both alphas", () => {
  expect(new Set(plan.map(({ name }) => name)).size).toBe(plan.length);
  plan.forEach(({ recipe, relation }, i) => {
    if (!relation) return;
    const reference = plan.findIndex(({ name }) => name === relation.reference);
    expect(reference).toBeGreaterThanOrEqual(0);
    expect(reference).toBeLessThan(i);
    const { a, b, k } = relation.gauge;
    expect(recipe.alpha).toBe(plan[reference]!.recipe.alpha * k);
    expect(recipe.initScale?.A ?? 1).toBe(a);
    expect(k * a * b).toBeCloseTo(1, 14);
  });
});

test("the partners written out by hand are those that the gauge gives", () => {
  const hyper = (recipe: Recipe) => [
    recipe.alpha,
    hyperOf<"adamw">(recipe as never, "A"),
    hyperOf<"adamw">(recipe as never, "B"),
  ];
  const [x, y] = [named("X: alpha 1, lr 0.00512").recipe, named("Y: alpha 512, lr 1e-5").recipe];
  expect(0.00512 / 512).toBe(1e-5);
  expect(hyper(apply(onlyB(512), x))).toEqual(hyper(named("X's partner at alpha 512").recipe));
  expect(hyper(apply(onlyB(1 / 512), y))).toEqual(hyper(named("Y as LoRA+ at alpha 1").recipe));
});

test("a text becomes examples of one length, each with the tokens that follow", async () => {
  const { base, target } = await prepare(text("base", whale), text("target", address));
  for (const [name, data] of Object.entries({ base, target })) {
    expect(data.name).toBe(name);
    expect(data.length).toBeGreaterThan(20);
    for (let i = 0; i < data.length; i++) {
      const [tokens, targets] = [data.tokens(i), data.targets(i)];
      expect(targets.subarray(0, -1)).toEqual(tokens.subarray(1));
      if (i < data.length - 1) expect(tokens).toHaveLength(32);
      if (i > 0) expect(tokens[0]).toBe(data.targets(i - 1).at(-1));
    }
  }
});

function trained(losses: number[], a: number[]): Trained {
  const tensors = new Map([["loraA", Float32Array.from(a)]]);
  const validation = { steps: losses.map((_, i) => i), losses };
  return {
    trained: {},
    losses: Float32Array.from(losses),
    validation,
    snapshots: [{ step: 1, tensors }],
  };
}

test("a comparison sees a single bit, in losses and in parameters", () => {
  const ulp = 2 ** -23;
  const reference = trained([2, 1], [0.5, -3]);
  const half = () => 0.5;
  const same = compare(trained([2, 1], [0.25, -1.5]), reference, half);
  expect(same).toMatchObject({
    lossesBitwise: true,
    lossDeviation: 0,
    parametersBitwise: true,
    parameterDeviation: 0,
  });
  const loss = compare(trained([2, 1 + ulp], [0.25, -1.5]), reference, half);
  expect(loss).toMatchObject({ lossesBitwise: false, lossDeviation: ulp, parametersBitwise: true });
  const parameter = compare(trained([2, 1], [0.25, -1.5 * (1 + ulp)]), reference, half);
  expect(parameter).toMatchObject({ lossesBitwise: true, parametersBitwise: false });
  expect(parameter.parameterDeviation).toBeGreaterThan(0);
  expect(compare(trained([2, 1], [0.5, -3]), reference, half).parameterDeviation).toBe(1);
});

test("verdicts follow from measurements; what is not finite proves nothing", () => {
  const exact = compare(trained([2, 1], [1]), trained([2, 1], [1]), () => 1);
  const near = {
    ...exact,
    lossesBitwise: false,
    parametersBitwise: false,
    lossDeviation: 1e-7,
    parameterDeviation: 1e-6,
  };
  const far = { ...near, lossDeviation: 0.1, parameterDeviation: 0.5 };
  const bitwise = { kind: "bitwise" } as const;
  const rounding = { kind: "rounding", bound: 1e-4 } as const;
  const different = { kind: "different", bound: 1e-3 } as const;
  const verdicts = [bitwise, rounding, different].map((expected) =>
    [exact, near, far].map((m) => asPredicted(expected, m)),
  );
  expect(verdicts).toEqual([
    [true, false, false],
    [true, true, false],
    [false, false, true],
  ]);
  const diverged = compare(
    trained([2, Number.NaN], [Number.NaN]),
    trained([2, Number.NaN], [Number.NaN]),
    () => 1,
  );
  for (const expected of [bitwise, rounding, different]) expect(asPredicted(expected, diverged)).toBe(false);
});

// On a software driver it is a minute, of pipelines that are compiled.
const [cpu, ...others] = await backends();
test.for(cases([cpu!], others))(
  "the whole job proves the theorem on %s and writes its results",
  { timeout: 400_000 },
  async (backend) => {
    const out = join(folder, `out-${backend}`);
    const { code, stdout, stderr } = await theorem(
      run,
      "--backend",
      backend,
      ...settings,
      "--out",
      out,
      "--json",
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining(`Training on ${backend}`) });
    expect(readdirSync(out).sort()).toEqual(["report.html", "results.json"]);
    expect(readFileSync(join(out, "results.json"), "utf8")).toBe(stdout);
    const results: Results = JSON.parse(stdout);
    expect(results).toMatchObject({ format: 2, seed: 7, steps: 20, device: { backend } });
    expect(results.runs).toHaveLength(plan.length);
    expect(results.laws).toEqual({ held: plan.filter(({ relation }) => relation).length, broken: 0 });
    for (const { losses, validation, comparison } of results.runs) {
      expect(losses).toHaveLength(20);
      expect(losses.every(Number.isFinite)).toBe(true);
      expect(validation.steps).toEqual(Array.from({ length: 21 }, (_, i) => i));
      expect(validation.losses.at(-1)).toBeLessThan(validation.losses[0]!);
      if (comparison?.expected.kind === "bitwise") {
        expect(comparison).toMatchObject({
          lossDeviation: 0,
          parameterDeviation: 0,
          parameterSteps: [10, 20],
        });
      }
    }
    const html = readFileSync(join(out, "report.html"), "utf8");
    expect(html).toContain(`All ${results.laws.held} comparisons came out as the theorem predicts.`);
    expect(html).toContain(join(folder, "base.txt"));
    for (const next of ["tune", "sweep", "claims"]) expect(html).toContain(`<code>lorantz ${next}`);
  },
);

long("false claims are found out: code 1, with all that was found; the seed decides the rest", async () => {
  vi.resetModules();
  const [x, y, partner] = [
    named("X: alpha 1, lr 0.00512"),
    named("Y: alpha 512, lr 1e-5"),
    named("X's partner at alpha 512"),
  ];
  const claim = (
    planned: PlannedRun,
    expected: NonNullable<PlannedRun["relation"]>["expected"],
  ): PlannedRun => ({
    ...planned,
    relation: { ...planned.relation!, expected },
  });
  const runs = [x, claim(y, { kind: "bitwise" }), claim(partner, { kind: "different", bound: 1e-3 })];
  vi.doMock("../../src/experiments/theorem/plan.ts", () => ({ plan: runs }));
  const program = await import("../../src/cli/run.ts");
  const out = join(folder, "broken");
  const { code, stdout } = await theorem(program.run, "--backend", "cpu", ...settings, "--out", out);
  expect(code).toBe(1);
  expect(stdout).toContain("NOT AS PREDICTED: theory says bitwise equality");
  expect(stdout).toContain("NOT AS PREDICTED: theory says a different run");
  expect(stdout).toContain("2 of 2 comparisons did not come out as the theorem predicts.");
  expect(readdirSync(out).sort()).toEqual(["report.html", "results.json"]);
  const { laws, runs: found } = resultsIn(out);
  expect(laws).toEqual({ held: 0, broken: 2 });
  expect(found[2]!.comparison).toMatchObject({ lossesBitwise: true, parametersBitwise: true });
  // The other job trained a base of its own, on another device.
  const before = resultsIn(join(folder, "out-cpu")).runs.find(({ name }) => name === x.name)!;
  expect({ ...found[0], number: before.number }).toEqual(before);
});

test("an interrupted job ends with code 130 and leaves nothing behind", { timeout: 60_000 }, async () => {
  const out = join(folder, "interrupted");
  heard = (text) => {
    if (text.startsWith("Training on")) process.emit("SIGINT");
  };
  const { code, stdout, stderr } = await theorem(run, "--backend", "cpu", "--steps", "10000", "--out", out);
  expect({ code, stdout }).toEqual({ code: 130, stdout: "" });
  expect(stderr).toContain("Interrupted; nothing was written.");
  expect(readdirSync(folder)).not.toContain("interrupted");
});
