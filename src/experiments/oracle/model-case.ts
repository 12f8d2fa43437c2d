import { join } from "node:path";
import { ValueError } from "../../base/errors.ts";
import { openSource } from "../../io/index.ts";
import * as lora from "../../lora/index.ts";
import { isTransposed, load } from "../../models/index.ts";
import type { Params } from "../../nn/index.ts";
import { valueAndGrad } from "../../tensor/grad.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { withAdapter } from "./adapter.ts";
import type { Build, Expectation } from "./case.ts";
import { modelBound } from "./compare.ts";
import { type Fields, type Reference, toTensor } from "./fields.ts";
import { column, listed, shiftedLoss, single } from "./tokens.ts";
import { optimizerOf, ratesOf, tune } from "./tuning.ts";

/** A case of kind `model`: a small checkpoint with and without adapters, its gradients, and trainings of adapters. */
export const buildModelCase: Build = async (fields, engine, _others, { directory, progress }) => {
  const { dtype } = engine;
  const file = join(directory, fields.text("checkpoint"));
  const loaded = await load(
    { name: file, find: async (name) => (name === "model.safetensors" ? openSource(file) : undefined) },
    { dtype, config: fields.object("config").values },
  );
  const { model, params } = loaded;
  const [inputIds, labels] = [fields.tensor("inputIds"), fields.tensor("labels")];
  const tokens = toTensor(inputIds, dtype);
  const bound = modelBound(dtype);
  const expectations: Expectation[] = [];
  const expect = (what: string, actual: Tensor, expected: Reference) =>
    expectations.push({ what, actual, expected, bound });
  // GPT-2's linear weights lie in x out in files, and so do their gradients and changes.
  const stored = (path: string, x: Tensor) =>
    isTransposed(model.architecture, path) && x.rank === 2 ? x.transpose() : x;

  const loss = (own: Params) => shiftedLoss(model.apply(own, { tokens }).logits, toTensor(labels, dtype));
  expect("logits", model.apply(params, { tokens }).logits, fields.tensor("logits"));
  const [value, gradients] = valueAndGrad(loss)(params);
  expect("loss", value, single(fields.number("loss")));
  const grads = fields.object("grads");
  for (const [path, gradient] of tree.entries(gradients)) {
    if (grads.has(path)) expect(`gradient of ${path}`, stored(path, gradient), grads.tensor(path));
  }
  sameNames(
    "grads",
    grads.names,
    tree.entries(gradients).map(([path]) => path),
  );

  for (const adapter of fields.objects("adapters")) {
    const name = adapter.text("name");
    const {
      model: adapted,
      own,
      frozen,
    } = await withAdapter(join(directory, adapter.text("path")), loaded, dtype);
    const whole = (trained: Params) => tree.combine<Params>(frozen, trained);
    const logits = (trained: Params) => adapted.apply(whole(trained), { tokens }).logits;
    const adaptedLoss = (trained: Params) => shiftedLoss(logits(trained), toTensor(labels, dtype));
    checkModules(adapter.object("modules"), adapted);
    expect(`${name}: logits`, logits(own), adapter.tensor("logits"));
    const [value, gradients] = valueAndGrad(adaptedLoss)(own);
    expect(`${name}: loss`, value, single(adapter.number("loss")));
    const wanted = adapter.object("grads");
    const byPath = new Map(tree.entries(gradients));
    sameNames(`${name}: grads`, wanted.names.map(pathOf), [...byPath.keys()]);
    for (const key of wanted.names)
      expect(`${name}: gradient of ${key}`, byPath.get(pathOf(key))!, wanted.tensor(key));
    if (tree.count(own) !== adapter.number("trainable"))
      throw new ValueError(
        `${name}: ${tree.count(own)} trained entries, expected ${adapter.number("trainable")}.`,
      );
    const merged = new Map(tree.entries(lora.merge(adapted, whole(own))));
    const weights = adapter.object("merged");
    for (const path of weights.names)
      expect(`${name}: merged ${path}`, stored(path, merged.get(path)!), weights.tensor(path));
    if (adapter.has("training")) {
      const training = adapter.object("training");
      const factors = training.numbers("lrFactors");
      const run = await tune(
        {
          trained: own,
          loss: adaptedLoss,
          optimizer: optimizerOf(training, training.text("optimizer"), ratesOf(training), factors),
          clipNorm: training.has("clipNorm") ? training.number("clipNorm") : undefined,
          steps: training.list("losses").length,
          progress,
        },
        engine,
      );
      expect(`${name}: losses of the training`, column(run.losses), listed(training.numbers("losses")));
      expect(`${name}: norms of gradients`, column(run.norms), listed(training.numbers("gradNorms")));
      expect(`${name}: final logits`, logits(run.trained), training.tensor("finalLogits"));
    }
  }
  return expectations;
};

function sameNames(what: string, wanted: readonly string[], found: readonly string[]): void {
  const missing = wanted.filter((name) => !found.includes(name));
  if (missing.length > 0) throw new ValueError(`${what}: there is no ${missing.join(", ")}.`);
}

/** Rank and scaling of every adapted layer, and no others. */
function checkModules(wanted: Fields, adapted: Parameters<typeof lora.adaptedLayers>[0]): void {
  const found = new Map(lora.adaptedLayers(adapted).map(([path, { adapters }]) => [path, adapters[""]!]));
  if ([...found.keys()].sort().join() !== [...wanted.names].sort().join())
    throw new ValueError(
      `modules: adapted are ${[...found.keys()].join(", ")}, expected ${wanted.names.join(", ")}.`,
    );
  for (const [path, { config, scaling }] of found) {
    const module = wanted.object(path);
    const close = Math.abs(scaling.value - module.number("scaling")) <= 1e-12 * Math.abs(scaling.value);
    if (config.r !== module.number("r") || !close)
      throw new ValueError(
        `modules: ${path} has r ${config.r} and scaling ${scaling.value}, expected ${module.number("r")} and ${module.number("scaling")}.`,
      );
  }
}

/** The path of a parameter that PEFT calls `base_model.model.h.0.q.lora_A.weight`: `h.0.q.loraA`. */
function pathOf(name: string): string {
  return name
    .replace(/^base_model\.model\./, "")
    .replace(/\.weight$/, "")
    .replace(/lora_(embedding_)?([AB])$/, "lora$2");
}
