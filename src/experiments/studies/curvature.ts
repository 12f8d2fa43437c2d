import { estimate, fitLine } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import { confidenceOf, judged, margin, meanOf, over, paired, vertex } from "./contrast.ts";
import { hardSql, lora, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const rounds = 10;
const [alpha, first] = [16, 8];
/** The rate at which ranks and scalings are compared, and one at which minima are said to be wide or not. */
const usual = 4e-3;

const scalings = {
  LoRA: (r: number) => lora({ r, alpha, lr: usual }),
  rsLoRA: (r: number) => lora({ r, alpha: alpha / Math.sqrt(first), lr: usual, rsLora: true }),
} as const;

type Scaling = keyof typeof scalings;

const cells = (Object.keys(scalings) as Scaling[]).flatMap((name) =>
  [2, first, 32].map((r) => ({ name, r })),
);
const others = cells.filter(({ r }) => r !== first);

/** Starts that differ in their curvature. */
const starts = {
  "alpha 4": { alpha: 4 },
  "alpha 16": { alpha: 16 },
  "alpha 64": { alpha: 64 },
  "r = 2": { r: 2, alpha: 16 },
  PiSSA: { alpha: 16, more: { init: "pissa" } },
} as const;

const log2Of = (probe: number) => (result: RunResult) => Math.log2(Math.abs(result.probes[probe]!.largest!));

/** Curvature at the end, which the function fixes, and at the start, in A and B, beside the best rate. */
export const curvature: Study = {
  name: "curvature",
  title: "Curvature: of minima over ranks and scalings, and at the start beside the best rate",
  claims: ["S0-19", "N-25"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric:
      "log2 of the largest eigenvalue of the Hessian of 64 held-out examples, by ten rounds of power iteration: at the end in the merged weights, which no gauge moves; at the start in A and B, which the gauge moves as it does rates; held-out loss, nats a token",
    grid: "LoRA with alpha 16 and rsLoRA with 16 / sqrt(8), r 2, 8, 32, lr 4e-3; alpha 4, 16, 64 at r 8, alpha 16 at r 2, and PiSSA, at lr 1e-3 to 6.4e-2 by factors of 4",
    contrast:
      "paired by seed: at r 2 and 32 less LoRA at r 8, of the logarithm of the eigenvalue and of the loss; by seed the slope of the logarithm of the best rate, by a parabola, in that of the eigenvalue over the five starts",
    spread: 0.2,
    correction: "Bonferroni over two contrasts of four cells",
    turns:
      "a rank or scaling whose minimum is more than twice as wide or as sharp, or whose loss differs by more than 0.02; a best rate that does not fall as the eigenvalue grows",
  },
  count: ({ comparison }) => (cells.length + Object.keys(starts).length * rates.length) * comparison.length,
  measure: async (bench) => {
    const ends = new Map<string, readonly RunResult[]>();
    for (const { name, r } of cells)
      ends.set(
        `${name} ${r}`,
        await over(bench, bench.comparison, (seed) => ({
          task: hardSql,
          recipe: scalings[name](r),
          seed,
          probes: [{ kind: "curvature", rounds }],
        })),
      );
    const end = ({ name, r }: { readonly name: Scaling; readonly r: number }) => ends.get(`${name} ${r}`)!;
    const reference = end({ name: "LoRA", r: first });
    const logs = rates.map((lr) => Math.log2(lr));
    const begun: {
      readonly name: string;
      readonly curved: readonly number[];
      readonly best: readonly number[];
    }[] = [];
    for (const [name, own] of Object.entries(starts)) {
      const runs: (readonly RunResult[])[] = [];
      for (const [i, lr] of rates.entries())
        runs.push(
          await over(bench, bench.comparison, (seed) => ({
            task: hardSql,
            recipe: lora({ ...own, lr }),
            seed,
            // The start is that of every rate.
            ...(i === 0 && { probes: [{ kind: "start" as const, rounds }] }),
          })),
        );
      begun.push({
        name,
        curved: runs[0]!.map(log2Of(0)),
        best: bench.comparison.map((_, seed) =>
          vertex(
            logs,
            runs.map((each) => each[seed]!.loss),
          ),
        ),
      });
    }
    const slope = estimate(
      bench.comparison.map(
        (_, seed) =>
          fitLine(
            begun.map(({ curved }) => curved[seed]!),
            begun.map(({ best }) => best[seed]!),
          ).slope,
      ),
      confidenceOf(1),
    );
    const all = { comparisons: 2 * others.length };
    const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x / values.length, 0);
    return {
      checks: {
        "S0-19": others.flatMap((cell) => [
          judged(
            `log2 of the curvature at the end, ${cell.name}, r = ${cell.r}, less LoRA, r = ${first}`,
            paired(end(cell), reference, { ...all, of: log2Of(0) }),
            { between: [-1, 1] },
            all,
          ),
          judged(
            `loss, ${cell.name}, r = ${cell.r}, less LoRA, r = ${first}`,
            paired(end(cell), reference, all),
            { between: [-margin, margin] },
            all,
          ),
        ]),
        "N-25": [
          judged("slope of log2 of the best rate in that of the eigenvalue at the start", slope, {
            below: 0,
          }),
        ],
      },
      tables: [
        {
          title: "Minima, lr 4e-3",
          head: ["", "r", "loss", "log2 of the largest eigenvalue"],
          rows: cells.map((cell) => [cell.name, cell.r, meanOf(end(cell)), meanOf(end(cell), log2Of(0))]),
        },
        {
          title: "Starts",
          head: ["", "log2 of the largest eigenvalue", "log2 of the best rate"],
          rows: begun.map(({ name, curved, best }) => [name, mean(curved), mean(best)]),
        },
      ],
      plots: [],
    };
  },
};
