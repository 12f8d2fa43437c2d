import type { Recipe } from "../../gauge/index.ts";
import { judged, paired, tuned, tunedCount, tunedTable } from "./contrast.ts";
import { fullOnSql, fullRates, hardSql, lora, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const r = 32;
/** LoRA-Muon's rates: how far the product goes in the spectral norm. */
const muonRates = [1e-3, 4e-3, 1.6e-2, 6.4e-2, 0.256] as const;

/** Optimizers that are said to be better than AdamW. */
export const optimizers: Study = {
  name: "optimizers",
  title: "LoRA-Muon beside AdamW and all weights",
  claims: ["N-36"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "LoRA at r 32, alpha 32, with LoRA-Muon at lr 0.001 to 0.256 and with AdamW at 1e-3 to 6.4e-2, all weights with AdamW at 2.5e-4 to 1.6e-2, by factors of 4",
    contrast: "paired by seed, each at its best rate: LoRA-Muon less all weights, AdamW less LoRA-Muon",
    spread: 0.006,
    choice: "the rate of each, by the seeds of the choice",
    correction: "Bonferroni over the two comparisons",
    turns: "LoRA-Muon that is no better than all weights, or AdamW that is no better than LoRA-Muon",
  },
  count: (bench) =>
    tunedCount(muonRates.length, bench) +
    tunedCount(rates.length, bench) +
    tunedCount(fullRates.length, bench),
  measure: async (bench) => {
    const pair = (optimizer: Recipe["optimizer"]) => (seed: number) => ({
      task: hardSql,
      recipe: { r, alpha: r, optimizer } as Recipe, // of either optimizer
      seed,
    });
    const muon = await tuned(bench, muonRates, (lr, seed) => pair({ name: "loraMuon", lr })(seed));
    const adamw = await tuned(bench, rates, (lr, seed) => ({
      task: hardSql,
      recipe: lora({ r, alpha: r, lr }),
      seed,
    }));
    const weights = await tuned(bench, fullRates, fullOnSql);
    const two = { comparisons: 2 };
    return {
      checks: {
        "N-36": [
          judged("loss, LoRA-Muon less all weights", paired(muon, weights, two), { below: 0 }, two),
          judged("loss, AdamW less LoRA-Muon", paired(adamw, muon, two), { below: 0 }, two),
        ],
      },
      tables: [
        tunedTable("Each at its best rate", { "LoRA-Muon": muon, AdamW: adamw, "all weights": weights }),
      ],
      plots: [],
    };
  },
};
