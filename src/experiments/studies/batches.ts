import type { Recipe } from "../../gauge/index.ts";
import { estimate } from "../exponents/statistics.ts";
import { confidenceOf, judged, lossOf, meanOf, paired, type Tuned, tuned, tunedCount } from "./contrast.ts";
import { full, fullRates, hardSql, lora, rates } from "./settings.ts";
import type { Bench, Study } from "./study.ts";

/** Small and large batches, and their updates as a multiple of the bench's: equal examples. */
const [small, large] = [
  { batch: 4, updates: 4 },
  { batch: 32, updates: 1 / 2 },
] as const;

const kinds = {
  "LoRA, r = 2": { rates, of: (lr: number) => lora({ r: 2, lr }) },
  "LoRA, r = 8": { rates, of: (lr: number) => lora({ lr }) },
  "LoRA+": { rates, of: (lr: number) => lora({ lr: lr / 4, ratio: 16 }) },
  PiSSA: { rates, of: (lr: number) => lora({ lr, more: { init: "pissa" } }) },
  "all weights": { rates: fullRates, of: full },
} as const satisfies {
  readonly [name: string]: { readonly rates: readonly number[]; readonly of: (lr: number) => Recipe };
};

type Name = keyof typeof kinds;

const names = Object.keys(kinds) as Name[];
const plain = ["LoRA, r = 2", "LoRA, r = 8"] as const;
const variants = ["LoRA+", "PiSSA"] as const;

/** Batches at equal examples, each run at the best rate of its batch. */
export const batches: Study = {
  name: "batches",
  title: "Small and large batches at equal examples",
  claims: ["N-10", "N-11"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "batches of 4 and of 32 at equal examples (four times and half the updates) x LoRA at r 2 and 8, LoRA+ (ratio 16), PiSSA, all weights, at four rates each by factors of 4",
    contrast:
      "paired by seed, each at its best rate: what the large batch costs LoRA less what it costs all weights; each variant less LoRA, each at its best batch",
    spread: 0.008,
    choice: "the rate for each batch, and the batch of a variant, by the seeds of the choice",
    correction: "Bonferroni over ranks, and over variants",
    turns:
      "a rank at which large batches cost LoRA no more than all weights; a variant that is better or worse by more than 2 % of the loss at its best batch",
  },
  count: (bench) => 2 * names.reduce((sum, name) => sum + tunedCount(kinds[name].rates.length, bench), 0),
  measure: async (bench) => {
    const cells = new Map<string, Tuned>();
    for (const { batch, updates } of [small, large])
      for (const name of names)
        cells.set(
          `${name} ${batch}`,
          await tuned(bench, kinds[name].rates, (lr, seed) => ({
            task: hardSql,
            recipe: kinds[name].of(lr),
            batch,
            steps: Math.max(1, Math.round(updates * bench.steps)),
            seed,
          })),
        );
    const at = (name: Name, { batch }: { readonly batch: number }) => cells.get(`${name} ${batch}`)!;
    const two = { comparisons: 2 };
    const share = 0.02 * meanOf(atBest("LoRA, r = 8").runs);
    return {
      checks: {
        "N-10": plain.map((name) =>
          judged(`loss, 32 less 4, ${name} less all weights`, costs(bench, at, name), { above: 0 }, two),
        ),
        "N-11": variants.map((name) =>
          judged(
            `loss, ${name} less LoRA, each at its best batch and rate`,
            paired(atBest(name), atBest("LoRA, r = 8"), two),
            { between: [-share, share] },
            two,
          ),
        ),
      },
      tables: [
        {
          title: "Held-out loss, each at its best rate",
          head: ["", "lr, batch 4", "loss", "lr, batch 32", "loss"],
          rows: names.map((name) => [
            name,
            ...[small, large].flatMap((size) => [rateOf(at(name, size)), meanOf(at(name, size).runs)]),
          ]),
        },
      ],
      plots: [],
    };

    function atBest(name: Name): Tuned {
      const [one, other] = [at(name, small), at(name, large)];
      return Math.min(...one.losses) <= Math.min(...other.losses) ? one : other;
    }
  },
};

const rateOf = ({ lr, atEnd }: Tuned) => (atEnd ? `${lr} (end of the grid)` : String(lr));

/** What the large batch costs a kind of LoRA, less what it costs all weights. */
function costs(
  bench: Bench,
  at: (name: Name, size: { readonly batch: number }) => Tuned,
  name: Name,
): ReturnType<typeof estimate> {
  const four = [at(name, large), at(name, small), at("all weights", large), at("all weights", small)];
  const [one, other, full, least] = four.map(({ runs }) => runs.map(lossOf)) as [
    number[],
    number[],
    number[],
    number[],
  ];
  const found = estimate(
    bench.comparison.map((_, i) => one[i]! - other[i]! - full[i]! + least[i]!),
    confidenceOf(plain.length),
  );
  return four.some(({ atEnd }) => atEnd) ? { ...found, interval: [Number.NaN, Number.NaN] } : found;
}
