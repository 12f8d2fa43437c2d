import type { TopLevelSpec } from "vega-lite";
import { LorantzError } from "../base/errors.ts";
import { library } from "../base/library.ts";
import { escapeXml } from "./page.ts";

/** A figure in the grammar of Vega-Lite, without what all figures have in common. */
export type Chart = Omit<TopLevelSpec, "config" | "$schema" | "title"> & {
  /** What it is called; whoever places it shows it. */
  readonly title: string;
};

/** A figure with what is said of it. */
export interface Figure {
  readonly caption: string;
  readonly chart: Chart;
}

/** A line of a figure; what an axis cannot show is left out. */
export interface Line {
  readonly name: string;
  readonly xs: readonly number[];
  readonly ys: readonly number[];
  /** Around the values. */
  readonly intervals?: readonly (readonly [low: number, high: number])[];
}

export interface LinesOptions {
  readonly title: string;
  readonly x: string;
  readonly y: string;
  readonly lines: readonly Line[];
  /** Axes with a logarithmic scale. Default none. */
  readonly log?: { readonly x?: boolean; readonly y?: boolean };
  /** Whether values are marked, where they are so few that dashes are seen between them. Default false. */
  readonly points?: boolean;
}

/** The colours of Okabe and Ito, made for all kinds of colour vision, the lightest left out. */
export const colors = [
  "#0072b2",
  "#d55e00",
  "#009e73",
  "#cc79a7",
  "#56b4e9",
  "#e69f00",
  "#000000",
  "#7f7f7f",
];

/** Dashes that go with the colours, so that lines are told apart on paper too. */
const dashes = [
  [1, 0],
  [7, 3],
  [2, 3],
  [10, 3, 2, 3],
  [4, 2],
  [12, 4],
  [1, 2],
  [6, 2, 2, 2],
];

const font = "system-ui, sans-serif";

const config = {
  background: "#ffffff",
  font,
  padding: 8,
  axis: { labelFontSize: 12, titleFontSize: 13, titleFontWeight: "normal", gridColor: "#d0d7de" },
  legend: { labelFontSize: 12, titleFontSize: 12, labelLimit: 320, symbolSize: 240 },
  title: { fontSize: 14, anchor: "start", fontWeight: "normal" },
  view: { stroke: null },
  range: { category: colors, heatmap: { scheme: "viridis" } },
  line: { strokeWidth: 2 },
} as const;

/** Values of a line that are marked at most: more are a thick line without dashes. */
const mostMarked = 32;

const size = { width: 640, height: 320 };

/** Pixels from one label of an axis to the next, at least. */
const apart = 60;

/**
 * Where a logarithmic axis from the least to the largest of some values has ticks: at both of them, and at those between for whose
 * labels there is room; of many only at 1, 2 and 5 times powers of ten.
 */
function logTicks(values: readonly number[]): readonly number[] {
  const all = [...new Set(values)].sort((a, b) => a - b);
  const [least, largest] = [all[0]!, all.at(-1)!];
  const place = (x: number) => (size.width * Math.log(x / least)) / Math.log(largest / least);
  const round = (x: number) => all.length <= mostMarked || /^[125]e/.test(x.toExponential());
  const ticks = all.slice(0, 1);
  for (const x of all.slice(1, -1))
    if (round(x) && place(x) - place(ticks.at(-1)!) >= apart && size.width - place(x) >= apart) ticks.push(x);
  return largest > least ? [...ticks, largest] : ticks;
}

/** A number as it is said: whole ones below a million in full, others in three digits. */
const tickLabel =
  "datum.value % 1 === 0 && datum.value < 1e6 ? format(datum.value, 'd') : format(datum.value, '.3~g')";

/** The ticks of the axis from left to right: whole ones where all values are. */
function ticksAcross(isLog: boolean, xs: readonly number[]): object {
  if (isLog) return { values: logTicks(xs), labelExpr: tickLabel, labelOverlap: false };
  return xs.every(Number.isInteger) ? { tickMinStep: 1 } : {};
}

/** From where to where values go, where intervals reach so much further that the values would be flat: these are cut off. */
function domainOf(lines: readonly Line[]): readonly [number, number] | undefined {
  const values = lines.flatMap(({ ys }) => ys).filter(Number.isFinite);
  const ends = lines.flatMap(({ intervals = [] }) => intervals.flat()).filter(Number.isFinite);
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  const [low, high] = [Math.min(least, ...ends), Math.max(largest, ...ends)];
  const room = largest - least;
  if (!(room > 0) || high - low <= 3 * room) return undefined;
  return [Math.max(low, least - room), Math.min(high, largest + room)];
}

/** Lines with bands where they have intervals, told apart by colour and dash. */
export function lineChart({ title, x, y, lines, log = {}, points = false }: LinesOptions): Chart {
  const shown = (value: number, isLog = false) => Number.isFinite(value) && (!isLog || value > 0);
  const values = lines.flatMap(({ name, xs, ys, intervals }) =>
    xs.flatMap((at, i) => {
      const bounds = intervals?.[i];
      const y = shown(ys[i]!, log.y) ? ys[i]! : null;
      return shown(at, log.x)
        ? [{ line: name, x: at, y, ...(bounds && { low: bounds[0], high: bounds[1] }) }]
        : [];
    }),
  );
  const names = lines.map(({ name }) => name);
  const columns = names.some(({ length }) => length > 30) ? 1 : 2;
  const legend = {
    orient: "bottom",
    columns,
    labelLimit: 0, // none
    symbolType: "stroke",
    symbolOpacity: 1,
    symbolStrokeWidth: 2,
  };
  const line = { field: "line", type: "nominal", title: null, sort: names };
  const range = names.map((_, i) => dashes[i % dashes.length]!);
  // Without a value there is a frame all the same.
  const frame = values.some((value) => value.y !== null) ? {} : { domain: [0.1, 1] };
  const scale = (isLog = false, rest: object = { zero: false }) => ({
    ...(isLog ? { type: "log" } : rest),
    ...frame,
  });
  const domain = domainOf(lines);
  const upright = { ...scale(log.y), ...(domain && { domain, nice: true }) };
  const along = (field: string) => ({ field, type: "quantitative", scale: upright, title: y });
  const curves = {
    mark: { type: "line", point: points && lines.every(({ xs }) => xs.length <= mostMarked) },
    encoding: { y: along("y"), strokeDash: { ...line, legend, scale: { domain: names, range } } },
  };
  const bands = {
    mark: { type: "area", opacity: 0.15, clip: true },
    encoding: { y: along("low"), y2: { field: "high" } },
  };
  return {
    title,
    data: { values },
    ...size,
    encoding: {
      x: {
        field: "x",
        type: "quantitative",
        title: x,
        scale: { ...scale(log.x, {}), nice: false },
        axis: ticksAcross(
          log.x ?? false,
          values.map((value) => value.x),
        ),
      },
      color: { ...line, legend },
    },
    layer: lines.some(({ intervals }) => intervals) ? [bands, curves] : [curves],
  } as unknown as Chart; // literal types of the grammar
}

/** Figures in HTML. Where vega and vega-lite are not installed, a sentence that says so in their place. */
export async function htmlFigures(figures: readonly Figure[]): Promise<string> {
  try {
    const parts = figures.map(
      async ({ caption, chart }) =>
        `<figure>\n<figcaption><b>${escapeXml(chart.title)}.</b> ${escapeXml(caption)}</figcaption>\n${await drawn(chart)}\n</figure>`,
    );
    return (await Promise.all(parts)).join("\n");
  } catch (error) {
    if (!(error instanceof LorantzError)) throw error;
    return `<p>There are no figures here: ${escapeXml(error.message)}</p>`;
  }
}

/**
 * A figure as SVG, drawn by Vega-Lite without a browser. The same data give the same text.
 *
 * @throws LorantzError if vega or vega-lite is not installed, saying how to.
 */
export async function drawn(chart: Chart): Promise<string> {
  const vega = await library<typeof import("vega")>("charts", "vega", "a figure", () => import("vega"));
  const lite = await library<typeof import("vega-lite")>(
    "charts",
    "vega-lite",
    "a figure",
    () => import("vega-lite"),
  );
  const { spec } = lite.compile({
    ...chart,
    title: undefined,
    description: chart.title,
    config,
  } as unknown as TopLevelSpec); // with what `Chart` leaves out
  const view = new vega.View(vega.parse(spec), { renderer: "none", logLevel: vega.Error });
  try {
    return named(await view.toSVG(), chart.title);
  } finally {
    view.finalize();
  }
}

/** With ids of its own: Vega counts those of a process, and a page has several figures. */
function named(svg: string, title: string): string {
  const own = title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  const ids = new Map<string, string>();
  for (const [, id] of svg.matchAll(/ id="([^"]+)"/g)) ids.set(id!, `${own}-${ids.size}`);
  return svg.replaceAll(
    /( id="|url\(#|href="#)([^")]+)/g,
    (_, before: string, id: string) => `${before}${ids.get(id) ?? id}`,
  );
}
