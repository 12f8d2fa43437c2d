import { button } from "./dom.ts";
import type { Seen } from "./duel.ts";
import type { Experiment } from "./experiment.ts";
import { type Story, stories } from "./stories.ts";

// Guides through a story: its buttons, its words, and whether what it says at its end holds.

export interface StoryEvents {
  chosen(experiment: Experiment, updates: number): void;
}

export class Stories {
  readonly #into: HTMLElement;
  readonly #events: StoryEvents;
  #story: Story | undefined;
  #place = 0;
  #before: (readonly Seen[])[] = [];

  constructor(into: HTMLElement, events: StoryEvents) {
    this.#into = into;
    this.#events = events;
    this.#draw();
  }

  /** A run came to its end, or was paused. */
  ended(seen: readonly Seen[]): void {
    const step = this.#story?.steps[this.#place];
    if (!step || seen.length < step.updates) return;
    this.#before[this.#place] = [...seen];
    const line = this.#into.querySelector<HTMLElement>(".holds");
    if (step.holds && line) {
      const holds = step.holds.test(seen, this.#before.slice(0, this.#place));
      line.dataset.holds = holds ? "yes" : "no";
      line.textContent = `${holds ? "✓" : "✗"} ${step.holds.words}`;
    }
    const next = this.#into.querySelector<HTMLButtonElement>(".next");
    if (next) next.disabled = false;
  }

  #go(story: Story | undefined, place: number): void {
    [this.#story, this.#place] = [story, place];
    if (place === 0) this.#before = [];
    this.#draw();
    const step = story?.steps[place];
    if (step) this.#events.chosen(step.experiment, step.updates);
  }

  #draw(): void {
    const buttons = document.createElement("p");
    buttons.className = "buttons";
    for (const story of stories) buttons.append(button(story.title, () => this.#go(story, 0)));
    this.#into.replaceChildren(buttons);
    const step = this.#story?.steps[this.#place];
    if (!this.#story || !step) return;
    const told = document.createElement("div");
    told.className = "story";
    told.dataset.story = `${this.#story.name} ${this.#place + 1}`;
    told.setAttribute("aria-live", "polite");
    const words = document.createElement("p");
    words.textContent = `${this.#place + 1} of ${this.#story.steps.length}. ${step.words}`;
    const holds = Object.assign(document.createElement("p"), { className: "holds" });
    const row = Object.assign(document.createElement("p"), { className: "buttons" });
    const last = this.#place === this.#story.steps.length - 1;
    if (!last) {
      const next = button("Next", () => this.#go(this.#story, this.#place + 1));
      next.className = "next";
      next.disabled = true;
      row.append(next);
    }
    row.append(button("End the story", () => this.#go(undefined, 0)));
    told.append(words, holds, row);
    this.#into.append(told);
  }
}
