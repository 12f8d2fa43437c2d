import { mkdirSync, writeFileSync } from "node:fs";
import { afterEach, expect, test, vi } from "vitest";
import { sweepOf } from "../../src/experiments/sweep/plan.ts";
import { reportOf } from "../../src/experiments/sweep/report.ts";
import { bestOf, csvOf, rowsOf, tableOf } from "../../src/experiments/sweep/table.ts";
import type { Outcome, Setting } from "../../src/experiments/sweep/task.ts";

afterEach(() => vi.doUnmock("vega"));

const setting: Setting = {
  ...{ model: "m", data: "d", heldOut: "h", backend: "cpu", weights: "float32", targetModules: "all-linear" },
  batch: { size: 8, accumulate: 1, pack: false },
  ...{ steps: 100, every: 20 },
};
const recipe = { r: 4, alpha: 8, optimizer: { name: "adamw", lr: 1e-3 } } as const;
const vary = { r: [4, 8, 16], "optimizer.lr": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2] };
const about = { lorantz: "0", code: "0+a", setting, sources: {}, seeds: [0, 1, 2] };
const { sweep, cells } = sweepOf({ recipe, vary }, about);

/** A bowl over the rate, whose best place depends on the rank; the largest rate diverges at rank 16. */
function outcomeOf({ recipe: { r, optimizer }, seed }: (typeof cells)[number]["task"]): Outcome {
  const diverged = r === 16 && optimizer.lr === 1e-2;
  const end = 0.4 + 0.05 * (Math.log10(optimizer.lr) + 2.5 + r / 16) ** 2 + 0.004 * Math.sin(7 * seed + r);
  const steps = [0, 20, 40, 60, 80, 100];
  return {
    ended: diverged ? "diverged" : "steps",
    losses: [],
    evaluations: steps.map((step) => ({ step, loss: end + 2 * Math.exp(-step / 25) })),
    trajectory: "",
  };
}
const kept = new Map(
  cells.map(({ key, task }) => [
    key,
    { format: 1 as const, key, task, result: outcomeOf(task), seconds: 1.5 },
  ]),
);
const { rows, missing } = rowsOf(sweep, { read: (key) => kept.get(key) });

test("rows are means over seeds with intervals, and the best are those of least loss that did not diverge", () => {
  expect([rows.length, missing]).toEqual([15, []]);
  const { loss, interval, diverged } = rows[0]!;
  const each = rows[0]!.seeds.map((seed) => seed.loss);
  expect(loss).toBeCloseTo(each.reduce((a, b) => a + b, 0) / 3, 12);
  // Student's t of two degrees of freedom is 4.303.
  const deviation = Math.sqrt(each.reduce((sum, x) => sum + (x - loss) ** 2, 0) / 2);
  expect(interval[1] - loss).toBeCloseTo((4.3027 * deviation) / Math.sqrt(3), 4);
  expect(diverged).toBe(0);
  const last = rows.at(-1)!;
  expect([last.diverged, last.loss]).toEqual([3, Number.NaN]);
  const best = bestOf(rows, 4);
  expect(best.map(({ loss: own }) => own)).toEqual(
    rows
      .map(({ loss: own }) => own)
      .filter((own) => !Number.isNaN(own))
      .sort((a, b) => a - b)
      .slice(0, 4),
  );
  expect(csvOf(sweep, rows).split("\n")[1]).toMatch(
    /^0,4,0\.0001,0,0,steps,0\.\d+,0\.\d+,,1\.5,c[0-9a-f]{16}$/,
  );
});

test("the report draws heat map, loss over rate, curves and the best cells, the same each time", async () => {
  const html = await reportOf(sweep, rows, [["Model", "<m>"]]);
  expect(await reportOf(sweep, rows, [["Model", "<m>"]])).toBe(html);
  expect(html.match(/<svg /g)).toHaveLength(4);
  for (const title of [
    "Loss over lr and rank",
    "Loss over lr",
    "Held-out loss on the way",
    "The best 4 cells",
  ])
    expect(html).toContain(`<b>${title}.</b>`);
  expect(html).toContain("diverged");
  expect(html).toContain("<dd>&lt;m&gt;</dd>");
  // A mark for each of the 15 cells of the heat map; a line for each of three ranks and four cells.
  expect(html.match(/aria-roledescription="rect mark"/g)).toHaveLength(15);
  expect(html.match(/aria-roledescription="line mark"/g)).toHaveLength(7);
  expect(html).not.toMatch(/NaN|<script|https?:\/\/(?!www\.w3\.org)/);
  if (process.env.LORANTZ_SHOW) {
    mkdirSync(process.env.LORANTZ_SHOW, { recursive: true });
    writeFileSync(`${process.env.LORANTZ_SHOW}/report.html`, html);
  }
});

test("names in figures are whole, and a cell is the best or the same run as another one", async () => {
  const wide = {
    recipe,
    vary: {
      "optimizer.name": ["adamw", "adam"],
      "optimizer.eps": [0.0123456, 1e-8],
      "groups.B.lr": [0.0123456, 0.1],
      alpha: [8, 16],
      "optimizer.lr": [1e-3, 1e-2],
    },
  };
  const planned = sweepOf(wide, about);
  const results = new Map(
    planned.cells.map(({ key, task }) => [
      key,
      { format: 1 as const, key, task, result: outcomeOf(task), seconds: 1 },
    ]),
  );
  const found = rowsOf(planned.sweep, { read: (key) => results.get(key) }).rows;
  const html = await reportOf(planned.sweep, found, []);
  expect(html).toContain("optimizer adamw, eps 0.0123456, lr of B 0.0123456, alpha 8, lr 0.001<");
  expect(html).not.toContain("…");
  const same = sweepOf(
    { recipe: { ...recipe, optimizer: { name: "sgd", lr: 1 } }, vary: { alpha: [8, 8] } },
    about,
  );
  expect(
    tableOf(
      same.sweep,
      rowsOf(same.sweep, {
        read: (key) => {
          const task = same.cells.find((cell) => cell.key === key)!.task;
          return { format: 1, key, task, result: outcomeOf(task), seconds: 1 };
        },
      }).rows,
    ).at(-1)!.cells,
  ).toEqual(["best", "same run as 0"]);
});

test("without Vega there is the table, and what to install", async () => {
  vi.doMock("vega", () => {
    throw new Error("Cannot find package 'vega'");
  });
  const html = await reportOf(sweep, rows, []);
  expect(html).toContain("charts: a figure needs the package vega, which is not there");
  expect(html).toContain("npm install vega");
  expect(html).toContain("<h2>All cells</h2>");
});

test("where nothing ended well, the report says so", async () => {
  const none = rows.filter(({ diverged }) => diverged > 0);
  expect(await reportOf(sweep, none, [])).toContain("No run has come to its end without diverging.");
});
