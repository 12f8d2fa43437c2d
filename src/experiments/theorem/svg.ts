/** A curve; values that the axis cannot show leave gaps. */
export interface Series {
  readonly name: string;
  /** Rising steps, as many as there are values. */
  readonly steps: readonly number[];
  readonly ys: readonly number[];
}

export interface PlotOptions {
  readonly title: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** Default linear. A logarithmic axis leaves out values <= 0. */
  readonly scale?: "linear" | "log";
  /** Default "step". */
  readonly xLabel?: string;
  /** Default linear from 0. A logarithmic axis, for positive steps, is marked at the steps of the first series. */
  readonly xScale?: "linear" | "log";
}

/** Colours are the custom properties --series-0 to --series-7 of the page. */
export const seriesColors = 8;

const size = { width: 720, height: 320 };
const margin = { top: 12, right: 16, bottom: 44, left: 64 };

/**
 * A line plot as an SVG element without outside references. Series i is drawn in `var(--series-i)`, with a dash
 * pattern of its own from the second on, so that colour alone tells nothing. The legend is the caller's.
 *
 * @example
 * linePlot({ title: "Loss", yLabel: "loss", series: [{ name: "run", steps: [0, 10, 20], ys: [3, 2, 1] }] });
 */
export function linePlot({
  title,
  yLabel,
  series,
  scale = "linear",
  xLabel = "step",
  xScale = "linear",
}: PlotOptions): string {
  const shown = (y: number) => Number.isFinite(y) && (scale === "linear" || y > 0);
  const values = series.flatMap(({ ys }) => ys.filter(shown));
  const toAxis = scale === "log" ? Math.log10 : (y: number) => y;
  const ticks = scale === "log" ? logTicks(values) : linearTicks(values);
  const [low, high] = [toAxis(ticks[0]!), toAxis(ticks.at(-1)!)];
  const end = Math.max(1, ...series.map(({ steps }) => steps.at(-1) ?? 0));
  const right = size.width - margin.right;
  const bottom = size.height - margin.bottom;
  const start = xScale === "log" ? Math.min(...series.map(({ steps }) => steps[0] ?? end)) : 0;
  const along =
    xScale === "log"
      ? (step: number) => Math.log(step / start) / Math.log(end / start)
      : (step: number) => step / end;
  const px = (step: number) => margin.left + along(step) * (right - margin.left);
  const py = (y: number) => bottom - ((toAxis(y) - low) / (high - low)) * (bottom - margin.top);

  const grid = ticks.map((tick) => {
    const y = py(tick).toFixed(1);
    return (
      `<line class="grid" x1="${margin.left}" x2="${right}" y1="${y}" y2="${y}"/>` +
      `<text class="tick" x="${margin.left - 8}" y="${y}" dy="0.32em" text-anchor="end">${tickLabel(tick, scale)}</text>`
    );
  });
  const stepLabels = linearTicks([0, end])
    .filter((step) => step <= end && Number.isInteger(step))
    .map((step) => {
      const x = px(step).toFixed(1);
      return (
        `<line class="axis" x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 4}"/>` +
        `<text class="tick" x="${x}" y="${bottom + 18}" text-anchor="middle">${step}</text>`
      );
    });
  const curves = series.map(({ name, steps, ys }, i) => {
    let pen = "M";
    const path: string[] = [];
    ys.forEach((y, at) => {
      if (!shown(y)) {
        pen = "M";
        return;
      }
      path.push(`${pen}${px(steps[at]!).toFixed(1)} ${py(y).toFixed(1)}`);
      pen = "L";
    });
    return `<path class="curve" d="${path.join("")}" ${strokeOf(i)}><title>${escapeXml(name)}</title></path>`;
  });
  const description = series.map(({ name }) => name).join("; ");
  return [
    `<svg viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeXml(`${title}: ${description}`)}">`,
    ...grid,
    `<line class="axis" x1="${margin.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    ...stepLabels,
    ...curves,
    `<text class="label" x="${(margin.left + right) / 2}" y="${size.height - 6}" text-anchor="middle">${escapeXml(xLabel)}</text>`,
    `<text class="label" transform="translate(14 ${(margin.top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeXml(yLabel)}</text>`,
    "</svg>",
  ].join("\n");
}

/** A short stretch of series `i`, for a legend. */
export function legendKey(i: number): string {
  return `<svg class="key" viewBox="0 0 28 8" aria-hidden="true"><path class="curve" d="M0 4L28 4" ${strokeOf(i)}/></svg>`;
}

const dashes = ["", "7 3", "2 3", "10 3 2 3", "4 2", "12 4", "1 2", "6 2 2 2"];

function strokeOf(i: number): string {
  const dash = dashes[i % dashes.length];
  return `stroke="var(--series-${i % seriesColors})"${dash ? ` stroke-dasharray="${dash}"` : ""}`;
}

/** Text as it may stand in XML and HTML, in attributes too. */
export function escapeXml(text: string): string {
  const entities: { readonly [character: string]: string } = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&#39;",
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

/** Round numbers around the values, about five, the first below and the last above all of them. */
function linearTicks(values: readonly number[]): number[] {
  let [low, high] = range(values, 0, 1);
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const raw = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((candidate) => candidate >= raw)!;
  const first = Math.floor(low / step);
  const last = Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Powers of ten around the values, at most about eight. */
function logTicks(values: readonly number[]): number[] {
  const [low, high] = range(values, 1e-8, 1);
  const first = Math.floor(Math.log10(low));
  const last = Math.max(first + 1, Math.ceil(Math.log10(high)));
  const stride = Math.ceil((last - first) / 8);
  const count = Math.ceil((last - first) / stride) + 1;
  return Array.from({ length: count }, (_, i) => 10 ** (first + i * stride));
}

function range(values: readonly number[], low: number, high: number): [number, number] {
  if (values.length === 0) return [low, high];
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

function tickLabel(tick: number, scale: "linear" | "log"): string {
  if (scale === "linear") return String(tick);
  const exponent = Math.round(Math.log10(tick));
  return exponent === 0
    ? "1"
    : `10<tspan dy="-0.5em" font-size="75%">${String(exponent).replace("-", "−")}</tspan>`;
}
