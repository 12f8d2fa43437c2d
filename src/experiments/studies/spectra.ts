import { estimate } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { type Chosen, choose, confidenceOf, judged, meanOf, over } from "./contrast.ts";
import { fullOnSql, fullRates, hardSql, lora, loraOnSql, rates } from "./settings.ts";
import type { Bench, Study, Trial } from "./study.ts";

/** Runs at the rate that is best by the seeds of the choice, which are looked at inside. */
async function changed(
  bench: Bench,
  tried: readonly number[],
  trial: (lr: number, seed: number) => Trial,
): Promise<Chosen<number> & { readonly runs: readonly RunResult[] }> {
  const chosen = await choose(bench, tried, trial);
  const runs = await over(bench, bench.comparison, (seed) => ({
    ...trial(chosen.best, seed),
    probes: [{ kind: "change" }],
  }));
  return { ...chosen, runs };
}

const intruders = ({ probes }: RunResult) => probes[0]!.intruders!;
const rank = ({ probes }: RunResult) => probes[0]!.rank!;

/** What LoRA and full fine-tuning do to the singular values and vectors of the weights. */
export const spectra: Study = {
  name: "spectra",
  title: "Singular vectors and ranks of what is learned: LoRA beside all weights",
  claims: ["N-28", "N-29"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric:
      "of the linear layers in the blocks, as means: of the first ten singular vectors of the tuned weight those whose cosine with each of the base's is below 1/2 (intruders); singular values that hold nine tenths of the energy of the change (its rank)",
    grid: "LoRA (r 2 and 8, alpha 16) at lr 1e-3 to 6.4e-2, all weights at 2.5e-4 to 1.6e-2, by factors of 4",
    contrast:
      "over seeds, each at its best rate: the intruders of LoRA of r = 8, and of all weights; the rank of the change by all weights over that by LoRA of r = 2",
    spread: 0.3,
    choice: "the rates of LoRA and of all weights, by the seeds of the choice",
    correction: "Bonferroni over the two kinds of N-28",
    turns:
      "LoRA with less than one intruder in two layers, or all weights with more; a rank by all weights that is less than ten times LoRA's (at r = 2, since a width of 64 leaves r = 8 only eight times)",
  },
  count: ({ choice, comparison }) =>
    (2 * rates.length + fullRates.length) * choice.length + 3 * comparison.length,
  measure: async (bench) => {
    const adapters = await changed(bench, rates, loraOnSql);
    const small = await changed(bench, rates, (lr, seed) => ({
      task: hardSql,
      recipe: lora({ r: 2, lr }),
      seed,
    }));
    const weights = await changed(bench, fullRates, fullOnSql);
    const two = { comparisons: 2 };
    const mean = (runs: readonly RunResult[]) => estimate(runs.map(intruders), confidenceOf(2));
    const factor = (by: { readonly runs: readonly RunResult[] }) =>
      estimate(
        weights.runs.map((result, i) => rank(result) / rank(by.runs[i]!)),
        confidenceOf(1),
      );
    return {
      checks: {
        "N-28": [
          judged("intruders in a weight, LoRA", mean(adapters.runs), { above: 0.5 }, two),
          judged("intruders in a weight, all weights", mean(weights.runs), { below: 0.5 }, two),
        ],
        "N-29": [
          judged("rank of the change, all weights over LoRA of r = 2", factor(small), { above: 10 }),
          judged(
            "rank of the change, all weights over LoRA of r = 8",
            factor(adapters),
            { above: 10 },
            { axis: "beside", under: "which a width of 64 bounds by eight" },
          ),
        ],
      },
      tables: [
        {
          title: "Each at its best rate",
          head: ["", "best lr", "loss", "intruders of ten", "rank of the change"],
          rows: [
            ["LoRA, r = 2", small] as const,
            ["LoRA, r = 8", adapters] as const,
            ["all weights", weights] as const,
          ].map(([name, { best, atEnd, runs }]) => [
            name,
            atEnd ? `${best} (end of the grid)` : best,
            meanOf(runs),
            meanOf(runs, intruders),
            meanOf(runs, rank),
          ]),
        },
      ],
      plots: [],
    };
  },
};
