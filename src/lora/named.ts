import { show } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import type { Params, ParamsLike } from "../nn/layer.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { isTensor } from "../tensor/tree.ts";
import { type Adapted, checkName, withActive } from "./inject.ts";
import { baseParams, ownParams, withOwn } from "./layer.ts";
import { mapAdapted } from "./walk.ts";

/**
 * The model in which only the named adapters act; several add up, each with its own scaling, and none leaves the
 * base. Parameters stay as they are: the choice is the model's, and both models can be used side by side.
 *
 * @throws ValueError for a name that the model does not have.
 * @example
 * const config = { r: 2, alpha: 4, targetModules: "all-linear" } as const;
 * const model = lora.injectNamed(nn.linear(8, 4), { english: config, french: config });
 * const english = lora.setAdapter(model, "english");
 */
export function setAdapter<X, Y>(model: Adapted<X, Y>, names: string | readonly string[]): Adapted<X, Y> {
  return withActive(model, known("lora.setAdapter", model, typeof names === "string" ? [names] : names));
}

/**
 * The model in which each sample of a batch has an adapter of its own: sample i, along the first axis of every
 * adapted layer's input, the one at position `choice[i]` of `names`, or none where `choice[i]` is -1. A sample's
 * output is the one it has with that adapter set alone, bit for bit.
 *
 * Every adapter runs on the whole batch, and each sample takes its own result. A choice that changes from batch
 * to batch is an argument of the compiled function; `choice` may be made inside of it.
 *
 * @param choice int32 `[batch]`.
 * @param names Default: all adapters of the model, in order.
 * @throws ValueError for a name that the model does not have; ShapeError for a choice that is not int32 `[batch]`.
 * @example
 * const config = { r: 2, alpha: 4, targetModules: "all-linear" } as const;
 * const model = lora.injectNamed(nn.linear(8, 4), { english: config, french: config });
 * const mixed = lora.perSample(model, tensor([0, 1, -1], { dtype: "int32" }));
 * const y = mixed.apply(model.init(random.key(0)), ones([3, 8]));
 */
export function perSample<X, Y>(
  model: Adapted<X, Y>,
  choice: Tensor,
  names: readonly string[] = model.adapterNames,
): Adapted<X, Y> {
  if (!isTensor(choice) || choice.dtype !== "int32" || choice.rank !== 1)
    throw new ShapeError(
      `lora.perSample: the choice is ${isTensor(choice) ? choice : show(choice)}; expected int32[batch], a position in ${names.map(show).join(", ")} for each sample.`,
    );
  const indices = choice as Tensor<"int32">; // just checked
  return withActive(model, { names: known("lora.perSample", model, names), choice: indices });
}

/**
 * Parameters of `inject` as parameters of `injectNamed`: each adapter moves under a name. Parameters of several
 * runs on one base go together with `tree.combine`.
 *
 * @example
 * const config = { r: 2, alpha: 4, targetModules: "all-linear" } as const;
 * const [alone, both] = [lora.inject(nn.linear(8, 4), config), lora.injectNamed(nn.linear(8, 4), { english: config, french: config })];
 * const params = both.init(random.key(1), lora.nameAdapter(alone, alone.init(random.key(0)), "english"));
 */
export function nameAdapter<P extends ParamsLike<P>>(
  model: Adapted<never, unknown>,
  params: P | Params,
  name: string,
): Params {
  known("lora.nameAdapter", model, [""]);
  checkName("lora.nameAdapter", name);
  return mapAdapted(model, params, (layer, all) => {
    const base = baseParams(layer, all);
    const own = Object.entries(ownParams(all, "")).filter(([key]) => !(key in base));
    return withOwn(base, name, Object.fromEntries(own));
  });
}

/** The names, if the model has them all. */
export function known(
  operation: string,
  model: Pick<Adapted, "adapterNames">,
  names: readonly string[],
): readonly string[] {
  if (!Array.isArray(model?.adapterNames))
    throw new ValueError(
      `${operation}: the model is ${show(model)}; it is one with adapters, such as lora.inject returns.`,
    );
  const { adapterNames } = model;
  if (!Array.isArray(names))
    throw new ValueError(`${operation}: the names are ${show(names)}; they are a list of names of adapters.`);
  for (const [i, name] of names.entries()) {
    if (!adapterNames.includes(name)) {
      const there = adapterNames.map((other) => other || '"" (made by inject)').join(", ");
      throw new ValueError(
        `${operation}: the model has no adapter ${JSON.stringify(name)}. Its adapters are: ${there}.`,
      );
    }
    if (names.indexOf(name) !== i)
      throw new ValueError(
        `${operation}: the adapter ${JSON.stringify(name)} is named twice. Name each once.`,
      );
  }
  return names;
}
