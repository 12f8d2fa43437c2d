import { estimate, fitLine } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import type { Task } from "../language/tasks.ts";
import { confidenceOf, judged, lossOf, type Measured, margin, meanOf, over, paired } from "./contrast.ts";
import { hardSql, lora } from "./settings.ts";
import type { Bench, Study } from "./study.ts";

const ratesA = [2.5e-4, 1e-3, 4e-3, 1.6e-2] as const;
const ratesB = [1e-3, 4e-3, 1.6e-2, 6.4e-2] as const;
/** One that is learned in some ten updates, and one that is not learned wholly in any of these. */
const tasks = { easy: { name: "pairs", hard: -1 }, hard: hardSql } as const satisfies {
  readonly [name: string]: Task;
};

interface Cell {
  readonly a: number;
  readonly b: number;
  readonly choice: readonly RunResult[];
  readonly comparison: readonly RunResult[];
}

const ratioOf = ({ a, b }: Cell) => Math.log2(b / a);

async function gridOf(bench: Bench, task: Task): Promise<readonly Cell[]> {
  const cells: Cell[] = [];
  for (const a of ratesA)
    for (const b of ratesB) {
      const trial = (seed: number) => ({ task, recipe: lora({ lr: a, ratio: b / a }), seed });
      cells.push({
        a,
        b,
        choice: await over(bench, bench.choice, trial),
        comparison: await over(bench, bench.comparison, trial),
      });
    }
  return cells;
}

/** The loss of answers to pairs that are guessed: one of two words, then the end, which is no secret. */
const guessed = Math.log(2) / 2;

/** Where no cell learns what the answers to pairs are, nothing can be said of rates. */
function whereLearned(cells: readonly Cell[], found: Measured): Measured {
  const least = Math.min(...cells.map(({ comparison }) => meanOf(comparison)));
  return least < 0.9 * guessed ? found : { value: found.value, interval: [Number.NaN, Number.NaN] };
}

/** The cell that is best by the seeds of the choice. */
const bestOf = (cells: readonly Cell[]) =>
  cells.reduce((best, cell) => (meanOf(cell.choice) < meanOf(best.choice) ? cell : best));

/** What is known of the order of cells: the first are the best by the mean, but others may be better for all that seeds tell. */
function rankingOf(cells: readonly Cell[]) {
  const sorted = [...cells].sort((one, other) => meanOf(one.comparison) - meanOf(other.comparison));
  const others = { comparisons: cells.length - 1 };
  const less = (one: Cell, other: Cell) => paired(one.comparison, other.comparison, others).interval;
  return {
    sorted,
    /** Those that may be among so many best ones, and those that surely are. */
    best: (count: number) => ({
      perhaps: sorted.filter((cell) => !(less(cell, sorted[count - 1]!)[0] > 0)),
      surely: sorted.filter((cell) => less(cell, sorted[count]!)[1] < 0),
    }),
  };
}

/** The ratio of the best cell, from the least to the largest of those that may be it. */
function bestRatio(cells: readonly Cell[]): Measured {
  const { sorted, best } = rankingOf(cells);
  const ratios = best(1).perhaps.map(ratioOf);
  return { value: ratioOf(sorted[0]!), interval: [Math.min(...ratios), Math.max(...ratios)] };
}

/** How many of the best four cells have equal rates, from the fewest to the most that it may be. */
function equalRates(cells: readonly Cell[]): Measured {
  const { sorted, best } = rankingOf(cells);
  const isEqual = ({ a, b }: Cell) => a === b;
  const count = (of: readonly Cell[], equal: boolean) => of.filter((cell) => isEqual(cell) === equal).length;
  const { perhaps, surely } = best(4);
  const interval = [
    Math.max(count(surely, true), 4 - count(perhaps, false)),
    Math.min(count(perhaps, true), 4 - count(surely, false)),
  ] as const;
  return { value: count(sorted.slice(0, 4), true), interval };
}

/** For each seed, the slope of the loss in log2 of the ratio where the product of both rates is constant. */
function slopes(cells: readonly Cell[]): readonly number[] {
  const product = Math.log2(ratesA[1] * ratesB[2]);
  const line = cells.filter(({ a, b }) => Math.abs(Math.log2(a * b) - product) < 1e-9);
  return line[0]!.comparison.map(
    (_, seed) =>
      fitLine(
        line.map(ratioOf),
        line.map(({ comparison }) => lossOf(comparison[seed]!)),
      ).slope,
  );
}

/** Both rates on a grid, on an easy task and a hard one. */
export const loraPlus: Study = {
  name: "lora-plus",
  title: "LoRA+: the rates of A and B on a grid",
  claims: ["S2-5", "S2-6", "S2-7", "S2-9", "S2-10", "S2-12"],
  design: {
    task: "easy: is a sentence denied; hard: text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "lr of A 2.5e-4 to 1.6e-2 x lr of B 1e-3 to 6.4e-2, by factors of 4, AdamW, r 8, alpha 16",
    contrast:
      "paired by seed: the best cell with a larger rate of B less the best with equal rates; slope of the loss in log2 of the ratio where the product is constant",
    spread: 0.006,
    choice: "the best cells by the seeds of the choice",
    correction: "Bonferroni over the two tasks; for the best cells over all cells beside one",
    turns:
      "equal rates as good as unequal ones; a best cell at a ratio outside of 8 to 32; slopes of one sign on both tasks; undecided where no cell is better on the easy task than guessing by a tenth",
  },
  count: ({ choice, comparison }) => 2 * ratesA.length * ratesB.length * (choice.length + comparison.length),
  measure: async (bench) => {
    const grids = { easy: await gridOf(bench, tasks.easy), hard: await gridOf(bench, tasks.hard) };
    const two = { comparisons: 2 };
    const gain = (cells: readonly Cell[]) =>
      paired(
        bestOf(cells.filter(({ a, b }) => b > a)).comparison,
        bestOf(cells.filter(({ a, b }) => a === b)).comparison,
        two,
      );
    const slope = (cells: readonly Cell[]) => estimate(slopes(cells), confidenceOf(2));
    const onEasy = (of: (cells: readonly Cell[]) => Measured) => whereLearned(grids.easy, of(grids.easy));
    const others = { comparisons: grids.hard.length - 1 };
    return {
      checks: {
        "S2-5": [
          judged("loss, larger rate of B less equal rates, hard", gain(grids.hard), { below: 0 }, two),
        ],
        "S2-6": [
          judged("loss, larger rate of B less equal rates, hard", gain(grids.hard), { below: 0 }, two),
          judged("the same, easy", onEasy(gain), { below: 0 }, two),
        ],
        "S2-7": [
          judged("slope of the loss in log2 of the ratio, hard", slope(grids.hard), { below: 0 }, two),
          judged("the same, easy", onEasy(slope), { above: 0 }, two),
        ],
        "S2-9": [
          judged(
            "log2 of the ratio of the best cell, hard",
            bestRatio(grids.hard),
            { between: [3, 5] },
            others,
          ),
        ],
        "S2-10": [
          judged("gain by a larger rate of B, hard", gain(grids.hard), { below: -margin }, two),
          judged("gain by a larger rate of B, easy", onEasy(gain), { above: -margin }, two),
        ],
        "S2-12": [
          judged(
            "of the best four cells, those with equal rates, hard",
            equalRates(grids.hard),
            { equals: 0 },
            others,
          ),
        ],
      },
      tables: Object.entries(grids).map(([name, cells]) => ({
        title: `Held-out loss, ${name} task, rate of A down and of B across`,
        head: ["lr of A", ...ratesB.map(String)],
        rows: ratesA.map((a) => [
          a,
          ...ratesB.map((b) => meanOf(cells.find((cell) => cell.a === a && cell.b === b)!.choice)),
        ]),
      })),
      plots: Object.entries(grids).map(([name, cells]) => ({
        title: `Loss over the rate of B, ${name} task`,
        x: "learning rate of B",
        y: "held-out loss",
        log: { x: true },
        lines: ratesA.map((a) => {
          const own = cells.filter((cell) => cell.a === a);
          return {
            name: `lr of A ${a}`,
            xs: own.map(({ b }) => b),
            ys: own.map(({ choice }) => meanOf(choice)),
          };
        }),
      })),
    };
  },
};
