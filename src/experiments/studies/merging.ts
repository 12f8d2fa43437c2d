import { estimate, mean } from "../exponents/statistics.ts";
import { judged, margin, over, paired } from "./contrast.ts";
import { hardSql, lora } from "./settings.ts";
import type { Study } from "./study.ts";

const strengths = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5] as const;

/** Adapters at other strengths than they were trained at; A and B; and weights in four bits. */
export const merging: Study = {
  name: "merging",
  title: "After training: strengths, norms, and a base in four bits",
  claims: ["S1-11", "S4-1", "S4-3", "N-14"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "r 8, alpha 16, lr 8e-3, strengths 0 to 1.5; the base in NF4; r 2 and r 32 beside them",
    contrast:
      "by seed: the loss at half the strength less that of the base; NF4 less float32; log of the largest singular value of B less that of A; how far from the mean of all seeds, less a tenth of what is gained over a sixteenth of the rate",
    spread: 0.006,
    correction: "none: one comparison for each claim",
    turns:
      "half an adapter that is no better than none; NF4 that costs more than 0.02; seeds that differ by more than a tenth of what recipes do",
  },
  count: ({ comparison }) => 3 * comparison.length,
  measure: async (bench) => {
    const trial = (own: object) =>
      over(bench, bench.comparison, (seed) => ({ task: hardSql, recipe: lora({ lr: 8e-3 }), seed, ...own }));
    const whole = await trial({
      probes: [{ kind: "strengths", at: strengths }, { kind: "spectra" }],
    });
    const packed = await trial({ weights: "nf4" });
    const weak = await trial({ recipe: lora({ lr: 5e-4 }) });
    const at = (strength: number) => (runs: typeof whole) =>
      runs.map(({ probes }) => probes[0]![String(strength)]!);
    const half = at(0.5)(whole).map((loss, i) => loss - at(0)(whole)[i]!);
    const norms = whole.map(({ probes }) => probes[1]!.B! - probes[1]!.A!);
    const losses = whole.map(({ loss }) => loss);
    // As in Levene's test: how far each seed is from the mean of all, of which it is a part itself.
    const share = Math.sqrt(losses.length / (losses.length - 1));
    const apart = losses.map((loss) => share * Math.abs(loss - mean(losses)));
    const gained = weak.map(({ loss }, i) => loss - losses[i]!);
    return {
      checks: {
        "S1-11": [
          judged("loss at half the strength less that of the base", estimate(half), { below: 0 }),
          {
            what: "difference at full strength from the adapter",
            value: Math.max(...at(1)(whole).map((loss, i) => Math.abs(loss - losses[i]!))),
            expected: { equals: 0 },
            axis: "stated",
          },
        ],
        "S4-1": [
          judged(
            "how far a seed is from the mean of all, less a tenth of what it gains over a sixteenth of the rate",
            estimate(apart.map((each, i) => each - gained[i]! / 10)),
            { below: 0 },
          ),
        ],
        "S4-3": [judged("loss, NF4 less float32", paired(packed, whole), { below: margin })],
        "N-14": [judged("log of the largest singular value, B less A", estimate(norms), { above: 0 })],
      },
      tables: [
        {
          title: "Held-out loss over the strength",
          head: ["strength", "loss"],
          rows: strengths.map((strength) => [
            strength,
            at(strength)(whole).reduce((sum, x) => sum + x / whole.length, 0),
          ]),
        },
      ],
      plots: [],
    };
  },
};
