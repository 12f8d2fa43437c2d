import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { judge } from "../src/experiments/exponents/judge.ts";
import { bestRate, largestUsefulRate } from "../src/experiments/exponents/rates.ts";
import { report } from "../src/experiments/exponents/report.ts";
import { measure } from "../src/experiments/exponents/run.ts";
import { estimate, fitLine, share, studentQuantile } from "../src/experiments/exponents/statistics.ts";
import { tables } from "../src/experiments/exponents/tables.ts";
import { type Exponent, type ExponentOptions, exponent, fitExponent } from "../src/experiments/index.ts";
import { init } from "../src/runtime/init.ts";
import { lorantz } from "./command.ts";

describe("statistics", () => {
  test.each([
    [0.95, 1, 12.7062],
    [0.95, 2, 4.3027],
    [0.95, 9, 2.2622],
    [0.99, 10, 3.1693],
    [0.95, 10_000, 1.9602],
  ])("Student's quantile at %f with %i degrees of freedom", (probability, freedom, expected) => {
    expect(studentQuantile(probability, freedom)).toBeCloseTo(expected, 3);
  });

  test("an estimate has Student's interval, and none for one value", () => {
    const { value, standardError, interval } = estimate([1, 2, 3, 4]);
    expect(value).toBe(2.5);
    expect(standardError).toBeCloseTo(0.6455, 4);
    expect(interval[0]).toBeCloseTo(2.5 - 3.1824 * 0.6455, 3);
    expect(estimate([7]).interval).toEqual([Number.NaN, Number.NaN]);
    expect(() => estimate([])).toThrow("at least one");
  });

  test("a share near 0 and 1 has an interval within 0 and 1", () => {
    expect(share(0, 100).interval[0]).toBe(0);
    expect(share(0, 100).interval[1]).toBeCloseTo(0.037, 3);
    expect(share(100, 100).interval[1]).toBe(1);
    expect(share(50, 100).interval[0]).toBeCloseTo(0.404, 3);
  });

  test("a line is found again, with its error", () => {
    const line = fitLine([0, 1, 2, 3], [1, 3.1, 4.9, 7]);
    expect(line.slope).toBeCloseTo(1.98, 10);
    expect(line.standardError).toBeCloseTo(Math.sqrt(0.018 / 2 / 5), 10);
    expect(line.r2).toBeGreaterThan(0.999);
    expect(() => fitLine([1, 1], [2, 3])).toThrow("two different xs");
  });

  test("an exact power has its exponent, and no error", () => {
    const { slope, standardError, r2, factor } = fitExponent(
      [2, 4, 8],
      [
        [12, 12],
        [48, 48],
        [192, 192],
      ],
    );
    expect(slope).toBeCloseTo(2, 12);
    expect(standardError).toBeCloseTo(0, 12);
    expect(r2).toBeCloseTo(1, 12);
    expect(factor).toBeCloseTo(3, 12);
  });
});

describe("verdicts", () => {
  test.each([
    [[0.95, 1.04], 1, "agrees"],
    [[0.85, 0.93], 1, "agrees"], // within what finite sizes may do
    [[0.5, 0.6], 1, "differs"],
    [[-0.1, 0.1], 0.5, "differs"],
    [[0.2, 1.2], 1, "undecided"],
    [[Number.NaN, Number.NaN], 1, "undecided"],
  ] as const)("interval %j against %f %s", (interval, theory, verdict) => {
    expect(judge(interval, theory)).toBe(verdict);
  });
});

describe("rates", () => {
  const rates = [1, 2, 4, 8, 16];

  test("the best is the vertex of a parabola in logarithms", () => {
    const losses = rates.map((rate) => Math.exp((Math.log2(rate) - 2.25) ** 2));
    expect(Math.log2(bestRate({ rates, losses }))).toBeCloseTo(2.25, 10);
    expect(() => bestRate({ rates, losses: [5, 4, 3, 2, 1] })).toThrow("at the end of the range");
  });

  test("a rate beside one that diverges is best as it stands", () => {
    expect(bestRate({ rates, losses: [4, 3, 2, Number.NaN, Number.POSITIVE_INFINITY] })).toBe(4);
  });

  test("the largest useful one halves the loss", () => {
    expect(Math.log2(largestUsefulRate({ rates, losses: [0.9, 0.1, 0.25, 1, 9] }))).toBeCloseTo(2.5, 10);
    expect(() => largestUsefulRate({ rates, losses: [1, 1, 1, 1, 1] })).toThrow("no learning rate");
  });
});

describe("exponent", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
  });

  const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
  const sgd = { name: "sgd", lr: 1e-4 } as const;
  const width = { over: { n: [64, 256, 1024] }, start: "randomB", seeds: 10 } as const;
  const rank = { over: { r: [4, 16, 64] }, n: 256, outputs: 64, seeds: 20 } as const;

  const cases: readonly (readonly [name: string, theory: number, options: ExponentOptions])[] = [
    ["Adam moves A x by n", 1, { of: "deltaA", optimizer: adam, ...width }],
    [
      "and by sqrt(n) on an independent input",
      0.5,
      { of: "deltaA", optimizer: adam, inputs: "independent", ...width },
    ],
    ["but by n with a common mean", 1, { of: "deltaA", optimizer: adam, inputs: "commonMean", ...width }],
    ["B does not feel the width", 0, { of: "deltaB", optimizer: adam, ...width }],
    ["Adam's update is of one size", 0, { of: "changeA", optimizer: adam, ...width }],
    ["SGD collapses at alpha/r", -1, { of: "deltaOutput", optimizer: sgd, ...rank }],
    ["and not at alpha/sqrt(r)", 0, { of: "deltaOutput", optimizer: sgd, scaling: "rsLora", ...rank }],
    ["Adam does not collapse at alpha/r", 0, { of: "deltaOutput", optimizer: adam, ...rank }],
    ["and grows at alpha/sqrt(r)", 0.5, { of: "deltaOutput", optimizer: adam, scaling: "rsLora", ...rank }],
    ["the gradient of B", -0.5, { of: "gradientB", optimizer: adam, ...rank }],
    [
      "alpha enters SGD's step twice",
      2,
      { of: "deltaOutput", over: { alpha: [1, 4, 16] }, optimizer: sgd, n: 64 },
    ],
    ["and Adam's once", 1, { of: "deltaOutput", over: { alpha: [1, 4, 16] }, optimizer: adam, n: 64 }],
    ["the learning rate once", 1, { of: "deltaOutput", over: { lr: [1e-5, 1e-4] }, optimizer: adam, n: 64 }],
  ];
  test.each(cases)("%s: %f", async (_, theory, options) => {
    const { slope, interval, points, r2 } = await exponent(options);
    expect(judge(interval, theory)).toBe("agrees");
    expect(Math.abs(slope - theory)).toBeLessThan(0.15);
    expect(points.length).toBeGreaterThan(1);
    if (theory !== 0) expect(r2).toBeGreaterThan(0.95);
  });

  test("a wrong theory is found out", async () => {
    const { interval } = await exponent({ of: "deltaOutput", optimizer: adam, ...rank });
    expect(judge(interval, -1)).toBe("differs");
  });

  test("the weight's change agrees with the whole matrix", async () => {
    const { points } = await exponent({
      of: "deltaWeight",
      over: { alpha: [8, 16] },
      n: 8,
      outputs: 4,
      r: 2,
      optimizer: sgd,
      seeds: 2,
    });
    // From B = 0 and for SGD, s (change of B) A x = -lr s^2 G A^T A x; the norm of the matrix bounds its effect.
    const output = await exponent({
      of: "deltaOutput",
      over: { alpha: [8, 16] },
      n: 8,
      outputs: 4,
      r: 2,
      optimizer: sgd,
      seeds: 2,
    });
    expect(points[1]!.value / points[0]!.value).toBeCloseTo(4, 4);
    expect(points[0]!.value).toBeGreaterThan(output.points[0]!.value / 8);
  });

  test("the best rates move with the width as theory says", async () => {
    const options = {
      over: { n: [64, 512] },
      r: 4,
      alpha: 4,
      outputs: 16,
      seeds: 2,
      optimizer: adam,
    } as const;
    const tied = await exponent({ of: "bestRate", ...options });
    expect(tied.slope).toBeGreaterThan(-0.8);
    expect(tied.slope).toBeLessThan(-0.25);
    const largest = await exponent({ of: "largestRate", rates: { lrB: 1 / 8 }, ...options });
    expect(largest.slope).toBeGreaterThan(-1.2);
    expect(largest.slope).toBeLessThan(-0.8);
  });

  test("equal seeds give equal numbers, whatever else is measured", async () => {
    const options = { of: "deltaA", over: { n: [16, 64] }, start: "randomB", optimizer: adam } as const;
    const few = await exponent({ ...options, seeds: 2 });
    const more = await exponent({ ...options, seeds: 4 });
    expect(more.points.map(({ values }) => values.slice(0, 2))).toEqual(
      few.points.map(({ values }) => values),
    );
  });

  test("a quantity may be a function, one seed has the interval of the regression, and progress is told", async () => {
    const told: string[] = [];
    const { slope, interval } = await exponent({
      of: async ({ n, r, seed }) => n ** 3 / r + seed,
      over: { n: [10, 100, 1000] },
      seeds: 1,
      onProgress: (done, total) => void told.push(`${done}/${total}`),
    });
    expect(slope).toBeCloseTo(3, 10);
    expect(interval[1] - interval[0]).toBeLessThan(1e-9);
    expect(told).toEqual(["1/3", "2/3", "3/3"]);
  });

  test.each([
    [{ of: "speed" as "deltaA" }, 'no quantity "speed". Quantities are deltaA'],
    [{ over: { n: [64] } }, "at least two positive, rising values"],
    [{ over: { n: [64, 32] } }, "at least two positive, rising values"],
    [{ over: { r: [1, 2], n: [8, 16] } as unknown as { r: number[] } }, "give one of n, r, alpha, lr"],
    [{ over: { n: [2, 4] } }, "r is 8, larger than the width 2"],
    [{ over: { n: [16.5, 32] } }, "n is 16.5"],
    [{ seeds: 0 }, "seeds is 0"],
    [{ confidence: 1 }, "confidence is 1"],
    [{ alpha: 0 }, "alpha is 0"],
    [{ inputs: "validation" as "training" }, 'inputs is "validation"'],
    [{ of: async () => 0 }, "the quantity is 0 at n = 16"],
  ])("%j is refused", async (options, message) => {
    await expect(exponent({ of: "deltaA", over: { n: [16, 32] }, seeds: 2, ...options })).rejects.toThrow(
      message,
    );
  });

  test("the report of a table stands alone and escapes", async () => {
    const [small] = await measure(
      [
        {
          name: "one",
          title: "A < B",
          about: "x",
          rows: [{ name: "a & b", theory: 1, options: { of: "deltaA", ...width } }],
        },
      ],
      { seeds: 2 },
    );
    const html = report({ format: 1, lorantz: "0", seeds: 2, seconds: 1, tables: [small!] });
    expect(html).toContain("A &lt; B");
    expect(html).toContain("a &amp; b");
    expect(html).toContain("<svg");
    expect(html).not.toMatch(/(?:src|href)="/);
    expect(html).not.toContain("NaN");
  });
});

test("every table has rows of theory's half-integers and its own name", () => {
  expect(new Set(tables.map(({ name }) => name)).size).toBe(tables.length);
  for (const { rows } of tables) {
    expect(rows.length).toBeGreaterThan(0);
    for (const { theory } of rows) expect(Number.isInteger(2 * theory)).toBe(true);
  }
});

describe("lorantz exponents", () => {
  const folder = mkdtempSync(join(tmpdir(), "lorantz-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  afterEach(() => vi.restoreAllMocks());

  const exponentsCommand = (...args: string[]) => lorantz("exponents", ...args);

  test("measures a table, and writes it", async () => {
    const out = join(folder, "out");
    const { code, stdout } = await exponentsCommand(
      "--only",
      "inner",
      "--seeds",
      "3",
      "--json",
      "--out",
      out,
    );
    expect(code).toBe(0);
    expect(readdirSync(out).sort()).toEqual(["exponents.html", "exponents.json"]);
    expect(readFileSync(join(out, "exponents.json"), "utf8")).toBe(stdout);
    const { tables } = JSON.parse(stdout) as { tables: { rows: { measured: Exponent }[] }[] };
    expect(tables[0]!.rows).toHaveLength(2);
    expect(tables[0]!.rows[0]!.measured.slope).toBeCloseTo(1, 1);
  });

  test.each([
    [["--only", "depth"], '--only is "depth"; it is width or inner or rank or rates'],
    [["--seeds", "1"], '--seeds is "1"; it is a whole number from 2 to 1000'],
    [["--seeds", "many"], '--seeds is "many"'],
    [["width"], "Unexpected argument"],
  ])("%j is refused with code 2", async (args, message) => {
    const { code, stdout, stderr } = await exponentsCommand(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});
