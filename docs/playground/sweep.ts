import { type Experiment, multipliers, placeOf, recipeOf } from "./experiment.ts";
import { drawLines } from "./lines.ts";
import { type Done, keyOf } from "./plane.ts";
import type { Trial } from "./protocol.ts";
import { svg } from "./svg.ts";

// Loss over rate for several ranks, one drawing for each multiplier.

type Find = <E extends Element = HTMLElement>(id: string) => E;

export class Sweep {
  readonly #find: Find;
  #trials: Trial[] = [];

  constructor(find: Find) {
    this.#find = find;
  }

  clear(): void {
    this.#trials = [];
    this.#find("ranks").replaceChildren();
  }

  /** What the plane keeps of a trial. */
  heard(experiment: Experiment, trial: Trial, left: number): Done[] {
    this.#trials.push(trial);
    this.#find("sweep-words").textContent =
      left > 0 ? `${left} trainings left.` : `${this.#trials.length} trainings done.`;
    if (left % 5 === 0) this.#draw();
    const { rank, multiplier, lr, loss } = trial;
    const own = { ...experiment, rank, multiplier, x: { ...experiment.x, lrA: lr, lrB: lr } };
    return [{ key: keyOf(own), ...placeOf(recipeOf(own, "x")), loss }];
  }

  #draw(): void {
    const ranks = [...new Set(this.#trials.map(({ rank }) => rank))];
    this.#find("ranks").replaceChildren(
      ...multipliers.map((multiplier) => {
        const own = this.#trials.filter((trial) => trial.multiplier === multiplier);
        const drawing = svg("svg", { role: "img" }) as SVGSVGElement;
        const lines = ranks.map((rank, i) => ({
          name: `r ${rank}`,
          look: `rank${i}`,
          points: own.filter((trial) => trial.rank === rank).map(({ lr, loss }) => [lr, loss] as const),
        }));
        drawLines(drawing, lines, { x: "rate of A and B", y: `loss, ${multiplier}`, logX: true, logY: true });
        drawing.setAttribute("aria-label", `Loss over rate with multiplier ${multiplier}`);
        return drawing;
      }),
    );
  }
}
