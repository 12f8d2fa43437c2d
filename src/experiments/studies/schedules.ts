import type { Recipe } from "../../gauge/index.ts";
import { judged, margin, paired, type Tuned, tuned, tunedCount, tunedTable } from "./contrast.ts";
import { hardSql, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const own = { sgd: [0.0016, 0.0063, 0.025, 0.1, 0.4], adamw: rates } as const;

type Name = `${keyof typeof own}${"" | " cosine"}`;

/** Optimizers with half a cosine and without. */
export const schedules: Study = {
  name: "schedules",
  title: "SGD and AdamW, with a cosine schedule and without",
  claims: ["S4-4", "S4-5"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "SGD at lr 0.0016 to 0.4 and AdamW at 1e-3 to 6.4e-2 by factors of 4, constant and half a cosine to 0",
    contrast:
      "paired by seed, each at its best rate: with the schedule less without; each optimizer less AdamW",
    spread: 0.006,
    choice: "the rate of each, by the seeds of the choice",
    correction: "Bonferroni over the comparisons of a claim",
    turns: "SGD that the schedule does not help, or AdamW that it helps by more than 0.02",
  },
  count: (bench) => 2 * tunedCount(own.sgd.length, bench) + 2 * tunedCount(own.adamw.length, bench),
  measure: async (bench) => {
    const cells: Partial<Record<Name, Tuned>> = {};
    for (const name of ["sgd", "adamw"] as const)
      for (const cosine of [false, true])
        cells[`${name}${cosine ? " cosine" : ""}`] = await tuned(bench, own[name], (lr, seed) => ({
          task: hardSql,
          recipe: {
            r: 8,
            alpha: 16,
            optimizer: { name, lr },
            ...(cosine && { schedule: { kind: "cosine", tMax: bench.steps } }),
          } as Recipe, // of either optimizer
          seed,
        }));
    const at = (name: Name) => cells[name]!;
    const two = { comparisons: 2 };
    const three = { comparisons: 3 };
    return {
      checks: {
        "S4-4": [
          judged(
            "loss, SGD, cosine less constant",
            paired(at("sgd cosine"), at("sgd"), two),
            { below: 0 },
            two,
          ),
          judged(
            "loss, AdamW, cosine less constant",
            paired(at("adamw cosine"), at("adamw"), two),
            { between: [-margin, margin] },
            two,
          ),
        ],
        "S4-5": [
          judged(
            "loss, SGD with cosine less AdamW",
            paired(at("sgd cosine"), at("adamw"), three),
            { between: [-margin, margin] },
            three,
          ),
          judged(
            "loss, AdamW with cosine less AdamW",
            paired(at("adamw cosine"), at("adamw"), three),
            { between: [-margin, margin] },
            three,
          ),
          judged("loss, plain SGD less AdamW", paired(at("sgd"), at("adamw"), three), { above: 0 }, three),
        ],
      },
      tables: [tunedTable("Each at its best rate", cells as Record<Name, Tuned>)],
      plots: [],
    };
  },
};
