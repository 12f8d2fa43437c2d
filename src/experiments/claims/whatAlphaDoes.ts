import { apply, common, type Gauge, of, onlyB, type Recipe } from "../../gauge/index.ts";
import { inject, roleOf } from "../../lora/index.ts";
import { linear } from "../../nn/index.ts";
import * as random from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { share } from "../exponents/statistics.ts";
import { apart, bitsOf, bitsUnder, check, exponentOf, near, sizeOverSeeds } from "./checks.ts";
import type { Claim, Context } from "./claim.ts";
import { deviation, fineTune, type Run } from "./linear.ts";

const sgd: Recipe = { r: 4, alpha: 4, optimizer: { name: "sgd", lr: 0.2, momentum: 0.9 } };
const adam: Recipe = { r: 4, alpha: 4, optimizer: { name: "adam", lr: 0.01 } };
const adamw: Recipe = { r: 4, alpha: 4, optimizer: { name: "adamw", lr: 0.01, eps: 1e-3, weightDecay: 1 } };
const steps = 50;

/** The article's rule: alpha times k, learning rate by k, initial values by the square root of k; eps as it is. */
function articleRule(recipe: Recipe, k: number): Recipe {
  const optimizer = { ...recipe.optimizer, lr: recipe.optimizer.lr / k };
  return { ...recipe, alpha: recipe.alpha * k, optimizer, initScale: { A: 1 / Math.sqrt(k) } } as Recipe; // of the same optimizer
}

// The article's script: loralib.Linear(4, 4, 2), 16 samples, mean absolute error, SGD at lr / alpha.

const script = {
  sizes: { inputs: 4, outputs: 4, samples: 16, loss: "l1", dtype: "float32", noise: true },
  alphas: [1 / 4, 1, 4, 16, 64, 256],
  /** Alphas whose square root is no power of two, so that nothing is exact. */
  inexact: [2, 3, 512],
  lr: 0.1,
  steps: 5,
} as const;

/** Seeds of the script for each of the context's. */
const scriptSeeds = 5;

function scripted(alpha: number, seed: number, lr: number, count: number): Promise<Run> {
  const recipe: Recipe = {
    r: 2,
    alpha,
    initScale: { A: 1 / Math.sqrt(alpha) },
    optimizer: { name: "sgd", lr: lr / alpha },
  };
  return fineTune(recipe, { ...script.sizes, seed, steps: count });
}

interface Equalities {
  readonly losses: number;
  readonly parameters: number;
  readonly runs: number;
}

/** Of all seeds and alphas, in how many runs the losses, and the rescaled parameters, equal those of alpha 1. */
async function equalities(
  { seeds, onProgress }: Context,
  alphas: readonly number[],
  lr: number,
  count: number,
): Promise<Equalities> {
  const found = { losses: 0, parameters: 0, runs: 0 };
  for (let seed = 0; seed < seeds; seed++) {
    const reference = await scripted(1, seed, lr, count);
    for (const alpha of alphas) {
      const run = await scripted(alpha, seed, lr, count);
      const same = (xs: ArrayLike<number>, ys: ArrayLike<number>, c: number) =>
        Array.prototype.every.call(xs, (x: number, i: number) => Math.fround(x * c) === ys[i]);
      const root = Math.sqrt(alpha);
      found.losses += Number(same(run.losses, reference.losses, 1));
      found.parameters += Number(same(run.A, reference.A, root) && same(run.B, reference.B, root));
      found.runs++;
    }
    await onProgress(seed / seeds);
  }
  return found;
}

const gauges: readonly Gauge[] = [of({ a: 0.37, b: 1.9 }), of({ a: 2.3, b: 0.15 }), common(3), onlyB(1 / 7)];

export const whatAlphaDoes: readonly Claim[] = [
  {
    id: "S3-1",
    statement:
      "Multiplying alpha by k, dividing the learning rate by k and the initial weights by sqrt(k) changes nothing.",
    how: "Linear teacher, 50 steps, k = 1/4, 4, 16: bits that differ under SGD with momentum; largest relative difference of the loss under Adam, by this rule and by lr / sqrt(k).",
    test: async (context) => {
      const under = "SGD";
      const bits: number[] = [];
      for (const k of [1 / 4, 4, 16])
        bits.push(await bitsOf(context, [sgd, articleRule(sgd, k), common(k)], { steps }));
      return [
        check(
          "difference of the loss under Adam",
          await apart(context, adam, articleRule(adam, 16), { steps }),
          { below: 1e-6 },
        ),
        check(
          "bits that differ under SGD",
          bits.reduce((a, b) => a + b),
          { equals: 0 },
          under,
        ),
        check(
          "bits that differ under Adam with lr / sqrt(k) and eps sqrt(k)",
          await bitsUnder(context, common(16), adam, { steps }),
          { equals: 0 },
          "Adam with lr / sqrt(k)",
        ),
      ];
    },
  },
  {
    id: "S3-2",
    statement: "The change of variables has the solution U = A/sqrt(k), V = B/sqrt(k), learning rate / k.",
    how: "Linear teacher, 50 steps, float64: largest relative difference of the loss over the whole family A' = aA, B' = bB, k = 1/(ab), of which the article's is the case a = b, for SGD (lr a², b²) and Adam (lr a, b).",
    test: async (context) => {
      const checks = [];
      for (const [name, recipe] of [
        ["SGD", sgd],
        ["Adam", adam],
      ] as const) {
        const largest = await sizeOverSeeds(context, async (seed) => {
          const reference = await fineTune(recipe, { steps, seed });
          const each = await Promise.all(
            gauges.map((g) => fineTune(apply<Recipe>(g, recipe), { steps, seed })),
          );
          return Math.max(...each.map((run) => deviation(run.losses, reference.losses)));
        });
        checks.push(
          check(`difference of the loss over ${gauges.length} gauges, ${name}`, largest, { below: 1e-12 }),
        );
      }
      return checks;
    },
  },
  {
    id: "S3-3",
    statement: "The article's script: equal losses for alpha from 1/4 to 256.",
    how: "The script (4 inputs, rank 2, mean absolute error, SGD, 5 steps, float32) at five times the seeds, comparing parameters too; the same at alpha 2, 3 and 512, where roots are rounded; and, at the seeds alone, with 100 steps and learning rate 2.",
    test: async (context) => {
      const many = { ...context, seeds: scriptSeeds * context.seeds };
      const own = await equalities(many, script.alphas, script.lr, script.steps);
      const other = await equalities(many, script.inexact, script.lr, script.steps);
      const long = await equalities(context, script.inexact, 2, 100);
      return [
        check("runs whose losses differ", own.runs - own.losses, { equals: 0 }),
        check("runs whose rescaled parameters differ", own.runs - own.parameters, { equals: 0 }),
        check(
          "share with equal losses at alpha 2, 3, 512",
          share(other.losses, other.runs),
          { above: 0.9 },
          "equal losses alone prove little: they also come out where parameters differ",
        ),
        check(
          "share with equal parameters at alpha 2, 3, 512",
          share(other.parameters, other.runs),
          { below: 0.1 },
          "equal losses alone prove little: they also come out where parameters differ",
        ),
        check(
          "share with equal losses there at lr 2 after 100 steps",
          share(long.losses, long.runs),
          { below: 0.1 },
          "equal losses alone prove little: they also come out where parameters differ",
        ),
      ];
    },
  },
  {
    id: "S3-4",
    statement: "The initial weights do not depend on alpha.",
    how: "A and B of this library's initialisations (those of loralib and PEFT's default) from one key for alpha from 1/4 to 256: bits that differ. Initialisations that split W0, such as PiSSA, divide by the scaling and do depend on it.",
    test: async () => {
      let differing = 0;
      for (const init of ["standard", "swapped", "random"] as const) {
        const start = async (alpha: number) => {
          const params = inject(linear(16, 12), { r: 4, alpha, init, targetModules: "all-linear" }).init(
            random.key(0),
          );
          return Promise.all(
            tree
              .entries(params)
              .filter(([path]) => roleOf(path) !== "base")
              .map(([, leaf]) => leaf.data()),
          );
        };
        const reference = await start(1);
        for (const alpha of [1 / 4, 3, 256]) {
          const found = await start(alpha);
          differing += found.flatMap((values, i) =>
            [...values].filter((value, j) => value !== reference[i]![j]),
          ).length;
        }
      }
      return [check("initial values that differ", differing, { equals: 0 })];
    },
  },
  {
    id: "S3-5",
    statement: "Instead of alpha one may tune the learning rate and the initialisation.",
    how: "Linear teacher, AdamW: a recipe with alpha 64 beside its equivalent with alpha = r (canonical), which changes the rate, the initial A, eps and decay; and with the rate alone changed.",
    test: async (context) => {
      const recipe: Recipe = { ...adamw, alpha: 64 };
      const k = recipe.r / recipe.alpha;
      const rateOnly = {
        ...recipe,
        alpha: recipe.r,
        optimizer: { ...adamw.optimizer, lr: adamw.optimizer.lr / Math.sqrt(k) },
      } as Recipe; // adamw's hyperparameters
      const exact = await bitsUnder(context, common(k), recipe, { steps });
      return [
        check("bits that differ from the canonical recipe, eps and decay scaled too", exact, { equals: 0 }),
        check(
          "difference of the loss when the rate alone is changed",
          await apart(context, recipe, rateOnly, { steps }),
          { above: 1e-3 },
        ),
      ];
    },
  },
  {
    id: "S3-6",
    statement: "The result says nothing across ranks, since adapters of different rank train differently.",
    how: "Exponents in r of the output's first change: one rule for all would need them equal whatever the optimizer.",
    test: async (context) => {
      const options = { of: "deltaOutput", over: { r: [4, 16, 64] }, n: 256, outputs: 64 } as const;
      const under = { name: "sgd", lr: 1e-4 } as const;
      return [
        check(
          "exponent of r under SGD, alpha/r",
          await exponentOf({ ...options, optimizer: under }, context),
          near(-1),
        ),
        check("exponent of r under Adam, alpha/r", await exponentOf(options, context), near(0)),
      ];
    },
  },
  {
    id: "S3-7",
    statement: "What the article leaves out: weight decay, eps, clipping, dropout.",
    how: "Linear teacher, 50 steps, exact gauge partners with each of these in the recipe: bits that differ with its rule, difference of the loss without it.",
    test: async (context) => {
      const k = 16;
      const coupled: Recipe = { ...adam, optimizer: { name: "adam", lr: 0.01, eps: 1e-3, weightDecay: 0.1 } };
      const clip = { kind: "globalNorm", maxNorm: 0.05 } as const;
      const left = (field: "eps" | "weightDecay" | "clip"): Recipe => {
        const recipe = field === "clip" ? { ...adamw, clip } : adamw;
        const partner = apply<Recipe>(common(k), recipe);
        if (field === "clip") return { ...partner, clip };
        const groups = {
          A: { ...partner.groups?.A, [field]: adamw.optimizer[field] },
          B: { ...partner.groups?.B, [field]: adamw.optimizer[field] },
        };
        return { ...partner, groups } as Recipe; // adamw's hyperparameters
      };
      const bits = (recipe: Recipe) => bitsUnder(context, common(k), recipe, { steps });
      return [
        check("bits, AdamW: eps / c, decay / c", await bits(adamw), { equals: 0 }),
        check("difference when eps is left", await apart(context, adamw, left("eps"), { steps }), {
          above: 1e-5,
        }),
        check("difference when decay is left", await apart(context, adamw, left("weightDecay"), { steps }), {
          above: 1e-5,
        }),
        check("bits, Adam with coupled decay / c²", await bits(coupled), { equals: 0 }),
        check("bits, global-norm clipping, a = b, threshold / c", await bits({ ...adamw, clip }), {
          equals: 0,
        }),
        check(
          "difference when the threshold is left",
          await apart(context, { ...adamw, clip }, left("clip"), { steps }),
          { above: 1e-5 },
        ),
        check("bits, dropout with the same masks", await bits({ ...adamw, dropout: 0.2 }), { equals: 0 }),
      ];
    },
  },
];
