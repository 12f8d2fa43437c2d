import { canonical, type Gauge, type MatrixGauge, type Recipe } from "../../gauge/index.ts";
import { seedsOf } from "../seeds.ts";
import { apart, beside, bitsOf, bitsUnder, check, condition, fewer, largest } from "./checks.ts";
import type { Claim, Context } from "./claim.ts";
import { deviation, fineTune } from "./linear.ts";
import { mixture, multiple } from "./mixing.ts";
import { oneStep } from "./one-step.ts";

const run = { steps: 50, dtype: "float32" } as const;
const r = 4;

const adamw = {
  r,
  alpha: 32,
  optimizer: { name: "adamw", lr: 2 ** -10, eps: 2 ** -100, weightDecay: 0 },
} as const satisfies Recipe;

/** AdamW with an eps and a decay that count. */
const decayed: Recipe = {
  ...adamw,
  optimizer: { ...adamw.optimizer, eps: 2 ** -12, weightDecay: 2 ** -6 },
};

/** Alpha, the start of A and both rates, with the same two dials as before: alpha over p q, start and rate of A times p, rate of B times q. */
function sameDials(recipe: Recipe, { a, b, k }: Gauge): Recipe {
  const { lr } = recipe.optimizer;
  const groups = { A: { lr: lr * a }, B: { lr: lr * b } };
  return { ...recipe, alpha: recipe.alpha * k, initScale: { A: a }, groups } as Recipe; // the same optimizer
}

const moves: readonly Gauge[] = [
  [16, 4],
  [1 / 4, 1 / 16],
].map(([a, b]) => ({ a: a!, b: b!, k: 1 / (a! * b!) }));

/** Optimizers that multiply each number of a gradient, or of an average, by a number of its own; gradient descent by 1. */
const diagonal = [
  { name: "sgd", lr: 0.05 },
  { name: "adam", lr: 0.01 },
  { name: "rmsprop", lr: 0.01 },
  { name: "adagrad", lr: 0.05 },
  { name: "lion", lr: 0.01 },
] as const satisfies readonly Recipe["optimizer"][];

const mixedRun = { steps: 10 } as const;

/** Both factors random, so that both can be mixed. */
const withBoth = (optimizer: Recipe["optimizer"]): Recipe =>
  ({ r, alpha: 4, init: "random", optimizer }) as Recipe;

/** How far the losses are from those of the run whose factors start mixed; one that diverges is another run. */
async function apartMixed(recipe: Recipe, mixed: MatrixGauge, seed: number): Promise<number> {
  const { losses } = await fineTune(recipe, { ...mixedRun, seed, mixed });
  const apart = deviation(losses, (await fineTune(recipe, { ...mixedRun, seed })).losses);
  return Number.isNaN(apart) ? Infinity : apart;
}

/** The least of numbers over seeds. */
async function least({ seed, seeds }: Context, measure: (seed: number) => Promise<number>): Promise<number> {
  let found = Infinity;
  for (const each of seedsOf(seed, seeds)) found = Math.min(found, await measure(each));
  return found;
}

const factors = [3, 9, 27];

/** Statements that something changes nothing: laws, each run in numbers. */
export const invariance: readonly Claim[] = [
  {
    id: "N-2",
    statement: "Two dials remain: alpha init_A lr_B, and init_A over lr_A.",
    how: "Linear teacher, 50 steps of AdamW, float32: bits that differ between recipes with the same two dials, of which two have an alpha over 64 and times 64, where eps and decay are all but 0; how many numbers other than eps the library says that they depend on; and how far the loss moves where one dial is turned by 4. With an eps of 2^-12 and a decay of 2^-6 that stay, the difference of the loss.",
    test: async (context) => {
      const without = condition("eps and decay all but 0");
      let bits = 0;
      for (const move of moves) bits += await bitsOf(context, [adamw, sameDials(adamw, move), move], run);
      const few = fewer(context, 4);
      const turned = async (what: string, other: Recipe) =>
        check(
          `difference of the loss, ${what} times 4`,
          await apart(few, adamw, other, run),
          { above: 0.01 },
          without,
        );
      return [
        check(
          "difference of the loss, the same dials, eps and decay as they are",
          await apart(few, decayed, sameDials(decayed, moves[0]!), run),
          { below: 2 ** -40 },
        ),
        check("bits, the same dials", bits, { equals: 0 }, without),
        check(
          "numbers that it depends on, other than eps",
          canonical(adamw).invariants.filter(({ kind }) => kind !== "constant").length,
          { equals: 2 },
          without,
        ),
        await turned("the first dial", { ...adamw, alpha: 4 * adamw.alpha }),
        await turned("the second dial", { ...adamw, alpha: adamw.alpha / 4, initScale: { A: 4 } }),
      ];
    },
  },
  {
    id: "N-33",
    statement: "No diagonal preconditioner is invariant under A to G A, B to B / G.",
    how: "Linear teacher, ten steps in float64 from random A and B, r = 4, and from G A and B / G with random normal G: the least difference of the loss over seeds and SGD, Adam, RMSprop, Adagrad and Lion, relative to the first, which rounding leaves below 1e-12; beside it the largest of LoRA-RITE without damping.",
    test: async (context) => {
      const few = fewer(context, 10);
      const at = async (optimizer: Recipe["optimizer"], seed: number) =>
        apartMixed(withBoth(optimizer), await mixture(r, seed), seed);
      const diagonals = async (seed: number) => {
        let found = Infinity;
        for (const optimizer of diagonal) found = Math.min(found, await at(optimizer, seed));
        return found;
      };
      return [
        check("difference of the loss, the least of five optimizers", await least(few, diagonals), {
          above: 1e-6,
        }),
        check(
          "difference of the loss, LoRA-RITE",
          await largest(few, (seed) => at({ name: "loraRite", lr: 0.05, reg: 0 }, seed)),
          { below: 1e-6 },
          beside("a preconditioner that is no diagonal one"),
        ),
      ];
    },
  },
  {
    id: "N-34",
    statement: "LoRA-Muon takes the same path when A and B are rescaled by 1 to 27.",
    how: "Linear teacher, ten steps in float64 from random A and B, r = 4, and with A times 3, 9 and 27 and B over it: the largest difference of the loss, relative to the first, by LoRA-Muon without damping; beside it with the default damping of 1e-6, and the least of AdamW.",
    test: async (context) => {
      const few = fewer(context, 10);
      const rescaled =
        (optimizer: Recipe["optimizer"], worst: (...xs: number[]) => number) => async (seed: number) => {
          const found: number[] = [];
          for (const factor of factors)
            found.push(await apartMixed(withBoth(optimizer), multiple(r, factor), seed));
          return worst(...found);
        };
      return [
        check(
          "difference of the loss",
          await largest(few, rescaled({ name: "loraMuon", lr: 0.05, reg: 0 }, Math.max)),
          { below: 1e-9 },
        ),
        check(
          "difference of the loss, damped",
          await largest(few, rescaled({ name: "loraMuon", lr: 0.05 }, Math.max)),
          { below: 0.001 },
          beside("the damping, which the start B = 0 needs, does not follow"),
        ),
        check(
          "difference of the loss, AdamW",
          await least(few, rescaled({ name: "adamw", lr: 0.01, weightDecay: 0 }, Math.min)),
          { above: 0.001 },
          beside("an optimizer that takes another path"),
        ),
      ];
    },
  },
  {
    id: "N-37",
    statement: "The Riemannian preconditioner keeps the gauge if its damping follows.",
    how: "Linear teacher, 50 steps, float32, A times 4, B times 8, alpha over 32, rates by the library's rule, and the damping of A times 64, that of B times 16: bits that differ for scaled SGD and scaled AdamW; beside it the difference of the loss of scaled SGD where one damping of 1e-2 stays, as PEFT has it.",
    test: async (context) => {
      const g: Gauge = { a: 4, b: 8, k: 1 / 32 };
      const sgd = {
        r,
        alpha: 8,
        optimizer: { name: "scaledSgd", lr: 2 ** -6, reg: 2 ** -7 },
      } as const satisfies Recipe;
      const adamw = {
        ...sgd,
        optimizer: { name: "scaledAdamw", lr: 2 ** -8, reg: 2 ** -7, weightDecay: 2 ** -6 },
      } as const satisfies Recipe;
      const fixed: Recipe = { ...sgd, optimizer: { ...sgd.optimizer, reg: 1e-2 } };
      const { lr } = sgd.optimizer;
      const stays = {
        ...fixed,
        alpha: fixed.alpha * g.k,
        initScale: { A: g.a },
        groups: { A: { lr: lr * (g.a * g.b) ** 2 }, B: { lr: lr * (g.a * g.b) ** 2 } },
      } as Recipe; // the same optimizer
      return [
        check("bits, scaled SGD", await bitsUnder(context, g, sgd, run), { equals: 0 }),
        check("bits, scaled AdamW", await bitsUnder(context, g, adamw, run), { equals: 0 }),
        check(
          "difference of the loss, one damping stays",
          await apart(fewer(context, 4), fixed, stays, run),
          { above: 0.001 },
          beside("a damping that does not follow"),
        ),
      ];
    },
  },
  {
    id: "N-38",
    statement:
      "With the start from the gradient, the first step is one of full fine-tuning, projected to rank r.",
    how: "Linear layer of 24 inputs and 16 outputs, float64, r = 3, SGD: the change of the weight by LoRA-One's start, whose B A is made of the gradient's first r singular triples, beside that of a step on all weights, cut to rank r; the largest relative distance over seeds. Beside it LoRA-GA, which starts at the weight itself with B of the first r left vectors and A of the next r right ones: its first update without the product of both changes, over the square of the scaling, beside the same step, cut to ranks r and 2 r.",
    test: async (context) => {
      const few = fewer(context, 5);
      const start = await largest(few, async (seed) => (await oneStep(seed)).start);
      const { update } = await oneStep(context.seed);
      return [
        check("distance from the step cut to rank r, LoRA-One", start, { below: 1e-12 }),
        check(
          "distance from the step cut to rank r, LoRA-GA",
          update.cutToR,
          { above: 0.1 },
          beside("a first update, which has twice the rank"),
        ),
        check(
          "distance from the step cut to rank 2 r, LoRA-GA",
          update.cutToTwoR,
          { below: 1e-12 },
          beside("a first update, which has twice the rank"),
        ),
      ];
    },
  },
];
