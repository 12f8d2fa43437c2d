import { type Row, rows } from "./dtype-rows.ts";
import { DTypeError } from "./errors.ts";
import type { FloatRange } from "./narrow.ts";

type Rows = typeof rows;

/**
 * All element types. `number` is a JavaScript number known on the host (rank 0, float64): a literal, a
 * learning rate, a step count. It takes the dtype of the tensor that it meets.
 */
export type DType = keyof Rows;

/**
 * Element types of tensors that live on a device. `float64` exists on the CPU only, `float16` on the CPU and on
 * adapters with the feature `shader-f16`; what is computed of `float16` and `bfloat16` is computed in float32 and rounded
 * where it is stored.
 */
export type DeviceDType = Exclude<DType, "number">;

export type FloatDType = {
  [D in DeviceDType]: Rows[D]["kind"] extends "float" ? D : never;
}[DeviceDType];

/** Floats that are computed in as they are. */
export type ComputeFloat = FloatDType & Rows[FloatDType]["compute"];

/** Floats that are only stored. */
export type NarrowFloatDType = Exclude<FloatDType, ComputeFloat>;

/** Values on the host. Those of narrow floats are in a Float32Array, which holds them exactly. */
export type HostArray = Rows[DType]["array"]["prototype"];

/** The array on the host of values of a dtype. */
export type HostArrayOf<D extends DType> = Rows[D]["array"]["prototype"];

/** Values as they lie in the memory of a device: narrow floats as their bits. */
export type StoredArray = HostArray | Uint16Array;

const rowOf = (dtype: DType): Row => rows[dtype];

const names = Object.keys(rows) as readonly DType[];

export const deviceDTypes: readonly DeviceDType[] = names.filter((dtype) => dtype !== "number");

export const floatDTypes = deviceDTypes.filter((dtype): dtype is FloatDType => isFloat(dtype));

/** Bytes of one element; `bool` is stored as a 32-bit word. */
export function bytesPerElement(dtype: DType): number {
  return rowOf(dtype).bytes;
}

export function isFloat(dtype: DType): dtype is FloatDType | "number" {
  return rowOf(dtype).kind === "float";
}

export function isInteger(dtype: DType): boolean {
  return rowOf(dtype).kind === "integer";
}

/** Whether a float is only stored, and computed in a wider one. */
export function isNarrow(dtype: DType): dtype is NarrowFloatDType {
  return rowOf(dtype).compute !== dtype;
}

/** What is computed of a dtype is computed in this one. */
export function computeDType<D extends DType>(dtype: D): Rows[D]["compute"] {
  return rows[dtype].compute;
}

/** The first letter of names of values in kernels. */
export function letterOf(dtype: DType): string {
  return rowOf(dtype).letter;
}

/** What safetensors calls a dtype. */
export function fileDType(dtype: DType): string {
  return rowOf(dtype).file;
}

/** Significant bits of a float, and the exponents of its least normal and its largest number. */
export function floatRange(dtype: FloatDType | "number"): FloatRange {
  return rows[dtype].range;
}

/** The distance from 1 to the next number of a float. */
export function unitOf(dtype: FloatDType | "number"): number {
  return 2 ** (1 - floatRange(dtype).digits);
}

/** The smallest normal number of a float, and the largest number. */
export function normalRange(dtype: FloatDType | "number"): {
  readonly smallest: number;
  readonly largest: number;
} {
  const { least, most } = floatRange(dtype);
  return { smallest: 2 ** least, largest: (2 - unitOf(dtype)) * 2 ** most };
}

/** A zeroed host array for `length` elements; `bool` lives in a `Uint32Array` of 0 and 1. */
export function hostArray<D extends DType>(dtype: D, length: number): HostArrayOf<D> {
  return new rows[dtype].array(length) as HostArrayOf<D>; // its row's
}

/** Host values as a device stores them. */
export function encode(values: HostArray, dtype: DType): StoredArray {
  return rowOf(dtype).storeAll?.(values) ?? values;
}

/** Host values of what a device stored. */
export function decode(stored: StoredArray, dtype: DType): HostArray {
  const { load } = rowOf(dtype);
  if (!(stored instanceof Uint16Array)) return stored;
  const values = hostArray(dtype, stored.length);
  for (let i = 0; i < values.length; i++) values[i] = load!(stored[i]!);
  return values;
}

/** Room for `length` elements as a device stores them. */
export function storedArray(dtype: DType, length: number): StoredArray {
  return rowOf(dtype).store ? new Uint16Array(length) : hostArray(dtype, length);
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
  return rowOf(dtype).round(x);
}

export function checkDType(operation: string, dtype: unknown): DeviceDType {
  if (!deviceDTypes.includes(dtype as DeviceDType)) {
    throw new DTypeError(
      `${operation}: dtype ${String(dtype)} is unknown. Use one of ${deviceDTypes.join(", ")}.`,
    );
  }
  return dtype as DeviceDType;
}
