import {
  anyOf,
  type Field,
  type Fields,
  field,
  flag,
  functionOf,
  integer,
  isPlainObject,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import { type FloatDType, floatDTypes } from "../base/dtype.ts";
import { DTypeError, ValueError } from "../base/errors.ts";
import { checkInt32 } from "../tensor/indices.ts";
import { Key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import type { Initializer } from "./initializers.ts";
import type { AnyLayer, Context } from "./layer.ts";

// Fields of arguments that several layers take.

/** A length of an axis. */
export const size: Field<number> = integer(1);

/** The probability of dropping. */
export const probability: Field<number> = field(
  "a probability from 0 to below 1",
  (p) => typeof p === "number" && p >= 0 && p < 1,
);

/** What layers may need besides parameters and input. */
export const contextFields: Fields<Context> = {
  training: optional(flag),
  key: optional(field("a key such as random.key(0)", (key) => key instanceof Key)),
  watch: optional(functionOf("a function (path, value)")),
};

/** A key of random numbers. */
export const aKey: Field<Key> = field("one such as random.key(0)", (key) => key instanceof Key);

/** A function that makes initial values. */
export const initializer: Field<Initializer> = field(
  "a function (key, shape) => tensor, such as initializers.normal",
  (value) => typeof value === "function",
);

/** A dtype that parameters may have; `checkFloatDType` looks at it afterwards, for an error of its own class. */
export const floatDType: Field<FloatDType> = optional(field("a dtype", () => true));

export const aTensor: Field<Tensor> = field("a tensor", (value) => value instanceof Tensor);

/** A tensor, or none. */
export const optionalTensor: Field<Tensor> = optional(aTensor);

/** An object of tensors of these names. */
export const tensorsOf = <T extends object>(...names: readonly (keyof T & string)[]): Field<T> =>
  field(
    `an object of tensors { ${names.join(", ")} }`,
    (value) => isPlainObject(value) && names.every((name) => value[name] instanceof Tensor),
  );

/** What a layer takes as an object, such as `{ x, state }`. */
export function readInput<X>(layer: string, fields: Fields<X>, given: unknown): X {
  if (isPlainObject(given)) return readOptions(layer, fields, given);
  const parts = Object.keys(fields).join(", ");
  throw new ValueError(`${layer}: the input is ${show(given)}; it is an object of { ${parts} }.`);
}

/** Is that a layer? */
export const isLayer = (value: unknown): value is AnyLayer =>
  typeof (value as AnyLayer | undefined)?.apply === "function" &&
  typeof (value as AnyLayer).init === "function";

export function checkLayer(operation: string, what: string, value: unknown): void {
  if (!isLayer(value))
    throw new ValueError(`${operation}: ${what} is ${show(value)}; it is a layer such as linear(8, 32).`);
}

export function checkTensor(operation: string, what: string, value: Tensor): Tensor {
  if (value instanceof Tensor) return value;
  throw new ValueError(`${operation}: ${what} is ${show(value)}; it is a tensor.`);
}

/** The tensor as int32 indices. */
export function asIndices(operation: string, what: string, tensor: Tensor): Tensor<"int32"> {
  checkInt32(operation, what, tensor);
  return tensor as Tensor<"int32">; // the line above saw to it
}

/** A dtype that parameters may have. */
export function checkFloatDType(operation: string, dtype: FloatDType = "float32"): FloatDType {
  if (floatDTypes.includes(dtype)) return dtype;
  throw new DTypeError(`${operation}: dtype is ${show(dtype)}; parameters are ${anyOf(floatDTypes)}.`);
}
