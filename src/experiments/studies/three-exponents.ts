import type { Recipe } from "../../gauge/index.ts";
import { estimate, fitLine } from "../exponents/statistics.ts";
import { inTheLimit } from "../exponents/theory.ts";
import { confidenceOf, judged, vertex } from "./contrast.ts";
import { full, lora } from "./settings.ts";
import type { Bench, Study } from "./study.ts";

const widths = [32, 64, 128, 256] as const;
const alphas = [1, 16, 256] as const;
const exponents = { full: [-12, 0], lora: [-12, 1] } as const;
const steps = 50;

const between = ([from, to]: readonly [number, number]) =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** log2 of the rate at which the logarithm of the last loss is least; NaN where that is at an end of the range. */
async function bestRate(
  bench: Bench,
  range: readonly [number, number],
  recipe: (lr: number) => Recipe,
  width: number,
  seed: number,
): Promise<number> {
  const logs = between(range);
  const losses: number[] = [];
  for (const log of logs)
    losses.push(Math.log(await bench.teach({ recipe: recipe(2 ** log), width, steps, seed })));
  const at = losses.indexOf(Math.min(...losses));
  return at === 0 || at === losses.length - 1 ? Number.NaN : vertex(logs, losses);
}

/** The ratio of LoRA's best rate to that of full fine-tuning, over widths and alphas: docs/three-exponents.md. */
export const threeExponents: Study = {
  name: "three-exponents",
  title: "Three exponents: the best rate of LoRA over that of full fine-tuning",
  claims: ["N-4", "N-8", "N-17"],
  design: {
    task: "a linear teacher of 64 samples in place of a language model, whose change has the width's full rank",
    metric: "log2 of the best learning rate after 50 steps, by a parabola in the logarithm of the last loss",
    grid: "widths 32, 64, 128, 256; LoRA at r 8 with alpha 1, 16, 256 at lr 2^-12 to 2, all weights at 2^-12 to 1, by factors of 2; AdamW",
    contrast:
      "for each seed the slope of the ratio's logarithm in that of the width, at each alpha, and in that of alpha, at each width",
    spread: 0.04,
    correction: "Bonferroni over the alphas",
    turns:
      "an exponent in the width of 0 (N-4), of 1 (N-8), or of LoRA's rate other than -1/2 (N-17), at alphas below the width",
  },
  count: ({ comparison }) =>
    widths.length *
    (between(exponents.full).length + alphas.length * between(exponents.lora).length) *
    comparison.length,
  measure: async (bench) => {
    const logWidths = widths.map(Math.log2);
    const all = new Map<number, number[]>();
    const adapters = new Map<string, number[]>();
    for (const width of widths) {
      for (const seed of bench.comparison) {
        const weights = await bestRate(bench, exponents.full, full, width, seed);
        all.set(width, [...(all.get(width) ?? []), weights]);
        for (const alpha of alphas) {
          const own = await bestRate(bench, exponents.lora, (lr) => lora({ r: 8, alpha, lr }), width, seed);
          const key = `${width} ${alpha}`;
          adapters.set(key, [...(adapters.get(key) ?? []), own]);
        }
      }
    }
    const three = { comparisons: alphas.length };
    const each = bench.comparison.map((_, i) => i);
    const slope = (of: (width: number, seed: number) => number) =>
      estimate(
        each.map(
          (seed) =>
            fitLine(
              logWidths,
              widths.map((width) => of(width, seed)),
            ).slope,
        ),
        confidenceOf(three.comparisons),
      );
    const lr = (width: number, alpha: number, seed: number) => adapters.get(`${width} ${alpha}`)![seed]!;
    const ratio = (alpha: number) => slope((width, seed) => lr(width, alpha, seed) - all.get(width)![seed]!);
    const inAlpha = (width: number) =>
      estimate(
        each.map(
          (seed) =>
            fitLine(
              alphas.map(Math.log2),
              alphas.map((alpha) => lr(width, alpha, seed)),
            ).slope,
        ),
      );
    // Alphas below all widths, and one that is not.
    const small = [1, 16] as const;
    const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x / values.length, 0);
    return {
      checks: {
        "N-4": small.map((alpha) =>
          judged(
            `exponent of the ratio in the width, alpha ${alpha}`,
            ratio(alpha),
            { theory: inTheLimit(0) },
            three,
          ),
        ),
        "N-8": [
          ...small.map((alpha) =>
            judged(`exponent of the ratio in the width, alpha ${alpha}`, ratio(alpha), { below: 0.9 }, three),
          ),
          judged(
            "exponent of the ratio in the width, alpha 256",
            ratio(256),
            { theory: inTheLimit(1) },
            {
              ...three,
              axis: "beside",
              under: "where alpha is no smaller than the width",
            },
          ),
        ],
        "N-17": small.map((alpha) =>
          judged(
            `exponent of LoRA's best rate in the width, alpha ${alpha}`,
            slope((width, seed) => lr(width, alpha, seed)),
            { theory: inTheLimit(-0.5) },
            three,
          ),
        ),
      },
      tables: [
        {
          title: "log2 of the best rate",
          head: ["width", "all weights", ...alphas.map((alpha) => `alpha ${alpha}`), "exponent in alpha"],
          rows: widths.map((width) => [
            width,
            mean(all.get(width)!),
            ...alphas.map((alpha) => mean(adapters.get(`${width} ${alpha}`)!)),
            inAlpha(width).value,
          ]),
        },
        {
          title: "Exponents in the width",
          head: ["alpha", "of LoRA's best rate", "of the ratio", "from", "to"],
          rows: alphas.map((alpha) => {
            const { value, interval } = ratio(alpha);
            return [alpha, slope((width, seed) => lr(width, alpha, seed)).value, value, ...interval];
          }),
        },
      ],
      plots: [
        {
          title: "Best rate over the width",
          x: "width",
          y: "log2 of the best rate",
          log: { x: true },
          lines: [
            { name: "all weights", xs: widths, ys: widths.map((width) => mean(all.get(width)!)) },
            ...alphas.map((alpha) => ({
              name: `LoRA, alpha ${alpha}`,
              xs: widths,
              ys: widths.map((width) => mean(adapters.get(`${width} ${alpha}`)!)),
            })),
          ],
        },
      ],
    };
  },
};
