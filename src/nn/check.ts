import type { FloatDType } from "../base/dtype.ts";
import { DTypeError, ValueError } from "../base/errors.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** A length of an axis: an integer >= 1. */
export function checkSize(operation: string, name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value;
  throw new ValueError(`${operation}: ${name} is ${String(value)}; it is an integer >= 1.`);
}

/** The probability of dropping: from 0 to below 1. */
export function checkProbability(operation: string, p: number): number {
  if (typeof p === "number" && p >= 0 && p < 1) return p;
  throw new ValueError(`${operation}: p is ${String(p)}; it is a probability from 0 to below 1.`);
}

/** A finite number above a bound, or at it where `orEqual`. */
export function checkNumber(
  operation: string,
  name: string,
  value: number,
  least: number,
  orEqual: boolean,
): number {
  if (Number.isFinite(value) && (value > least || (orEqual && value === least))) return value;
  throw new ValueError(
    `${operation}: ${name} is ${String(value)}; it is a finite number ${orEqual ? ">=" : ">"} ${least}.`,
  );
}

/** The tensor as int32 indices. */
export function asIndices(operation: string, what: string, tensor: Tensor): Tensor<"int32"> {
  if (tensor.dtype !== "int32")
    throw new DTypeError(`${operation}: ${what} must be int32; given ${tensor}. Cast with .astype("int32").`);
  return tensor as Tensor<"int32">; // the line above saw to it
}

/** A dtype that parameters may have. */
export function checkFloatDType(operation: string, dtype: FloatDType): FloatDType {
  if (dtype === "float16" || dtype === "float32" || dtype === "float64") return dtype;
  throw new DTypeError(
    `${operation}: dtype is ${String(dtype)}; parameters are float16, float32 or float64.`,
  );
}
