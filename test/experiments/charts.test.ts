import { expect, test } from "vitest";
import { drawn, lineChart } from "../../src/experiments/charts.ts";

/** The points of the lines of a figure. */
async function drawnPoints(ys: readonly number[], y: boolean): Promise<string[][]> {
  const xs = ys.map((_, i) => i + 1);
  const lines = [{ name: "a", xs, ys }];
  const svg = await drawn(lineChart({ title: "t", x: "step", y: "y", lines, log: { y } }));
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  return [...svg.matchAll(/aria-roledescription="line mark"[^>]* d="([^"]*)"/g)].map(
    ([, path]) => path!.match(/[ML][^MLZ]*/g) ?? [],
  );
}

test("a line has gaps where the axis cannot show its values", async () => {
  const [points] = await drawnPoints([0, 1e-7, 1e-5, Number.NaN, 0.3, 0.4], true);
  expect(points!.map((point) => point[0])).toEqual(["M", "L", "M", "L"]);
  expect(await drawnPoints([0, 1, 2], false)).toEqual([
    [expect.anything(), expect.anything(), expect.anything()],
  ]);
});

test("figures of nothing, of one value and of equal values have finite coordinates", async () => {
  for (const ys of [[], [1], [2, 2, 2], [Number.NaN], [0, 0]])
    for (const log of [false, true]) await drawnPoints(ys, log);
});

test.each([
  [20, 40],
  [600, 0],
])("of lines of %i values %i are marked: dashes tell lines apart in print", async (length, marks) => {
  const xs = Array.from({ length }, (_, i) => i);
  const lines = ["one", "other"].map((name, i) => ({ name, xs, ys: xs.map((x) => i + x) }));
  const svg = await drawn(lineChart({ title: "t", x: "x", y: "y", lines, points: true }));
  expect(svg.match(/aria-roledescription="point"/g) ?? []).toHaveLength(marks);
  expect(svg).toContain("stroke-dasharray");
});

/** What stands at the horizontal axis of a figure. */
async function across(xs: readonly number[], log = false): Promise<string[]> {
  const lines = [{ name: "a", xs, ys: xs.map((_, i) => i) }];
  const svg = await drawn(lineChart({ title: "t", x: "x", y: "y", lines, log: { x: log } }));
  const axis = /aria-label="X-axis[^"]*"[\s\S]*?role-axis-title/.exec(svg)![0];
  const labels = axis.slice(axis.lastIndexOf("role-axis-label"));
  return [...labels.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text!);
}

test("a logarithmic axis names its own values, the first and the last in any case", async () => {
  expect(await across([0.001, 0.002], true)).toEqual(["0.001", "0.002"]);
  expect(await across([1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 1.9e-3, 2e-3], true)).toEqual([
    "0.00001",
    "0.00003",
    "0.0001",
    "0.0003",
    "0.001",
    "0.002",
  ]);
  expect(await across([2 ** -8, 64, 1024, 4096], true)).toEqual(["0.00391", "64", "1024", "4096"]);
  const many = Array.from({ length: 700 }, (_, i) => i + 1);
  expect(await across(many, true)).toEqual(["1", "2", "5", "10", "20", "50", "100", "200", "700"]);
  expect(await across([0, 0.1, 1], true)).toEqual(["0.1", "1"]);
});

test("an axis of updates names whole ones", async () => {
  expect(await across([0, 1, 2, 3])).toEqual(["0", "1", "2", "3"]);
  expect(await across([0, 40])).toContain("40");
  expect(await across([0, 0.5, 1])).toContain("0.50");
});

test("intervals that reach far leave the values room, and are cut off", async () => {
  const band = async (reach: number) => {
    const lines = [
      {
        name: "a",
        xs: [1, 2],
        ys: [1, 2],
        intervals: [
          [1 - reach, 1 + reach],
          [2, 2],
        ] as const,
      },
    ];
    return await drawn(lineChart({ title: "t", x: "x", y: "y", lines }));
  };
  const height = (svg: string) => {
    const [, from, to] = /line mark"[^>]* d="M0,([\d.]+)L640,([\d.]+)"/.exec(svg)!.map(Number);
    return from! - to!;
  };
  expect(height(await band(0.1))).toBeGreaterThan(200);
  expect(height(await band(100))).toBeGreaterThan(90);
  expect(await band(100)).toContain("clip-path");
});
