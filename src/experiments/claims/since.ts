import { type Gauge, onlyB, type Recipe } from "../../gauge/index.ts";
import type { Optimizer } from "../../optim/index.ts";
import { seedsOf } from "../seeds.ts";
import { apart, beside, bitsOf, bitsUnder, check, condition, fewer, sizeOverSeeds } from "./checks.ts";
import type { Claim, Context } from "./claim.ts";
import { multiplyAdds } from "./counts.ts";
import { deviation, fineTune } from "./linear.ts";
import { ended, optimizers } from "./low-rank.ts";

const run = { steps: 50, dtype: "float32" } as const;

/** AdamW with the numbers that powers of two leave exact. */
const recipe = {
  r: 4,
  alpha: 32,
  optimizer: { name: "adamw", lr: 2 ** -10, eps: 2 ** -24, weightDecay: 0 },
} as const satisfies Recipe;

/** Rates of A and B, and alpha, times so much, without what eps and decay would need. */
const times = (own: { readonly alpha?: number; readonly a?: number; readonly b?: number }): Recipe => ({
  ...recipe,
  alpha: recipe.alpha * (own.alpha ?? 1),
  groups: {
    A: { lr: recipe.optimizer.lr * (own.a ?? 1) },
    B: { lr: recipe.optimizer.lr * (own.b ?? 1) },
  },
});

/** Alpha 16 times as large. */
const higher = times({ alpha: 16 });

/** Bits that differ between the rate of B 16 times as large and alpha so, with the eps of B that the gauge needs. */
function bitsOfPlus(context: Context): Promise<number> {
  const B = { lr: recipe.optimizer.lr, eps: 16 * recipe.optimizer.eps };
  const partner = { ...higher, groups: { ...higher.groups, B } } as Recipe; // the same optimizer
  return bitsOf(context, [times({ b: 16 }), partner, onlyB(16)], run);
}

const decayed: Recipe = {
  ...recipe,
  optimizer: { ...recipe.optimizer, eps: 2 ** -12, weightDecay: 2 ** -6 },
};

/** What was said of LoRA since the five articles, by its statements with a number. */
export const since: readonly Claim[] = [
  {
    id: "N-1",
    statement: "Under Adam, alpha over p q, A's start and rate times p and B's rate times q change nothing.",
    how: "Linear teacher, 50 steps of AdamW, float32, p = 4, q = 8: bits that differ where eps and decay are all but 0, and the difference of the loss with an eps of 2^-12 and a decay of 2^-6 that stay; bits again where these are divided too.",
    test: async (context) => {
      const g: Gauge = { a: 4, b: 8, k: 1 / 32 };
      const start = { initScale: { A: g.a } };
      const moved = {
        ...decayed,
        ...start,
        alpha: decayed.alpha / 32,
        groups: groupsOf(decayed, g),
      } as Recipe;
      return [
        check(
          "difference of the loss, eps and decay as they are",
          await apart(context, decayed, moved, run),
          {
            below: 2 ** -40,
          },
        ),
        check(
          "bits, eps and decay divided too",
          await bitsUnder(context, g, decayed, run),
          { equals: 0 },
          condition("eps and decay of A over p, of B over q"),
        ),
      ];
    },
  },
  {
    id: "N-3",
    statement: "LoRA+ and a higher alpha are the same move.",
    how: "Linear teacher, 50 steps of AdamW, float32: bits that differ between alpha times 16 and the rate of B times 16, with eps of B times 16 on one side, and the difference of the loss without that.",
    test: async (context) => [
      check(
        "difference of the loss, alpha and the rate of B alone",
        await apart(context, times({ b: 16 }), higher, run),
        { below: 2 ** -40 },
      ),
      check("bits, eps of B too", await bitsOfPlus(context), { equals: 0 }, condition("eps of B follows")),
    ],
  },
  {
    id: "N-4",
    statement: "The best rate of LoRA is about ten times that of full fine-tuning, whatever the width.",
    study: "three-exponents",
  },
  {
    id: "N-5",
    statement: "For runs below 100 steps the best rate is about 15 times that of full fine-tuning.",
    study: "best-rates",
  },
  {
    id: "N-6",
    statement: "From rank 4 to 512 the best rate varies by less than a factor of 2.",
    study: "best-rates",
  },
  {
    id: "N-8",
    statement: "The ratio hidden over 2 alpha of the best rates is contradicted by data.",
    study: "three-exponents",
  },
  {
    id: "N-10",
    statement: "Large batches cost LoRA more than full fine-tuning, at every rank.",
    study: "batches",
  },
  {
    id: "N-11",
    statement: "Plain LoRA equals its variants once the batch is tuned.",
    study: "batches",
  },
  {
    id: "N-12",
    statement:
      "The loss falls along that of full fine-tuning, and leaves it at a point that depends on the rank.",
    study: "memory",
  },
  {
    id: "N-13",
    statement: "The capacity is about two bits a parameter.",
    study: "memory",
  },
  {
    id: "N-16",
    statement: "The best rate is 5e-5 10 (2000 / H)^P with P = 0.781 for Llama and 0.0775 for Qwen.",
    study: "three-exponents",
  },
  {
    id: "N-17",
    statement: "With A random the best rate goes like n^-1/2 r^-(1-g)/2 for a multiplier r^-g.",
    study: "three-exponents",
  },
  {
    id: "N-18",
    statement:
      "With B random and multiplier 1 the best rate goes like 1/n, free of the rank, as that of full fine-tuning.",
    study: "best-rates",
  },
  {
    id: "N-25",
    statement: "The best rate follows the largest eigenvalue of the Hessian.",
    study: "curvature",
  },
  {
    id: "N-28",
    statement: "LoRA leaves singular vectors that the base does not have; full fine-tuning does not.",
    study: "spectra",
  },
  {
    id: "N-29",
    statement: "The change by full fine-tuning has 10 to 100 times the rank.",
    study: "spectra",
  },
  {
    id: "N-31",
    statement:
      "GD, scalar Adam, Muon and Shampoo keep the bias to low ranks; Adam, RMSprop, Lion, signum and Adafactor lose it.",
    how: "Linear teacher of rank 2, 8 samples of 16 inputs, an adapter of full rank whose factors start near 0, float64, 400 steps with half a cosine: the share of the energy of the weight's change behind the first two singular values, of each optimizer that is said to lose the bias, over the larger of gradient descent's and Muon's; the least over seeds, which is to be ten and more. Beside it the largest loss that is reached, over the first. Scalar Adam and Shampoo are not in the library and not tested.",
    test: async (context) => {
      const ratios: Record<string, number> = {};
      let reached = 0;
      for (const seed of seedsOf(context.seed, fewer(context, 7).seeds)) {
        let kept = 0;
        const found = async (optimizer: Optimizer) => {
          const { tail, loss } = await ended(optimizer, seed);
          reached = Math.max(reached, loss);
          return tail;
        };
        for (const optimizer of Object.values(optimizers.keep))
          kept = Math.max(kept, await found(optimizer()));
        for (const [name, optimizer] of Object.entries(optimizers.lose))
          ratios[name] = Math.min(ratios[name] ?? Infinity, (await found(optimizer())) / kept);
      }
      return [
        ...Object.entries(ratios).map(([name, ratio]) =>
          check(`share behind two singular values, ${name} over those that keep the bias`, ratio, {
            above: 10,
          }),
        ),
        check("loss reached, the largest", reached, { below: 0.01 }, beside("whether all have learned")),
      ];
    },
  },
  {
    id: "N-36",
    statement: "LoRA-Muon at rank 32 beats dense training; AdamW beats LoRA-Muon.",
    study: "optimizers",
  },
  {
    id: "N-39",
    statement: "LoRA-GA is two to four times as fast as LoRA.",
    study: "optimizers",
  },
  {
    id: "N-41",
    statement: "Many adapters in one program have up to 12.8 times the throughput.",
    later:
      "The quantity is the throughput that one run leaves unused of a GPU, and no device here leaves any: on two cores eight runs beside each other gained 1.09 to 1.27 times the throughput, on WebGPU in software 1.05, for one run fills both (docs/performance.md, which npm run bench measures). So a measurement here could neither reach 12.8 nor speak against it. What holds on any device is tested: the runs have the bits of single ones.",
    plan: "npm run bench -- --filter 8 runs, on a GPU.",
  },
  { id: "N-7", statement: "Early curves are the same for all ranks at alpha/r.", study: "capacity" },
  {
    id: "N-9",
    statement: "Attention alone is worse than MLP alone at equal parameters, and adds nothing to it.",
    study: "targets",
  },
  { id: "N-14", statement: "B ends with a larger spectral norm than A.", study: "merging" },
  {
    id: "N-15",
    statement: "A matrix costs 2 N² + 6 N R multiply-adds a token with LoRA, against 3 N²: two thirds.",
    how: "What one more matrix adds to the compiled gradient of a chain, N = 256, R = 4: half of the floating-point operations a token, over N²; sums and the scaling of the adapter, a few N, are in it.",
    test: async () => {
      const [N, R] = [256, 4];
      const [all, adapter] = [await multiplyAdds(N, undefined), await multiplyAdds(N, R)];
      const said = 2 + (6 * R) / N;
      return [
        check("multiply-adds a token over N², all weights", all / N ** 2, { between: [3, 3.01] }),
        check("the same, LoRA", adapter / N ** 2, { between: [said, said + 0.01] }),
        check("LoRA over all weights", adapter / all, { between: [said / 3, said / 3 + 0.005] }),
      ];
    },
  },
  { id: "N-20", statement: "A random is better than B random, at rates of their own.", study: "variants" },
  {
    id: "N-22",
    statement: "No learning rate alone replaces an alpha of 256 sqrt(r) at the rate of full fine-tuning.",
    how: "Linear teacher, 50 steps of AdamW, float32, r = 4, so alpha 512: how near the losses of alpha 32 come with both rates times 1, 2, 4, ..., 256; and bits that differ from alpha 32 with the rate of B alone times 16 = 8 sqrt(r). That this alpha is the best one, which the source says too, is not tested.",
    test: async (context) => {
      const nearest = async (seed: number) => {
        const losses = async (of: Recipe) => (await fineTune(of, { ...run, seed })).losses;
        const due = await losses(higher);
        let least = Infinity;
        for (let rate = 1; rate <= 256; rate *= 2)
          least = Math.min(least, deviation(await losses(times({ a: rate, b: rate })), due));
        return least;
      };
      return [
        check("difference of the loss, the nearest common rate", await sizeOverSeeds(context, nearest), {
          above: 0.01,
        }),
        check(
          "bits, LoRA+ of ratio 8 sqrt(r) at alpha 32",
          await bitsOfPlus(context),
          { equals: 0 },
          beside("two rates replace it"),
        ),
      ];
    },
  },
  {
    id: "N-23",
    statement: "A learning rate times 128 diverges where alpha times 256 is stable.",
    how: "Linear teacher of 256 inputs, 50 steps of AdamW, float32, r = 4, alpha 4: the least power of two as a learning rate at which 128 times it leaves a larger loss than there was, and the least at which alpha times 256 does. Between the two, in doublings, the one diverges where the other does not; the least and the largest over seeds. By N-3 alpha moves the rate of B alone, by the size of first updates 1/4096 and 1/1024 are the two, so 2 doublings are expected. Below both neither diverges: it hangs on the rate, which the abstract that the claim was read from does not say.",
    test: async (context) => {
      const diverges = async (
        seed: number,
        { alpha, rate }: { readonly alpha: number; readonly rate: number },
      ) => {
        const recipe: Recipe = { ...times({ a: rate, b: rate }), alpha };
        const { losses } = await fineTune(recipe, { ...run, inputs: 256, seed });
        return !(losses.at(-1)! <= losses[0]!);
      };
      const ranges: number[] = [];
      for (const seed of seedsOf(context.seed, fewer(context, 4).seeds)) {
        const byRate = await leastLog((log) => diverges(seed, { alpha: 4, rate: 128 * 2 ** log }));
        const byAlpha = await leastLog((log) => diverges(seed, { alpha: 4 * 256, rate: 2 ** log }));
        ranges.push(byAlpha - byRate);
      }
      const what = "doublings of the rate in which only the rate times 128 diverges";
      return [
        check(`${what}, the least`, Math.min(...ranges), { above: 0 }),
        check(`${what}, the most`, Math.max(...ranges), { above: 0 }),
      ];
    },
  },
  {
    id: "N-24",
    statement: "Nine variants are within 1 to 2 % once each has its own rate.",
    study: "variants",
  },
  { id: "N-27", statement: "A spectral start gains only by the size of its update.", study: "variants" },
];

/** The least whole number in a range from which on something is so. */
async function leastLog(isSo: (log: number) => Promise<boolean>): Promise<number> {
  let [low, high] = [-6, 10]; // not so, and so
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await isSo(middle)) high = middle;
    else low = middle;
  }
  return high;
}

/** The rates that the rule names, without eps and decay. */
function groupsOf({ optimizer: { lr } }: Recipe, { a, b }: Gauge): Recipe["groups"] {
  return { A: { lr: lr * a }, B: { lr: lr * b } };
}
