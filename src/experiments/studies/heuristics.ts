import {
  judged,
  type Measured,
  margin,
  paired,
  type Tuned,
  tuned,
  tunedCount,
  tunedTable,
} from "./contrast.ts";
import { hardSql, lora, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const ranks = [2, 32] as const;

/** The largest size of some differences, and what it may be. */
function largest(differences: readonly Measured[]): Measured {
  const most = (of: (each: Measured) => number) => Math.max(...differences.map(of));
  const least = ({ interval: [low, high] }: Measured) => (low > 0 ? low : high < 0 ? -high : 0 * low);
  return {
    value: most(({ value }) => Math.abs(value)),
    interval: [most(least), most(({ interval: [low, high] }) => Math.max(-low, high))],
  };
}

/** Advice on alpha, as a function of the rank. */
const advice = {
  "2r": (r: number) => 2 * r,
  r: (r: number) => r,
  "r/2": (r: number) => r / 2,
  "16": () => 16,
} as const;

type Name = keyof typeof advice;

/** What is said of alpha, each at a rate of its own. */
export const heuristics: Study = {
  name: "heuristics",
  title: "Alpha by the rank: 2r, r, r/2 or constant, each at its best rate",
  claims: ["S0-1", "S0-3", "S4-11"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "alpha 2r, r, r/2, 16 x r 2, 32 x lr 1e-3 to 6.4e-2 by factors of 4",
    contrast: "paired by seed, each at its best rate: alpha 2r less each other advice",
    spread: 0.006,
    choice: "the rate of each, by the seeds of the choice",
    correction: "Bonferroni over ranks and advice",
    turns: "two pieces of advice that differ by more than 0.02 at rates of their own",
  },
  count: (bench) => ranks.length * Object.keys(advice).length * tunedCount(rates.length, bench),
  measure: async (bench) => {
    const cells = new Map<string, Tuned>();
    for (const r of ranks)
      for (const [name, of] of Object.entries(advice))
        cells.set(
          `${name} ${r}`,
          await tuned(bench, rates, (lr, seed) => ({
            task: hardSql,
            recipe: lora({ r, alpha: of(r), lr }),
            seed,
          })),
        );
    const at = (name: Name, r: number) => cells.get(`${name} ${r}`)!;
    const others = (["r", "r/2", "16"] as const).flatMap((name) => ranks.map((r) => ({ name, r })));
    const all = { comparisons: others.length };
    const two = { comparisons: ranks.length };
    return {
      checks: {
        // The advice conflicts: if it is to matter, some of it is better.
        "S0-1": [
          judged(
            "difference of any advice from alpha = 2r at best rates, the largest",
            largest(others.map(({ name, r }) => paired(at("2r", r), at(name, r), all))),
            { above: margin },
            all,
          ),
        ],
        "S0-3": ranks.map((r) =>
          judged(
            `loss, alpha = r less alpha = 2r, r = ${r}`,
            paired(at("r", r), at("2r", r), two),
            { below: margin },
            two,
          ),
        ),
        "S4-11": others.map(({ name, r }) =>
          judged(
            `loss, alpha = 2r less ${name}, r = ${r}`,
            paired(at("2r", r), at(name, r), all),
            { below: 0 },
            all,
          ),
        ),
      },
      tables: [
        tunedTable(
          "Each at its best rate",
          Object.fromEntries(
            [...cells].map(([name, each]) => [`alpha ${name.replace(" ", ", r = ")}`, each]),
          ),
        ),
      ],
      plots: ranks.map((r) => ({
        title: `Loss over the rate, r = ${r}`,
        x: "lr",
        y: "held-out loss",
        log: { x: true },
        lines: Object.keys(advice).map((name) => ({
          name: `alpha ${name}`,
          xs: rates,
          ys: cells.get(`${name} ${r}`)!.losses,
        })),
      })),
    };
  },
};
