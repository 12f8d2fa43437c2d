import * as gauge from "lorantz/gauge";
import { type Experiment, placeOf, type RunName, recipeOf } from "./experiment.ts";
import { axes, frame, scale, short, svg } from "./svg.ts";

// The plane of the two quantities that matter: recipes as points, equal ones at one place.

/** A run that was done: where, and its last loss over its first. */
export interface Done {
  readonly key: string;
  readonly a: number;
  readonly b: number;
  readonly loss: number;
}

/** What runs must share for their losses to be compared. */
export const keyOf = ({ task, optimizer, rank, teacher, seed }: Experiment) =>
  [task, optimizer, rank, teacher, seed].join();

export interface PlaneEvents {
  /** A point was moved by factors on alpha and on both rates. */
  moved(run: RunName, factors: { readonly alpha: number; readonly rates: number }): void;
  settled(): void;
}

/** Colours from dark to light that also the colour-blind tell apart (cividis), by the loss. */
const colours = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"];

export class Plane {
  readonly #drawing: SVGSVGElement;
  #experiment: Experiment | undefined;
  #drag: { readonly run: RunName; a: number; b: number } | undefined;
  #across = scale([1e-6, 1], [0, 1], true);
  #up = this.#across;

  constructor(drawing: SVGSVGElement, events: PlaneEvents) {
    this.#drawing = drawing;
    const box = { ...frame, height: 420 };
    drawing.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    drawing.addEventListener("pointerdown", (event) => {
      const run = (event.target as Element).getAttribute("data-run") as RunName | null;
      if (!run || !this.#experiment) return;
      const { a, b } = placeOf(recipeOf(this.#experiment, run));
      this.#drag = { run, a, b };
      drawing.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    drawing.addEventListener("pointermove", (event) => {
      if (!this.#drag) return;
      const outline = drawing.getBoundingClientRect();
      const [px, py] = [
        ((event.clientX - outline.left) / outline.width) * box.width,
        ((event.clientY - outline.top) / outline.height) * box.height,
      ];
      const [a, b] = [this.#across.value(px), this.#up.value(py)];
      events.moved(this.#drag.run, this.#factors(a / this.#drag.a, b / this.#drag.b));
      [this.#drag.a, this.#drag.b] = [a, b];
    });
    const end = () => {
      if (this.#drag) events.settled();
      this.#drag = undefined;
    };
    drawing.addEventListener("pointerup", end);
    drawing.addEventListener("pointercancel", end);
    drawing.addEventListener("keydown", (event) => {
      const run = (event.target as Element).getAttribute("data-run") as RunName | null;
      const step = { ArrowUp: [1, 2], ArrowDown: [1, 0.5], ArrowRight: [2, 1], ArrowLeft: [0.5, 1] }[
        event.key
      ];
      if (!run || !step) return;
      event.preventDefault();
      events.moved(run, this.#factors(step[0]!, step[1]!));
      events.settled();
    });
  }

  /** Both rates move along the diagonal, alpha along the second axis; under SGD alpha by its square. */
  #factors(a: number, b: number): { readonly alpha: number; readonly rates: number } {
    const along = b / a;
    return { rates: a, alpha: this.#experiment?.optimizer === "sgd" ? Math.sqrt(along) : along };
  }

  draw(experiment: Experiment, done: readonly Done[]): void {
    this.#experiment = experiment;
    const box = { ...frame, height: 420 };
    const focus = (document.activeElement as Element | null)?.getAttribute("data-run");
    const places = { x: placeOf(recipeOf(experiment, "x")), y: placeOf(recipeOf(experiment, "y")) };
    const tools = experiment.optimizer === "sgd" ? [] : toolPlaces;
    const shown = done.filter(({ key }) => key === keyOf(experiment));
    const all = [places.x, places.y, ...tools, ...shown].filter(({ a, b }) => a > 0 && b > 0);
    if (!this.#drag) {
      const reach = (values: readonly number[]): [number, number] =>
        values.length === 0 ? [1e-6, 1] : [Math.min(...values) / 8, Math.max(...values) * 8];
      this.#across = scale(reach(all.map(({ a }) => a)), [box.left, box.width - box.right], true);
      this.#up = scale(reach(all.map(({ b }) => b)), [box.height - box.bottom, box.top], true);
    }
    const [x, y] = [this.#across, this.#up];
    const { formulas } = places.x;
    const drawn: Node[] = axes(x, y, { x: readable(formulas.a), y: readable(formulas.b) }, box);
    const { a, b } = places.x;
    if (a > 0 && b > 0) {
      // Where X goes with alpha, and where with both rates.
      const far = 1e4;
      const guide = (name: string, look: string, fa: number, fb: number) =>
        svg(
          "line",
          { class: `guide ${look}`, x1: x.at(a / fa), y1: y.at(b / fb), x2: x.at(a * fa), y2: y.at(b * fb) },
          svg("title", {}, name),
        );
      drawn.push(guide("alpha", "alpha", 1, far), guide("both rates", "rates", far, far));
    }
    for (const { a, b, tools: here } of tools)
      drawn.push(
        svg(
          "rect",
          { class: "tool", x: x.at(a) - 3, y: y.at(b) - 3, width: 6, height: 6 },
          svg("title", {}, here.map((i) => toolNames[i]).join("\n")),
        ),
        svg("text", { class: "tick", x: x.at(a) + 5, y: y.at(b) + 3 }, here.map((i) => i + 1).join(", ")),
      );
    const losses = shown.map(({ loss }) => loss).filter((loss) => loss > 0 && Number.isFinite(loss));
    const colour = scale([Math.min(...losses), Math.max(...losses)], [0, colours.length - 1], true);
    for (const { a, b, loss } of shown) {
      const fine = loss > 0 && Number.isFinite(loss);
      const fill =
        fine && losses.length > 1 ? colours[Math.round(colour.at(loss))]! : fine ? colours[2]! : "none";
      drawn.push(
        svg(
          "circle",
          { class: fine ? "done" : "done broken", cx: x.at(a), cy: y.at(b), r: 4, fill },
          svg("title", {}, fine ? `loss ${short(loss)}` : "left the range of numbers"),
        ),
      );
    }
    for (const run of ["y", "x"] as const) {
      const { a, b } = places[run];
      if (!(a > 0 && b > 0)) continue;
      drawn.push(
        svg("circle", {
          class: `run ${run}`,
          cx: x.at(a),
          cy: y.at(b),
          r: run === "x" ? 8 : 12,
          "data-run": run,
          tabindex: 0,
          role: "slider",
          "aria-label": `Run ${run.toUpperCase()}: arrows up and down change alpha, left and right its rates`,
          "aria-valuetext": `${short(a)}, ${short(b)}`,
          "aria-valuenow": String(Math.log10(b)),
        }),
        svg(
          "text",
          { class: "letter", x: x.at(a) + (run === "x" ? -18 : 14), y: y.at(b) + 4 },
          run.toUpperCase(),
        ),
      );
    }
    this.#drawing.replaceChildren(...drawn);
    if (focus) this.#drawing.querySelector<SVGElement>(`[data-run=${focus}]`)?.focus();
  }
}

/** What other tools run by default, under Adam's rule: those at one point of the plane are one mark. */
const toolPlaces: { readonly a: number; readonly b: number; readonly tools: number[] }[] = [];

/** The same in words, in the order of the numbers in the plane. */
export const toolNames = (Object.keys(gauge.libraries) as gauge.LibraryName[]).map((library, i) => {
  const { title, recipe } = gauge.named(library);
  const { a, b } = placeOf(recipe);
  const known = toolPlaces.find((place) => place.a === a && place.b === b);
  if (known) known.tools.push(i);
  else toolPlaces.push({ a, b, tools: [i] });
  return `${title}: r ${recipe.r}, alpha ${recipe.alpha}, rate ${recipe.optimizer.lr}`;
});

function readable(formula: string): string {
  return formula
    .replace("lr_A", "rate of A")
    .replace("lr_B", "rate of B")
    .replaceAll("sigma", "start")
    .replaceAll(/\bs\b/g, "multiplier");
}
