import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { zerosLike } from "../../tensor/creation.ts";
import { vjp } from "../../tensor/grad.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { type Build, type Expectation, Unsupported } from "./case.ts";
import { boundOf } from "./compare.ts";
import type { OracleDType } from "./engine.ts";
import { type Fields, toTensor } from "./fields.ts";
import { buildLoraInitCase } from "./lora-init-case.ts";
import { buildMultiAdapterCase } from "./multi-adapter-case.ts";

/** A case of kind `lora_layer`: outputs of an adapted layer, its gradients, its weight change; or initial values. */
export const buildLoraLayerCase: Build = (fields, engine, ...more) => {
  const layer = fields.text("layer");
  switch (layer) {
    case "linear":
    case "linear_dropout":
    case "embedding":
      return buildLayerCase(layer, fields, engine.dtype);
    case "multi_adapter":
      return buildMultiAdapterCase(fields, engine, ...more);
    case "init":
      return buildLoraInitCase(fields, engine, ...more);
    default:
      throw new Unsupported(`the LoRA layer ${layer} is not known`);
  }
};

/** What gradients are taken of; indices have none. */
interface Varied {
  readonly x?: Tensor;
  readonly bias?: Tensor;
  readonly loraA: Tensor;
  readonly loraB: Tensor;
}

function buildLayerCase(
  kind: "linear" | "linear_dropout" | "embedding",
  fields: Fields,
  dtype: OracleDType,
): readonly Expectation[] {
  const read = (name: string) => toTensor(fields.tensor(name), dtype);
  // With fanInFanOut the file holds matrices in x out; Lorantz keeps out x in.
  const turned = fields.has("fanInFanOut") && fields.boolean("fanInFanOut");
  const stored = (x: Tensor) => (turned ? x.transpose() : x);
  const weight = stored(read("weight"));
  const [rows, columns] = weight.shape as [number, number]; // a matrix
  const config = {
    r: fields.number("r"),
    alpha: fields.number("alpha"),
    rsLora: fields.boolean("useRslora"),
  };
  const base =
    kind === "embedding"
      ? nn.embedding(rows, columns)
      : nn.linear(columns, rows, { bias: fields.has("bias") });
  const model = base.kind === "embedding" ? lora.embedding(base, config) : lora.linear(base, config);

  const x = read("x");
  const apply = ({ x: varied = x, ...params }: Varied): Tensor => {
    const whole = { weight, ...params };
    if (kind !== "linear_dropout") return model.apply(whole, varied);
    // The mask is given, so the adapter acts alone on the masked input, beside the layer without it.
    const masked = varied.mul(read("mask").astype(dtype)).div(1 - fields.number("dropout"));
    const { loraA, loraB, ...own } = whole;
    const nothing = tree.map(own, (parameter) => zerosLike(parameter));
    return base.apply(own, varied).add(model.apply({ ...nothing, loraA, loraB }, masked));
  };
  const varied: Varied = {
    ...(kind !== "embedding" && { x }),
    ...(fields.has("bias") && { bias: read("bias") }),
    loraA: read("loraA"),
    loraB: read("loraB"),
  };
  const [output, pull] = vjp(apply, varied);
  const gradients = pull(read("upstream"));

  const bound = boundOf(fields.text("name"), dtype);
  const expectations: Expectation[] = [];
  const expect = (name: string, actual: Tensor) => {
    if (fields.has(name)) expectations.push({ what: name, actual, expected: fields.tensor(name), bound });
  };
  const { x: _, ...trained } = varied;
  const merged = (from: Tensor) => stored(lora.merge(model, { weight: from, ...trained }).weight as Tensor); // of one layer
  expect("output", output);
  expect("baseOutput", base.apply({ weight, ...trained }, x));
  expect("merged", merged(weight));
  expect("delta", merged(zerosLike(weight)));
  const wanted = fields.object("grads");
  for (const [name, actual] of tree.entries(gradients)) {
    if (wanted.has(name)) {
      expectations.push({ what: `gradient of ${name}`, actual, expected: wanted.tensor(name), bound });
    }
  }
  return expectations;
}
