import { runX, runY } from "../claims/figures.ts";
import { judged, margin, meanOf, over, paired } from "./contrast.ts";
import { hardSql, lora } from "./settings.ts";
import type { Study } from "./study.ts";

/** Run X and run Y, which have one product of alpha and learning rate. */
export const xy: Study = {
  name: "xy",
  title: "Run X and run Y: one product of alpha and learning rate",
  claims: ["S0-12", "N-3"],
  design: {
    task: "text-to-SQL, queries of 201 to 800 characters",
    metric: "held-out loss, nats a token",
    grid: "X: r 8, alpha 1, lr 0.00512; Y: r 8, alpha 512, lr 1e-5; Y at alpha 1 with the rate of B times 512 and its eps over 512",
    contrast: "paired by seed: Y less X; the largest difference of any loss between Y and its partner",
    spread: 0.02,
    correction: "none: one comparison for each claim",
    turns: "X and Y within 0.02 of each other; a partner that differs in a bit",
  },
  count: ({ comparison }) => 3 * comparison.length,
  measure: async (bench) => {
    const runs = (recipe: ReturnType<typeof lora>) =>
      over(bench, bench.comparison, (seed) => ({ task: hardSql, recipe, seed, looks: 4 }));
    const x = await runs(lora(runX));
    const y = await runs(lora(runY));
    const k = runY.alpha;
    const partner = await runs(
      lora({ r: runY.r, alpha: 1, lr: runY.lr, more: { groups: { B: { lr: runY.lr * k, eps: 1e-8 / k } } } }),
    );
    const differ = y.reduce(
      (most, { losses }, i) =>
        losses.reduce((so, loss, step) => Math.max(so, Math.abs(loss - partner[i]!.losses[step]!)), most),
      0,
    );
    return {
      checks: {
        "S0-12": [judged("loss, Y less X", paired(y, x), { between: [-margin, margin] })],
        "N-3": [
          {
            what: "difference of any loss, Y and LoRA+ of ratio 512 at alpha 1",
            value: differ,
            expected: { equals: 0 },
            axis: "condition",
            under: "eps of B follows",
          },
        ],
      },
      tables: [
        {
          title: "Held-out loss",
          head: ["run", "loss", "share of tokens"],
          rows: Object.entries({ X: x, Y: y, "Y as LoRA+": partner }).map(([name, of]) => [
            name,
            meanOf(of),
            meanOf(of, ({ accuracy }) => accuracy),
          ]),
        },
      ],
      plots: [
        {
          title: "Loss over steps",
          x: "step",
          y: "held-out loss",
          lines: Object.entries({ X: x, Y: y }).map(([name, [first]]) => ({
            name,
            xs: first!.curve.map(({ step }) => step),
            ys: first!.curve.map(({ loss }) => loss),
          })),
        },
      ],
    };
  },
};
