import type { FloatDType } from "../../base/dtype.ts";
import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { codes, nf4Levels, unpackCodes } from "../../tensor/codes.ts";
import { arange, tensor } from "../../tensor/creation.ts";
import { vjp } from "../../tensor/grad.ts";
import { largest, type PackedBlocks, pack, quantise, unpack } from "../../tensor/packed.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import type { Build, Expectation } from "./case.ts";
import { type Bound, boundOf } from "./compare.ts";
import type { OracleDType } from "./engine.ts";
import { type Fields, type Reference, toTensor } from "./fields.ts";

/** A case of kind `nf4`: the levels, a packed tensor, or a LoRA layer on a packed weight. */
export const buildNf4Case: Build = (fields, { dtype }) => {
  const bound = boundOf(fields.text("name"), dtype);
  if (fields.has("levels")) return levels(fields, dtype, bound);
  return fields.has("loraA") ? layer(fields, dtype, bound) : packed(fields, dtype, bound);
};

function levels(fields: Fields, dtype: OracleDType, bound: Bound): Expectation[] {
  const all = (code: keyof typeof codes, count: number) =>
    codes[code].decode(arange(count, { dtype: "uint32" }), dtype);
  return [
    { what: "levels", actual: all("nf4", 16), expected: vector(fields.numbers("levels")), bound },
    {
      what: "quantile construction",
      actual: tensor([...nf4Levels], { dtype }),
      expected: vector(fields.numbers("quantileConstruction")),
      bound: { ...bound, relative: 1e-6 }, // what the published levels were rounded to
    },
    { what: "dynamic8", actual: all("dynamic8", 256), expected: vector(fields.numbers("dynamic8")), bound },
  ];
}

function packed(fields: Fields, dtype: OracleDType, bound: Bound): Expectation[] {
  const input = toTensor(fields.tensor("input"), dtype) as Tensor<FloatDType>; // the file has floats here
  const block = fields.number("block");
  const second = fields.has("code") ? (fields.text("code") === "linear8" ? "int8" : "dynamic8") : "float";
  const made = pack(input, { format: "nf4", block, absmax: second }) as PackedBlocks;
  const indices = unpackCodes(made.nf4 as Tensor<"uint32">, 4, input.size);
  const dequantized = unpack(made);
  const found: Record<string, Tensor> = {
    indices,
    packed: pairs(indices),
    absmax: quantise(input, codes.nf4, block).absmax,
    absmaxDequantized: largest(made),
    dequantized,
  };
  if ("like" in made.absmax) {
    const { absmax: scales, like, int8, dynamic8 } = made.absmax;
    const own = unpackCodes((int8 ?? dynamic8) as Tensor<"uint32">, 8, like.shape[1]!);
    found.scales = scales as Tensor; // double quantisation has no third level
    found.codes = int8 ? own.astype("int32").sub(127) : own;
  }
  const expectations = Object.entries(found)
    .filter(([what]) => fields.has(what))
    .map(([what, actual]) => ({ what, actual, expected: fields.tensor(what), bound }));
  const numbers: Readonly<Record<string, Tensor>> = {
    maxError: input.sub(dequantized).abs().amax(),
    ...("like" in made.absmax && { absmaxMean: made.absmax.offset }),
  };
  for (const [what, actual] of Object.entries(numbers))
    if (fields.has(what))
      expectations.push({
        what,
        actual: actual.reshape([1]),
        expected: vector([fields.number(what)]),
        bound,
      });
  return expectations;
}

/** Two codes to a byte, the first in its upper half, as in the files. */
function pairs(indices: Tensor<"uint32">): Tensor<"uint32"> {
  return indices
    .pad([[0, indices.size % 2]])
    .reshape([-1, 2])
    .mul(tensor([16, 1], { dtype: "uint32" }))
    .sum(1);
}

function layer(fields: Fields, dtype: OracleDType, bound: Bound): Expectation[] {
  const read = (name: string) => toTensor(fields.tensor(name), dtype);
  const weight = pack(read("weight"), { format: "nf4", block: fields.number("block"), absmax: "float" });
  const [outputs, inputs] = fields.tensor("weight").shape as [number, number]; // a matrix
  const config = { r: fields.number("r"), alpha: fields.number("alpha") };
  const model = lora.linear(nn.linear(inputs, outputs, { bias: false }), config);
  const varied = { x: read("x"), loraA: read("loraA"), loraB: read("loraB") };
  const [output, pull] = vjp(({ x, ...own }: typeof varied) => model.apply({ weight, ...own }, x), varied);
  const wanted = fields.object("grads");
  return [
    {
      what: "dequantizedWeight",
      actual: unpack(weight),
      expected: fields.tensor("dequantizedWeight"),
      bound,
    },
    { what: "output", actual: output, expected: fields.tensor("output"), bound },
    ...tree.entries(pull(read("upstream"))).map(([name, actual]) => ({
      what: `gradient of ${name}`,
      actual,
      expected: wanted.tensor(name),
      bound,
    })),
  ];
}

function vector(data: readonly number[]): Reference {
  return { shape: [data.length], dtype: "float", data: Float64Array.from(data) };
}
