import type { RunResult } from "../language/run.ts";
import { judged, margin, meanOf, over, paired } from "./contrast.ts";
import { hardSql, lora } from "./settings.ts";
import type { Study } from "./study.ts";

const [low, high] = [1e-4, 1.6e-2];
const first = 8;
const others = [2, 32] as const;
const ranks = [2, first, 32] as const;
const alpha = 16;

/** Both scalings equal at one rank, then the rank is varied. */
export const rslora: Study = {
  name: "rslora",
  title: "rsLoRA over ranks: equal at r = 8, then not",
  claims: ["S0-15", "S0-16", "S0-17", "S0-21"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "LoRA with alpha 16 and rsLoRA with alpha 16 / sqrt(8), r 2, 8, 32, lr 1e-4 and 1.6e-2",
    contrast: "paired by seed: rsLoRA less LoRA at a rank; rsLoRA at r = 32 less r = 2",
    spread: 0.006,
    correction: "Bonferroni over the two ranks of a claim",
    turns:
      "at r = 8 a difference beyond rounding; at the low rate a higher rank that does not help; at the high rate a difference of more than 0.02",
  },
  count: ({ comparison }) => 2 * 6 * comparison.length,
  measure: async (bench) => {
    const cells = new Map<string, readonly RunResult[]>();
    const at = (rs: boolean, r: number, lr: number) => cells.get(`${rs} ${r} ${lr}`)!;
    for (const r of ranks)
      for (const lr of [low, high])
        for (const rs of [false, true])
          cells.set(
            `${rs} ${r} ${lr}`,
            await over(bench, bench.comparison, (seed) => ({
              task: hardSql,
              recipe: rs
                ? lora({ r, alpha: alpha / Math.sqrt(first), lr, rsLora: true })
                : lora({ r, alpha, lr }),
              seed,
            })),
          );
    const two = { comparisons: others.length };
    return {
      checks: {
        "S0-15": [low, high].map((lr) =>
          judged(
            `loss at r = ${first}, rsLoRA less LoRA, lr ${lr}`,
            paired(at(true, first, lr), at(false, first, lr), two),
            { between: [-margin / 4, margin / 4] },
            two,
          ),
        ),
        "S0-16": [
          judged(`loss, rsLoRA, r = 32 less r = 2, lr ${low}`, paired(at(true, 32, low), at(true, 2, low)), {
            below: 0,
          }),
        ],
        "S0-17": others.map((r) =>
          judged(
            `loss at r = ${r}, rsLoRA less LoRA, lr ${high}`,
            paired(at(true, r, high), at(false, r, high), two),
            { between: [-margin, margin] },
            two,
          ),
        ),
        "S0-21": [
          judged(
            `loss at r = 32, rsLoRA less LoRA, lr ${high}`,
            paired(at(true, 32, high), at(false, 32, high)),
            { above: -margin },
          ),
        ],
      },
      tables: [low, high].map((lr) => ({
        title: `Held-out loss, lr ${lr}`,
        head: ["r", "LoRA", "rsLoRA"],
        rows: ranks.map((r) => [r, meanOf(at(false, r, lr)), meanOf(at(true, r, lr))]),
      })),
      plots: [
        {
          title: "Loss over the rank",
          x: "rank",
          y: "held-out loss",
          log: { x: true },
          lines: [low, high].flatMap((lr) =>
            [false, true].map((rs) => ({
              name: `${rs ? "rsLoRA" : "LoRA"}, lr ${lr}`,
              xs: ranks,
              ys: ranks.map((r) => meanOf(at(rs, r, lr))),
            })),
          ),
        },
      ],
    };
  },
};
