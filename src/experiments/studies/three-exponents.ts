import { estimate, fitLine } from "../exponents/statistics.ts";
import { inTheLimit } from "../exponents/theory.ts";
import { confidenceOf, judged } from "./contrast.ts";
import { full, lora } from "./settings.ts";
import type { Study } from "./study.ts";
import { bestRates, between } from "./teacher.ts";

const widths = [32, 64, 128, 256, 512, 1024] as const;
const alphas = [1, 16, 256] as const;
/** Of the samples that a teacher has: many have little in common, one has all. */
const sizes = [64, 1] as const;
const exponents = { full: [-14, 0], lora: [-12, 1] } as const;
const steps = 50;
/** The powers of 2000 / H that were fitted to Llama and Qwen. */
const fitted = [0.781, 0.0775] as const;

/** The ratio of LoRA's best rate to that of full fine-tuning, over widths and alphas: docs/three-exponents.md. */
export const threeExponents: Study = {
  name: "three-exponents",
  title: "Three exponents: the best rate of LoRA over that of full fine-tuning",
  claims: ["N-4", "N-8", "N-16", "N-17"],
  design: {
    task: "a linear teacher of 64 samples, or of one, in place of a language model, whose change has the width's full rank",
    metric: "log2 of the best learning rate after 50 steps, by a parabola in the logarithm of the last loss",
    grid: "widths 32, 64, 128, 256, 512, 1024; LoRA at r 8 with alpha 1, 16, 256 at lr 2^-12 to 2, all weights at 2^-14 to 1, by factors of 2; AdamW",
    contrast:
      "for each seed the slope of the ratio's logarithm in that of the width, at each alpha, and in that of alpha, at each width; the claims are judged by 64 samples, one is beside them",
    spread: 0.04,
    correction: "Bonferroni over the alphas",
    turns:
      "an exponent in the width of 0 (N-4), of 1 (N-8), of LoRA's rate other than -1/2 (N-17), or farther than 0.05 from both -0.781 and -0.0775 (N-16), at alphas below the width",
  },
  count: ({ comparison }) =>
    sizes.length *
    widths.length *
    (between(exponents.full).length + alphas.length * between(exponents.lora).length) *
    comparison.length,
  measure: async (bench) => {
    /** log2 of the best rates, a number for each seed: of all weights, and of LoRA at an alpha. */
    const rates = new Map<string, readonly number[]>();
    const ratesOf = (samples: number, width: number, of: string) => rates.get(`${samples} ${width} ${of}`)!;
    const weights = "all weights";
    for (const samples of sizes) {
      for (const width of widths) {
        const lesson = { width, samples, steps };
        rates.set(
          `${samples} ${width} ${weights}`,
          await bestRates(bench, between(exponents.full), full, lesson),
        );
        for (const alpha of alphas) {
          const recipe = (lr: number) => lora({ r: 8, alpha, lr });
          rates.set(
            `${samples} ${width} ${alpha}`,
            await bestRates(bench, between(exponents.lora), recipe, lesson),
          );
        }
      }
    }
    const three = { comparisons: alphas.length };
    /** The slope over some widths or alphas, over the seeds. */
    const slope = (xs: readonly number[], of: (x: number, seed: number) => number, comparisons = 1) =>
      estimate(
        bench.comparison.map(
          (_, seed) =>
            fitLine(
              xs.map(Math.log2),
              xs.map((x) => of(x, seed)),
            ).slope,
        ),
        confidenceOf(comparisons),
      );
    const rate = (samples: number, of: string | number, among: readonly number[] = widths) =>
      slope(among, (width, seed) => ratesOf(samples, width, `${of}`)[seed]!, alphas.length);
    const ratio = (samples: number, alpha: number, among: readonly number[] = widths) =>
      slope(
        among,
        (width, seed) => ratesOf(samples, width, `${alpha}`)[seed]! - ratesOf(samples, width, weights)[seed]!,
        alphas.length,
      );
    const inAlpha = (samples: number, width: number) =>
      slope(alphas, (alpha, seed) => ratesOf(samples, width, `${alpha}`)[seed]!);
    // Alphas below all widths, and one that is not.
    const small = [1, 16] as const;
    const narrow = widths.filter((width) => width <= 256);
    const one = {
      ...three,
      axis: "beside",
      under: "one sample, of which all updates are multiples",
    } as const;
    const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x / values.length, 0);
    const meanRate = (samples: number, width: number, of: string | number) =>
      mean(ratesOf(samples, width, `${of}`));
    return {
      checks: {
        "N-4": [
          ...small.map((alpha) =>
            judged(
              `exponent of the ratio in the width, alpha ${alpha}`,
              ratio(64, alpha),
              { theory: inTheLimit(0) },
              three,
            ),
          ),
          ...small.map((alpha) =>
            judged(
              `the same of one sample, alpha ${alpha}`,
              ratio(1, alpha),
              { theory: inTheLimit(0.5) },
              one,
            ),
          ),
        ],
        "N-8": [
          ...small.map((alpha) =>
            judged(
              `exponent of the ratio in the width, alpha ${alpha}`,
              ratio(64, alpha),
              { below: 0.9 },
              three,
            ),
          ),
          ...sizes.map((samples) =>
            judged(
              `exponent of the ratio to width 256, alpha 256${samples === 1 ? ", one sample" : ""}`,
              ratio(samples, 256, narrow),
              { theory: inTheLimit(1) },
              { ...three, axis: "beside", under: "where alpha is no smaller than the width" },
            ),
          ),
        ],
        // The rule has one exponent for each of two families: it holds where a model has either.
        "N-16": small.map((alpha) =>
          judged(
            `exponent of LoRA's best rate in the width, alpha ${alpha}`,
            rate(64, alpha),
            { anyOf: fitted.map((power) => [-power - 0.05, -power + 0.05]) },
            three,
          ),
        ),
        "N-17": [
          ...small.map((alpha) =>
            judged(
              `exponent of LoRA's best rate in the width, alpha ${alpha}`,
              rate(64, alpha),
              { theory: inTheLimit(-0.5) },
              three,
            ),
          ),
          ...small.map((alpha) =>
            judged(
              `the same of one sample, alpha ${alpha}`,
              rate(1, alpha),
              { theory: inTheLimit(-0.5) },
              one,
            ),
          ),
        ],
      },
      tables: sizes.flatMap((samples) => {
        const title = samples === 1 ? "one sample" : `${samples} samples`;
        return [
          {
            title: `log2 of the best rate, ${title}`,
            head: ["width", weights, ...alphas.map((alpha) => `alpha ${alpha}`), "exponent in alpha"],
            rows: widths.map((width) => [
              width,
              ...[weights, ...alphas].map((of) => meanRate(samples, width, of)),
              inAlpha(samples, width).value,
            ]),
          },
          {
            title: `Exponents in the width, ${title}`,
            head: ["alpha", "of LoRA's best rate", "of the ratio", "from", "to"],
            rows: alphas.map((alpha) => {
              const { value, interval } = ratio(samples, alpha);
              return [alpha, rate(samples, alpha).value, value, ...interval];
            }),
          },
        ];
      }),
      plots: sizes.map((samples) => ({
        title: `Best rate over the width, ${samples === 1 ? "one sample" : `${samples} samples`}`,
        x: "width",
        y: "log2 of the best rate",
        log: { x: true },
        lines: [
          {
            name: weights,
            xs: widths,
            ys: widths.map((width) => meanRate(samples, width, weights)),
          },
          ...alphas.map((alpha) => ({
            name: `LoRA, alpha ${alpha}`,
            xs: widths,
            ys: widths.map((width) => meanRate(samples, width, alpha)),
          })),
        ],
      })),
    };
  },
};
