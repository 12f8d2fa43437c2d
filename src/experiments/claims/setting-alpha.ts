import { common, onlyB, type Recipe } from "../../gauge/index.ts";
import { scaling } from "../../lora/index.ts";
import { scanRates } from "../exponents/rates.ts";
import { inRank, inTheLimit, times } from "../exponents/theory.ts";
import { forwardDifference } from "./algebra.ts";
import {
  apart,
  beside,
  bitsOf,
  bitsUnder,
  check,
  condition,
  exponentIs,
  exponentOf,
  fewer,
  setting,
  sizeOverSeeds,
  theory,
  trainedExponent,
} from "./checks.ts";
import type { Claim, Context } from "./claim.ts";
import { alphas, learningRate, ranks, runX as X, runY as Y } from "./figures.ts";
import { changeApart, fineTune } from "./linear.ts";
import { alphaRuns, bestAlpha, lossAt, regression, trainedRanks } from "./regression.ts";

const runX = {
  r: X.r,
  alpha: X.alpha,
  optimizer: { name: "adamw", lr: X.lr, weightDecay: 0.01 },
} as const satisfies Recipe;
const runY = { ...runX, r: Y.r, alpha: Y.alpha, optimizer: { ...runX.optimizer, lr: Y.lr } };
const wide = { inputs: 256, outputs: 32, steps: 50 } as const;

const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
const sgd = { name: "sgd", lr: 1e-4 } as const;
const n = 512;
const rank = { over: { r: ranks }, n, outputs: 64 } as const;

/** First changes of the output, alpha/r, on the sample of the update and on independent inputs. */
const outputs = {
  adam: { of: "deltaOutput", ...rank, optimizer: adam },
  adamIndependent: { of: "deltaOutput", ...rank, optimizer: adam, inputs: "independent" },
  sgd: { of: "deltaOutput", ...rank, optimizer: sgd },
  sgdIndependent: { of: "deltaOutput", ...rank, optimizer: sgd, inputs: "independent" },
} as const;

/** An exponent measured with alpha/r is that of alpha/sqrt(r) once r to this power is taken off. */
function shifted(
  { value, interval: [low, high] }: { readonly value: number; readonly interval: readonly [number, number] },
  power: number,
) {
  return { value: value + power, interval: [low + power, high + power] } as const;
}

export const settingAlpha: readonly Claim[] = [
  {
    id: "S0-2",
    statement: "With Adam, once the learning rate is tuned, the rank may be changed without touching alpha.",
    how: "Six-factor regression with a target of rank 1: exponent in r of the best common learning rate, Adam, alpha/r, r = 2, 8, 32. It is 0 if the tuned rate stays right; with alpha/sqrt(r) it would be -1/2. That any alpha will do to begin with is S0-1.",
    test: async (context) => [
      check(
        "exponent of r of the best rate",
        await trainedExponent(
          { of: "bestRate", over: { r: trainedRanks }, n: 256, outputs: 32, alpha: 8 },
          context,
        ),
        theory(inTheLimit(0)),
      ),
    ],
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
    how: "The article's seven alphas and four ranks on a six-factor regression, 30 steps of Adam from B = 0, up to three problems: trainings in which some larger alpha is no better, at a learning rate of 1e-2, and at the article's 1e-5. Linear teacher, the library's layers: bits by which alpha 16 times larger and a rate of B 16 times larger differ.",
    test: async (context) => {
      const low = setting(`a learning rate of ${learningRate}, at which no alpha is too large`);
      const [high, own] = [await alphaRuns(context, 1e-2), await alphaRuns(context, learningRate)];
      const most = Math.max(...alphas);
      const recipe: Recipe = { r: 4, alpha: 512, optimizer: { name: "adam", lr: 1e-3 } };
      const rateOfB: Recipe = { ...recipe, alpha: 32, groups: { B: { lr: 16e-3, eps: 1e-8 / 16 } } };
      return [
        check("trainings in which a larger alpha is worse, lr 1e-2", high.against, { equals: 0 }),
        check("trainings in which a larger alpha is worse", own.against, { equals: 0 }, low),
        check(
          "alphas other than the largest that are best",
          own.best.filter((x) => x !== most).length,
          { equals: 0 },
          low,
        ),
        check(
          "bits, alpha times 16 and rate of B times 16",
          await bitsOf(context, [rateOfB, recipe, onlyB(16)], { steps: 50 }),
          { equals: 0 },
          beside("at a fixed rate of A, alpha is the learning rate of B"),
        ),
      ];
    },
  },
  {
    id: "S0-8",
    statement: "There is no evidence that alpha should be a multiple of the rank, or vary with it.",
    how: "Six-factor regression: exponent in r (2, 8, 32) of the best alpha at fixed learning rates of 1e-3, Adam, alpha/r; 1 for a multiple of the rank, 0 if alpha need not vary. In the article's setting the alphas that are best at some rank.",
    test: async (context) => {
      const best = await trainedExponent(
        {
          of: (setting) => bestAlpha(setting, { a: 1e-3, b: 1e-3 }),
          over: { r: trainedRanks },
          n: 256,
          outputs: 32,
        },
        { ...context, seeds: 2 * context.seeds },
      );
      const own = await alphaRuns(context, learningRate);
      return [
        check("exponent of the best alpha in r, if a multiple: 1", best, { below: 1 }),
        check("exponent of the best alpha in r, if it varies: not 0", best, { between: [-0.05, 0.05] }),
        check(
          "alphas of the article that are best at some rank",
          own.best.length,
          { equals: 1 },
          setting(`a learning rate of ${learningRate}, at which the largest alpha is best at every rank`),
        ),
      ];
    },
  },
  {
    id: "S0-9",
    statement: "At fixed alpha the rank makes almost no difference.",
    how: "Exponents in r (2 to 128) of the first change of the output from B = 0, Adam with alpha/r, on the training sample and on an independent input; six-factor regression at n = 1024, 50 steps of Adam at 2e-4: loss at rank 128 over that at rank 2.",
    test: async (context) => {
      const own = setting("Adam with alpha/r, whole trainings, judged on what was trained on");
      return [
        check(
          "exponent of r, training sample",
          await exponentOf(outputs.adam, context),
          theory(times(inRank.adam(ranks), -1)),
          condition("inputs like the training sample's"),
        ),
        check(
          "exponent of r, independent input",
          await exponentOf(outputs.adamIndependent, context),
          exponentIs(0),
        ),
        check(
          "loss at rank 128 over loss at rank 2",
          await sizeOverSeeds(
            context,
            async (seed) => (await lossAt("lora", 128, 2e-4, seed)) / (await lossAt("lora", 2, 2e-4, seed)),
          ),
          { between: [0.5, 2] },
          own,
        ),
      ];
    },
  },
  {
    id: "S0-10",
    statement: "Rank 2 already reaches high accuracy, so the task is easy.",
    how: "Whether it follows, on tasks whose difficulty is known: regression with a target of rank 1 and one of rank 6, the loss at the best common rate that rank 2 reaches in 100 steps, relative to the start.",
    test: async (context) => {
      const reached = (targetRank: number) =>
        sizeOverSeeds(fewer(context, 2), async (seed) => {
          const { losses } = await scanRates({ ...regression, n: 64, r: 2, alpha: 2, seed }, "tied", {
            targetRank,
            steps: 100,
          });
          return Math.min(...losses.filter(Number.isFinite));
        });
      return [
        check("loss reached by rank 2, target of rank 1", await reached(1), { below: 0.05 }),
        check("loss reached by rank 2, target of rank 6", await reached(6), { above: 0.05 }),
      ];
    },
  },
  {
    id: "S0-11",
    statement: "With Adam, tuning alpha is tuning the learning rate if the initialisation is scaled.",
    how: "Linear teacher, 50 steps of AdamW, alpha times 16: difference of the loss when lr is divided by 16 instead, as the article's two runs have it, with and without the initial A divided by 4; bits that differ for the exact forms.",
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
      const exact = condition("lr/sqrt(k) with A/sqrt(k), or lr/k for B alone; eps and decay follow");
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
          exact,
        ),
        check(
          "bits, lr, eps and decay of B alone by k",
          await bitsUnder(context, onlyB(k), recipe, { steps: 50 }),
          { equals: 0 },
          exact,
        ),
      ];
    },
  },
  {
    id: "S0-12",
    statement: "Run X (alpha 1, lr 0.00512) and run Y (alpha 512, lr 1e-5) perform alike.",
    how: "Linear teacher of width 256, r = 8, AdamW: relative distance of the weight changes after 10 steps, and largest difference of the loss in 50; the former with both rates a thousandth; bits that differ between X and its exact partner, and between Y and LoRA+ with ratio 512 at alpha 1.",
    test: async (context) => {
      const few = fewer(context, 2);
      const slow = (recipe: typeof runX | typeof runY): Recipe => ({
        ...recipe,
        optimizer: { ...recipe.optimizer, lr: recipe.optimizer.lr / 1000 },
      });
      const distance = (x: Recipe, y: Recipe) =>
        sizeOverSeeds(few, async (seed) => {
          const [one, other] = [
            await fineTune(x, { ...wide, steps: 10, seed }),
            await fineTune(y, { ...wide, steps: 10, seed }),
          ];
          return changeApart([other, scaling(y).value], [one, scaling(x).value], x.r);
        });
      const k = runY.alpha / runX.alpha;
      return [
        check("distance of the weight changes after 10 steps", await distance(runX, runY), { below: 0.05 }),
        check("difference of the loss in 50 steps", await apart(few, runX, runY, wide), { below: 0.05 }),
        check(
          "distance at a thousandth of the rates",
          await distance(slow(runX), slow(runY)),
          { below: 0.05 },
          condition("as long as A has hardly moved"),
        ),
        check(
          "bits, X and its partner with Y's alpha (B alone)",
          await bitsUnder(context, onlyB(k), runX, { ...wide, dtype: "float32" }),
          { equals: 0 },
          beside("the partner of X has the lr of X for A"),
        ),
        check(
          "bits, Y and LoRA+ at X's alpha",
          await bitsOf(
            context,
            [
              runY,
              {
                ...runX,
                optimizer: runY.optimizer,
                groups: { B: { lr: k * Y.lr, eps: 1e-8 / k, weightDecay: 0.01 / k } },
              },
              onlyB(1 / k),
            ],
            { ...wide, dtype: "float32" },
          ),
          { equals: 0 },
          beside("Y is LoRA+ with ratio 512 at alpha 1"),
        ),
      ];
    },
  },
  {
    id: "S0-13",
    statement:
      "alpha/r is too aggressive: gradients, and with them learning, collapse as the rank grows; alpha/sqrt(r) keeps them stable.",
    how: "Exponents in r (2 to 128), from B = 0, of the norms of gradients and of the first change of the output, on the training sample and on an independent input. Measured with alpha/r; with alpha/sqrt(r) it is 1/2 more, for SGD's output 1 more, by arithmetic.",
    test: collapse,
  },
  {
    id: "S0-14",
    statement: "PEFT's use_rslora divides alpha by sqrt(r).",
    how: "This library's rsLora, which follows PEFT's formula, with alpha beside LoRA with alpha sqrt(r) at r = 1, 4 and 16, 50 steps of AdamW: bits that differ.",
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
      const few = fewer(context, 2);
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
    how: "As S0-16 at rank 128: loss with alpha/sqrt(r) over that with alpha/r, at 2e-4, where they do differ, and at 20 and 100 times that; hardly is less than a factor of 2.",
    test: async (context) => {
      const ratio = (lr: number, share: Context) =>
        sizeOverSeeds(
          share,
          async (seed) => (await lossAt("rsLora", 128, lr, seed)) / (await lossAt("lora", 128, lr, seed)),
        );
      const near = condition("a rate near the best one, here 4e-3: at a higher one alpha/sqrt(r) overshoots");
      // The one that is nearest to its bound, in proportion to its spread over seeds, gets most of them.
      const [few, many] = [fewer(context, 2), { ...context, seeds: 2 * context.seeds }];
      return [
        check("ratio at 2e-2", await ratio(2e-2, few), { between: [0.5, 2] }),
        check("ratio at 4e-3", await ratio(4e-3, many), { between: [0.5, 2] }, near),
        check("ratio at 2e-4", await ratio(2e-4, few), { below: 0.5 }, beside("where they do differ")),
      ];
    },
  },
  {
    id: "S0-18",
    statement: "The multipliers of LoRA and rsLoRA differ, at ranks 2 and 128.",
    how: "Arithmetic: the ratio of the two multipliers is sqrt(r).",
    arithmetic: true,
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
    how: "Exponents in r (2 to 128), Adam from B = 0: of the norm of the weight's first change, and of the change of the output on the training sample and on an independent input. Measured with alpha/r; with a multiplier of 1 it is 1 more, by arithmetic.",
    test: async (context) => {
      const norm = await exponentOf({ of: "deltaWeight", ...rank, optimizer: adam }, context);
      return [
        check("norm of the weight's change, multiplier 1", shifted(norm, 1), { above: 0 }),
        check("norm of the weight's change, alpha/r", norm, exponentIs(0)),
        check(
          "output, alpha/r, independent input",
          await exponentOf(outputs.adamIndependent, context),
          exponentIs(0),
        ),
        check(
          "output, alpha/r, training sample",
          await exponentOf(outputs.adam, context),
          theory(times(inRank.adam(ranks), -1)),
          condition("on inputs like the training sample's; on others alpha/r more than offsets the growth"),
        ),
      ];
    },
  },
];

async function collapse(context: Context) {
  const gradient = setting("norms of gradients, of which the article speaks");
  const sgdSample = condition("SGD, on inputs like the training sample's");
  const ofB = await exponentOf({ of: "gradientB", ...rank }, context);
  const ofA = await exponentOf({ of: "nextGradientA", ...rank, optimizer: adam }, context);
  const found = {
    adam: await exponentOf(outputs.adam, context),
    adamIndependent: await exponentOf(outputs.adamIndependent, context),
    sgd: await exponentOf(outputs.sgd, context),
    sgdIndependent: await exponentOf(outputs.sgdIndependent, context),
  };
  const inGradient = times(inRank.gradient(ranks), -1);
  return [
    check("gradient norm of B, alpha/r: collapses", ofB, theory(inGradient), gradient),
    check(
      "gradient norm of B, alpha/sqrt(r): stable",
      shifted(ofB, 0.5),
      theory(times(inGradient, 0.5)),
      gradient,
    ),
    check("gradient norm of A after a step of Adam, alpha/r: collapses", ofA, exponentIs(-0.5), gradient),
    check(
      "output, SGD, training sample, alpha/r: collapses",
      found.sgd,
      theory(times(inRank.sgd(ranks), -2)),
      sgdSample,
    ),
    check(
      "output, SGD, training sample, alpha/sqrt(r): stable",
      shifted(found.sgd, 1),
      theory(times(inRank.sgd(ranks), -1)),
      sgdSample,
    ),
    check(
      "output, SGD, independent input, alpha/sqrt(r): stable",
      shifted(found.sgdIndependent, 1),
      exponentIs(0),
    ),
    check("output, Adam, independent input, alpha/r: collapses", found.adamIndependent, { below: -0.25 }),
    check("output, Adam, training sample, alpha/r: collapses", found.adam, { below: -0.25 }),
  ];
}
