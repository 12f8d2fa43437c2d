import { alphas, learningRate, ranks } from "../claims/figures.ts";
import { estimate } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { confidenceOf, judged, margin, meanOf, over, paired } from "./contrast.ts";
import { easySql, hardSql, lora } from "./settings.ts";
import type { Study } from "./study.ts";

const largest = alphas.at(-1)!;

/** The 28 runs of the article: seven alphas, four ranks, one learning rate. */
export const alphaRank: Study = {
  name: "alpha-rank",
  title: "28 runs: alpha and rank at one learning rate",
  claims: ["S0-5", "S0-6", "S0-9", "S0-22"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters; short ones beside them",
    metric: "held-out loss, nats a token",
    grid: "alpha 0.5, 2, 8, 32, 128, 256, 512 x r 2, 8, 32, 128, AdamW at lr 1e-5; looked at eight times on the way at alpha 512, and at one seed everywhere",
    contrast:
      "paired by seed: alpha 512 less 256 at each rank; the largest spread over ranks at each of alpha 32 and 512; the share of tokens that are predicted, at the end less at the start",
    spread: 0.004,
    correction: "Bonferroni over the comparisons of a claim",
    turns:
      "a smaller alpha that is better at some rank; a rank that matters by more than 0.02 at one alpha; a curve of accuracy that does not rise",
  },
  count: ({ comparison }) =>
    (alphas.length * ranks.length + 1 + ranks.length) * comparison.length +
    (alphas.length - 1) * ranks.length,
  measure: async (bench) => {
    const cells = new Map<string, readonly RunResult[]>();
    const at = (r: number, alpha: number) => cells.get(`${r} ${alpha}`)!;
    // Ranks outside: runs of one rank share their programs.
    for (const r of ranks)
      for (const alpha of alphas)
        cells.set(
          `${r} ${alpha}`,
          await over(bench, bench.comparison, (seed) => ({
            task: hardSql,
            recipe: lora({ r, alpha, lr: learningRate }),
            seed,
            looks: 4,
          })),
        );
    const easy = await over(bench, bench.comparison, (seed) => ({
      task: easySql,
      recipe: lora({ r: 8, alpha: largest, lr: learningRate }),
      seed,
    }));
    // The curves of accuracy: of the largest alpha by all seeds, of the others by one.
    const curves = new Map<string, readonly RunResult[]>();
    for (const r of ranks)
      for (const alpha of alphas)
        curves.set(
          `${r} ${alpha}`,
          await over(bench, alpha === largest ? bench.comparison : bench.comparison.slice(0, 1), (seed) => ({
            task: hardSql,
            recipe: lora({ r, alpha, lr: learningRate }),
            seed,
            looks: 8,
          })),
        );
    const risen = ({ curve, accuracy }: RunResult) => accuracy - curve[0]!.accuracy!;
    const higher = { comparisons: ranks.length };
    const spread = { comparisons: 2 * (ranks.length - 1) };
    return {
      checks: {
        "S0-5": ranks.map((r) =>
          judged(
            `loss, alpha 512 less 256, r = ${r}`,
            paired(at(r, 512), at(r, 256), higher),
            { below: 0 },
            higher,
          ),
        ),
        "S0-6": [
          judged(
            "accuracy, hard subset less short queries",
            paired(at(8, largest), easy, { of: ({ accuracy }) => accuracy }),
            { below: 0 },
          ),
        ],
        "S0-9": [32, 512].flatMap((alpha) =>
          ranks
            .slice(1)
            .map((r) =>
              judged(
                `loss, r = ${r} less r = 2, alpha ${alpha}`,
                paired(at(r, alpha), at(2, alpha), spread),
                { between: [-margin, margin] },
                spread,
              ),
            ),
        ),
        "S0-22": ranks.map((r) =>
          judged(
            `accuracy at the end less at the start, alpha ${largest}, r = ${r}`,
            estimate(curves.get(`${r} ${largest}`)!.map(risen), confidenceOf(ranks.length)),
            { above: 0 },
            higher,
          ),
        ),
      },
      tables: [
        {
          title: "Held-out loss",
          head: ["alpha", ...ranks.map((r) => `r = ${r}`)],
          rows: alphas.map((alpha) => [alpha, ...ranks.map((r) => meanOf(at(r, alpha)))]),
        },
        {
          title: "Share of tokens that are predicted",
          head: ["alpha", ...ranks.map((r) => `r = ${r}`)],
          rows: alphas.map((alpha) => [
            alpha,
            ...ranks.map((r) => meanOf(at(r, alpha), ({ accuracy }) => accuracy)),
          ]),
        },
      ],
      plots: [
        {
          title: "Loss over alpha",
          x: "alpha",
          y: "held-out loss",
          log: { x: true },
          lines: ranks.map((r) => ({
            name: `r = ${r}`,
            xs: alphas,
            ys: alphas.map((alpha) => meanOf(at(r, alpha))),
          })),
        },
        ...ranks.map((r) => ({
          title: `Loss over steps, r = ${r}`,
          x: "step",
          y: "held-out loss",
          lines: alphas.map((alpha) => {
            const curve = at(r, alpha)[0]!.curve;
            return {
              name: `alpha ${alpha}`,
              xs: curve.map(({ step }) => step),
              ys: curve.map(({ loss }) => loss),
            };
          }),
        })),
        ...ranks.map((r) => ({
          title: `Accuracy over steps, r = ${r}`,
          x: "step",
          y: "share of tokens",
          lines: alphas.map((alpha) => {
            const { curve } = curves.get(`${r} ${alpha}`)![0]!;
            return {
              name: `alpha ${alpha}`,
              xs: curve.map(({ step }) => step),
              ys: curve.map(({ accuracy }) => accuracy!),
            };
          }),
        })),
      ],
    };
  },
};
