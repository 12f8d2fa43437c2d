import { apply, common, type Recipe } from "../../gauge/index.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { schedule } from "../../optim/index.ts";
import * as random from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import {
  adapterParameters,
  adapterSize,
  attention,
  bitsPerWeight,
  block,
  changePercent,
  models,
  nf4,
  nf4Double,
  parameters,
  stateBytes,
} from "../accountant.ts";
import { mergeErrors, severalErrors } from "./algebra.ts";
import { check, sizeOverSeeds } from "./checks.ts";
import type { Claim } from "./claim.ts";
import { bitsApart, fineTune } from "./linear.ts";

const model = models.llama2_7B;
const pair = ["query", "value"] as const;
const everywhere = [...block, "head"] as const;

/** Reported memory in GB and time in hours. */
const reported = {
  lora: { memory: 21.33, hours: 1.85 },
  qlora: { memory: 14.18, hours: 2.79 },
  sgd: { r8: 14.15, r256: 14.46 },
  adamw: { r8: 14.18, r256: 17.86 },
  allLayers: 16.62,
} as const;

const gb = (bytes: number) => bytes / 1e9;

export const tips: readonly Claim[] = [
  {
    id: "S4-2",
    statement: "QLoRA saves 33 % of the memory for 33 % more time: 21.33 to 14.18 GB, 1.85 to 2.79 hours.",
    how: "Arithmetic with the reported figures.",
    test: async () => {
      const { lora, qlora } = reported;
      return [
        check("change of the memory, percent", changePercent(lora.memory, qlora.memory), {
          between: [-34, -33],
        }),
        check("change of the time, percent", changePercent(lora.hours, qlora.hours), { between: [32, 35] }),
        check(
          "change of the time from the longer run to the shorter, percent",
          changePercent(qlora.hours, lora.hours),
          { between: [-35, -33] },
          "the time is taken relative to the longer run",
        ),
      ];
    },
  },
  {
    id: "S4-3",
    statement: "QLoRA stores weights in about four bits (NF4, double quantisation).",
    how: "The accountant's bits for one weight, constants included; the saving of double quantisation for 65B in GB.",
    test: async () => {
      const saved = bitsPerWeight(nf4) - bitsPerWeight(nf4Double);
      return [
        check("bits of a weight, NF4", bitsPerWeight(nf4), { equals: 4.5 }),
        check("bits of a weight, double quantisation", bitsPerWeight(nf4Double), { between: [4.126, 4.128] }),
        check("GB saved at 65B", gb((saved * parameters(models.llama_65B)) / 8), { between: [2.95, 3.1] }),
      ];
    },
  },
  {
    id: "S4-4",
    statement: "A cosine schedule multiplies the learning rate; it says nothing about alpha.",
    how: "Linear teacher, 50 steps of AdamW with a cosine schedule, gauge of factor 16: bits that differ. How much it helps SGD needs a language model.",
    test: async ({ seeds }) => {
      const recipe: Recipe = { r: 4, alpha: 4, optimizer: { name: "adamw", lr: 0.01, eps: 1e-3 } };
      const options = { steps: 50, schedule: schedule.cosine({ tMax: 50 }) };
      let bits = 0;
      for (let seed = 0; seed < seeds; seed++) {
        const reference = await fineTune(recipe, { ...options, seed });
        bits += bitsApart(
          await fineTune(apply<Recipe>(common(16), recipe), { ...options, seed }),
          reference,
          common(16),
        );
      }
      return [check("bits that differ", bits, { equals: 0 })];
    },
  },
  {
    id: "S4-6",
    statement:
      "4,194,304 x 2 x 16 bit = 16.78 MB of Adam state plus overhead explain AdamW's 0.03 GB over SGD at r = 8, and 3.40 GB at r = 256.",
    how: "The accountant's bytes of Adam's state at 16 and 32 bits, beside the reported differences: at r = 8 on query and value, at r = 256 on these and on all layers.",
    test: async () => {
      const at = (r: number, targets: readonly string[]) => adapterParameters(model, r, targets);
      const [small, large] = [reported.adamw.r8 - reported.sgd.r8, reported.adamw.r256 - reported.sgd.r256];
      const of = (count: number, bits: number) => gb(stateBytes(count, { bits }));
      const [few, many, all] = [at(8, pair), at(256, pair), at(256, everywhere)];
      const digit = 0.005; // reported figures have two decimals
      return [
        check("parameters at r = 8", few, { equals: 4_194_304 }),
        check("state of 16 bits at r = 8, MB", 1000 * of(few, 16), { between: [16.77, 16.79] }),
        check("reported difference at r = 8 less the state of 16 bits, GB", small - of(few, 16), {
          between: [-2 * digit, 2 * digit],
        }),
        check(
          "reported difference at r = 8 less the state of 32 bits, GB",
          small - of(few, 32),
          { between: [-2 * digit, 2 * digit] },
          "the state has 32 bits, and there is no overhead",
        ),
        check(
          "reported difference at r = 256 less 16 bits on two projections, GB",
          large - of(many, 16),
          { between: [-0.1, 0.1] },
          "one of these fits at r = 256",
        ),
        check(
          "reported difference at r = 256 less 16 bits on all layers, GB",
          large - of(all, 16),
          { between: [-0.1, 0.1] },
          "one of these fits at r = 256",
        ),
        check(
          "reported difference at r = 256 less 32 bits on all layers, GB",
          large - of(all, 32),
          { between: [-0.1, 0.1] },
          "one of these fits at r = 256",
        ),
      ];
    },
  },
  {
    id: "S4-8",
    statement:
      "LoRA on all layers in place of two has 20,277,248 parameters in place of 4,194,304, a factor of 5, and takes 16.62 GB in place of 14.18.",
    how: "The accountant's counts: query, key, value, output, gate, up, down and the output layer of Llama-2-7B at r = 8, without the embedding; the share of the reported growth that Adam's state of 16 bits explains.",
    test: async () => {
      const [few, all] = [adapterParameters(model, 8, pair), adapterParameters(model, 8, everywhere)];
      const growth = reported.allLayers - reported.adamw.r8;
      return [
        check("parameters of the model", parameters(model), { equals: 6_738_415_616 }),
        check("parameters on two projections", few, { equals: 4_194_304 }),
        check("parameters on all layers", all, { equals: 20_277_248 }),
        check("factor", all / few, { between: [4.5, 5.5] }),
        check(
          "with the embedding, which is not in the figure",
          adapterParameters(model, 8, [...everywhere, "embedding"]),
          { equals: 20_566_016 },
        ),
        check(
          "share of the growth in memory that is Adam's state",
          gb(stateBytes(all - few, { bits: 16 })) / growth,
          { below: 0.05 },
        ),
      ];
    },
  },
  {
    id: "S4-9",
    statement: "4,194,304 parameters are those of key and value; elsewhere: of query and value.",
    how: "The accountant's count at r = 8 for each pair of attention projections: if all are equal, the count tells nothing about which.",
    test: async () => {
      const pairs = attention.flatMap((one, i) => attention.slice(i + 1).map((other) => [one, other]));
      const fitting = pairs.filter((targets) => adapterParameters(model, 8, targets) === 4_194_304);
      return [
        check("pairs with this count, of 6", fitting.length, { equals: 1 }),
        check(
          "pairs with it that the count cannot tell apart",
          fitting.length,
          { equals: 6 },
          "the figure is right for any two projections",
        ),
      ];
    },
  },
  {
    id: "S4-13",
    statement: "A 10,000 x 20,000 matrix at r = 8 takes 240,000 parameters, about 830 times fewer.",
    how: "The accountant's count.",
    test: async () => {
      const count = adapterSize(8, { out: 10_000, in: 20_000 });
      return [
        check("parameters", count, { equals: 240_000 }),
        check("times fewer", 200_000_000 / count, { between: [825, 835] }),
      ];
    },
  },
  {
    id: "S4-14",
    statement: "The weight's change is A B with A of 10,000 x 8; in code it is lora_B @ lora_A.",
    how: "Shapes of this library's A and B for a layer of 20 inputs and 10 outputs at r = 2: axes that agree with the text's, and with the code's.",
    test: async () => {
      const params = lora
        .inject(nn.linear(20, 10), { r: 2, alpha: 2, targetModules: "all-linear" })
        .init(random.key(0));
      const [A, B] = [params.loraA as Tensor, params.loraB as Tensor]; // an adapted linear layer
      const agree = (x: Tensor, shape: readonly number[]) => Number(x.shape.join() === shape.join());
      return [
        check("matrices shaped as in the text (A out x r, B r x in)", agree(A, [10, 2]) + agree(B, [2, 20]), {
          equals: 2,
        }),
        check(
          "matrices shaped as in the code (A r x in, B out x r)",
          agree(A, [2, 20]) + agree(B, [10, 2]),
          { equals: 2 },
          "the code's convention, which is PEFT's and loralib's",
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
        await sizeOverSeeds(context, async (seed) => (await mergeErrors(seed)).outputs),
        { below: 1e-5 },
      ),
      check(
        "error of merging and unmerging, over its bound",
        await sizeOverSeeds(context, async (seed) => (await mergeErrors(seed)).weights),
        { below: 1.000001 },
      ),
    ],
  },
  {
    id: "S4-24",
    statement: "Several adapters may be merged one after another.",
    how: "Two adapters merged in both orders, and as one adapter of the sum of the ranks, float32: largest differences over the largest weight.",
    test: async (context) => [
      check(
        "difference between the orders",
        await sizeOverSeeds(context, async (seed) => (await severalErrors(seed)).order),
        { below: 1e-6 },
      ),
      check(
        "difference from the joined adapter",
        await sizeOverSeeds(context, async (seed) => (await severalErrors(seed)).joined),
        { below: 1e-6 },
      ),
    ],
  },
];
