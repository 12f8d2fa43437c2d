import { type Chart, type Figure, htmlFigures, lineChart } from "../charts.ts";
import { estimate } from "../exponents/statistics.ts";
import { escapeXml, htmlFacts, htmlTable, page } from "../page.ts";
import type { Sweep } from "./plan.ts";
import { bestOf, type CellRow, finite, tableOf, valueText } from "./table.ts";

/** Cells that are drawn as curves. */
const shown = 4;

/** Lines in one figure, at most, and those that have intervals. */
const mostLines = 8;
const mostBands = 4;

/** Of intervals. */
const cutOff = " What leaves the figure is cut off.";

/** What a sweep came to, as a page that needs nothing else. Without vega and vega-lite it has the table alone, and says so. */
export async function reportOf(
  sweep: Pick<Sweep, "grid" | "runs" | "seeds" | "varies" | "setting" | "lorantz" | "code">,
  rows: readonly CellRow[],
  facts: readonly (readonly [string, string])[],
): Promise<string> {
  const best = bestOf(rows, shown);
  const figures = best.length === 0 ? [] : figuresOf(sweep, rows, best);
  const columns = tableOf(sweep, rows);
  const [first] = best;
  return page(
    "Lorantz: a sweep",
    `<h1>A sweep</h1>
<p class="verdict">${
      first
        ? `The least held-out loss is ${first.loss.toFixed(4)}${first.seeds.length > 1 ? ` (95 % interval ${first.interval.map((x) => x.toFixed(4)).join(" to ")})` : ""}, of ${escapeXml(nameOf(sweep, first))}.`
        : "No run has come to its end without diverging."
    }</p>
${htmlFacts(facts)}
<p>The best of several cells looks better than it is: it was chosen by the very losses that are shown. Compare it on seeds that did not
choose it.</p>
${await htmlFigures(figures)}
<h2>All cells</h2>
${htmlTable(columns, "All cells")}`,
  );
}

/** A cell by the values of what varies. */
function nameOf({ varies }: Pick<Sweep, "varies">, { at, cell }: CellRow, fields = varies): string {
  return fields.map((path) => `${short(path)} ${valueText(at[path])}`).join(", ") || `cell ${cell}`;
}

/** A field as people call it. */
function short(path: string): string {
  if (path === "r") return "rank";
  return path
    .replace(/^(optimizer|schedule|clip)\.(name|kind)$/, "$1")
    .replace(/^optimizer\./, "")
    .replace(/^groups\.([AB])\.(.*)$/, "$2 of $1");
}

function figuresOf(
  sweep: Pick<Sweep, "grid" | "varies">,
  rows: readonly CellRow[],
  best: readonly CellRow[],
): readonly Figure[] {
  const found = [heatMap(sweep, rows), overRate(sweep, rows), curves(sweep, best), bestCells(sweep, best)];
  return found.filter((figure) => figure !== undefined);
}

/** How many values a field has. */
function valuesOf(path: string, rows: readonly CellRow[]): number {
  return new Set(rows.map(({ at }) => valueText(at[path]))).size;
}

/** The least loss for each pair of values of the two fields that have most of them. */
function heatMap({ varies }: Pick<Sweep, "varies">, rows: readonly CellRow[]): Figure | undefined {
  const fields = [...varies].sort((a, b) => valuesOf(b, rows) - valuesOf(a, rows));
  const [x, y, ...rest] = fields;
  if (x === undefined || y === undefined || valuesOf(y, rows) < 2) return undefined;
  const least = new Map<string, { x: string; y: string; loss: number | null; says: string }>();
  for (const { at, loss, diverged } of rows) {
    const [vx, vy] = [valueText(at[x]), valueText(at[y])];
    const key = JSON.stringify([vx, vy]);
    const before = least.get(key);
    if (!Number.isNaN(loss) && !(before?.loss != null && before.loss <= loss))
      least.set(key, { x: vx, y: vy, loss, says: loss.toFixed(3) });
    else if (!before) least.set(key, { x: vx, y: vy, loss: null, says: diverged > 0 ? "diverged" : "" });
  }
  const values = [...least.values()];
  const known = values.flatMap(({ loss }) => (loss === null ? [] : [loss])).sort((a, b) => a - b);
  if (known.length === 0) return undefined;
  const middle = ((known[0]! + known.at(-1)!) / 2).toString();
  const axis = (field: string, path: string) => ({
    field,
    type: "ordinal",
    title: short(path),
    sort: [...new Set(rows.map(({ at }) => valueText(at[path])))],
  });
  return {
    caption: `Held-out loss at the end, mean over seeds${rest.length > 0 ? `; the least over ${rest.map(short).join(", ")}` : ""}. Darker is less.`,
    chart: {
      title: `Loss over ${short(x)} and ${short(y)}`,
      data: { values },
      width: { step: 74 },
      height: { step: 40 },
      encoding: { x: { ...axis("x", x), axis: { labelAngle: 0 } }, y: axis("y", y) },
      layer: [
        {
          mark: { type: "rect", stroke: "#ffffff", invalid: "show" },
          encoding: {
            color: {
              condition: { test: "datum.loss === null", value: "#eeeeee" },
              field: "loss",
              type: "quantitative",
              title: "loss",
              scale: { scheme: "viridis", zero: false },
            },
          },
        },
        {
          mark: { type: "text", fontSize: 12 },
          encoding: {
            text: { field: "says", type: "nominal" },
            color: {
              condition: { test: `datum.loss === null || datum.loss > ${middle}`, value: "#000000" },
              value: "#ffffff",
            },
          },
        },
      ],
    } as unknown as Chart, // literal types of the grammar
  };
}

/** Loss over the learning rate, a line for each rank, or for each combination of the other fields if these are few. */
function overRate(
  { varies, grid }: Pick<Sweep, "varies" | "grid">,
  rows: readonly CellRow[],
): Figure | undefined {
  const rate = varies.find((path) => path === "optimizer.lr") ?? varies.find((path) => path.endsWith(".lr"));
  if (rate === undefined || valuesOf(rate, rows) < 2) return undefined;
  const others = varies.filter((path) => path !== rate);
  const nameBy = (row: CellRow, fields: readonly string[]) =>
    fields.length === 0 ? `rank ${grid[row.cell]!.recipe.r}` : nameOf({ varies }, row, fields);
  const all = new Set(rows.map((row) => nameBy(row, others)));
  const fields = all.size <= mostLines ? others : others.filter((path) => path === "r");
  const least = new Map<string, { rate: number; loss: number; low: number; high: number; line: string }>();
  for (const row of rows) {
    const { at, loss, interval } = row;
    if (Number.isNaN(loss)) continue;
    const line = nameBy(row, fields);
    const key = JSON.stringify([at[rate], line]);
    const [low, high] = interval.map((x) => (Number.isNaN(x) ? loss : x)) as [number, number];
    if ((least.get(key)?.loss ?? Infinity) > loss)
      least.set(key, { rate: Number(at[rate]), loss, low, high, line });
  }
  const dropped = others.filter((path) => !fields.includes(path));
  const values = [...least.values()];
  const names = [...new Set(values.map(({ line }) => line))];
  const bands = names.length <= mostBands;
  return {
    caption: `Held-out loss at the end, mean over seeds${bands ? " with its 95 % interval" : ""}${dropped.length > 0 ? `; the least over ${dropped.map(short).join(", ")}` : ""}. Runs that diverged are left out.${bands ? cutOff : ""}`,
    chart: lineChart({
      title: `Loss over ${short(rate)}`,
      x: short(rate),
      y: "loss",
      lines: names.map((name) => {
        const found = values.filter(({ line }) => line === name);
        return {
          name,
          xs: found.map(({ rate }) => rate),
          ys: found.map(({ loss }) => loss),
          ...(bands && { intervals: found.map(({ low, high }) => [low, high] as const) }),
        };
      }),
      log: { x: true },
      points: true,
    }),
  };
}

/** The held-out loss of the best cells on the way, with intervals over seeds. */
function curves({ varies }: Pick<Sweep, "varies">, best: readonly CellRow[]): Figure {
  const lines = best.map((row) => {
    const xs = row.seeds[0]!.outcome.evaluations.map(({ step }) => step);
    const means = xs.map((_, i) =>
      estimate(row.seeds.map(({ outcome }) => finite(outcome.evaluations[i]!.loss))),
    );
    return {
      name: nameOf({ varies }, row),
      xs,
      ys: means.map(({ value }) => value),
      intervals: means.map(
        ({ value, interval }) => interval.map((x) => (Number.isNaN(x) ? value : x)) as [number, number],
      ),
    };
  });
  return {
    caption: `The best ${best.length === 1 ? "cell" : `${best.length} cells`}: mean over seeds, with 95 % intervals where there are several.${cutOff}`,
    chart: lineChart({ title: "Held-out loss on the way", x: "update", y: "loss", lines }),
  };
}

/** The best cells, each seed a point, and the mean with its interval. */
function bestCells({ varies }: Pick<Sweep, "varies">, best: readonly CellRow[]): Figure {
  const values = best.flatMap((row) =>
    row.seeds.map(({ seed, loss }) => ({ cell: nameOf({ varies }, row), seed, loss })),
  );
  const means = best.map((row) => {
    const [low, high] = row.interval.map((x) => (Number.isNaN(x) ? row.loss : x)) as [number, number];
    return { cell: nameOf({ varies }, row), loss: row.loss, low, high };
  });
  const y = {
    field: "cell",
    type: "nominal",
    title: null,
    sort: means.map(({ cell }) => cell),
    axis: { labelLimit: 0 }, // none: without a screen widths of text are a guess
  };
  const x = (field: string) => ({ field, type: "quantitative", scale: { zero: false }, title: "loss" });
  return {
    caption:
      "Held-out loss at the end: a ring for each seed, a point for their mean, a line for its 95 % interval.",
    chart: {
      title: best.length === 1 ? "The best cell" : `The best ${best.length} cells`,
      width: 480,
      height: { step: 36 },
      layer: [
        {
          data: { values },
          mark: { type: "point", size: 60, color: "#7f7f7f" },
          encoding: { y, x: x("loss") },
        },
        {
          data: { values: means },
          mark: { type: "rule", strokeWidth: 2 },
          encoding: { y, x: x("low"), x2: { field: "high" } },
        },
        {
          data: { values: means },
          mark: { type: "point", filled: true, size: 90, color: "#0072b2" },
          encoding: { y, x: x("loss") },
        },
      ],
    } as unknown as Chart, // literal types of the grammar
  };
}
