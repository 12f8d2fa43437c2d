import { common, onlyB, type Recipe } from "../../gauge/index.ts";
import { scaling } from "../../lora/index.ts";
import { scanRates } from "../exponents/rates.ts";
import { forwardDifference } from "./algebra.ts";
import { apart, bitsOf, bitsUnder, check, exponentOf, near, overSeeds, sizeOverSeeds } from "./checks.ts";
import type { Claim } from "./claim.ts";
import { changeApart, fineTune } from "./linear.ts";
import { bestAlpha, lossAt, ranksAgainst, regression, trainedRanks } from "./regression.ts";

const runX = {
  r: 8,
  alpha: 1,
  optimizer: { name: "adamw", lr: 0.00512, weightDecay: 0.01 },
} as const satisfies Recipe;
const runY = { ...runX, alpha: 512, optimizer: { ...runX.optimizer, lr: 1e-5 } } as const satisfies Recipe;
const wide = { inputs: 256, outputs: 32, steps: 50 } as const;

const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
const sgd = { name: "sgd", lr: 1e-4 } as const;
const ranks = { over: { r: [2, 8, 32, 128] }, n: 512, outputs: 64 } as const;

export const settingAlpha: readonly Claim[] = [
  {
    id: "S0-2",
    statement:
      "With Adam, tune the learning rate at any alpha and rank, then change the rank without touching alpha.",
    how: "Exponent in r of the best common learning rate, Adam, alpha/r, r = 2, 8, 32: flat if the advice is right.",
    test: async (context) => {
      const seeds = Math.max(2, Math.round(context.seeds / 2));
      const options = {
        of: "bestRate",
        over: { r: trainedRanks },
        n: 256,
        outputs: 32,
        alpha: 8,
        seeds,
      } as const;
      return [
        check("exponent of r of the best rate", await exponentOf(options, context), { between: [-0.3, 0.3] }),
      ];
    },
  },
  {
    id: "S0-4",
    statement: "The layer computes W0 x + (alpha/r) B A x.",
    how: "Outputs of the library's layer beside sums of products on the host, float64: largest relative difference.",
    test: async () => [check("largest relative difference", await forwardDifference(), { below: 1e-14 })],
  },
  {
    id: "S0-7",
    statement: "Higher alpha is better at every rank; the best is 512.",
    how: "The article's alphas and ranks on a regression with six-factor inputs, 30 steps of Adam from B = 0: ranks of four (mean over up to three problems) at which some larger alpha is worse, at learning rates 1e-5 and 1e-2; and the exponent of the best alpha in the learning rate of B.",
    test: async (context) => {
      const ridge = await exponentOf(
        {
          of: (setting) => bestAlpha(setting, { a: 1e-3, b: setting.optimizer.lr }),
          over: { lr: [1e-3, 4e-3, 16e-3] },
          n: 256,
          outputs: 32,
          seeds: Math.max(2, Math.round(context.seeds / 5)),
        },
        context,
      );
      return [
        check("ranks with a larger alpha that is worse, lr 1e-2", await ranksAgainst(context, 1e-2), {
          equals: 0,
        }),
        check(
          "ranks with a larger alpha that is worse, lr 1e-5",
          await ranksAgainst(context, 1e-5),
          { equals: 0 },
          "a learning rate so low that no alpha is too large",
        ),
        check(
          "exponent of the best alpha in the rate of B",
          ridge,
          near(-1),
          "at a fixed rate of A, alpha is the rate of B",
        ),
      ];
    },
  },
  {
    id: "S0-8",
    statement: "There is no evidence that alpha should be a multiple of the rank.",
    how: "Exponent in r (2, 8, 32) of the best alpha at fixed learning rates (1e-3), Adam, alpha/r: 1 if alpha should be a multiple of r.",
    test: async (context) => [
      check(
        "exponent of the best alpha in r",
        await exponentOf(
          {
            of: (setting) => bestAlpha(setting, { a: 1e-3, b: 1e-3 }),
            over: { r: trainedRanks },
            n: 256,
            outputs: 32,
            seeds: Math.max(2, Math.round(context.seeds / 4)),
          },
          context,
        ),
        { below: 1 },
      ),
    ],
  },
  {
    id: "S0-9",
    statement: "At fixed alpha the rank makes almost no difference.",
    how: "Exponents in r (2 to 128) and in alpha of the first change of the output on the training sample, from B = 0.",
    test: async (context) => {
      const under = "Adam with alpha/r";
      const slope = (options: object) => exponentOf({ of: "deltaOutput", ...ranks, ...options }, context);
      return [
        check("exponent of r, Adam, alpha/r", await slope({ optimizer: adam }), near(0)),
        check(
          "exponent of alpha, Adam",
          await slope({ optimizer: adam, over: { alpha: [1, 8, 64] } }),
          near(1, 0.01),
        ),
        check(
          "exponent of r, Adam, alpha/sqrt(r): there it does",
          await slope({ optimizer: adam, scaling: "rsLora" }),
          near(0.5),
          under,
        ),
        check("exponent of r, SGD, alpha/r: there it does", await slope({ optimizer: sgd }), near(-1), under),
      ];
    },
  },
  {
    id: "S0-10",
    statement: "Rank 2 already reaches high accuracy, so the task is easy.",
    how: "Regression with a target of rank 1 and one of rank 6: the loss at the best common rate that rank 2 reaches in 100 steps, relative to the start.",
    test: async (context) => {
      const reached = (targetRank: number) =>
        sizeOverSeeds({ ...context, seeds: Math.max(2, Math.round(context.seeds / 2)) }, async (seed) => {
          const { losses } = await scanRates({ ...regression, n: 64, r: 2, alpha: 2, seed }, "tied", {
            targetRank,
            steps: 100,
          });
          return Math.min(...losses.filter(Number.isFinite));
        });
      return [
        check("loss reached by rank 2, target of rank 1", await reached(1), { below: 0.05 }),
        check("loss reached by rank 2, target of rank 6", await reached(6), { above: 0.1 }),
      ];
    },
  },
  {
    id: "S0-11",
    statement: "With Adam, tuning alpha is tuning the learning rate if the initialisation is scaled.",
    how: "Linear teacher, 50 steps of AdamW, alpha times 16: difference of the loss when lr is divided by 16 instead, with and without the initial A divided by 4; bits that differ for the exact forms.",
    test: async (context) => {
      const recipe: Recipe = {
        r: 4,
        alpha: 4,
        optimizer: { name: "adamw", lr: 0.01, eps: 1e-3, weightDecay: 1 },
      };
      const k = 16;
      const traded = {
        ...recipe,
        alpha: recipe.alpha * k,
        optimizer: { ...recipe.optimizer, lr: 0.01 / k },
      } as Recipe; // adamw's
      const under = "lr/sqrt(k) with A/sqrt(k), or lr/k for B alone; eps and decay follow";
      return [
        check(
          "difference with lr/k, initial A as it is",
          await apart(context, recipe, traded, { steps: 50 }),
          { below: 1e-3 },
        ),
        check(
          "difference with lr/k and A/sqrt(k)",
          await apart(context, recipe, { ...traded, initScale: { A: 1 / 4 } }, { steps: 50 }),
          { below: 1e-3 },
        ),
        check(
          "bits, lr, A, eps and decay by sqrt(k)",
          await bitsUnder(context, common(k), recipe, { steps: 50 }),
          { equals: 0 },
          under,
        ),
        check(
          "bits, lr, eps and decay of B alone by k",
          await bitsUnder(context, onlyB(k), recipe, { steps: 50 }),
          { equals: 0 },
          under,
        ),
      ];
    },
  },
  {
    id: "S0-12",
    statement: "Run X (alpha 1, lr 0.00512) and run Y (alpha 512, lr 1e-5) perform alike.",
    how: "Linear teacher of width 256, r = 8, AdamW: relative distance of the weight changes after 10 steps, and largest difference of the loss in 50; the former with both rates a thousandth; bits that differ between X and its exact partner, and between Y and LoRA+ with ratio 512 at alpha 1.",
    test: async (context) => {
      const slow = (recipe: typeof runX | typeof runY): Recipe => ({
        ...recipe,
        optimizer: { ...recipe.optimizer, lr: recipe.optimizer.lr / 1000 },
      });
      const distance = (x: Recipe, y: Recipe) =>
        sizeOverSeeds(context, async (seed) => {
          const [one, other] = [
            await fineTune(x, { ...wide, steps: 10, seed }),
            await fineTune(y, { ...wide, steps: 10, seed }),
          ];
          return changeApart([other, scaling(y).value], [one, scaling(x).value], x.r);
        });
      return [
        check("distance of the weight changes after 10 steps", await distance(runX, runY), { below: 0.05 }),
        check("difference of the loss in 50 steps", await apart(context, runX, runY, wide), { below: 0.05 }),
        check(
          "distance at a thousandth of the rates",
          await distance(slow(runX), slow(runY)),
          { below: 0.05 },
          "as long as A has hardly moved",
        ),
        check(
          "bits, X and its partner at alpha 512 (B alone)",
          await bitsUnder(context, onlyB(512), runX, { ...wide, dtype: "float32" }),
          { equals: 0 },
          "the partner of X has the lr of X for A",
        ),
        check(
          "bits, Y and LoRA+ of ratio 512 at alpha 1",
          await bitsOf(
            context,
            [
              runY,
              {
                ...runX,
                optimizer: runY.optimizer,
                groups: { B: { lr: 512 * 1e-5, eps: 1e-8 / 512, weightDecay: 0.01 / 512 } },
              },
              onlyB(1 / 512),
            ],
            { ...wide, dtype: "float32" },
          ),
          { equals: 0 },
          "Y is LoRA+ at alpha 1",
        ),
      ];
    },
  },
  {
    id: "S0-13",
    statement:
      "alpha/r is too aggressive, learning collapses as the rank grows; alpha/sqrt(r) keeps it stable.",
    how: "Exponents in r (2 to 128) of the first change of the output on the training sample and of the gradient norm of B, from B = 0.",
    test: async (context) => {
      const slope = (options: object) => exponentOf({ of: "deltaOutput", ...ranks, ...options }, context);
      const rsLora = { scaling: "rsLora" } as const;
      return [
        check("Adam, alpha/r: collapse", await slope({ optimizer: adam }), { below: -0.25 }),
        check("Adam, alpha/sqrt(r): stable", await slope({ optimizer: adam, ...rsLora }), near(0)),
        check("SGD, alpha/r: collapse", await slope({ optimizer: sgd }), near(-1), "SGD"),
        check("SGD, alpha/sqrt(r): stable", await slope({ optimizer: sgd, ...rsLora }), near(0), "SGD"),
        check("gradient norm of B, alpha/r", await slope({ of: "gradientB" }), near(-0.5), "gradient norms"),
        check(
          "gradient norm of B, alpha/sqrt(r)",
          await slope({ of: "gradientB", ...rsLora }),
          near(0),
          "gradient norms",
        ),
      ];
    },
  },
  {
    id: "S0-14",
    statement: "PEFT's use_rslora divides alpha by sqrt(r).",
    how: "rsLoRA with alpha beside LoRA with alpha sqrt(r) at r = 1, 4 and 16, 50 steps of AdamW: bits that differ.",
    test: async (context) => {
      let bits = 0;
      for (const r of [1, 4, 16]) {
        const recipe: Recipe = { r, alpha: 4, optimizer: { name: "adamw", lr: 0.01 } };
        bits += await bitsOf(
          context,
          [{ ...recipe, rsLora: true }, { ...recipe, alpha: 4 * Math.sqrt(r) }, common(1)],
          { steps: 50 },
        );
      }
      return [check("bits that differ", bits, { equals: 0 })];
    },
  },
  {
    id: "S0-16",
    statement: "With rsLoRA a higher rank learns better at a low learning rate.",
    how: "Six-factor regression at n = 1024, Adam at 2e-4, 50 steps: relative loss at rank 128 over that at rank 2 with rsLoRA; bits that differ from LoRA with alpha growing like sqrt(r).",
    test: async (context) => {
      const recipe: Recipe = { r: 16, alpha: 2, rsLora: true, optimizer: { name: "adam", lr: 2e-4 } };
      const control: Recipe = { ...recipe, alpha: 8, rsLora: false };
      const few = { ...context, seeds: Math.max(2, Math.round(context.seeds / 4)) };
      return [
        check(
          "loss at rank 128 over loss at rank 2",
          await sizeOverSeeds(
            few,
            async (seed) =>
              (await lossAt("rsLora", 128, 2e-4, seed)) / (await lossAt("rsLora", 2, 2e-4, seed)),
          ),
          { below: 0.5 },
        ),
        check(
          "bits, LoRA with alpha times sqrt(r)",
          await bitsOf(few, [recipe, control, common(1)], { steps: 50 }),
          { equals: 0 },
        ),
      ];
    },
  },
  {
    id: "S0-17",
    statement: "At a higher learning rate rsLoRA and LoRA hardly differ.",
    how: "As S0-16 at rank 128: loss with alpha/r less that with alpha/sqrt(r), both relative to the start, at 4e-3 and for comparison at 2e-4.",
    test: async (context) => {
      const few = { ...context, seeds: Math.max(2, Math.round(context.seeds / 4)) };
      const difference = (lr: number) =>
        overSeeds(
          few,
          async (seed) => (await lossAt("lora", 128, lr, seed)) - (await lossAt("rsLora", 128, lr, seed)),
        );
      return [
        check("difference at 4e-3", await difference(4e-3), { between: [-0.1, 0.1] }),
        check("difference at 2e-4", await difference(2e-4), { above: 0.1 }),
      ];
    },
  },
  {
    id: "S0-18",
    statement: "The multipliers of LoRA and rsLoRA differ, at ranks 2 and 128.",
    how: "Arithmetic: the ratio of the two multipliers is sqrt(r).",
    test: async () =>
      [2, 128].map((r) =>
        check(
          `ratio at r = ${r}`,
          scaling({ r, alpha: 16, rsLora: true }).value / scaling({ r, alpha: 16 }).value,
          { between: [Math.sqrt(r) * (1 - 1e-15), Math.sqrt(r) * (1 + 1e-15)] },
        ),
      ),
  },
  {
    id: "S0-20",
    statement:
      "A larger rank makes a larger update; dividing by r lowers the effective learning rate and offsets it.",
    how: "Exponents in r of the first change of the output on the training sample, Adam: with a multiplier that ignores r, with alpha/r; and of the Frobenius norm of the weight's change with alpha/r.",
    test: async (context) => {
      // rsLora with alpha and LoRA with alpha differ by sqrt(r), and so does a constant multiplier from rsLora.
      const lora = await exponentOf({ of: "deltaOutput", ...ranks, optimizer: adam }, context);
      const unscaled = {
        value: lora.value + 1,
        interval: [lora.interval[0] + 1, lora.interval[1] + 1],
      } as const;
      return [
        check("output, constant multiplier", unscaled, { above: 0.5 }),
        check("output, alpha/r", lora, near(0)),
        check(
          "norm of the weight's change, alpha/r",
          await exponentOf({ of: "deltaWeight", ...ranks, optimizer: adam }, context),
          near(-0.5),
          "on the training sample; off it, alpha/r more than offsets the growth",
        ),
      ];
    },
  },
];
