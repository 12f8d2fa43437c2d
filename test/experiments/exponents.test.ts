import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { generator } from "../../src/base/generator.ts";
import { judge, judgedConfidence } from "../../src/experiments/exponents/judge.ts";
import { bestRate, largestUsefulRate } from "../../src/experiments/exponents/rates.ts";
import { report } from "../../src/experiments/exponents/report.ts";
import { measure } from "../../src/experiments/exponents/run.ts";
import {
  estimate,
  fitLine,
  mean,
  share,
  studentQuantile,
} from "../../src/experiments/exponents/statistics.ts";
import { tables } from "../../src/experiments/exponents/tables.ts";
import {
  inRank,
  inWidth,
  logSigns,
  logSquares,
  logSum,
  type Prediction,
  times,
} from "../../src/experiments/exponents/theory.ts";
import { type Exponent, type ExponentOptions, exponent, fitExponent } from "../../src/experiments/index.ts";

import { init } from "../../src/runtime/init.ts";
import { lorantz } from "../command.ts";
import { long } from "../long.ts";
import { scratch } from "../scratch.ts";
import { everyNth } from "../thorough.ts";

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
    [[0.95, 1.04], { exponent: 1, limit: 1 }, "agrees"],
    [[0.95, 0.99], { exponent: 1, limit: 1 }, "differs"],
    [[-0.95, -0.8], { exponent: -0.87, limit: -1 }, "agrees"],
    [[-0.95, -0.8], { exponent: -1, limit: -1 }, "differs"], // at these sizes the limit is not reached
    [[-1.05, -0.8], { exponent: -0.87, limit: -1 }, "agrees"], // the limit is no other theory
    [[-1.05, -0.45], { exponent: -0.87, limit: -1 }, "undecided"],
    [[Number.NaN, Number.NaN], { exponent: 1, limit: 1 }, "undecided"],
  ] as const)("interval %j against %j %s", (interval, theory, verdict) => {
    expect(judge(interval, theory)).toBe(verdict);
  });
});

describe("theory at finite sizes", () => {
  test("mean logarithms that are known", () => {
    const euler = 0.5772156649015329;
    expect(logSquares(1)).toBeCloseTo(-euler - Math.LN2, 14);
    expect(logSquares(2)).toBeCloseTo(Math.LN2 - euler, 14);
    expect(logSquares(3)).toBeCloseTo(2 - euler - Math.LN2, 14);
    expect(logSquares(4096)).toBeCloseTo(Math.log(4096) - 1 / 4096, 7);
    expect(logSum(1)).toBeCloseTo(logSquares(1) / 2, 12);
  });

  test("the others are those of random numbers", () => {
    const random = generator(1);
    const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    const draws = 20_000;
    const average = (draw: () => number) => mean(Array.from({ length: draws }, draw));
    const total = (count: number, of: (x: number) => number) =>
      Array.from({ length: count }, () => of(normal())).reduce((a, b) => a + b, 0);
    const square = (x: number) => x * x;
    for (const k of [2, 5]) {
      expect(average(() => Math.log(total(k, Math.abs)))).toBeCloseTo(logSum(k), 1.5);
      expect(average(() => Math.log(total(k, square)))).toBeCloseTo(logSquares(k), 1.5);
    }
    const [r, n] = [8, 64];
    const found = average(() => Math.log(total(r, Math.abs) ** 2 + r * total(n - 1, square)));
    expect(Math.abs(found - logSigns(r, n))).toBeLessThan(0.006); // four standard errors
  });

  test("exponents over the ranks of an article", () => {
    const ranks = [2, 8, 32, 128];
    expect(times(inRank.sgd(ranks), -2).exponent).toBeCloseTo(-0.8697, 4);
    expect(times(inRank.gradient(ranks), -1).exponent).toBeCloseTo(-0.4348, 4);
    expect(times(inRank.adam(ranks), -1).exponent).toBeCloseTo(0.039, 4);
    expect(times(inRank.adamIndependent(ranks, 512), -1).exponent).toBeCloseTo(-0.4832, 4);
    const more = [4, 8, 16, 32, 64, 128, 256];
    expect(times(inRank.sgd(more), -2).exponent).toBeCloseTo(-0.9437, 4);
    expect(times(inRank.gradient(more), -1).exponent).toBeCloseTo(-0.4719, 4);
    expect(times(inRank.adam(more), -1).exponent).toBeCloseTo(0.0163, 4);
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
  const ranks = [4, 16, 64];
  const rank = { over: { r: ranks }, n: 256, outputs: 64, seeds: 40 } as const;
  const widths = width.over.n;
  const exact = (limit: number): Prediction => ({ exponent: limit, limit });

  const cases: readonly (readonly [name: string, theory: Prediction, options: ExponentOptions])[] = [
    ["Adam moves A x by n", inWidth.adamA(widths), { of: "deltaA", optimizer: adam, ...width }],
    [
      "and by sqrt(n) on an independent input",
      exact(0.5),
      { of: "deltaA", optimizer: adam, inputs: "independent", ...width },
    ],
    [
      "but by n with a common mean",
      exact(1),
      { of: "deltaA", optimizer: adam, inputs: "commonMean", ...width },
    ],
    ["B does not feel the width", inWidth.adamB(widths), { of: "deltaB", optimizer: adam, ...width }],
    [
      "nor on an independent input",
      inWidth.adamBIndependent(widths, 8),
      { of: "deltaB", optimizer: adam, inputs: "independent", ...width },
    ],
    ["Adam's update is of one size", exact(0), { of: "changeA", optimizer: adam, ...width }],
    [
      "SGD collapses at alpha/r",
      times(inRank.sgd(ranks), -2),
      { of: "deltaOutput", optimizer: sgd, ...rank },
    ],
    [
      "and not at alpha/sqrt(r)",
      times(inRank.sgd(ranks), -1),
      { of: "deltaOutput", optimizer: sgd, scaling: "rsLora", ...rank },
    ],
    [
      "but there too on an independent input",
      times(inRank.sgdIndependent(ranks, 256), -1),
      { of: "deltaOutput", optimizer: sgd, scaling: "rsLora", inputs: "independent", ...rank },
    ],
    [
      "Adam does not collapse at alpha/r",
      times(inRank.adam(ranks), -1),
      { of: "deltaOutput", optimizer: adam, ...rank },
    ],
    [
      "but does on an independent input",
      times(inRank.adamIndependent(ranks, 256), -1),
      { of: "deltaOutput", optimizer: adam, inputs: "independent", ...rank },
    ],
    [
      "as the weight's change",
      times(inRank.adamIndependent(ranks, 256), -1),
      { of: "deltaWeight", optimizer: adam, ...rank },
    ],
    [
      "and grows at alpha/sqrt(r)",
      times(inRank.adam(ranks), -0.5),
      { of: "deltaOutput", optimizer: adam, scaling: "rsLora", ...rank },
    ],
    ["the gradient of B", times(inRank.gradient(ranks), -1), { of: "gradientB", optimizer: adam, ...rank }],
  ];
  test.each(everyNth(5, cases))("%s", async (_, theory, options) => {
    const { slope, interval, points } = await exponent({ ...options, confidence: judgedConfidence });
    expect(judge(interval, theory), `${slope} in ${interval} for ${theory.exponent}`).toBe("agrees");
    expect(points.length).toBeGreaterThan(1);
  });

  test.each([
    ["alpha enters SGD's step twice", 2, { over: { alpha: [1, 4, 16] }, optimizer: sgd }],
    ["and Adam's once", 1, { over: { alpha: [1, 4, 16] }, optimizer: adam }],
    ["the learning rate once", 1, { over: { lr: [1e-5, 1e-4] }, optimizer: adam }],
  ] as const)("%s, whatever is drawn", async (_, exact, options) => {
    const { slope, standardError } = await exponent({ of: "deltaOutput", n: 64, seeds: 4, ...options });
    expect(slope).toBeCloseTo(exact, 4);
    expect(standardError).toBeLessThan(1e-4);
  });

  test("a wrong theory is found out", async () => {
    const judged = { confidence: judgedConfidence, of: "deltaOutput" } as const;
    const { interval } = await exponent({ ...judged, ...rank, optimizer: adam });
    expect(judge(interval, exact(-1))).toBe("differs");
    const sgdRun = await exponent({
      ...judged,
      over: { r: [2, 8, 32, 128] },
      n: 128,
      outputs: 4,
      seeds: 240,
      optimizer: sgd,
    });
    for (const wrong of [-1.09, -0.71]) {
      expect(judge(sgdRun.interval, { exponent: wrong, limit: -1 }), `${wrong}`).toBe("differs");
    }
  });

  test("two seeds have no draw in common, and give other numbers", async () => {
    const options = {
      of: "deltaA",
      over: { n: [16, 64] },
      start: "randomB",
      optimizer: adam,
      seeds: 3,
    } as const;
    const values = async (seed: number) =>
      (await exponent({ ...options, seed })).points.flatMap(({ values }) => values);
    const [first, again, other] = [await values(0), await values(0), await values(1)];
    expect(again).toEqual(first);
    expect(first.filter((value) => other.includes(value))).toEqual([]);
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

  long("the best rates move with the width as theory says", async () => {
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
    [{ seed: -1 }, "seed is -1; it is an integer from 0 to 4095"],
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
          rows: [{ name: "a & b", theory: exact(1), options: { of: "deltaA", ...width } }],
        },
      ],
      { seeds: 2 },
    );
    const html = await report({ format: 1, lorantz: "0", seed: 0, seeds: 2, seconds: 1, tables: [small!] });
    expect(html).toContain("A &lt; B");
    expect(html).toContain("a &amp; b");
    expect(html).toContain("<svg");
    expect(html).not.toMatch(/(?:src|href)="/);
    expect(html).not.toContain("NaN");
  });
});

test("every table has its own name, and theory near limits that are multiples of 1/2", () => {
  expect(new Set(tables.map(({ name }) => name)).size).toBe(tables.length);
  for (const { rows } of tables) {
    expect(rows.length).toBeGreaterThan(0);
    for (const { theory } of rows) {
      expect(Number.isInteger(2 * theory.limit)).toBe(true);
      expect(Math.abs(theory.exponent - theory.limit)).toBeLessThan(0.1);
    }
  }
});

describe("lorantz exponents", () => {
  const { root: folder } = scratch("exponents");
  afterEach(() => vi.restoreAllMocks());

  const exponentsCommand = (...args: string[]) => lorantz("exponents", ...args);

  long("measures a table, and writes it", async () => {
    const out = join(folder, "out");
    const { code, stdout } = await exponentsCommand(
      "--only",
      "inner",
      "--seeds",
      "3",
      "--seed",
      "5",
      "--json",
      "--out",
      out,
    );
    expect(code).toBe(0);
    expect(readdirSync(out).sort()).toEqual(["exponents.html", "exponents.json"]);
    expect(readFileSync(join(out, "exponents.json"), "utf8")).toBe(stdout);
    const { tables, seed } = JSON.parse(stdout) as {
      seed: number;
      tables: { rows: { measured: Exponent }[] }[];
    };
    expect(seed).toBe(5);
    expect(tables[0]!.rows).toHaveLength(2);
    expect(Math.abs(tables[0]!.rows[0]!.measured.slope - 1)).toBeLessThan(0.2);
  });

  test.each([
    [["--only", "depth"], '--only is "depth"; it is width or inner or rank or rates'],
    [["--seeds", "1"], '--seeds is "1"; it is a whole number from 2 to 1000'],
    [["--seeds", "many"], '--seeds is "many"'],
    [["--seed", "4096"], '--seed is "4096"; it is a whole number from 0 to 4095'],
    [["width"], "Unexpected argument"],
  ])("%j is refused with code 2", async (args, message) => {
    const { code, stdout, stderr } = await exponentsCommand(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(message);
  });
});
