import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { zerosLike } from "../../tensor/creation.ts";
import { vjp } from "../../tensor/grad.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { type Build, type Expectation, Unsupported } from "./case.ts";
import { boundOf } from "./compare.ts";
import { toTensor } from "./fields.ts";

/** A case of kind `lora_layer`: the output of an adapted linear layer, its gradients, its weight change. */
export const buildLoraLayerCase: Build = (fields, { dtype }) => {
  const kind = fields.text("layer");
  if (kind !== "linear" && kind !== "linear_dropout")
    throw new Unsupported(`the LoRA layer ${kind} is not there yet`);
  const read = (name: string) => toTensor(fields.tensor(name), dtype);

  // With fanInFanOut the file holds matrices in x out; Lorantz keeps out x in.
  const turned = fields.has("fanInFanOut") && fields.boolean("fanInFanOut");
  const stored = (x: Tensor) => (turned ? x.transpose() : x);
  const frozen = { weight: stored(read("weight")) };
  const [outputs, inputs] = frozen.weight.shape as [number, number];
  const base = nn.linear(inputs, outputs, { bias: fields.has("bias") });
  const model = lora.inject(base, {
    r: fields.number("r"),
    alpha: fields.number("alpha"),
    rsLora: fields.boolean("useRslora"),
    targetModules: "all-linear",
  });
  const bias = fields.has("bias") ? { bias: read("bias") } : {};
  const adapter = { loraA: read("loraA"), loraB: read("loraB") };

  const apply = ({ x, bias, adapter }: Varied): Tensor => {
    if (kind === "linear") return model.apply({ ...frozen, ...bias, ...adapter }, x);
    // The mask is given, so the adapter acts alone on the masked input, beside the layer without it.
    const masked = x.mul(read("mask").astype(dtype)).div(1 - fields.number("dropout"));
    const nothing = tree.map({ ...frozen, ...bias }, zerosLike);
    return base.apply({ ...frozen, ...bias }, x).add(model.apply({ ...nothing, ...adapter }, masked));
  };
  const varied: Varied = { x: read("x"), bias, adapter };
  const [output, pull] = vjp(apply, varied);
  const gradients = pull(read("upstream"));

  const bound = boundOf(fields.text("name"), dtype);
  const expectations: Expectation[] = [];
  const expect = (name: string, actual: Tensor) => {
    if (fields.has(name)) expectations.push({ what: name, actual, expected: fields.tensor(name), bound });
  };
  expect("output", output);
  expect("baseOutput", base.apply({ ...frozen, ...bias }, varied.x));
  const merged = lora.merge(model, { ...frozen, ...bias, ...adapter }).weight as Tensor; // of a linear layer
  expect("merged", stored(merged));
  const change = lora.merge(model, { weight: zerosLike(frozen.weight), ...bias, ...adapter })
    .weight as Tensor;
  expect("delta", stored(change));
  const wanted = fields.object("grads");
  for (const [path, actual] of tree.entries(gradients)) {
    const name = path.slice(path.lastIndexOf(".") + 1);
    if (wanted.has(name)) {
      expectations.push({ what: `gradient of ${name}`, actual, expected: wanted.tensor(name), bound });
    }
  }
  return expectations;
};

/** What gradients are taken of. */
interface Varied {
  readonly x: Tensor;
  readonly bias: { readonly bias?: Tensor };
  readonly adapter: { readonly loraA: Tensor; readonly loraB: Tensor };
}
