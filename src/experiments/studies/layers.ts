import type { Pattern } from "../../lora/targets.ts";
import {
  choose,
  judged,
  margin,
  over,
  paired,
  type Tuned,
  tuned,
  tunedCount,
  tunedTable,
} from "./contrast.ts";
import { hardSql, lora, loraOnSql, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const attention = "(q|k|v|o)_proj";
const mlp = "(gate|up|down)_proj";

/** Ranks of the same number of parameters as rank 8 everywhere, to 3 %. */
const divisions: { readonly [name: string]: Pattern } = {
  "more in the last block": { "layers\\.0\\..*": 4, "layers\\.1\\..*": 12 },
  "more in the first block": { "layers\\.0\\..*": 12, "layers\\.1\\..*": 4 },
  "more in the MLP": { [attention]: 3, [mlp]: 12 },
};

/** Ranks by layer beside one rank. */
export const layers: Study = {
  name: "layers",
  title: "Ranks by layer beside one rank, at equal parameters",
  claims: ["S4-26"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "rank 8 everywhere; 4 and 12 in the two blocks, either way; 3 in attention and 12 in the MLP (2 % fewer parameters); alpha 16 throughout, lr 1e-3 to 6.4e-2 by factors of 4",
    contrast: "paired by seed: the best division of ranks less one rank, each at its best rate",
    spread: 0.006,
    choice: "the division and the rates, by the seeds of the choice",
    correction: "none: the one division that the choice found is compared",
    turns:
      "no division that is better by more than 0.02: then layers of equal rank are as good, and nothing is left to explore there",
  },
  count: (bench) =>
    tunedCount(rates.length, bench) +
    Object.keys(divisions).length * rates.length * bench.choice.length +
    bench.comparison.length,
  measure: async (bench) => {
    const even = await tuned(bench, rates, loraOnSql);
    const trial = (ranks: Pattern) => (lr: number, seed: number) => ({
      task: hardSql,
      recipe: lora({ lr }),
      ranks,
      seed,
    });
    const tried = [];
    for (const [name, ranks] of Object.entries(divisions))
      tried.push({ name, ranks, ...(await choose(bench, rates, trial(ranks))) });
    const least = ({ losses }: { readonly losses: readonly number[] }) => Math.min(...losses);
    const best = tried.reduce((one, other) => (least(other) < least(one) ? other : one));
    const { name, ranks, best: lr, losses, atEnd } = best;
    const runs = await over(bench, bench.comparison, (seed) => trial(ranks)(lr, seed));
    const divided: Tuned = { lr, losses, atEnd, runs };
    return {
      checks: {
        "S4-26": [judged(`loss, ${name} less one rank`, paired(divided, even), { below: -margin })],
      },
      tables: [
        tunedTable("Each at its best rate", { "one rank": even, [name]: divided }),
        {
          title: "Loss by the seeds of the choice, each at its best rate",
          head: ["ranks", "lr", "loss"],
          rows: [
            ["one rank", even.lr, least(even)],
            ...tried.map((each) => [each.name, each.best, least(each)]),
          ],
        },
      ],
      plots: [],
    };
  },
};
