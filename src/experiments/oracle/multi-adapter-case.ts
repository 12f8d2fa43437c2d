import * as lora from "../../lora/index.ts";
import * as nn from "../../nn/index.ts";
import { tensor, zerosLike } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Build, Expectation } from "./case.ts";
import { boundOf } from "./compare.ts";
import { type Reference, toTensor } from "./fields.ts";

/** Several adapters on one linear layer: all active, and combined into one in three ways. */
export const buildMultiAdapterCase: Build = async (fields, { dtype, evaluate }) => {
  const read = (reference: Reference) => toTensor(reference, dtype);
  const weight = read(fields.tensor("weight"));
  const x = read(fields.tensor("x"));
  const [outputs, inputs] = weight.shape as [number, number]; // a matrix

  const adapters = fields.objects("adapters").map((adapter, i) => ({ adapter, name: `adapter${i}` }));
  const model = lora.injectNamed(
    nn.linear(inputs, outputs, { bias: false }),
    Object.fromEntries(
      adapters.map(({ adapter, name }) => {
        const [r, alpha] = [adapter.number("r"), adapter.number("alpha")];
        return [
          name,
          { r, alpha, rsLora: adapter.boolean("useRslora"), targetModules: "all-linear" as const },
        ];
      }),
    ),
  );
  const params = {
    weight,
    ...Object.fromEntries(
      adapters.map(({ adapter, name }) => {
        const [loraA, loraB] = [read(adapter.tensor("loraA")), read(adapter.tensor("loraB"))];
        return [name, { loraA, loraB }];
      }),
    ),
  };
  const weights = Object.fromEntries(adapters.map(({ adapter, name }) => [name, adapter.number("weight")]));
  const combine = (method: "cat" | "linear" | "svd", more: { readonly rank?: number } = {}) =>
    lora.combineAdapters(model, params, { weights, method, ...more });

  const bound = boundOf(fields.text("name"), dtype);
  const expectations: Expectation[] = [];
  const expect = (what: string, actual: Tensor, expected: Reference) =>
    expectations.push({ what, actual, expected, bound });
  /** The combined weight, upon a weight of zero: the change alone. */
  const merged = (made: Awaited<ReturnType<typeof combine>>, from = zerosLike(weight)) =>
    lora.merge(made.model, { ...made.params, weight: from }).weight as Tensor; // of a linear layer

  expect("allActiveOutput", model.apply(params, x), fields.tensor("allActiveOutput"));
  const cat = await combine("cat");
  expect("weightedDelta", merged(cat), fields.tensor("weightedDelta"));
  expect("weightedMerged", merged(cat, weight), fields.tensor("weightedMerged"));
  expect("weightedOutput", cat.model.apply(cat.params, x), fields.tensor("weightedOutput"));
  for (const method of ["cat", "linear"] as const) {
    if (!fields.has(method)) continue;
    const wanted = fields.object(method);
    const made = method === "cat" ? cat : await combine(method);
    for (const name of ["loraA", "loraB"] as const)
      expect(`${method} ${name}`, made.params[name] as Tensor, wanted.tensor(name)); // of the one layer
    if (wanted.has("delta")) expect(`${method} delta`, merged(made), wanted.tensor("delta"));
  }
  const svd = fields.object("svd");
  expect("svd delta", merged(await combine("svd", { rank: svd.number("rank") })), svd.tensor("delta"));
  const { "": singularValues } = await lora.spectrum(cat.model, await evaluate(cat.params));
  expect("singular values", tensor(singularValues!), svd.tensor("singularValues"));
  return expectations;
};
