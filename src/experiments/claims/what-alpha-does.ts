import { apply, common, type Gauge, of, onlyB, type Recipe } from "../../gauge/index.ts";
import { inject, roleOf } from "../../lora/index.ts";
import { linear } from "../../nn/index.ts";
import * as random from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { judgedConfidence } from "../exponents/judge.ts";
import { share } from "../exponents/statistics.ts";
import { inRank, times } from "../exponents/theory.ts";
import { seedsOf } from "../seeds.ts";
import {
  apart,
  beside,
  bitsOf,
  bitsUnder,
  check,
  condition,
  exponentOf,
  fewer,
  largest,
  setting,
  theory,
} from "./checks.ts";
import type { Claim, Context } from "./claim.ts";
import { deviation, fineTune, type Run } from "./linear.ts";

const sgd: Recipe = { r: 4, alpha: 4, optimizer: { name: "sgd", lr: 0.2, momentum: 0.9 } };
const adam: Recipe = { r: 4, alpha: 4, optimizer: { name: "adam", lr: 0.01 } };
const adamw: Recipe = { r: 4, alpha: 64, optimizer: { name: "adamw", lr: 0.01 } };
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
const scriptSeeds = 3;

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
  readonly seeds: number;
}

/** At how many seeds the losses, and the rescaled parameters, of all alphas equal those of alpha 1. */
async function equalities(
  { seed: run, seeds, onProgress }: Context,
  alphas: readonly number[],
  lr: number,
  count: number,
): Promise<Equalities> {
  const found = { losses: 0, parameters: 0, seeds };
  for (const [i, seed] of seedsOf(run, seeds).entries()) {
    const reference = await scripted(1, seed, lr, count);
    let [losses, parameters] = [true, true];
    for (const alpha of alphas) {
      const run = await scripted(alpha, seed, lr, count);
      const same = (xs: ArrayLike<number>, ys: ArrayLike<number>, c: number) =>
        Array.prototype.every.call(xs, (x: number, i: number) => Math.fround(x * c) === ys[i]);
      const root = Math.sqrt(alpha);
      losses &&= same(run.losses, reference.losses, 1);
      parameters &&= same(run.A, reference.A, root) && same(run.B, reference.B, root);
    }
    found.losses += Number(losses);
    found.parameters += Number(parameters);
    await onProgress(i / seeds);
  }
  return found;
}

const gauges: readonly Gauge[] = [of({ a: 0.37, b: 1.9 }), of({ a: 2.3, b: 0.15 }), common(3), onlyB(1 / 7)];

export const whatAlphaDoes: readonly Claim[] = [
  {
    id: "S3-1",
    statement:
      "Multiplying alpha by k, dividing the learning rate by k and the initial weights by sqrt(k) changes nothing.",
    how: "Linear teacher, 50 steps, k = 1/4, 4, 16: bits that differ under SGD with momentum; largest relative difference of the loss under Adam by this rule, bits that differ by lr / sqrt(k).",
    test: async (context) => {
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
          setting("gradient descent, of which the article derives it"),
        ),
        check(
          "bits that differ under Adam with lr / sqrt(k) and eps sqrt(k)",
          await bitsUnder(context, common(16), adam, { steps }),
          { equals: 0 },
          condition("Adam with lr / sqrt(k) and eps sqrt(k)"),
        ),
      ];
    },
  },
  {
    id: "S3-2",
    statement:
      "For gradient descent the change of variables has the solution U = A/sqrt(k), V = B/sqrt(k), learning rate / k.",
    how: "Linear teacher, 50 steps of SGD with momentum, float64: largest relative difference of the loss over the family A' = aA, B' = bB, k = 1/(ab) with learning rates a² and b² times as large, of which the article's is the case a = b.",
    test: async (context) => {
      const error = await largest(fewer(context, 4), async (seed) => {
        const reference = await fineTune(sgd, { steps, seed });
        const each = await Promise.all(gauges.map((g) => fineTune(apply<Recipe>(g, sgd), { steps, seed })));
        return Math.max(...each.map((run) => deviation(run.losses, reference.losses)));
      });
      return [check(`difference of the loss over ${gauges.length} gauges`, error, { below: 1e-12 })];
    },
  },
  {
    id: "S3-3",
    statement: "The article's script: equal losses for alpha from 1/4 to 256.",
    how: "The script (4 inputs, rank 2, mean absolute error, SGD, 5 steps, float32) at three times the seeds, comparing parameters too; the same at alpha 2, 3 and 512, where roots are rounded, and, at the seeds alone, with 100 steps and learning rate 2. A seed counts if all its alphas are equal.",
    test: async (context) => {
      const many = { ...context, seeds: scriptSeeds * context.seeds };
      const own = await equalities(many, script.alphas, script.lr, script.steps);
      const other = await equalities(many, script.inexact, script.lr, script.steps);
      const long = await equalities(context, script.inexact, 2, 100);
      const part = (count: number, { seeds }: Equalities) => share(count, seeds, judgedConfidence);
      const little = beside("equal losses prove little: they come out where parameters differ too");
      return [
        check("seeds whose losses differ", own.seeds - own.losses, { equals: 0 }),
        check("seeds whose rescaled parameters differ", own.seeds - own.parameters, { equals: 0 }),
        check(
          "share with equal losses at alpha 2, 3, 512",
          part(other.losses, other),
          { above: 0.5 },
          little,
        ),
        check("share with equal parameters there", part(other.parameters, other), { below: 0.5 }, little),
        check(
          "share with equal losses at lr 2 after 100 steps",
          part(long.losses, long),
          { below: 0.5 },
          little,
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
    how: "Linear teacher, 50 steps: a recipe with alpha 64 beside one with alpha = r, whose rate and initial A alone follow. AdamW (eps 1e-8, decay 0.01): difference of the loss. SGD, of which the article speaks: bits. AdamW with eps and decay following as well: bits.",
    test: async (context) => {
      const k = 1 / 16;
      const alone = (recipe: Recipe, exponent: number): Recipe =>
        ({
          ...recipe,
          alpha: recipe.alpha * k,
          initScale: { A: 1 / Math.sqrt(k) },
          optimizer: { ...recipe.optimizer, lr: recipe.optimizer.lr / k ** exponent },
        }) as Recipe; // the same optimizer
      const descent: Recipe = { ...sgd, alpha: 64, optimizer: { name: "sgd", lr: 0.2 / 16, momentum: 0.9 } };
      return [
        check(
          "difference of the loss, AdamW, lr / sqrt(k)",
          await apart(context, adamw, alone(adamw, 1 / 2), { steps }),
          { below: 1e-6 },
        ),
        check(
          "bits, SGD, lr / k",
          await bitsOf(context, [descent, alone(descent, 1), common(k)], { steps }),
          { equals: 0 },
          setting("gradient descent"),
        ),
        check(
          "bits, AdamW, lr / sqrt(k), eps and decay too",
          await bitsUnder(context, common(k), adamw, { steps }),
          { equals: 0 },
          condition("eps and decay follow as well"),
        ),
      ];
    },
  },
  {
    id: "S3-6",
    statement: "The result says nothing across ranks, since adapters of different rank train differently.",
    how: "Exponents in r (4, 16, 64) of the output's first change, alpha/r, on the training sample and on an independent input: one rule across ranks would need them 0, or at least equal whatever the optimizer and the input.",
    test: async (context) => {
      const n = 256;
      const ranks = [4, 16, 64];
      const under = { name: "sgd", lr: 1e-4 } as const;
      const slope = (options: object) =>
        exponentOf({ of: "deltaOutput", over: { r: ranks }, n, outputs: 64, ...options }, context);
      const independent = { inputs: "independent" } as const;
      return [
        check(
          "SGD, training sample",
          await slope({ optimizer: under }),
          theory(times(inRank.sgd(ranks), -2)),
        ),
        check(
          "SGD, independent input",
          await slope({ optimizer: under, ...independent }),
          theory(times(inRank.sgdIndependent(ranks, n), -2)),
        ),
        check("Adam, training sample", await slope({}), theory(times(inRank.adam(ranks), -1))),
        check(
          "Adam, independent input",
          await slope(independent),
          theory(times(inRank.adamIndependent(ranks, n), -1)),
        ),
      ];
    },
  },
  {
    id: "S3-7",
    statement: "Nothing on weight decay, eps, clipping and dropout.",
    how: "What silence says: that the article's rule changes nothing where they stay as they are. Linear teacher, 50 steps, k = 16: difference of the loss under SGD with momentum and a decay of 0.1 or clipping by the norm 1/8, and under Adam by lr / sqrt(k) with an eps of 1e-3; bits that differ under SGD with dropout. Then the same with what the gauge makes of them: bits.",
    test: async (context) => {
      const k = 16;
      const decayed: Recipe = { ...sgd, optimizer: { ...sgd.optimizer, weightDecay: 0.1 } } as Recipe; // SGD's
      const clipped: Recipe = { ...sgd, clip: { kind: "globalNorm", maxNorm: 1 / 8 } };
      const damped: Recipe = { ...adam, optimizer: { name: "adam", lr: 0.01, eps: 1e-3 } };
      const dropped: Recipe = { ...sgd, dropout: 0.1 };
      const root: Recipe = {
        ...articleRule(damped, k),
        optimizer: { name: "adam", lr: 0.01 / Math.sqrt(k), eps: 1e-3 },
      };
      const silent = async (what: string, recipe: Recipe, partner: Recipe) =>
        check(`difference of the loss, ${what} as it is`, await apart(context, recipe, partner, { steps }), {
          below: 1e-6,
        });
      const followed = async (what: string, recipe: Recipe) =>
        check(
          `bits, ${what} too`,
          await bitsUnder(context, common(k), recipe, { steps }),
          { equals: 0 },
          condition("decay, eps and the bound of clipping follow"),
        );
      return [
        await silent("decay", decayed, articleRule(decayed, k)),
        await silent("clipping", clipped, articleRule(clipped, k)),
        await silent("eps", damped, root),
        check(
          "bits, dropout as it is",
          await bitsOf(context, [dropped, articleRule(dropped, k), common(k)], { steps }),
          { equals: 0 },
        ),
        await followed("decay", decayed),
        await followed("clipping", clipped),
        await followed("eps", damped),
      ];
    },
  },
];
