import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { elu, gelu, geluTanh, leakyRelu, relu, sigmoid, silu, softplus } from "../tensor/functions.ts";
import { type Tensor, tensorNode } from "../tensor/tensor.ts";
import type { Layer } from "./layer.ts";

type ElementwiseFunction = (x: Tensor) => Tensor;

const named = {
  relu,
  leakyRelu: (x) => leakyRelu(x),
  elu: (x) => elu(x),
  gelu,
  geluTanh,
  silu,
  sigmoid,
  softplus,
  tanh: (x) => {
    tensorNode("tanh", "x", x);
    return x.tanh();
  },
} as const satisfies Record<string, ElementwiseFunction>;

/** An activation by its name, or any function that keeps the shape. */
export type Activation = keyof typeof named | ElementwiseFunction;

/** The function of an activation. @throws ValueError for an unknown name. */
export function activationFunction(activation: Activation): ElementwiseFunction {
  if (typeof activation === "function") return activation;
  if (typeof activation !== "string" || !Object.hasOwn(named, activation)) {
    throw new ValueError(
      `activation: there is no ${typeof activation === "string" ? activation : show(activation)}. Give a function, such as those of lorantz/functional, or one of ${Object.keys(named).join(", ")}.`,
    );
  }
  return named[activation];
}

/**
 * An activation as a layer without parameters.
 *
 * @throws ValueError for an unknown name.
 * @example
 * const net = sequential({ up: linear(8, 32), act: activation("tanh"), down: linear(32, 4) });
 */
export function activation(f: Activation): Layer {
  const apply = activationFunction(f);
  return { kind: "activation", init: () => ({}), apply: (_, x) => apply(x) };
}
