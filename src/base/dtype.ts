import { DTypeError } from "./errors.ts";

/** Element types of tensors that live on a device. `float64` exists on the CPU only. */
export type DeviceDType = "float32" | "float64" | "int32" | "uint32" | "bool";

/**
 * All element types. `number` is a JavaScript number known on the host (rank 0, float64): a literal, a
 * learning rate, a step count. It takes the dtype of the tensor that it meets.
 */
export type DType = DeviceDType | "number";

export type FloatDType = "float32" | "float64";

export const deviceDTypes: readonly DeviceDType[] = ["float32", "float64", "int32", "uint32", "bool"];

export type HostArray = Float32Array | Float64Array | Int32Array | Uint32Array;

/** Bytes of one element; `bool` is stored as a 32-bit word, as WGSL can address nothing smaller. */
export function bytesPerElement(dtype: DType): number {
  return dtype === "float64" || dtype === "number" ? 8 : 4;
}

export function isFloat(dtype: DType): boolean {
  return dtype === "float32" || dtype === "float64" || dtype === "number";
}

export function isInteger(dtype: DType): boolean {
  return dtype === "int32" || dtype === "uint32";
}

/** A zeroed host array for `length` elements; `bool` lives in a `Uint32Array` of 0 and 1. */
export function hostArray(dtype: DType, length: number): HostArray {
  switch (dtype) {
    case "float32":
      return new Float32Array(length);
    case "float64":
    case "number":
      return new Float64Array(length);
    case "int32":
      return new Int32Array(length);
    case "uint32":
    case "bool":
      return new Uint32Array(length);
  }
}

/** The value `x` takes when stored as `dtype`: rounded to float32, wrapped to 32 bits, or 0 and 1. */
export function coerce(x: number, dtype: DType): number {
  switch (dtype) {
    case "float32":
      return Math.fround(x);
    case "int32":
      return x | 0;
    case "uint32":
      return x >>> 0;
    case "bool":
      return x !== 0 ? 1 : 0; // NaN too
    default:
      return x;
  }
}

export function checkDType(operation: string, dtype: unknown): DeviceDType {
  if (!deviceDTypes.includes(dtype as DeviceDType)) {
    throw new DTypeError(
      `${operation}: dtype ${String(dtype)} is unknown. Use one of ${deviceDTypes.join(", ")}.`,
    );
  }
  return dtype as DeviceDType;
}
