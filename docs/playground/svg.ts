// Elements and scales for the drawings.

export type Attributes = Readonly<Record<string, string | number>>;

export function svg(name: string, attributes: Attributes = {}, ...children: (Node | string)[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** A scale from values to places on a drawing, logarithmic or not. */
export interface Scale {
  readonly from: number;
  readonly to: number;
  readonly log: boolean;
  at(value: number): number;
  value(place: number): number;
}

export function scale(
  [from, to]: readonly [number, number],
  [first, last]: readonly [number, number],
  log: boolean,
): Scale {
  const f = log ? Math.log10 : (x: number) => x;
  const back = log ? (x: number) => 10 ** x : (x: number) => x;
  const [low, high] = [f(from), f(to) === f(from) ? f(from) + 1 : f(to)];
  return {
    from,
    to,
    log,
    at: (value) => first + ((f(value) - low) / (high - low)) * (last - first),
    value: (place) => back(low + ((place - first) / (last - first)) * (high - low)),
  };
}

/** Round numbers inside a scale: powers of ten with 2 and 5 between them where those are few, or two to seven steps. */
export function ticks({ from, to, log }: Scale): number[] {
  const found: number[] = [];
  if (log) {
    const [low, high] = [Math.ceil(Math.log10(from) - 1e-9), Math.floor(Math.log10(to) + 1e-9)];
    const step = Math.max(1, Math.ceil((high - low) / 5));
    for (let power = low; power <= high; power += step) found.push(10 ** power);
    if (found.length > 2) return found;
    const between = [low - 1, low, high].flatMap((power) => [1, 2, 5].map((n) => n * 10 ** power));
    const inside = [...new Set(between)].filter((value) => value >= from && value <= to);
    if (inside.length > 1) return inside;
  }
  const rough = (to - from) / 6.4; // steps are at most 2.5 times it: at least two of them are inside
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough) ?? power;
  for (let value = Math.ceil(from / step) * step; value <= to; value += step) found.push(value);
  return found;
}

export function short(value: number): string {
  if (value === 0 || (Math.abs(value) >= 0.01 && Math.abs(value) < 1e4)) return String(+value.toPrecision(3));
  return value.toExponential(value === +value.toExponential(0) ? 0 : 1).replace("e+", "e");
}

export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export const frame: Frame = { width: 420, height: 230, left: 52, right: 12, top: 18, bottom: 36 };

/** The axes of a drawing, with names. */
export function axes(
  x: Scale,
  y: Scale,
  names: { readonly x: string; readonly y: string },
  box = frame,
): Node[] {
  const { width, height, left, right, top, bottom } = box;
  const lines: Node[] = [];
  for (const value of ticks(x)) {
    const at = x.at(value);
    lines.push(
      svg("line", { class: "grid", x1: at, x2: at, y1: top, y2: height - bottom }),
      svg("text", { class: "tick", x: at, y: height - bottom + 13, "text-anchor": "middle" }, short(value)),
    );
  }
  for (const value of ticks(y)) {
    const at = y.at(value);
    lines.push(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }),
      svg("text", { class: "tick", x: left - 5, y: at + 3, "text-anchor": "end" }, short(value)),
    );
  }
  lines.push(
    svg("text", { class: "name", x: width - right, y: height - 4, "text-anchor": "end" }, names.x),
    svg("text", { class: "name", x: 4, y: top - 7 }, names.y),
  );
  return lines;
}
