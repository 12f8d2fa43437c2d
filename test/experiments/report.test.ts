import { expect, test } from "vitest";
import { table } from "../../src/base/table.ts";
import { report } from "../../src/experiments/theorem/report.ts";
import type { Comparison, Results, RunResult } from "../../src/experiments/theorem/results.ts";
import { columns, headline, verdict } from "../../src/experiments/theorem/summary.ts";

const group = { lr: 0.00512, weightDecay: 0.01, eps: 1e-8 };
const curve = (rate: number) =>
  Array.from({ length: 60 }, (_, i) => 2 + Math.exp(-rate * i) + 0.05 * Math.sin(7 * i));

function run(
  number: number,
  name: string,
  losses: readonly number[],
  comparison?: Partial<Comparison>,
): RunResult {
  return {
    number,
    name,
    family: number < 4 ? "One recipe & its partners" : "Two <runs>",
    about: "What was changed.",
    optimizer: "adamw",
    r: 8,
    alpha: 16,
    a: group,
    b: group,
    losses,
    validation: { steps: [0, 30, 60], losses: [3, 2.4, 2.1] },
    ...(comparison && {
      comparison: {
        reference: 1,
        gauge: { a: 1, b: 1, k: 1 },
        expected: { kind: "bitwise" },
        lossesBitwise: true,
        lossDeviation: 0,
        parameterSteps: [30, 60],
        parametersBitwise: true,
        parameterDeviation: 0,
        asPredicted: true,
        ...comparison,
      },
    }),
  };
}

const apart = { lossesBitwise: false, lossDeviation: 0.3, parametersBitwise: false, parameterDeviation: 0.5 };

const sample: Results = {
  format: 2,
  lorantz: "0.0.0",
  device: { backend: "cpu", description: "a processor" },
  seed: 0,
  steps: 60,
  seconds: 61.2,
  model: {
    name: "a small one",
    family: "llama",
    data: "speeches & <toasts>",
    examples: 1059831,
    heldOut: 1000,
    targetModules: "all-linear",
    batch: 64,
    context: 32,
    parameters: 61000,
    trainable: 5900,
  },
  pretraining: {
    data: "Whales & <ships>",
    examples: 1212868,
    steps: 300,
    validation: { steps: [0, 300], losses: [4.5, 2.3] },
  },
  runs: [
    run(1, "reference", curve(0.1)),
    run(2, "partner", curve(0.1), {}),
    run(
      3,
      "other",
      curve(0.1).map((y) => y * (1 + 1e-7)),
      {
        ...apart,
        expected: { kind: "rounding", bound: 1e-4 },
        lossDeviation: 1e-7,
        parameterDeviation: 1e-6,
      },
    ),
    run(4, "X", curve(0.2), { ...apart, expected: { kind: "different", bound: 1e-3 } }),
    run(5, "Y", curve(0.05), { ...apart, asPredicted: false }),
  ],
  laws: { held: 3, broken: 1 },
};

test("the report is one page without scripts or outside references, with text escaped", async () => {
  const html = await report(sample);
  expect(html).toContain("<!doctype html>");
  expect(html).not.toMatch(/<script|<link|@import|url\(|\bsrc=|href=/);
  expect(html).toContain("Whales &amp; &lt;ships&gt;");
  expect(html).not.toContain("<ships>");
  expect(html).toContain("Two &lt;runs&gt;");
  expect(html).toContain("1,212,868 examples, 300 steps, validation loss 4.500 to 2.300");
});

test("tags of the report are closed in order", async () => {
  const open: string[] = [];
  const empty = new Set(["meta", "!doctype", "path", "line"]);
  for (const [, close, name = "", selfClosing] of (await report(sample)).matchAll(
    /<(\/?)([!a-z][a-z0-9]*)[^>]*?(\/?)>/gi,
  )) {
    if (close) expect(open.pop()).toBe(name);
    else if (!selfClosing && !(empty.has(name) && name !== "path")) open.push(name);
  }
  expect(open).toEqual([]);
});

test("runs that agree bit for bit are one curve; a broken law is marked", async () => {
  const html = await report(sample);
  expect(html).toContain("1 reference — and bit for bit the same curve: run 2");
  expect(html).toContain("Exactly zero at every step, and so not on this axis: run 2.");
  expect(html).toContain('class="broken"');
  expect(html).toContain("1 of 4 comparisons did not come out as the theorem predicts.");
});

test("verdicts say what came out and what the theory wants", () => {
  const verdicts = sample.runs.map(({ comparison }) => comparison && verdict(comparison));
  expect(verdicts).toEqual([
    undefined,
    "same run, as predicted",
    "same to rounding, as predicted",
    "differs, as predicted",
    "NOT AS PREDICTED: theory says bitwise equality",
  ]);
  expect(headline({ ...sample, laws: { held: 4, broken: 0 } })).toBe(
    "All 4 comparisons came out as the theorem predicts.",
  );
});

test("the table of runs lines up", () => {
  const lines = table(columns(sample)).split("\n");
  expect(lines).toHaveLength(2 + sample.runs.length);
  expect(lines[0]).toMatch(
    /^# {2}run +alpha +lr of A +lr of B +val first +val last +vs +deviation +parameters +verdict$/,
  );
  const at = lines[0]!.indexOf("verdict");
  expect(lines[2]!.slice(at)).toBe("reference");
  expect(lines[3]!.slice(at)).toBe("same run, as predicted");
});
