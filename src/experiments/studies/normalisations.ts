import { judged, margin, paired, type Tuned, tuned, tunedCount, tunedTable } from "./contrast.ts";
import { hardSql, lora, loraOnSql, rates } from "./settings.ts";
import type { Study, Trial } from "./study.ts";

const ratio = 16;

/** Normalisations that are trained beside adapters, with the rate of A or that of B. */
const groups = {
  "none, equal rates": loraOnSql,
  "rate of A": (lr: number, seed: number) => withNorms(lr, lr / 4, seed),
  "rate of B": (lr: number, seed: number) => withNorms(lr, (lr / 4) * ratio, seed),
} as const;

/** LoRA+ with trained normalisations; its rates as in the study of variants. */
function withNorms(lr: number, norms: number, seed: number): Trial {
  const own = { A: { lr: lr / 4 }, B: { lr: (lr / 4) * ratio }, base: { lr: norms } };
  return {
    task: hardSql,
    recipe: lora({ lr: lr / 4, more: { trained: ["A", "B", "base"], groups: own } }),
    vectors: true,
    seed,
  };
}

/** LoRA+ puts normalisations into the group of B. */
export const normalisations: Study = {
  name: "normalisations",
  title: "LoRA+ with trained normalisations, in the group of A or of B",
  claims: ["S2-13"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "LoRA+ of ratio 16 (r 8, alpha 16) with the five normalisations trained at the rate of A, and at that of B; A at lr 2.5e-4 to 1.6e-2 by factors of 4; LoRA without them beside it",
    contrast: "paired by seed, each at its best rate: normalisations in the group of B less in that of A",
    spread: 0.006,
    choice: "the rate of each, by the seeds of the choice",
    correction: "none: one comparison",
    turns: "the group of B, where the authors' code puts them, that is worse by more than 0.02",
  },
  count: (bench) => Object.keys(groups).length * tunedCount(rates.length, bench),
  measure: async (bench) => {
    const cells: { [name: string]: Tuned } = {};
    for (const [name, trial] of Object.entries(groups)) cells[name] = await tuned(bench, rates, trial);
    return {
      checks: {
        "S2-13": [
          judged(
            "loss, normalisations at the rate of B less at that of A",
            paired(cells["rate of B"]!, cells["rate of A"]!),
            { below: margin },
          ),
        ],
      },
      tables: [tunedTable("Normalisations, each at its best rate", cells)],
      plots: [],
    };
  },
};
