import { estimate } from "../exponents/statistics.ts";
import type { RunResult } from "../language/run.ts";
import type { Task } from "../language/tasks.ts";
import { confidenceOf, judged, lossOf, margin, meanOf, over, paired } from "./contrast.ts";
import { lora } from "./settings.ts";
import type { Study } from "./study.ts";

const ranks = [1, 2, 8, 32] as const;
const tasks: { readonly [name: string]: Task } = {
  style: { name: "style" },
  facts: { name: "facts", count: 64 },
  "2 kinds of instructions": { name: "instructions", parts: 2 },
  "8 kinds of instructions": { name: "instructions", parts: 8 },
};
const lr = 8e-3;

/** Ranks on tasks of format, of memory, and of several parts. */
export const capacity: Study = {
  name: "capacity",
  title: "Which rank is enough: style, facts, instructions",
  claims: ["S1-2", "S1-3", "S1-4", "S4-17", "N-7"],
  design: {
    task: "sentences as lists of their parts (style); made-up codes (facts); instructions of 2 and of 8 kinds",
    metric: "held-out loss, nats a token; of facts that of the codes themselves",
    grid: "r 1, 2, 8, 32, alpha 16, lr 8e-3 (under Adam and alpha/r the best rate hardly depends on r), three times the steps",
    contrast: "paired by seed: a rank less r = 32; that on 8 kinds less that on 2",
    spread: 0.012,
    correction: "Bonferroni over the comparisons of a claim",
    turns: "a small rank that does as well on facts, or worse on style; kinds that do not matter",
  },
  count: ({ comparison }) => Object.keys(tasks).length * ranks.length * comparison.length,
  measure: async (bench) => {
    const cells = new Map<string, readonly RunResult[]>();
    const at = (name: string, r: number) => cells.get(`${name} ${r}`)!;
    for (const r of ranks)
      for (const [name, task] of Object.entries(tasks))
        cells.set(
          `${name} ${r}`,
          await over(bench, bench.comparison, (seed) => ({
            task,
            recipe: lora({ r, alpha: 16, lr }),
            seed,
            steps: 3 * bench.steps,
            examples: 512,
          })),
        );
    const two = { comparisons: 2 };
    const gap = (name: string, r: number, options = {}) => paired(at(name, r), at(name, 32), options);
    const [few, many] = ["2 kinds of instructions", "8 kinds of instructions"] as const;
    const style = judged("loss on style, r = 2 less r = 32", gap("style", 2), { below: margin });
    const early = Math.ceil(bench.steps / 4);
    return {
      checks: {
        "S1-2": [
          judged("loss on style, r = 8 less r = 32", gap("style", 8, two), { below: margin }, two),
          judged("loss on facts, r = 8 less r = 32", gap("facts", 8, two), { above: margin }, two),
        ],
        "S1-3": [style],
        "S1-4": [style],
        "S4-17": [
          judged(
            "what r = 1 loses to r = 32, 8 kinds less 2",
            estimate(
              at(many, 1).map(
                (_, i) =>
                  lossOf(at(many, 1)[i]!) -
                  lossOf(at(many, 32)[i]!) -
                  lossOf(at(few, 1)[i]!) +
                  lossOf(at(few, 32)[i]!),
              ),
              confidenceOf(1),
            ),
            { above: 0 },
          ),
        ],
        "N-7": [
          judged(
            `mean loss of the first ${early} steps on style, r = 1 less r = 32`,
            paired(at("style", 1), at("style", 32), {
              of: ({ losses }) => losses.slice(0, early).reduce((sum, loss) => sum + loss / early, 0),
            }),
            { between: [-margin, margin] },
          ),
        ],
      },
      tables: [
        {
          title: "Held-out loss",
          head: ["task", ...ranks.map((r) => `r = ${r}`)],
          rows: Object.keys(tasks).map((name) => [name, ...ranks.map((r) => meanOf(at(name, r)))]),
        },
      ],
      plots: [
        {
          title: "Loss over the rank",
          x: "r",
          y: "held-out loss",
          log: { x: true },
          lines: Object.keys(tasks).map((name) => ({
            name,
            xs: ranks,
            ys: ranks.map((r) => meanOf(at(name, r))),
          })),
        },
      ],
    };
  },
};
