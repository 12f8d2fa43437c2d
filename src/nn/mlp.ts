import { type Fields, field, optional, readOptions, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { type Activation, activationFunction } from "./activation.ts";
import type { Layer } from "./layer.ts";
import { type LinearOptions, type LinearParams, linear, linearFields } from "./linear.ts";
import { module } from "./module.ts";

export interface MlpOptions extends LinearOptions {
  /** Between the layers, not after the last one. Default gelu. */
  readonly activation?: Activation;
}

const fields: Fields<MlpOptions> = {
  ...linearFields,
  activation: optional(field("a name or a function", () => true)), // activationFunction looks at it
};

/**
 * A multilayer perceptron, `[..., sizes[0]]` to `[..., sizes.at(-1)]`. Its layers are called fc1, fc2, ...
 *
 * @throws ValueError for fewer than two sizes, or sizes that are not integers >= 1.
 * @example
 * const net = mlp([2, 64, 64, 1], { activation: "relu" });
 */
export function mlp(
  sizes: readonly number[],
  given: MlpOptions = {},
): Layer<{ readonly [fc: `fc${number}`]: LinearParams }> {
  const { activation = "gelu", ...options } = readOptions<MlpOptions>("mlp", fields, given);
  if (!Array.isArray(sizes) || sizes.length < 2)
    throw new ValueError(`mlp: sizes are ${show(sizes)}; give at least the inputs and the outputs.`);
  const layers = sizes
    .slice(1)
    .map((outputs, i) => [`fc${i + 1}`, linear(sizes[i]!, outputs, options)] as const);
  const between = activationFunction(activation);
  return module(Object.fromEntries(layers), (bound, x) =>
    Object.values(bound).reduce((y, layer, i) => layer(i === 0 ? y : between(y)), x),
  );
}
