import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import {
  adapterParameters,
  adapterSize,
  block,
  changePercent,
  models,
  parameters,
  stateBytes,
} from "../accountant.ts";
import type { Interval } from "../exponents/statistics.ts";
import {
  adapterSizes,
  differing,
  mergedAt,
  mergeErrors,
  type SeveralErrors,
  severalErrors,
} from "./algebra.ts";
import { beside, check, largest, setting } from "./checks.ts";
import type { Claim } from "./claim.ts";
import { example, factors, layers, optimizers, qlora, twoProjections } from "./figures.ts";

const model = models.llama2_7B;
const pair = ["query", "value"] as const;
const everywhere = [...block, "head"] as const;

export const tips: readonly Claim[] = [
  {
    id: "S4-2",
    statement: "QLoRA saves 33 % of the memory for 33 % more time: 21.33 to 14.18 GB, 1.85 to 2.79 hours.",
    how: "Arithmetic with the reported figures.",
    arithmetic: true,
    test: async () => {
      const { lora, qlora: small, saved, slower } = qlora;
      const about = (x: number) => ({ between: [x - 1, x + 1] }) as const;
      return [
        check("change of the memory, percent", changePercent(lora.memory, small.memory), about(-saved)),
        check("change of the time, percent", changePercent(lora.hours, small.hours), about(slower)),
        check(
          "change of the time from the longer run to the shorter, percent",
          changePercent(small.hours, lora.hours),
          about(-slower),
          beside("the time is taken relative to the longer run"),
        ),
      ];
    },
  },
  {
    id: "S4-6",
    statement:
      "4,194,304 x 2 x 16 bit = 16.78 MB of Adam's state, with some overhead, are what AdamW takes over SGD.",
    how: "The accountant's bytes beside the reported differences in GB, whose figures have two decimals: at r = 8 what is left for overhead, and what is if the state has 32 bits; at r = 256, which the article gives without a count, the difference beside state of 16 or 32 bits on two projections or on all layers.",
    arithmetic: true,
    test: async () => {
      const { sgd, adamw } = optimizers;
      const megabytes = (count: number, bits: number) => stateBytes(count, { bits }) / 1e6;
      const difference = (r: "r8" | "r256") => 1000 * (adamw[r] - sgd[r]);
      const rounding = 10; // MB: each of two figures is right to 5
      const few = adapterParameters(model, 8, pair);
      const alternatives = [pair, everywhere].flatMap((targets) =>
        [16, 32].map((bits): Interval => {
          const state = megabytes(adapterParameters(model, 256, targets), bits);
          return [state - rounding, state + rounding];
        }),
      );
      return [
        check("parameters at r = 8", few, { equals: optimizers.parameters }),
        check("state of 16 bits at r = 8, MB", megabytes(few, 16), {
          between: [optimizers.megabytes - 0.005, optimizers.megabytes + 0.005],
        }),
        check("overhead at r = 8 at most, MB", difference("r8") + rounding - megabytes(few, 16), {
          above: 0,
        }),
        check(
          "overhead at r = 8, state of 32 bits, MB",
          difference("r8") - megabytes(few, 32),
          { between: [-rounding, rounding] },
          beside("the state has 32 bits; then no overhead is needed"),
        ),
        check(
          "difference at r = 256, MB",
          difference("r256"),
          { anyOf: alternatives },
          setting("the article's own figures at r = 256, by one of these counts"),
        ),
      ];
    },
  },
  {
    id: "S4-8",
    statement:
      "LoRA on all layers in place of two projections has 20,277,248 parameters in place of 4,194,304, a factor of 5.",
    how: "The accountant's counts: query, key, value, output, gate, up, down and the output layer of Llama-2-7B at r = 8, without the embedding. The memory of 16.62 GB in place of 14.18, and the quality, need the model itself.",
    arithmetic: true,
    test: async () => {
      const [few, all] = [adapterParameters(model, 8, pair), adapterParameters(model, 8, everywhere)];
      return [
        check("parameters of the model", parameters(model), { equals: layers.model }),
        check("parameters on two projections", few, { equals: layers.two }),
        check("parameters on all layers", all, { equals: layers.all }),
        check("factor", all / few, { between: [layers.factor - 0.5, layers.factor + 0.5] }),
      ];
    },
  },
  {
    id: "S4-9",
    statement: "The 4,194,304 parameters are those of key and value; elsewhere: of query and value.",
    how: "The accountant's count at r = 8 for each pair that is named, and how many pairs are named for the one experiment.",
    arithmetic: true,
    test: async () => {
      const named = new Set(twoProjections.map((targets) => [...targets].sort().join(" and ")));
      const right = beside("any two projections have this count, which cannot tell which they were");
      return [
        check("pairs that the article names for one experiment", named.size, { equals: 1 }),
        ...twoProjections.map((targets) =>
          check(
            `parameters of ${targets.join(" and ")}`,
            adapterParameters(model, 8, targets),
            { equals: layers.two },
            right,
          ),
        ),
      ];
    },
  },
  {
    id: "S4-13",
    statement: "A 10,000 x 20,000 matrix at r = 8 takes 240,000 parameters, about 830 times fewer.",
    how: "The accountant's count, and the library's of a layer of that size.",
    arithmetic: true,
    test: async () => {
      const { out, in: inputs, r } = example;
      const [adapter] = lora.partition(exampleLayer());
      const count = adapterSize(r, example);
      return [
        check("parameters", count, { equals: example.parameters }),
        check("parameters that the library trains", lora.trainableCount(adapter), {
          equals: example.parameters,
        }),
        check("times fewer", (out * inputs) / count, { between: [example.fewer - 5, example.fewer + 5] }),
      ];
    },
  },
  {
    id: "S4-14",
    statement: "The weight's change is A B with A of 10,000 x 8; in code it is lora_B @ lora_A.",
    how: "The library merges B A, as the code does: entries of the change that are not those of the product. Entries of A and B of a layer of that size whose shapes are those of the text.",
    arithmetic: true,
    test: async () => {
      const { loraA, loraB } = exampleLayer() as { loraA: Tensor; loraB: Tensor }; // an adapted linear layer
      const { change, product } = await mergedAt(adapterSizes.r);
      const agree = (x: Tensor, shape: readonly number[]) => Number(x.shape.join() === shape.join());
      const code = beside("the code's convention, which is PEFT's and loralib's");
      return [
        check(
          "matrices shaped as in the text, if the change is the code's",
          agree(loraA, factors.A) + agree(loraB, factors.B),
          {
            equals: 2,
          },
        ),
        check(
          "matrices shaped as in the text with the names exchanged",
          agree(loraB, factors.A) + agree(loraA, factors.B),
          { equals: 2 },
          code,
        ),
        check(
          "entries of the change other than lora_B @ lora_A",
          differing(change, product),
          { equals: 0 },
          code,
        ),
      ];
    },
  },
  {
    id: "S4-23",
    statement: "An adapter is merged by adding (B A) scaling to the weight.",
    how: "Two-layer model, random adapters, float32: largest difference between the outputs of the merged and the adapted model over the largest output; largest difference of a weight that was merged and unmerged, over half a unit of the sum plus half of its own.",
    test: async (context) => [
      check(
        "difference of outputs",
        await largest(context, async (seed) => (await mergeErrors(seed)).outputs),
        { below: 1e-5 },
      ),
      check(
        "error of merging and unmerging, over its bound",
        await largest(context, async (seed) => (await mergeErrors(seed)).weights),
        { below: 1.000001 },
      ),
    ],
  },
  {
    id: "S4-24",
    statement: "Several adapters may be merged one after another.",
    how: "Two adapters of different rank and alpha merged by the library in both orders, as one combined adapter, and added up without it, float32: largest differences over the largest weight.",
    test: async (context) => {
      const error = (which: keyof SeveralErrors) =>
        largest(context, async (seed) => (await severalErrors(seed))[which]);
      return [
        check("difference between the orders", await error("order"), { below: 1e-6 }),
        check("difference from the combined adapter", await error("joined"), { below: 1e-6 }),
        check("difference from the sum of the products", await error("sum"), { below: 1e-6 }),
      ];
    },
  },
];

/** Parameters of a layer of the example's size, which are never computed. */
function exampleLayer(): nn.Params {
  const { out, in: inputs, r } = example;
  return lora
    .inject(nn.linear(inputs, out, { bias: false }), { r, alpha: r, targetModules: "all-linear" })
    .init(random.key(0));
}
