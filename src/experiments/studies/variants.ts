import type { Recipe } from "../../gauge/index.ts";
import { judged, margin, meanOf, paired, type Tuned, tuned, tunedCount, tunedTable } from "./contrast.ts";
import { hardSql, lora, rates } from "./settings.ts";
import type { Study } from "./study.ts";

const variants = {
  LoRA: (lr: number) => lora({ lr }),
  rsLoRA: (lr: number) => lora({ lr, rsLora: true }),
  "LoRA+": (lr: number) => lora({ lr: lr / 4, ratio: 16 }),
  DoRA: (lr: number) => lora({ lr, more: { dora: true } }),
  PiSSA: (lr: number) => lora({ lr, more: { init: "pissa" } }),
  OLoRA: (lr: number) => lora({ lr, more: { init: "olora" } }),
  "A = 0": (lr: number) => lora({ lr, more: { init: "swapped" } }),
  "A = 0, LoRA+": (lr: number) => lora({ lr: lr / 4, ratio: 16, more: { init: "swapped" } }),
} as const satisfies { readonly [name: string]: (lr: number) => Recipe };

type Name = keyof typeof variants;

/** Variants and starts, each at a rate of its own. */
export const variantsStudy: Study = {
  name: "variants",
  title: "Variants and starts, each at its best rate",
  claims: ["S2-11", "N-20", "N-24", "N-27"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "LoRA, rsLoRA, LoRA+ (ratio 16), DoRA, PiSSA, OLoRA, A = 0 without and with LoRA+; lr 1e-3 to 6.4e-2 by factors of 4 (a quarter for LoRA+)",
    contrast: "paired by seed, each at its best rate: each variant less LoRA; A = 0 less A random",
    spread: 0.006,
    choice: "the rate of each, by the seeds of the choice",
    correction: "Bonferroni over the variants",
    turns: "a variant that is better or worse by more than 2 % of the loss once it has its own rate",
  },
  count: (bench) => Object.keys(variants).length * tunedCount(rates.length, bench),
  measure: async (bench) => {
    const cells: Partial<Record<Name, Tuned>> = {};
    for (const [name, of] of Object.entries(variants) as [Name, (lr: number) => Recipe][])
      cells[name] = await tuned(bench, rates, (lr, seed) => ({ task: hardSql, recipe: of(lr), seed }));
    const at = (name: Name) => cells[name]!;
    const five = { comparisons: 5 };
    const share = 0.02 * meanOf(at("LoRA").runs);
    return {
      checks: {
        "S2-11": [
          judged("loss with LoRA+, A = 0 less A random", paired(at("A = 0, LoRA+"), at("LoRA+")), {
            below: 0,
          }),
        ],
        "N-20": [judged("loss, A = 0 less A random", paired(at("A = 0"), at("LoRA")), { above: 0 })],
        "N-24": (["rsLoRA", "LoRA+", "DoRA", "PiSSA", "OLoRA"] as const).map((name) =>
          judged(
            `loss, ${name} less LoRA`,
            paired(at(name), at("LoRA"), five),
            { between: [-share, share] },
            five,
          ),
        ),
        "N-27": [
          judged("loss, PiSSA less LoRA, each at its best rate", paired(at("PiSSA"), at("LoRA")), {
            between: [-margin, margin],
          }),
        ],
      },
      tables: [tunedTable("Each at its best rate", cells as Record<Name, Tuned>)],
      plots: [],
    };
  },
};
