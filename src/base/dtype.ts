import { DTypeError } from "./errors.ts";
import { fromHalfBits, halfBits, roundToHalf } from "./half.ts";

/**
 * Element types of tensors that live on a device. `float64` exists on the CPU only, `float16` on the CPU and on
 * adapters with the feature `shader-f16`; what is computed of `float16` is computed in float32 and rounded where it
 * is stored.
 */
export type DeviceDType = "float16" | "float32" | "float64" | "int32" | "uint32" | "bool";

/**
 * All element types. `number` is a JavaScript number known on the host (rank 0, float64): a literal, a
 * learning rate, a step count. It takes the dtype of the tensor that it meets.
 */
export type DType = DeviceDType | "number";

export type FloatDType = "float16" | "float32" | "float64";

export const deviceDTypes: readonly DeviceDType[] = [
  "float16",
  "float32",
  "float64",
  "int32",
  "uint32",
  "bool",
];

/** Values on the host. Those of float16 are in a Float32Array, which holds them exactly. */
export type HostArray = Float32Array | Float64Array | Int32Array | Uint32Array;

/** The array on the host of values of a dtype. */
export type HostArrayOf<D extends DType> = {
  readonly float16: Float32Array;
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  readonly number: Float64Array;
  readonly int32: Int32Array;
  readonly uint32: Uint32Array;
  readonly bool: Uint32Array;
}[D];

/** Values as they lie in the memory of a device: float16 as its bits. */
export type StoredArray = HostArray | Uint16Array;

/** Bytes of one element; `bool` is stored as a 32-bit word. */
export function bytesPerElement(dtype: DType): number {
  if (dtype === "float16") return 2;
  return dtype === "float64" || dtype === "number" ? 8 : 4;
}

export function isFloat(dtype: DType): boolean {
  return dtype === "float16" || dtype === "float32" || dtype === "float64" || dtype === "number";
}

export function isInteger(dtype: DType): boolean {
  return dtype === "int32" || dtype === "uint32";
}

/** A zeroed host array for `length` elements; `bool` lives in a `Uint32Array` of 0 and 1. */
export function hostArray(dtype: DType, length: number): HostArray {
  switch (dtype) {
    case "float16":
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

/** Host values as a device stores them. */
export function encode(values: HostArray, dtype: DType): StoredArray {
  return dtype === "float16" ? Uint16Array.from(values, halfBits) : values;
}

/** Host values of what a device stored. */
export function decode(values: StoredArray): HostArray {
  return values instanceof Uint16Array ? Float32Array.from(values, fromHalfBits) : values;
}

/** Room for `length` elements as a device stores them. */
export function storedArray(dtype: DType, length: number): StoredArray {
  return dtype === "float16" ? new Uint16Array(length) : hostArray(dtype, length);
}

/** Least and largest integer of a dtype. */
export const integerRange = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
} as const;

/**
 * The conversion of a float to `dtype`, the same on every backend: rounded to the nearest float; truncated to an integer, the
 * least or largest one beyond its range, 0 for NaN; or 1 where it is not 0.
 */
export function convert(x: number, dtype: DType): number {
  if (dtype !== "int32" && dtype !== "uint32") return coerce(x, dtype);
  const [least, most] = integerRange[dtype];
  return coerce(Math.min(Math.max(x, least), most), dtype);
}

/**
 * Whether a number keeps its meaning as `dtype`: rounding to the nearest float is all that may happen to it. Integers
 * and booleans are the number itself, and no finite number becomes infinite.
 */
export function holds(dtype: DType, x: number): boolean {
  const stored = coerce(x, dtype);
  return isFloat(dtype) ? Number.isFinite(stored) || !Number.isFinite(x) : stored === x;
}

/** The value `x` takes when stored as `dtype`: rounded to its precision, wrapped to 32 bits, or 0 and 1. */
export function coerce(x: number, dtype: DType): number {
  switch (dtype) {
    case "float16":
      return roundToHalf(x);
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
