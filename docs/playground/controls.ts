import {
  type Experiment,
  multipliers,
  type NumberName,
  numberNames,
  numbersFor,
  optimizers,
  type RunName,
  refusal,
  runs,
  tasks,
  withPartner,
} from "./experiment.ts";
import { type Explained, numbers, numbersOf, shared } from "./knobs.ts";
import { verdicts } from "./verdicts.ts";

// The controls: those that both runs share, and a table of the numbers of each.

type Find = <E extends Element = HTMLElement>(id: string) => E;
type SharedName = keyof typeof shared;

const choices: Readonly<Partial<Record<SharedName, readonly string[]>>> = {
  task: tasks,
  optimizer: optimizers,
  multiplier: multipliers,
};
const ranges: Readonly<Partial<Record<SharedName, readonly [number, number]>>> = {
  rank: [1, 32],
  teacher: [1, 32],
  seed: [0, 2 ** 31],
};

export interface ControlEvents {
  changed(experiment: Experiment): void;
}

export class Controls {
  readonly #find: Find;
  readonly #events: ControlEvents;
  readonly #shared = new Map<SharedName, HTMLSelectElement | HTMLInputElement>();
  readonly #rows = new Map<NumberName, readonly HTMLTableRowElement[]>();
  readonly #inputs = new Map<string, HTMLInputElement>();
  #experiment: Experiment | undefined;

  constructor(find: Find, events: ControlEvents) {
    this.#find = find;
    this.#events = events;
    find("shared").replaceChildren(
      ...(Object.keys(shared) as SharedName[]).map((name) => this.#sharedOf(name)),
    );
    const body = find("numbers").querySelector("tbody")!;
    body.replaceChildren(...numberNames.flatMap((name) => this.#rowsOf(name)));
  }

  show(experiment: Experiment): void {
    this.#experiment = experiment;
    for (const [name, control] of this.#shared) control.value = String(experiment[name]);
    const acting = numbersOf(experiment.optimizer);
    for (const [name, rows] of this.#rows) for (const row of rows) row.hidden = !acting.includes(name);
    this.#shared.get("teacher")!.closest<HTMLElement>(".control")!.hidden = experiment.task !== "linear";
    for (const run of runs)
      for (const name of numberNames) {
        const input = this.#inputs.get(`${run}.${name}`)!;
        if (document.activeElement !== input || Number(input.value) !== experiment[run][name])
          input.value = String(experiment[run][name]);
        input.removeAttribute("aria-invalid");
      }
    this.#find("moved").replaceChildren();
  }

  /** Says which numbers of Y a partner moved. */
  tellMoved(before: Experiment, after: Experiment): void {
    const moved = numbersOf(after.optimizer).filter((name) => before.y[name] !== after.y[name]);
    const words =
      moved.length === 0
        ? "Y is the partner of X already: no number moved."
        : `Of Y moved ${moved.map((name) => `${numbers[name].label}, ${before.y[name]} to ${after.y[name]}`).join("; ")}.`;
    this.#find("moved").textContent = words;
  }

  #sharedOf(name: SharedName): HTMLElement {
    const id = `shared-${name}`;
    const values = choices[name];
    const control = values
      ? Object.assign(document.createElement("select"), { id })
      : Object.assign(document.createElement("input"), { id, type: "number", step: "1" });
    if (values) control.replaceChildren(...values.map((value) => new Option(value)));
    const range = ranges[name];
    if (control instanceof HTMLInputElement && range)
      [control.min, control.max] = range.map(String) as [string, string];
    control.addEventListener("change", () => this.#takeShared(name, control));
    this.#shared.set(name, control);
    const box = document.createElement("div");
    box.className = "control";
    const label = Object.assign(document.createElement("label"), {
      htmlFor: id,
      textContent: shared[name].label,
    });
    box.append(label, control, sentence(shared[name], `${id}-sentence`));
    control.setAttribute("aria-describedby", `${id}-sentence`);
    return box;
  }

  #takeShared(name: SharedName, control: HTMLSelectElement | HTMLInputElement): void {
    const experiment = this.#experiment!;
    if (name === "task" || name === "optimizer") {
      const changed = { ...experiment, [name]: control.value } as Experiment;
      const x = numbersFor(changed.task, changed.optimizer);
      this.#events.changed(withPartner({ ...changed, x, y: { ...x, alpha: 4 * x.alpha } }));
      return;
    }
    if (name === "multiplier") {
      this.#events.changed({ ...experiment, multiplier: control.value } as Experiment);
      return;
    }
    const value = Number(control.value);
    const [least, most] = ranges[name]!;
    const fine = control.value.trim() !== "" && Number.isInteger(value) && value >= least && value <= most;
    control.setAttribute("aria-invalid", String(!fine));
    if (fine) this.#events.changed({ ...experiment, [name]: value });
    else
      this.#find("moved").textContent = `${shared[name].label} is a whole number from ${least} to ${most}.`;
  }

  #rowsOf(name: NumberName): readonly HTMLTableRowElement[] {
    const row = document.createElement("tr");
    const head = Object.assign(document.createElement("th"), {
      scope: "row",
      textContent: numbers[name].label,
    });
    row.append(head, ...runs.map((run) => this.#cellOf(run, name)));
    const below = document.createElement("tr");
    const why = Object.assign(document.createElement("td"), { colSpan: 3, className: "why" });
    why.append(sentence(numbers[name], `number-${name}`));
    below.append(why);
    this.#rows.set(name, [row, below]);
    return [row, below];
  }

  #cellOf(run: RunName, name: NumberName): HTMLTableCellElement {
    const cell = document.createElement("td");
    const input = Object.assign(document.createElement("input"), {
      inputMode: "decimal",
      id: `${run}-${name}`,
    });
    const words = `${numbers[name].label} of ${run.toUpperCase()}`;
    input.setAttribute("aria-label", words);
    input.setAttribute("aria-describedby", `number-${name}`);
    input.addEventListener("change", () => this.#take(run, name, input));
    // Twice and half, which keep the bits: by the arrows up and down, or by buttons.
    const times = (factor: number) => {
      input.value = String(Number(input.value) * factor);
      this.#take(run, name, input);
    };
    input.addEventListener("keydown", (event) => {
      const factor = { ArrowUp: 2, ArrowDown: 0.5 }[event.key];
      if (factor === undefined) return;
      event.preventDefault();
      times(factor);
    });
    const button = (text: string, factor: number) => {
      const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
      made.setAttribute("aria-label", `${text} ${words}`);
      made.addEventListener("click", () => times(factor));
      return made;
    };
    this.#inputs.set(`${run}.${name}`, input);
    const box = Object.assign(document.createElement("div"), { className: "cell" });
    box.append(input, button("÷2", 0.5), button("×2", 2));
    cell.append(box);
    return cell;
  }

  #take(run: RunName, name: NumberName, input: HTMLInputElement): void {
    const value = input.value.trim() === "" ? Number.NaN : Number(input.value.replace(",", "."));
    const why = refusal(name, value);
    input.setAttribute("aria-invalid", String(why !== undefined));
    if (why !== undefined) {
      this.#find("moved").textContent = why;
      return;
    }
    const experiment = this.#experiment!;
    this.#events.changed({ ...experiment, [run]: { ...experiment[run], [name]: value } });
  }
}

/** A sentence with its link, and the verdict of its claim. */
function sentence({ sentence, page, claim }: Explained, id: string): HTMLElement {
  const words = Object.assign(document.createElement("div"), { className: "sentence", id });
  const why = Object.assign(document.createElement("a"), { href: `../${page}`, textContent: "why" });
  words.append(`${sentence} `, why);
  const verdict = claim === undefined ? undefined : verdicts[claim];
  if (claim !== undefined && verdict !== undefined) {
    const link = document.createElement("a");
    link.href = "../claims.html#what-came-out";
    link.title = verdict.claim;
    link.textContent = `${claim}: ${verdict.verdict}`;
    words.append(" · ", link);
  }
  return words;
}
