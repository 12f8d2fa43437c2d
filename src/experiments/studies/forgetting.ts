import { estimate } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import type { Task } from "../language/tasks.ts";
import { confidenceOf, judged, meanOf, over, paired, tuned, tunedCount, tunedTable } from "./contrast.ts";
import { formerly, fullOnSql, fullRates, hardSql, lora, loraOnSql, rates } from "./settings.ts";
import type { Study } from "./study.ts";

/** By how much a probe's loss rose. */
const lost = (probe: number) => (result: RunResult) =>
  result.probes[probe]!.after! - result.probes[probe]!.before!;

/** What a base could do before, after it was tuned for something else. */
export const forgetting: Study = {
  name: "forgetting",
  title: "Forgetting: what the base could do, after it was tuned for SQL",
  claims: ["S4-16", "S4-22", "S4-27"],
  design: {
    task: "text-to-SQL; before and after it sums of two digits and sentences, which the base had learned; pairs of sentences",
    metric: "loss, nats a token, of each",
    grid: "LoRA (r 8, alpha 16) at lr 1e-3 to 6.4e-2, all weights at 2.5e-4 to 1.6e-2, by factors of 4",
    contrast:
      "paired by seed: after less before; all weights less LoRA, each at its best rate; tuned for this task less for the other",
    spread: 0.012,
    choice: "the rates of LoRA and of all weights, by the seeds of the choice",
    correction: "Bonferroni over the comparisons of a claim",
    turns: "sums that are no worse after; all weights better than LoRA; a model that is best on both tasks",
  },
  count: (bench) => 2 * tunedCount(rates.length, bench) + bench.comparison.length,
  measure: async (bench) => {
    const adapters = await tuned(bench, rates, (lr, seed) => ({ ...loraOnSql(lr, seed), probes: formerly }));
    const weights = await tuned(bench, fullRates, fullOnSql);
    const pairs: Task = { name: "pairs", hard: 1 };
    const other = await over(bench, bench.comparison, (seed) => ({
      task: pairs,
      recipe: lora({ lr: adapters.lr }),
      seed,
      probes: [{ kind: "task", task: hardSql }],
    }));
    const two = { comparisons: 2 };
    const sums = estimate(adapters.runs.map(lost(0)), confidenceOf(1));
    return {
      checks: {
        "S4-16": [judged("loss on sums, after less before", sums, { above: 0 })],
        "S4-22": [
          judged("loss on SQL, all weights less LoRA", paired(weights, adapters, two), { above: 0 }, two),
          judged(
            "what is lost on sentences, all weights less LoRA",
            paired(weights, adapters, { ...two, of: lost(1) }),
            { above: 0 },
            two,
          ),
        ],
        "S4-27": [
          judged(
            "loss on SQL, tuned for SQL less tuned for pairs",
            estimate(
              adapters.runs.map(({ loss }, i) => loss - other[i]!.probes[0]!.after!),
              confidenceOf(1),
            ),
            { below: 0 },
          ),
        ],
      },
      tables: [
        tunedTable("Tuned for SQL, each at its best rate", { LoRA: adapters, "all weights": weights }),
        {
          title: "Loss on what the base had learned",
          head: ["tuned", "sums before", "sums after", "sentences before", "sentences after"],
          rows: [["LoRA", adapters.runs] as const, ["all weights", weights.runs] as const].map(
            ([name, runs]) => [
              name,
              ...[0, 1].flatMap((i) => [
                meanOf(runs, ({ probes }) => probes[i]!.before!),
                meanOf(runs, ({ probes }) => probes[i]!.after!),
              ]),
            ],
          ),
        },
      ],
      plots: [],
    };
  },
};
