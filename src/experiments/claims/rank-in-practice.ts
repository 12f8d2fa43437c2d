import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { adamw } from "../../optim/index.ts";
import * as random from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { adapterParameters, models, packedCount, parameters, trainingBytes } from "../accountant.ts";
import { scanRates } from "../exponents/rates.ts";
import { defaultSetting } from "../exponents/setting.ts";
import { fitLine } from "../exponents/statistics.ts";
import { adapterSizes, differing, mergedAt } from "./algebra.ts";
import { beside, check, fewer, sizeOverSeeds } from "./checks.ts";
import type { Claim } from "./claim.ts";
import { quantised } from "./figures.ts";

export const rankInPractice: readonly Claim[] = [
  {
    id: "S1-1",
    statement:
      "Rank 256 adds about 3 % of trainable parameters to LLaMA-13B in 4 bits, which has 6.6B parameters since quantisation halves them.",
    how: "The accountant: rank 256 on query and value of LLaMA-13B, over its parameters, and over the elements of its tensors with two 4-bit weights stored in a byte.",
    arithmetic: true,
    test: async () => {
      const model = models.llama_13B;
      const trained = adapterParameters(model, 256, ["query", "value"]);
      const { logical, stored } = packedCount(model, 4);
      const billions = { between: [quantised.stored - 0.1, quantised.stored + 0.1] } as const;
      const percent = { between: [quantised.percent - 0.5, quantised.percent + 0.5] } as const;
      const packed = beside("two packed weights counted as one parameter");
      return [
        check("parameters of the 4-bit model, billions", logical / 1e9, billions),
        check("percent trainable, of the parameters", (100 * trained) / parameters(model), percent),
        check("stored elements, billions", stored / 1e9, billions, packed),
        check(
          "percent trainable, of stored elements and adapter",
          (100 * trained) / (stored + trained),
          percent,
          packed,
        ),
      ];
    },
  },
  {
    id: "S1-5",
    statement: "New content needs a higher rank.",
    how: "Regression of width 64 with six-factor inputs and a target of rank 4: the loss that rank 4 reaches in 100 steps of Adam at the best common rate, relative to the start, and how many times larger that of rank 2 is.",
    test: async (context) => {
      const reached = async (r: number, seed: number) => {
        const setting = { ...defaultSetting, n: 64, outputs: 32, r, alpha: r, seed };
        const { losses } = await scanRates(setting, "tied", { targetRank: 4, steps: 100 });
        return Math.min(...losses.filter(Number.isFinite));
      };
      const few = fewer(context, 2);
      return [
        check("loss reached by rank 4", await sizeOverSeeds(few, (seed) => reached(4, seed)), {
          below: 0.01,
        }),
        check(
          "loss of rank 2 over that of rank 4",
          await sizeOverSeeds(few, async (seed) => (await reached(2, seed)) / (await reached(4, seed))),
          { above: 10 },
        ),
      ];
    },
  },
  {
    id: "S1-7",
    statement: "The rank drives memory directly.",
    how: "Bytes of A, B and Adam's state that training a two-layer model holds for r = 4, 16 and 64: beside the accountant's, and the slope of their logarithm over that of r. What does not grow with r, weights and activations, is not in it.",
    test: async () => {
      const ranks = [4, 16, 64];
      const held: number[] = [];
      let difference = 0;
      for (const r of ranks) {
        const model = lora.inject(nn.mlp([96, 128, 64]), { r, alpha: 8, targetModules: "all-linear" });
        const [adapter] = lora.partition(model.init(random.key(0)));
        const { step: _step, ...slots } = adamw({ lr: 1e-3 }).init(adapter);
        const bytes = await Promise.all(
          tree.leaves([adapter, slots]).map(async (leaf) => (await leaf.data()).byteLength),
        );
        held.push(bytes.reduce((a, b) => a + b, 0));
        const { parameters: own, state } = trainingBytes(lora.trainableCount(adapter));
        difference += Math.abs(held.at(-1)! - own - state);
      }
      return [
        check("bytes by which the accountant is wrong", difference, { equals: 0 }),
        check("exponent of the bytes in r", fitLine(ranks.map(Math.log), held.map(Math.log)).slope, {
          between: [1 - 1e-12, 1 + 1e-12],
        }),
      ];
    },
  },
  {
    id: "S1-9",
    statement: "With alpha = r the adapter is merged as it is; with alpha = 2r twice.",
    how: "The library merges a random adapter, float32: entries of the merged weight that are not W0 + B A at alpha = r; entries merged into a weight of zeros, which rounds nothing, that are not B A at alpha = r, and not 2 B A at 2r.",
    test: async () => {
      const { r } = adapterSizes;
      const [one, two] = [await mergedAt(r), await mergedAt(2 * r)];
      return [
        check("entries other than W0 + B A", differing(one.merged, one.sum), { equals: 0 }),
        check("entries of the change other than B A, alpha = r", differing(one.change, one.product), {
          equals: 0,
        }),
        check(
          "entries of the change other than 2 B A, alpha = 2r",
          differing(
            two.change,
            one.product.map((x) => 2 * x),
          ),
          { equals: 0 },
        ),
      ];
    },
  },
  {
    id: "S1-10",
    statement: "A larger alpha amplifies everything, not only what is wanted.",
    how: "The library merges an adapter, trained as it may be, with alpha = 3 and with 24 into a weight of zeros, which rounds nothing, and runs it on inputs: entries of the weight's change that are not 3/r B A at alpha = 3, and entries of it and of the layer's outputs that are not multiplied by 8 at 24. If all are, its singular directions stay and its norms grow alike.",
    test: async () => {
      const [small, large] = [await mergedAt(3), await mergedAt(24)];
      const eightfold = (xs: readonly number[]) => xs.map((x) => 8 * x);
      const scaled = small.product.map((x) => Math.fround((3 / adapterSizes.r) * x));
      return [
        check("entries of the change other than 3/r B A", differing(small.change, scaled), { equals: 0 }),
        check("entries of the change not multiplied by 8", differing(large.change, eightfold(small.change)), {
          equals: 0,
        }),
        check("outputs not multiplied by 8", differing(large.outputs, eightfold(small.outputs)), {
          equals: 0,
        }),
      ];
    },
  },
];
