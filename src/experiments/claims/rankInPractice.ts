import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { adamw } from "../../optim/index.ts";
import * as random from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { adapterParameters, models, packedCount, parameters, trainingBytes } from "../accountant.ts";
import { scanRates } from "../exponents/rates.ts";
import { defaultSetting } from "../exponents/setting.ts";
import { fitLine } from "../exponents/statistics.ts";
import { alphaAfterTraining } from "./algebra.ts";
import { check, sizeOverSeeds } from "./checks.ts";
import type { Claim } from "./claim.ts";

export const rankInPractice: readonly Claim[] = [
  {
    id: "S1-1",
    statement:
      "Rank 256 adds about 3 % of trainable parameters to LLaMA-13B in 4 bits, which has 6.6B parameters since quantisation halves them.",
    how: "The accountant: rank 256 on query and value of LLaMA-13B, over its parameters, and over the elements of its tensors with two 4-bit weights stored in a byte.",
    test: async () => {
      const model = models.llama_13B;
      const trained = adapterParameters(model, 256, ["query", "value"]);
      const { logical, stored } = packedCount(model, 4);
      const under = "two packed weights counted as one parameter";
      return [
        check("parameters, billions", logical / 1e9, { between: [6, 7] }),
        check("percent trainable, of the parameters", (100 * trained) / parameters(model), {
          between: [2.5, 3.5],
        }),
        check("stored elements, billions", stored / 1e9, { between: [6, 7] }, under),
        check(
          "percent trainable, of the stored elements and the adapter",
          (100 * trained) / (stored + trained),
          { between: [2.5, 3.5] },
          under,
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
      const few = { ...context, seeds: Math.max(2, Math.round(context.seeds / 4)) };
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
    how: "Bytes of A, B and Adam's state of a model's adapters for r = 4, 16 and 64: those of the tensors that training holds beside the accountant's, and the slope of the latter's logarithm over that of r. What does not grow with r, weights and activations, is not in it.",
    test: async () => {
      const ranks = [4, 16, 64];
      const counted: number[] = [];
      let difference = 0;
      for (const r of ranks) {
        const model = lora.inject(nn.mlp([96, 128, 64]), { r, alpha: 8, targetModules: "all-linear" });
        const [adapter] = lora.partition(model.init(random.key(0)));
        const { step: _step, ...slots } = adamw({ lr: 1e-3 }).init(adapter);
        const held = await Promise.all(
          tree.leaves([adapter, slots]).map(async (leaf) => (await leaf.data()).byteLength),
        );
        const { parameters: own, state, total } = trainingBytes(lora.trainableCount(adapter));
        counted.push(total);
        difference += Math.abs(held.reduce((a, b) => a + b, 0) - own - state);
      }
      return [
        check("bytes by which the accountant is wrong", difference, { equals: 0 }),
        check("exponent of the bytes in r", fitLine(ranks.map(Math.log), counted.map(Math.log)).slope, {
          between: [1 - 1e-12, 1 + 1e-12],
        }),
      ];
    },
  },
  {
    id: "S1-9",
    statement: "With alpha = r the adapter is merged as it is; with alpha = 2r twice.",
    how: "Entries of the merged weight that are not W0 + BA at alpha = r, and entries of the change that are not doubled at 2r; float32.",
    test: async () => {
      const { merged, apart } = await alphaAfterTraining(2);
      return [
        check("entries other than W0 + BA", merged, { equals: 0 }),
        check("entries of the change not doubled", apart, { equals: 0 }),
      ];
    },
  },
  {
    id: "S1-10",
    statement: "A larger alpha amplifies everything, not only what is wanted.",
    how: "Entries of the weight's change that are not multiplied by 8 when alpha is, after training: if all are, its singular directions stay and its norms grow alike.",
    test: async () => [
      check("entries not multiplied by 8", (await alphaAfterTraining(8)).apart, { equals: 0 }),
    ],
  },
];
