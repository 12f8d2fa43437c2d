import { estimate, fitLine, mean } from "../exponents/statistics.ts";
import { inTheLimit } from "../exponents/theory.ts";
import { confidenceOf, judged, type Measured } from "./contrast.ts";
import { full, lora } from "./settings.ts";
import type { Study } from "./study.ts";
import { bestRates, between } from "./teacher.ts";

/** log2 of the rates that are tried. */
const logs = between([-13, 0]);

const lengths = { short: [25, 50], all: [25, 50, 100, 400], longest: 400, width: 128 } as const;
const ranks = { tried: [4, 64, 512], width: 512 } as const;
const swapped = { widths: [32, 64, 128, 256], ranks: [4, 16], samples: [64, 1] } as const;

/** LoRA at the alpha for which the best rate is said to be ten times that of all weights. */
const standard = (r: number) => (lr: number) => lora({ r, alpha: 32, lr });
/** A = 0, B random and a multiplier of 1. */
const fromB = (r: number) => (lr: number) => lora({ r, alpha: r, lr, more: { init: "swapped" } });

/** Best rates of LoRA by the length of the run, by the rank, and from a random B. */
export const bestRatesStudy: Study = {
  name: "best-rates",
  title: "Best rates: by the length of the run, by the rank, from a random B",
  claims: ["N-5", "N-6", "N-18"],
  design: {
    task: "a linear teacher in place of a language model, whose change has the width's full rank: 64 samples, for N-18 one as well",
    metric: "log2 of the best learning rate, by a parabola in the logarithm of the last loss",
    grid: "lr 2^-13 to 1 by factors of 2; AdamW. N-5: r 8, alpha 32 and all weights, width 128, 25, 50, 100 and 400 steps. N-6: ranks 4, 64 and 512 at alpha 32, width 512, 50 steps. N-18: A = 0, alpha = r 4 and 16, and all weights, widths 32 to 256, 50 steps",
    contrast:
      "for each seed: LoRA less all weights, and that at 25 and 50 steps less that at 400 (N-5); each two ranks (N-6); slopes in the width and in the rank, and LoRA less all weights (N-18)",
    spread: 0.2,
    correction: "Bonferroni over the comparisons of a claim: 4, 3 and 6",
    turns:
      "a ratio of 11 to 21 at both short lengths (N-5); two ranks whose rates are more than a factor of 2 apart (N-6); a slope of the width other than -1, of the rank other than 0, or a ratio to all weights beyond a factor of 2 (N-18)",
  },
  count: ({ comparison }) =>
    logs.length *
    comparison.length *
    (2 * lengths.all.length +
      ranks.tried.length +
      swapped.samples.length * swapped.widths.length * (swapped.ranks.length + 1)),
  measure: async (bench) => {
    const seeds = bench.comparison.map((_, i) => i);
    const overSeeds = (of: (seed: number) => number, comparisons = 1): Measured =>
      estimate(seeds.map(of), confidenceOf(comparisons));

    // N-5
    const byLength = new Map<number, { readonly own: readonly number[]; readonly all: readonly number[] }>();
    for (const steps of lengths.all) {
      const lesson = { width: lengths.width, samples: 64, steps };
      byLength.set(steps, {
        own: await bestRates(bench, logs, standard(8), lesson),
        all: await bestRates(bench, logs, full, lesson),
      });
    }
    const ratio = (steps: number, seed: number) =>
      byLength.get(steps)!.own[seed]! - byLength.get(steps)!.all[seed]!;

    // N-6
    const byRank: (readonly number[])[] = [];
    for (const r of ranks.tried)
      byRank.push(await bestRates(bench, logs, standard(r), { width: ranks.width, samples: 64, steps: 50 }));
    const pairs = ranks.tried.flatMap((r, i) =>
      ranks.tried.slice(i + 1).map((s, j) => [r, s, i, i + 1 + j] as const),
    );

    // N-18
    const samples = async (count: number) => {
      const own: (readonly number[])[][] = [];
      const all: (readonly number[])[] = [];
      for (const width of swapped.widths) {
        const lesson = { width, samples: count, steps: 50 };
        const each: (readonly number[])[] = [];
        for (const r of swapped.ranks) each.push(await bestRates(bench, logs, fromB(r), lesson));
        own.push(each);
        all.push(await bestRates(bench, logs, full, lesson));
      }
      const widths = swapped.widths.map((_, i) => i);
      return {
        own,
        all,
        inWidth: (seed: number) =>
          fitLine(
            swapped.widths.map(Math.log2),
            widths.map((i) => mean(own[i]!.map((each) => each[seed]!))),
          ).slope,
        inRank: (seed: number) =>
          mean(
            widths.map(
              (i) =>
                fitLine(
                  swapped.ranks.map(Math.log2),
                  own[i]!.map((each) => each[seed]!),
                ).slope,
            ),
          ),
        ratio: (seed: number) =>
          mean(widths.map((i) => mean(own[i]!.map((each) => each[seed]!)) - all[i]![seed]!)),
      };
    };
    const [many, one] = [await samples(swapped.samples[0]), await samples(swapped.samples[1])];
    const six = { comparisons: 6 };
    const fromBChecks = (name: string, { inWidth, inRank, ratio }: typeof many, taken: object) => [
      judged(
        `exponent of the width, ${name}`,
        overSeeds(inWidth, 6),
        { theory: inTheLimit(-1) },
        { ...six, ...taken },
      ),
      judged(
        `exponent of the rank, ${name}`,
        overSeeds(inRank, 6),
        { theory: inTheLimit(0) },
        { ...six, ...taken },
      ),
      judged(
        `log2 of the ratio to all weights, ${name}`,
        overSeeds(ratio, 6),
        { between: [-1, 1] },
        { ...six, ...taken },
      ),
    ];
    return {
      checks: {
        "N-5": [
          ...lengths.short.map((steps) =>
            judged(
              `log2 of the ratio of the best rates, ${steps} steps`,
              overSeeds((seed) => ratio(steps, seed), 4),
              { between: [Math.log2(15) - 0.5, Math.log2(15) + 0.5] },
              { comparisons: 4 },
            ),
          ),
          ...lengths.short.map((steps) =>
            judged(
              `the same less that of ${lengths.longest} steps, ${steps} steps`,
              overSeeds((seed) => ratio(steps, seed) - ratio(lengths.longest, seed), 4),
              { above: 0 },
              {
                comparisons: 4,
                axis: "condition",
                under: "only that short runs have a larger ratio: its size goes with alpha and the width",
              },
            ),
          ),
        ],
        "N-6": pairs.map(([r, s, i, j]) =>
          judged(
            `log2 of the best rate, r ${s} less r ${r}`,
            overSeeds((seed) => byRank[j]![seed]! - byRank[i]![seed]!, pairs.length),
            { between: [-1, 1] },
            { comparisons: pairs.length },
          ),
        ),
        "N-18": [
          ...fromBChecks("64 samples", many, {}),
          ...fromBChecks("one sample", one, {
            axis: "condition",
            under: "one sample, whose inputs have all in common",
          }),
        ],
      },
      tables: [
        {
          title: "log2 of the best rate by the length of the run, r 8, alpha 32, width 128",
          head: ["steps", "LoRA", "all weights", "ratio"],
          rows: lengths.all.map((steps) => [
            steps,
            mean(byLength.get(steps)!.own),
            mean(byLength.get(steps)!.all),
            2 ** mean(seeds.map((seed) => ratio(steps, seed))),
          ]),
        },
        {
          title: "log2 of the best rate by the rank, alpha 32, width 512",
          head: ["rank", "log2 of the best rate"],
          rows: ranks.tried.map((r, i) => [r, mean(byRank[i]!)]),
        },
        ...[
          { name: "64 samples", found: many },
          { name: "one sample", found: one },
        ].map(({ name, found }) => ({
          title: `log2 of the best rate with A = 0 and multiplier 1, ${name}`,
          head: ["width", ...swapped.ranks.map((r) => `r ${r}`), "all weights"],
          rows: swapped.widths.map((width, i) => [width, ...found.own[i]!.map(mean), mean(found.all[i]!)]),
        })),
      ],
      plots: [],
    };
  },
};
