import { estimate, fitLine, mean } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { confidenceOf, judged, margin, type Tuned, tuned, tunedCount } from "./contrast.ts";
import { fullOnSql, fullRates, hardSql, lora, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const ranks = [2, 8, 32] as const;
/** Updates whose batches are taken together, as a share of the run: batches differ, but are the same in both runs. */
const window = 1 / 10;

/** The last update up to which the curve is no more than the margin above another, as a share of all; a means over some batches. */
export function leaves(own: readonly number[], other: readonly number[]): number {
  const width = Math.ceil(window * own.length);
  let last = width;
  for (let to = width; to <= own.length; to++) {
    const gap = mean(own.slice(to - width, to).map((loss, i) => loss - other[to - width + i]!));
    if (gap <= margin) last = to;
  }
  return last / own.length;
}

/** Where the curves of ranks leave that of all weights. */
export const departure: Study = {
  name: "departure",
  title: "Where the loss of a rank leaves that of all weights",
  claims: ["N-12"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric:
      "the last update at which the loss of the batches, by means over a tenth of the run, is no more than 0.02 above that of all weights, as a share of the run: a tenth where the curve is never there",
    grid: "LoRA at r 2, 8, 32, alpha 16, at lr 1e-3 to 6.4e-2, all weights at 2.5e-4 to 1.6e-2, by factors of 4",
    contrast:
      "each at its best rate, by seed: the share of the run at r = 32; the slope of its log2 in that of the rank",
    spread: 0.1,
    choice: "the rates, by the seeds of the choice",
    correction: "Bonferroni over the two checks",
    turns:
      "a curve of r = 32 that leaves within the first fifth of the run, or ranks that leave no later the larger they are",
  },
  count: (bench) => ranks.length * tunedCount(rates.length, bench) + tunedCount(fullRates.length, bench),
  measure: async (bench) => {
    const weights = await tuned(bench, fullRates, fullOnSql);
    const own: Tuned[] = [];
    for (const r of ranks)
      own.push(await tuned(bench, rates, (lr, seed) => ({ task: hardSql, recipe: lora({ r, lr }), seed })));
    const shares = own.map(({ runs }) =>
      runs.map(({ losses }, i) => leaves(losses, weights.runs[i]!.losses)),
    );
    const two = { comparisons: 2 };
    const open = [weights, ...own].some(({ atEnd }) => atEnd);
    const found = (values: readonly number[]) => {
      const each = estimate(values, confidenceOf(2));
      return open ? { ...each, interval: [Number.NaN, Number.NaN] as const } : each;
    };
    const slopes = bench.comparison.map(
      (_, seed) =>
        fitLine(
          ranks.map(Math.log2),
          shares.map((share) => Math.log2(share[seed]!)),
        ).slope,
    );
    const curve = (name: string, runs: readonly RunResult[]) => {
      const { length } = runs[0]!.losses;
      const width = Math.ceil(window * length);
      const at = Array.from({ length: length - width + 1 }, (_, i) => i + width);
      return {
        name,
        xs: at,
        ys: at.map((to) => mean(runs.map(({ losses }) => mean(losses.slice(to - width, to))))),
      };
    };
    return {
      checks: {
        "N-12": [
          judged(
            "share of the run until r = 32 leaves all weights",
            found(shares.at(-1)!),
            { above: 0.2 },
            two,
          ),
          judged("slope of its log2 in that of the rank", found(slopes), { above: 0 }, two),
        ],
      },
      tables: [
        {
          title: "Share of the run until the curve leaves that of all weights",
          head: ["r", "best lr", "share"],
          rows: ranks.map((r, i) => [
            r,
            own[i]!.atEnd ? `${own[i]!.lr} (end of the grid)` : own[i]!.lr,
            mean(shares[i]!),
          ]),
        },
      ],
      plots: [
        {
          title: "Loss of batches over updates, each at its best rate",
          x: "update",
          y: "loss of batches",
          lines: [
            curve("all weights", weights.runs),
            ...ranks.map((r, i) => curve(`r = ${r}`, own[i]!.runs)),
          ],
        },
      ],
    };
  },
};
