import { onlyB, type Recipe } from "../../gauge/index.ts";
import { adapterSize } from "../accountant.ts";
import { firstUpdate, updateQuantities } from "../exponents/update.ts";
import { bitsOf, check, exponentOf, near } from "./checks.ts";
import type { Claim } from "./claim.ts";

const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
const width = { over: { n: [64, 256, 1024, 4096] }, start: "randomB", optimizer: adam } as const;

export const loraPlus: readonly Claim[] = [
  {
    id: "S2-1",
    statement: "Rank r on an n x n matrix has 2nr trainable parameters in place of n².",
    how: "The accountant's counts for n = 4096 and r = 8.",
    test: async () => [
      check("trainable parameters", adapterSize(8, { out: 4096, in: 4096 }), { equals: 2 * 4096 * 8 }),
      check("share of n²", adapterSize(8, { out: 4096, in: 4096 }) / 4096 ** 2, { equals: 2 * (8 / 4096) }),
    ],
  },
  {
    id: "S2-2",
    statement: "Gradients processed by AdamW have entries whose size does not depend on n.",
    how: "Exponent in n (64 to 4096) of the mean size of an entry of Adam's first update of A: with eps 1e-8 and gradients of about that size, falling like 1/n as under a loss averaged over n outputs; and with gradients far above eps.",
    test: async (context) => {
      const small = await exponentOf(
        {
          ...width,
          of: (setting) =>
            firstUpdate(
              {
                ...setting,
                alpha: (8e-8 * 64) / setting.n,
                optimizer: { name: "adam", lr: 1e-4, eps: 1e-8 },
              },
              updateQuantities.changeA,
            )(setting.seed),
        },
        context,
      );
      return [
        check("exponent of n, gradients near eps", small, near(0)),
        check(
          "exponent of n, gradients far above eps",
          await exponentOf({ ...width, of: "changeA" }, context),
          near(0, 0.02),
          "gradients far above eps",
        ),
      ];
    },
  },
  {
    id: "S2-3",
    statement:
      "One step changes A z by an order of n times the learning rate, so that the rate of A should fall like 1/n.",
    how: "Exponent in n of the change of A z by Adam's first update, for z the training input, an independent centred one, and one with a common mean; exponent of the largest useful rate of A at a rate of B of 1/8 (n = 256, 1024, 4096).",
    test: async (context) => {
      const under = "z correlated with the training inputs, as hidden states are";
      const slope = (inputs: "training" | "independent" | "commonMean") =>
        exponentOf({ ...width, of: "deltaA", inputs }, context);
      const seeds = Math.max(2, Math.round(context.seeds / 4));
      const best = {
        of: "largestRate",
        rates: { lrB: 1 / 8 },
        over: { n: [256, 1024, 4096] },
        r: 4,
        alpha: 4,
        outputs: 64,
        optimizer: adam,
        seeds,
      } as const;
      return [
        check("change of A z, independent centred z", await slope("independent"), near(1)),
        check("change of A z, training input", await slope("training"), near(1), under),
        check("change of A z, common mean", await slope("commonMean"), near(1), under),
        check("largest useful rate of A", await exponentOf(best, context), near(-1), under),
      ];
    },
  },
  {
    id: "S2-4",
    statement: "B sees a vector of length r: its rate should not depend on n, and fall like 1/r.",
    how: "Exponents of the change of B A z by Adam's first update without scaling: in n (64 to 4096), and in r (4 to 256), on the training input.",
    test: async (context) => [
      check("exponent of n", await exponentOf({ ...width, of: "deltaB" }, context), near(0)),
      check(
        "exponent of r",
        await exponentOf({ ...width, of: "deltaB", over: { r: [4, 16, 64, 256] }, n: 1024 }, context),
        near(1),
      ),
    ],
  },
  {
    id: "S2-8",
    statement: "LoRA+ has one more number, the ratio of the two rates; the rest is LoRA.",
    how: "Linear teacher, 50 steps of AdamW, float32: bits that differ between ratio 1 and LoRA, and between ratio 16 at alpha 4 and ratio 1 at alpha 64 with eps and decay of B times 16.",
    test: async (context) => {
      const recipe = {
        r: 4,
        alpha: 4,
        optimizer: { name: "adamw", lr: 2 ** -8, eps: 2 ** -20, weightDecay: 2 ** -6 },
      } as const satisfies Recipe;
      const ratio = (lambda: number): Recipe => ({
        ...recipe,
        groups: { B: { lr: lambda * recipe.optimizer.lr } },
      });
      const { eps, weightDecay } = recipe.optimizer;
      const scaled: Recipe = {
        ...recipe,
        alpha: 16 * recipe.alpha,
        groups: { B: { eps: 16 * eps, weightDecay: 16 * weightDecay } },
      };
      const run = { steps: 50, dtype: "float32" } as const;
      return [
        check("bits, ratio 1 and LoRA", await bitsOf(context, [recipe, ratio(1), onlyB(1)], run), {
          equals: 0,
        }),
        check(
          "bits, ratio 16 and alpha times 16",
          await bitsOf(context, [ratio(16), scaled, onlyB(16)], run),
          { equals: 0 },
        ),
      ];
    },
  },
];
