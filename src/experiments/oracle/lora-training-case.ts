import { ValueError } from "../../base/errors.ts";
import * as lora from "../../lora/index.ts";
import type { Params } from "../../nn/index.ts";
import { tensor } from "../../tensor/creation.ts";
import { key } from "../../tensor/random.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { type Build, type Expectation, modelOf } from "./case.ts";
import { trainingBound } from "./compare.ts";
import type { OracleDType } from "./engine.ts";
import type { Fields } from "./fields.ts";
import { column, idTensor, listed, shiftedLoss, single } from "./tokens.ts";
import { checksums, optimizerOf, ratesOf, tune } from "./tuning.ts";

/** A case of kind `llama_lora_training`: updates of adapters on a checkpoint, from initial values made of a seed. */
export const buildLoraTrainingCase: Build = async (fields, engine, _others, around) => {
  const { model, params } = modelOf(around);
  const { dtype } = engine;
  const batch = around.content.object("batches").object(fields.text("batch"));
  const rows = (name: string) => idTensor(batch.list(name) as readonly (readonly number[])[]);
  const [tokens, labels] = [rows("inputIds"), rows("labels")];
  const adapted = lora.inject(model, {
    r: fields.number("r"),
    alpha: fields.number("alpha"),
    rsLora: fields.boolean("useRslora"),
    targetModules: fields.texts("targets"),
    rankPattern: pattern(fields, "rankPattern"),
    alphaPattern: pattern(fields, "alphaPattern"),
  });
  const divisor = fields.has("bDivisor") ? fields.number("bDivisor") : undefined;
  const [own] = lora.partition(adapted.init(key(0), params));
  const start = tree.map(own, (leaf, path) =>
    initial(leaf, path, fields.text("seed"), divisor, dtype),
  ) as Params;
  const logits = (trained: Params) => adapted.apply(tree.combine<Params>(params, trained), { tokens }).logits;
  const loss = (trained: Params) => shiftedLoss(logits(trained), labels);

  const optimizer = fields.object("optimizer");
  const factors = fields.has("lrFactors") ? fields.numbers("lrFactors") : undefined;
  const run = await tune(
    {
      ...{ trained: start, loss, steps: fields.number("steps"), progress: around.progress },
      optimizer: optimizerOf(optimizer, optimizer.text("name"), ratesOf(fields), factors),
      clipNorm: fields.has("clipNorm") ? fields.number("clipNorm") : undefined,
    },
    engine,
  );

  const last = (batch.numbers("lengths")[0] ?? 0) - 1;
  const vocabulary = model.architecture.vocabulary;
  // Together here, by a program that cases share: of all cases at once it would be one of thousands of kernels.
  const reached = await engine.evaluate({
    loss: loss(run.trained),
    logits: logits(run.trained)
      .slice([0, last], [1, last + 1])
      .reshape([vocabulary]),
  });

  const bound = trainingBound(dtype);
  const expectations: Expectation[] = [];
  const expect = (what: string, actual: Tensor, expected: Expectation["expected"], within = bound) =>
    expectations.push({ what, actual, expected, bound: within });
  expect("losses", column(run.losses), listed(fields.numbers("losses")));
  expect("norms of gradients", column(run.norms), listed(fields.numbers("gradNorms")));
  expect("final loss", reached.loss, single(fields.number("finalLoss")));
  const compareSums = async (what: string, actual: Params, wanted: Fields) => {
    const found = new Map(tree.entries(actual).map(([path, leaf]) => [nameOf(path), leaf]));
    for (const name of wanted.names) {
      const leaf = found.get(name);
      if (leaf) {
        const { sums, size } = await checksums(leaf);
        const floor = dtype === "float32" ? Math.max(bound.floor, size) : bound.floor;
        expect(`${what} of ${name}`, sums, listed(wanted.numbers(name)), { ...bound, floor });
      } else throw new ValueError(`${wanted.place}: ${name} is not trained.`);
    }
  };
  await compareSums("initial checksums", start, fields.object("initialChecksums"));
  for (const [t, gradients] of run.gradients.entries())
    await compareSums(
      `checksums of gradient ${t}`,
      gradients,
      fields.object("gradChecksums").object(String(t)),
    );
  await compareSums("final checksums", run.trained, fields.object("finalChecksums"));
  const final = fields.object("final");
  for (const [path, leaf] of tree.entries(run.trained))
    if (final.has(nameOf(path))) expect(`final ${nameOf(path)}`, leaf, final.tensor(nameOf(path)));
  expect("last logits", reached.logits, listed(fields.numbers("lastLogits")));
  return expectations;
};

const pattern = (fields: Fields, name: string) =>
  fields.has(name)
    ? Object.fromEntries(fields.object(name).names.map((key) => [key, fields.object(name).number(key)]))
    : {};

/** The name of a trained tensor in reference files: that of PEFT. */
function nameOf(path: string): string {
  return path.replace(/lora([AB])$/, "lora_$1");
}

/** Initial values that everybody can make: a linear congruential generator from a hash of the seed and the name. */
function initial(
  leaf: Tensor,
  path: string,
  seed: string,
  divisor: number | undefined,
  dtype: OracleDType,
): Tensor {
  const name = nameOf(path);
  const isB = name.endsWith("lora_B");
  const values = new Float64Array(leaf.size);
  if (!isB || divisor !== undefined) {
    let h = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(`${seed}:${name}`)) h = Math.imul(h ^ byte, 0x01000193) >>> 0;
    for (let i = 0; i < values.length; i++) {
      h = (Math.imul(h, 1664525) + 1013904223) >>> 0;
      values[i] = (((h >>> 16) % 255) - 127) / (isB ? divisor! : 1024);
    }
  }
  return tensor(values, { shape: leaf.shape, dtype });
}
