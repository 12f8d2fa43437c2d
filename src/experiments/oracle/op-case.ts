import { ValueError } from "../../base/errors.ts";
import { zerosLike } from "../../tensor/creation.ts";
import { grad, vjp } from "../../tensor/grad.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Build, type Expectation, Unsupported } from "./case.ts";
import { boundOf } from "./compare.ts";
import type { OracleDType } from "./engine.ts";
import { composites, scalarFunctions } from "./expressions.ts";
import { type Fields, toTensor } from "./fields.ts";
import { type Operation, operations } from "./operations.ts";

/** A case of kind `op`: the outputs of an operation, and the gradients of its inputs for a given upstream. */
export const buildOpCase: Build = (fields, engine) => {
  const op = fields.text("op");
  const attrs = fields.object("attrs");
  if (op === "hvp") return buildSecondOrder(fields, attrs, engine.dtype);
  const operation = op.startsWith("composite_") ? composite(attrs) : operations[op];
  if (!operation) throw new Unsupported(`the operation ${op} is not known`);
  const bound = boundOf(fields.text("name"), engine.dtype);

  const inputs = fields.tensors("inputs").map((input, i) => {
    if (!input) throw new ValueError(`${fields.place}.inputs[${i}]: expected a tensor; found null.`);
    return toTensor(input, engine.dtype);
  });
  const gradients = fields.has("grads") ? fields.tensors("grads") : inputs.map(() => null);
  if (gradients.length !== inputs.length) {
    throw new ValueError(`${fields.place}.grads: ${gradients.length} entries for ${inputs.length} inputs.`);
  }
  const varied = inputs.map((x, i) => (gradients[i] ? x : undefined));
  const [outputs, pull] = vjp((fresh: typeof varied) => {
    const result = operation(
      inputs.map((x, i) => fresh[i] ?? x),
      attrs,
      engine.dtype,
    );
    return Array.isArray(result) ? (result as Tensor[]) : [result as Tensor]; // isArray does not narrow readonly
  }, varied);

  const references = fields.tensors("outputs");
  if (references.length !== outputs.length) {
    throw new ValueError(
      `${fields.place}: the operation has ${outputs.length} outputs, the case ${references.length}.`,
    );
  }
  const expectations: Expectation[] = [];
  const expect = (
    what: string,
    actual: Tensor | undefined,
    expected: (typeof references)[number] | undefined,
  ) => {
    if (actual && expected) expectations.push({ what, actual, expected, bound });
  };
  outputs.forEach((output, i) => {
    expect(outputs.length > 1 ? `output ${i}` : "output", output, references[i]);
  });
  if (varied.some((x) => x !== undefined)) {
    const upstream = fields.tensors("upstream");
    const cotangents = outputs.map((output, i) => {
      const given = upstream[i];
      return given ? toTensor(given, engine.dtype) : zerosLike(output);
    });
    pull(cotangents).forEach((gradient, i) => {
      expect(`gradient of input ${i}`, gradient, gradients[i]);
    });
  }
  return expectations;
};

function composite(attrs: Fields): Operation {
  const expression = composites[attrs.text("expr")];
  if (!expression) throw new Unsupported(`the expression ${attrs.text("expr")} is not known`);
  return (inputs) => expression(...inputs);
}

/** A scalar function, its gradient, and its Hessian times a vector: the gradient of gradient . v. */
function buildSecondOrder(fields: Fields, attrs: Fields, dtype: OracleDType): Expectation[] {
  const expression = scalarFunctions[attrs.text("expr")];
  if (!expression) throw new Unsupported(`the expression ${attrs.text("expr")} is not known`);
  const [x, v, constant] = fields.tensors("inputs").map((input) => input && toTensor(input, dtype));
  const [value] = fields.tensors("outputs");
  if (!x || !v || !value) throw new ValueError(`${fields.place}: expected inputs x and v and one output.`);
  const f = (point: Tensor) => expression(point, constant ?? point);
  const gradient = grad(f);
  const bound = boundOf(fields.text("name"), dtype);
  return [
    { what: "output", actual: f(x), expected: value, bound },
    { what: "gradient", actual: gradient(x), expected: fields.tensor("gradient"), bound },
    {
      what: "Hessian times v",
      actual: grad((point: Tensor) => gradient(point).mul(v).sum())(x),
      expected: fields.tensor("hvp"),
      bound,
    },
  ];
}
