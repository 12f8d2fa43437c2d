import { checkArgument, type Fields, optional, readOptions, show } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { checkShape, type Shape } from "../base/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aKey, checkFloatDType, checkTensor, floatDType, initializer } from "./check.ts";
import { type Initializer, zeros } from "./initializers.ts";
import type { Layer } from "./layer.ts";

export interface ParameterOptions {
  /** Initial values. Default zeros. */
  readonly init?: Initializer;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

const fields: Fields<ParameterOptions> = { init: optional(initializer), dtype: floatDType };

/** A tensor among the children of a module, under its own name. */
export interface Parameter extends Layer<Tensor, void, Tensor> {
  readonly kind: "parameter";
}

/**
 * A tensor as a child of a module: its parameters are that tensor, at the child's name, and called without an argument it is
 * the tensor.
 *
 * @throws ShapeError for a shape that is none.
 * @example
 * const scaled = module({ scale: parameter([3], { init: initializers.normal }) }, ({ scale }, x: Tensor) => x.mul(scale()));
 * const params = scaled.init(random.key(0)); // { scale: float32[3] }
 */
export function parameter(shape: Shape, options: ParameterOptions = {}): Parameter {
  const { init = zeros, ...given } = readOptions("parameter", fields, options);
  checkShape("parameter", shape);
  const dtype = checkFloatDType("parameter", given.dtype);
  return {
    kind: "parameter",
    init: (key) => init(checkArgument("parameter", "the key", key, aKey), shape).astype(dtype),
    apply: (value, x) => {
      if (x !== undefined)
        throw new ValueError(`parameter: it takes no input; given ${show(x)}. Call it without an argument.`);
      return checkTensor("parameter", "the value", value as Tensor);
    },
  };
}
