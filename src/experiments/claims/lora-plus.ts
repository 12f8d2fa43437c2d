import { onlyB, type Recipe } from "../../gauge/index.ts";
import { inject, partition, trainableCount } from "../../lora/index.ts";
import { linear } from "../../nn/index.ts";
import * as random from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { inRank, inTheLimit, inWidth } from "../exponents/theory.ts";
import {
  bitsOf,
  check,
  condition,
  exponentIs,
  exponentOf,
  fewer,
  theory,
  trainedExponent,
} from "./checks.ts";
import type { Claim } from "./claim.ts";

const adam = { name: "adam", lr: 1e-4, eps: 1e-12 } as const;
const widths = [64, 256, 1024, 4096];
const width = { over: { n: widths }, start: "randomB", optimizer: adam } as const;
const ranks = [4, 16, 64, 256];
const rank = { over: { r: ranks }, n: 1024, start: "randomB", optimizer: adam } as const;

const alike = condition("inputs like the training sample's, as hidden states are");

export const loraPlus: readonly Claim[] = [
  {
    id: "S2-1",
    statement: "Rank r on an n x n matrix has 2nr trainable parameters in place of n².",
    how: "What the library trains of a linear layer of n = 4096 with an adapter of r = 8.",
    arithmetic: true,
    test: async () => {
      const n = 4096;
      const model = inject(linear(n, n, { bias: false }), { r: 8, alpha: 8, targetModules: "all-linear" });
      const [adapter, frozen] = partition(model.init(random.key(0)));
      return [
        check("trainable parameters", trainableCount(adapter), { equals: 2 * n * 8 }),
        check(
          "in place of",
          tree.leaves(frozen).reduce((sum, { size }) => sum + size, 0),
          { equals: n ** 2 },
        ),
      ];
    },
  },
  {
    id: "S2-2",
    statement: "Gradients processed by AdamW have entries whose size does not depend on n.",
    how: "Exponent in n (64 to 4096) of the mean size of an entry of Adam's fifth update of A, each from a sample of its own, where gradients fall like 1/n, as under a loss that is averaged over n: with an eps of the size of the gradients, and with a negligible one.",
    test: async (context) => {
      const size = (eps: number, alpha: number) =>
        exponentOf({ ...width, of: "laterChange", alpha, optimizer: { ...adam, eps } }, fewer(context, 5));
      return [
        check("exponent of n, gradients near eps", await size(1e-8, 64 * 8e-8), exponentIs(0)),
        check(
          "exponent of n, gradients far above eps",
          await size(1e-12, 8),
          exponentIs(0),
          condition("gradients far above eps"),
        ),
      ];
    },
  },
  {
    id: "S2-3",
    statement:
      "One step changes A z by an order of n times the learning rate, so that the rate of A should fall like 1/n.",
    how: "Exponent in n (64 to 4096) of the change of A z by Adam's first update, for z the training input, an independent centred one, and one with a common mean; exponent of the largest useful rate of A at a rate of B of 1/8 (n = 256, 1024, 4096) on inputs of six factors.",
    test: async (context) => {
      const change = (inputs: "training" | "independent" | "commonMean") =>
        exponentOf({ ...width, of: "deltaA", inputs }, context);
      const largest = {
        of: "largestRate",
        rates: { lrB: 1 / 8 },
        over: { n: [256, 1024, 4096] },
        r: 4,
        alpha: 4,
        outputs: 64,
        optimizer: adam,
      } as const;
      return [
        check("change of A z, independent centred z", await change("independent"), exponentIs(1)),
        check(
          "change of A z, training input",
          await change("training"),
          theory(inWidth.adamA(widths)),
          alike,
        ),
        check("change of A z, common mean", await change("commonMean"), theory(inTheLimit(1)), alike),
        check(
          "largest useful rate of A",
          await trainedExponent(largest, context),
          theory(inTheLimit(-1)),
          alike,
        ),
      ];
    },
  },
  {
    id: "S2-4",
    statement: "B sees a vector of length r: its rate should not depend on n, and fall like 1/r.",
    how: "Exponents of the change of B A z by Adam's first update without scaling: in n (64 to 4096), and in r (4 to 256), for z the training input and an independent one.",
    test: async (context) => {
      const inN = (inputs: "training" | "independent") =>
        exponentOf({ ...width, of: "deltaB", inputs }, context);
      const inR = (inputs: "training" | "independent") =>
        exponentOf({ ...rank, of: "deltaB", inputs }, context);
      return [
        check("exponent of n, training input", await inN("training"), theory(inWidth.adamB(widths))),
        check(
          "exponent of n, independent input",
          await inN("independent"),
          theory(inWidth.adamBIndependent(widths, 8)),
        ),
        check("exponent of r, independent input", await inR("independent"), exponentIs(1)),
        check("exponent of r, training input", await inR("training"), theory(inRank.adam(ranks)), alike),
      ];
    },
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
