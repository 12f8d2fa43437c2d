import { ValueError } from "../../base/errors.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Build, type Expectation, modelOf } from "./case.ts";
import { modelBound, roundedBound } from "./compare.ts";
import type { Fields } from "./fields.ts";
import { idTensor, integers, listed, readText, single } from "./tokens.ts";

/** The cases of a file of kind `llama_golden`: greedy texts from BOS and from prompts, and losses of texts. */
export function goldenCases(content: Fields): readonly Fields[] {
  return [
    ...(content.has("greedyFromBos") ? [content.object("greedyFromBos").named("greedy from BOS")] : []),
    ...content.objects("prompts").map((prompt, i) => prompt.named(`prompt ${i}`)),
    ...content.objects("losses").map((text) => text.named(`loss of ${text.text("name")}`)),
  ];
}

/** Logits, and the tokens that are likeliest after every one of the text itself. */
export const buildGoldenCase: Build = async (fields, engine, _others, around) => {
  const { model, params } = modelOf(around);
  const ids = fields.has("promptIds")
    ? [...fields.numbers("promptIds"), ...fields.numbers("greedyIds")]
    : fields.numbers("ids");
  const logitsOf = (tokens: Tensor<"int32">) => model.apply(params, { tokens }).logits;
  const { logits, likeliest, loss } = await readText(engine, model.architecture, logitsOf, ids);
  const vocabulary = logits.shape[2]!;
  const at = (position: number) => logits.slice([0, position], [1, position + 1]).reshape([vocabulary]);
  const rounded = engine.dtype === "float64" ? { relative: 1e-7, floor: 1e-3 } : modelBound(engine.dtype);
  const expectations: Expectation[] = [];
  if (fields.has("predicted")) {
    expectations.push({
      what: "loss",
      actual: loss,
      expected: single(fields.number("loss")),
      bound: modelBound(engine.dtype),
    });
    return expectations;
  }
  const prompt = fields.has("promptIds") ? fields.list("promptIds").length : 1;
  expectations.push({
    what: "the likeliest tokens",
    actual: likeliest.reshape([likeliest.size]).slice([prompt - 1], [ids.length - 1]),
    expected: integers(ids.slice(prompt)),
    bound: rounded,
  });
  for (const [name, position] of [
    ["firstPositionLogits", 0],
    ["lastPromptPositionLogits", prompt - 1],
    ["lastPositionLogits", ids.length - 1],
  ] as const) {
    if (fields.has(name))
      expectations.push({
        what: name,
        actual: at(position),
        expected: listed(fields.numbers(name)),
        bound: rounded,
      });
  }
  return expectations;
};

/** Where the intermediate values of a GPT-2 are, by their names in a file of kind `gpt2_forward`. */
const hidden: Readonly<Record<string, string>> = {
  embed: "transformer.embedded",
  ln_f: "transformer.ln_f",
};
const ofBlock: Readonly<Record<string, string>> = {
  ln_1: "ln_1",
  c_attn: "attn.c_attn",
  attention_probabilities: "attn.weights",
  attention_output: "attn.attended",
  c_proj: "attn.c_proj",
  ln_2: "ln_2",
  c_fc: "mlp.c_fc",
  gelu: "mlp.act",
  mlp: "mlp",
};

/** A case of kind `gpt2_forward`: every intermediate value of a forward pass. */
export const buildIntermediates: Build = (fields, engine, _others, around) => {
  const { model, params } = modelOf(around);
  const seen = new Map<string, unknown>();
  const tokens = idTensor(fields.list("inputIds") as readonly (readonly number[])[]);
  const { logits } = model.apply(params, { tokens }, { watch: (path, value) => seen.set(path, value) });
  const at = (path: string): Tensor => {
    const value = seen.get(path) as Tensor | { readonly x: Tensor } | undefined; // a tensor, or what a block passes on
    if (value === undefined)
      throw new ValueError(`there is no ${path}; there are ${[...seen.keys()].join(", ")}.`);
    return "x" in value ? value.x : value;
  };
  const expectations: Expectation[] = [];
  const expect = (what: string, actual: Tensor, expected: Expectation["expected"], bound = roundedBound) =>
    expectations.push({ what, actual, expected, bound });
  const whole = fields.object("hidden");
  for (const name of whole.names) {
    const block = /^block(\d+)$/.exec(name)?.[1];
    expect(name, at(block === undefined ? hidden[name]! : `transformer.h.${block}`), whole.tensor(name));
  }
  const first = fields.object("block0_sequence0");
  for (const name of first.names) {
    const value = at(`transformer.h.0.${ofBlock[name]}`);
    expect(`${name} of block 0`, value.slice([0], [1]).reshape(value.shape.slice(1)), first.tensor(name));
  }
  expect("logits", logits, fields.tensor("logits"));
  expect("logits64", logits, fields.tensor("logits64"), modelBound(engine.dtype));
  return expectations;
};
