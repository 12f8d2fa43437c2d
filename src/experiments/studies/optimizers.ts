import type { Recipe } from "../../gauge/index.ts";
import { estimate, type Interval, mean } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { confidenceOf, judged, paired, type Tuned, tuned, tunedCount, tunedTable } from "./contrast.ts";
import { fullOnSql, fullRates, hardSql, lora, loraOnSql, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const r = 32;
/** LoRA-Muon's rates: how far the product goes in the spectral norm. */
const muonRates = [1e-3, 4e-3, 1.6e-2, 6.4e-2, 0.256] as const;
/** Sophia's: the most that a number changes by in an update. */
const sophiaRates = [1e-4, 4e-4, 1.6e-3, 6.4e-3, 2.56e-2] as const;
const adamRates = [2.5e-4, ...rates] as const;
const sophia = { gamma: 0.01, every: 10 };

/** The loss of batches from this update back, as many as a tenth of the run: batches differ. */
const smooth = ({ losses }: RunResult, update: number) =>
  mean(losses.slice(Math.max(0, update - Math.ceil(losses.length / 10)), update));

/** How many updates it takes to a loss, by the mean over a tenth of the run; all where it is not reached. */
function updatesTo(result: RunResult, loss: number): number {
  const all = result.losses.length;
  for (let update = Math.ceil(all / 10); update <= all; update++)
    if (smooth(result, update) <= loss) return update;
  return all;
}

/** What is said to be better than LoRA with AdamW, or to be faster. */
export const optimizers: Study = {
  name: "optimizers",
  title: "Sophia, LoRA-Muon, all weights and a start from the gradient beside LoRA with AdamW",
  claims: ["S4-20", "N-36", "N-39"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric:
      "held-out loss, nats a token; updates to the loss of batches that AdamW comes to in four fifths of its updates, by means over a tenth of the run",
    grid: "LoRA at r 32, alpha 32, with LoRA-Muon at lr 0.001 to 0.256 and with AdamW at 1e-3 to 6.4e-2, all weights with AdamW at 2.5e-4 to 1.6e-2; LoRA at r 8, alpha 16, with AdamW at 2.5e-4 to 6.4e-2, also from LoRA-GA's start (gamma 16, 64 examples), and with Sophia (gamma 0.01, Hutchinson's estimate on every tenth batch) at 1e-4 to 0.0256; by factors of 4",
    contrast:
      "paired by seed, each at its best rate: LoRA-Muon less all weights, AdamW less LoRA-Muon; log2 of AdamW's updates to the loss over Sophia's and over those from the gradient's start, which are all where it does not come to it",
    spread: 0.006,
    choice: "the rate of each, by the seeds of the choice",
    correction: "Bonferroni over the two comparisons of N-36",
    turns:
      "LoRA-Muon that is no better than all weights, or AdamW that is no better than LoRA-Muon; Sophia, or a start from the gradient, that takes more than 1/1.75 of AdamW's updates",
  },
  count: (bench) =>
    tunedCount(muonRates.length, bench) +
    tunedCount(rates.length, bench) +
    tunedCount(fullRates.length, bench) +
    2 * tunedCount(adamRates.length, bench) +
    tunedCount(sophiaRates.length, bench),
  measure: async (bench) => {
    const muon = await tuned(bench, muonRates, (lr, seed) => ({
      task: hardSql,
      recipe: { r, alpha: r, optimizer: { name: "loraMuon", lr } } as Recipe, // of that optimizer
      seed,
    }));
    const adamw = await tuned(bench, rates, (lr, seed) => ({
      task: hardSql,
      recipe: lora({ r, alpha: r, lr }),
      seed,
    }));
    const weights = await tuned(bench, fullRates, fullOnSql);
    const small = await tuned(bench, adamRates, loraOnSql);
    const curved = await tuned(bench, sophiaRates, (lr, seed) => ({
      ...loraOnSql(adamRates[0], seed), // whose optimizer has no part in it
      sophia: { lr, ...sophia },
    }));
    const started = await tuned(bench, adamRates, (lr, seed) => ({
      ...loraOnSql(lr, seed),
      start: "gradient",
    }));
    const two = { comparisons: 2 };
    const [byAdamW, bySophia, fromGradient] = [small, curved, started].map(({ runs }) =>
      runs.map((result, i) => {
        const { losses } = small.runs[i]!;
        return updatesTo(result, smooth(small.runs[i]!, Math.ceil(0.8 * losses.length)));
      }),
    ) as [number[], number[], number[]]; // of three
    const open = ({ atEnd }: Tuned) => atEnd;
    const speed = (what: string, other: Tuned, updates: readonly number[]) => {
      const found = estimate(
        byAdamW.map((each, i) => Math.log2(each / updates[i]!)),
        confidenceOf(1),
      );
      const interval: Interval = open(small) || open(other) ? [Number.NaN, Number.NaN] : found.interval;
      return judged(what, { ...found, interval }, { above: Math.log2(1.75) });
    };
    return {
      checks: {
        "S4-20": [speed("log2 of AdamW's updates to a loss over Sophia's", curved, bySophia)],
        "N-39": [
          speed("log2 of updates to a loss over those from the gradient's start", started, fromGradient),
        ],
        "N-36": [
          judged("loss, LoRA-Muon less all weights", paired(muon, weights, two), { below: 0 }, two),
          judged("loss, AdamW less LoRA-Muon", paired(adamw, muon, two), { below: 0 }, two),
        ],
      },
      tables: [
        tunedTable("Each at its best rate", {
          "LoRA-Muon, r = 32": muon,
          "AdamW, r = 32": adamw,
          "AdamW, all weights": weights,
          "AdamW, r = 8": small,
          "Sophia, r = 8": curved,
          "AdamW from the gradient, r = 8": started,
        }),
        {
          title: "Updates to one loss, r = 8",
          head: ["", "updates"],
          rows: [
            ["AdamW", mean(byAdamW)],
            ["Sophia", mean(bySophia)],
            ["AdamW from the gradient", mean(fromGradient)],
          ],
        },
      ],
      plots: [
        {
          title: "Loss of batches over updates",
          x: "update",
          y: "loss of batches",
          lines: (
            [
              ["AdamW", small],
              ["Sophia", curved],
              ["AdamW from the gradient", started],
            ] as const
          ).map(([name, { runs }]) => ({
            name,
            xs: runs[0]!.losses.map((_, i) => i + 1),
            ys: runs[0]!.losses.map((_, i) => mean(runs.map((result) => smooth(result, i + 1)))),
          })),
        },
      ],
    };
  },
};
