import type { Seen, View } from "./duel.ts";
import { type Experiment, explain } from "./experiment.ts";
import { drawLines } from "./lines.ts";
import { short } from "./svg.ts";
import type { Picture } from "./tasks.ts";

// What was seen of the two runs: the lamp, curves, spectra, pictures.

type Find = <E extends Element = HTMLElement>(id: string) => E;

type Lamp = "waiting" | "same" | "rounding" | "different" | "broken";

export class Results {
  readonly #find: Find;
  /** What is to be drawn, the newest of its kind. */
  readonly #drawings = new Map<"seen" | "view", () => void>();
  #frame = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** When the next drawing may be made. */
  #free = 0;
  /** What the frozen model writes. */
  #before: readonly string[] = [];

  constructor(find: Find) {
    this.#find = find;
  }

  clear(experiment: Experiment): void {
    this.#drawings.clear();
    const { exact, bitwise } = explain(experiment);
    // What is known before anything is trained: the lamp is out at once.
    if (!exact)
      this.#lamp("different", "Not the same run: the two quantities differ, or what goes with them.");
    else
      this.#lamp(
        "waiting",
        bitwise ? "Equal recipes; nothing compared yet." : "Equal up to rounding; nothing compared yet.",
      );
    for (const id of ["losses", "norms", "spectrum"]) drawLines(this.#find(id), [], { x: "", y: "" });
  }

  broken(): void {
    this.#lamp("broken", "Nothing is computed at the moment.");
  }

  show(experiment: Experiment, seen: readonly Seen[]): void {
    this.#light(experiment, seen);
    this.#later("seen", () => this.#draw(seen));
  }

  view(view: View): void {
    this.#later("view", () => this.#look(view));
  }

  /** Draws with the next picture of the screen; where that is slow, so seldom that most of the time is the reader's. */
  #later(what: "seen" | "view", draw: () => void): void {
    this.#drawings.set(what, draw);
    this.#timer ??= setTimeout(() => {
      this.#frame = requestAnimationFrame(() => this.flush());
    }, this.#free - performance.now());
  }

  /** Draws what waits. */
  flush(): void {
    clearTimeout(this.#timer);
    cancelAnimationFrame(this.#frame);
    this.#timer = undefined;
    const started = performance.now();
    for (const draw of this.#drawings.values()) draw();
    this.#drawings.clear();
    this.#free = performance.now() + 3 * (performance.now() - started);
  }

  #light(experiment: Experiment, seen: readonly Seen[]): void {
    const last = seen.at(-1)!;
    const broken = seen.find(({ loss }) => !Number.isFinite(loss.x) || !Number.isFinite(loss.y));
    const first = seen.find(({ same }) => !same);
    if (broken) {
      const which = ["x", "y"].filter((run) => !Number.isFinite(broken.loss[run as "x"]));
      this.#lamp(
        "broken",
        `Update ${broken.update}: ${which.join(" and ").toUpperCase()} left the range of numbers. Try a smaller rate.`,
      );
    } else if (!first) this.#lamp("same", `The same bits after ${last.update} updates, in every parameter.`);
    else if (explain(experiment).exact)
      this.#lamp(
        "rounding",
        `The same up to rounding: parameters differ by at most ${short(last.gap)} of the largest entry; the factors are no powers of two.`,
      );
    else
      this.#lamp(
        "different",
        `Different since update ${first.update}, first in ${first.where}: by ${short(last.gap)} of the largest entry now.`,
      );
  }

  #lamp(lamp: Lamp, words: string): void {
    this.#find("lamp").dataset.lamp = lamp;
    this.#find("lamp-words").textContent = words;
  }

  #draw(seen: readonly Seen[]): void {
    const line = (name: string, look: string, of: (seen: Seen) => number) => ({
      name,
      look,
      points: seen.map((one) => [one.update, of(one)] as const),
    });
    const losses = this.#find<SVGSVGElement>("losses");
    drawLines(losses, [line("X", "x", ({ loss }) => loss.x), line("Y", "y", ({ loss }) => loss.y)], {
      x: "updates",
      y: "loss",
      logY: true,
    });
    const last = seen.at(-1)!;
    losses.setAttribute(
      "aria-label",
      `Losses after ${last.update} updates: X ${short(last.loss.x)}, Y ${short(last.loss.y)}`,
    );
    const norms = this.#find<SVGSVGElement>("norms");
    drawLines(
      norms,
      [
        line("A of X", "x", ({ norms }) => norms.A.x),
        line("A of Y", "y", ({ norms }) => norms.A.y),
        line("B of X", "xb", ({ norms }) => norms.B.x),
        line("B of Y", "yb", ({ norms }) => norms.B.y),
      ],
      { x: "updates", y: "norm", logY: true },
    );
    norms.setAttribute(
      "aria-label",
      `Norms: A ${short(last.norms.A.x)} and ${short(last.norms.A.y)}, B ${short(last.norms.B.x)} and ${short(last.norms.B.y)}`,
    );
  }

  #look({ update, spectra, needed, looks }: View): void {
    const paths = Object.keys(spectra.x);
    const path = paths[Math.floor(paths.length / 2)] ?? "";
    const values = (name: string, look: string, of: readonly number[] = []) => ({
      name,
      look,
      marks: true,
      points: of.filter((value) => value > 1e-6).map((value, i) => [i + 1, value] as const),
    });
    const drawing = this.#find<SVGSVGElement>("spectrum");
    drawLines(
      drawing,
      [
        values("needed", "needed", needed[path]),
        values("X", "x", spectra.x[path]),
        values("Y", "y", spectra.y[path]),
      ],
      { x: "place", y: path === "" ? "singular value" : `singular value of ${path}`, logY: true },
    );
    const told = (spectra.x[path] ?? []).slice(0, 4).map(short).join(", ");
    drawing.setAttribute("aria-label", `Largest singular values of the change of X: ${told}`);
    this.#find("pictures").hidden = looks?.target.picture === undefined;
    this.#find("texts").hidden = looks?.target.texts === undefined;
    if (!looks) return;
    for (const who of ["x", "y", "target"] as const) {
      const { picture } = looks[who];
      if (picture) paint(this.#find(`picture-${who}`), picture);
    }
    if (looks.target.texts) this.#tell(update, looks);
  }

  /** What is written before and after, and how much of it is right. */
  #tell(update: number, { x, y, target, prompts }: NonNullable<View["looks"]>): void {
    if (update === 0) this.#before = x.texts ?? []; // B is 0 then
    const wanted = target.texts ?? [];
    const written: readonly (readonly [name: string, texts: readonly string[]])[] = [
      ["before", this.#before],
      ["X", x.texts ?? []],
      ["Y", y.texts ?? []],
    ];
    const isRight = (texts: readonly string[], i: number) => texts[i] === wanted[i];
    const cell = (name: string, words = "") => {
      const made = Object.assign(document.createElement("td"), { textContent: words });
      made.dataset.name = name;
      return made;
    };
    const rows = prompts.slice(0, rowsShown).map((prompt, i) => {
      const row = document.createElement("tr");
      row.append(
        cell("question", prompt),
        ...written.map(([name, texts]) => cell(name, `${isRight(texts, i) ? "✓ " : ""}${texts[i] ?? ""}`)),
        cell("wanted", wanted[i]),
      );
      return row;
    });
    this.#find("texts")
      .querySelector("tbody")!
      .replaceChildren(...rows);
    const counts = written.map(
      ([name, texts]) => `${prompts.filter((_, i) => isRight(texts, i)).length} ${name}`,
    );
    this.#find("right").textContent =
      `Right to the letter, of ${prompts.length} questions that no training saw: ${counts.join(", ")}.`;
  }
}

/** Of the questions that are asked. */
const rowsShown = 5;

function paint(canvas: HTMLCanvasElement, { width, height, pixels }: Picture): void {
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = 255 * pixels[3 * i + c]!;
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
