import type { TopLevelSpec } from "vega-lite";
import { library } from "../base/library.ts";

/** A figure in the grammar of Vega-Lite, without what all figures have in common. */
export type Chart = Omit<TopLevelSpec, "config" | "$schema" | "title"> & {
  /** What it is called; whoever places it shows it. */
  readonly title: string;
};

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
export const dashes = [
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
