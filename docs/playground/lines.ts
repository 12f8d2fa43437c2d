import { axes, frame, scale, svg } from "./svg.ts";

// Curves over updates, over rates, over places: one drawing.

export interface Line {
  readonly name: string;
  /** A class of style.css, which has its colour and dashes. */
  readonly look: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** A mark at each point. */
  readonly marks?: boolean;
}

export interface LinesOptions {
  readonly x: string;
  readonly y: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
}

/** Draws lines anew; what is not a positive number is left out where the axis is logarithmic. */
export function drawLines(
  into: SVGSVGElement,
  lines: readonly Line[],
  { x, y, logX = false, logY = false }: LinesOptions,
): void {
  const fits = (value: number, log: boolean) => Number.isFinite(value) && (!log || value > 0);
  const shown = lines.map((line) => ({
    ...line,
    points: line.points.filter(([a, b]) => fits(a, logX) && fits(b, logY)),
  }));
  const all = shown.flatMap(({ points }) => points);
  const { width, height, left, right, top, bottom } = frame;
  into.setAttribute("viewBox", `0 0 ${width} ${height}`);
  if (all.length === 0) {
    into.replaceChildren(
      svg("text", { class: "name", x: width / 2, y: height / 2, "text-anchor": "middle" }, "…"),
    );
    return;
  }
  const range = (values: readonly number[], log: boolean): [number, number] => {
    const [low, high] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
    if (log) return low === high ? [low / 2, high * 2] : [low, high];
    return low === high ? [low - 1, high + 1] : [Math.min(0, low), high];
  };
  const across = scale(range(all.map(([a]) => a), logX), [left, width - right], logX); // biome-ignore format: one line each
  const up = scale(range(all.map(([, b]) => b), logY), [height - bottom, top], logY); // biome-ignore format: one line each
  const drawn: Node[] = axes(across, up, { x, y });
  for (const { name, look, points, marks = false } of shown) {
    const places = thinned(points).map(([a, b]) => [across.at(a).toFixed(1), up.at(b).toFixed(1)] as const);
    const path = places.map(([a, b], i) => `${i === 0 ? "M" : "L"}${a} ${b}`).join("");
    drawn.push(svg("path", { class: `line ${look}`, d: path }, svg("title", {}, name)));
    if (marks)
      for (const [a, b] of places) drawn.push(svg("circle", { class: `mark ${look}`, cx: a, cy: b, r: 2.5 }));
  }
  // Above the curves, from the right.
  const legend = shown.filter(({ points }) => points.length > 0);
  legend.forEach(({ name, look }, i) => {
    const place = width - right - 64 * (legend.length - i);
    drawn.push(
      svg("line", { class: `line ${look}`, x1: place, x2: place + 18, y1: 7, y2: 7 }),
      svg("text", { class: "tick", x: place + 21, y: 10 }, name),
    );
  });
  into.replaceChildren(...drawn);
}

/** As many points as can be seen. */
function thinned<T>(points: readonly T[]): readonly T[] {
  const every = Math.ceil(points.length / 400);
  return every === 1 ? points : points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
