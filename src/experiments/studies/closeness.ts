import { estimate, fitLine } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { confidenceOf, judged, lossOf, meanOf, over } from "./contrast.ts";
import { lora } from "./settings.ts";
import type { Study } from "./study.ts";

const shares = [0, 0.25, 0.5, 1] as const;

/** A language that is more and more unlike what the base knows. */
export const closeness: Study = {
  name: "closeness",
  title: "A made-up language: the alphabet permuted more and more",
  claims: ["S1-8"],
  design: {
    task: "sentences in capitals, of whose alphabet a share of 0 to 1 is permuted",
    metric: "held-out loss, nats a token",
    grid: "shares 0, 0.25, 0.5, 1; r 8, alpha 16, lr 8e-3",
    contrast: "for each seed the slope of the loss over the share",
    spread: 0.03,
    correction: "none: one comparison",
    turns: "a slope of 0 or below: an alphabet of which nothing is known is learned as well",
  },
  count: ({ comparison }) => shares.length * comparison.length,
  measure: async (bench) => {
    const all: (readonly RunResult[])[] = [];
    for (const share of shares)
      all.push(
        await over(bench, bench.comparison, (seed) => ({
          task: { name: "language", share },
          recipe: lora({ lr: 8e-3 }),
          seed,
        })),
      );
    const slopes = bench.comparison.map(
      (_, i) =>
        fitLine(
          shares,
          all.map((runs) => lossOf(runs[i]!)),
        ).slope,
    );
    return {
      checks: {
        "S1-8": [judged("slope of the loss over the share", estimate(slopes, confidenceOf(1)), { above: 0 })],
      },
      tables: [
        {
          title: "Held-out loss",
          head: ["share permuted", "before", "after", "share of letters"],
          rows: all.map((runs, i) => [
            shares[i]!,
            meanOf(runs, ({ curve }) => curve[0]!.loss),
            meanOf(runs),
            meanOf(runs, ({ accuracy }) => accuracy),
          ]),
        },
      ],
      plots: [],
    };
  },
};
