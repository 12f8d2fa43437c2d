import { isIntegerIn } from "../base/arguments.ts";
import {
  bytesPerElement,
  computeDType,
  type DeviceDType,
  type DType,
  decode,
  encode,
  fileDType,
  floatDTypes,
  type HostArray,
  holds,
  hostArray,
  isFloat,
  isNarrow,
  type StoredArray,
} from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { numel, type Shape } from "../base/shape.ts";

// Element types of files: how many bits each has, and its way to and from the values of a tensor.

/** Bits of an element of each dtype of safetensors, by its name there. */
export const bitsOf: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  F8_E4M3: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2: 8,
  F8_E5M2FNUZ: 8,
  F8_E8M0: 8,
  U8: 8,
  I8: 8,
  U16: 16,
  I16: 16,
  F16: 16,
  BF16: 16,
  U32: 32,
  I32: 32,
  F32: 32,
  U64: 64,
  I64: 64,
  F64: 64,
  C64: 64,
};

/** Bytes of a tensor; undefined where it has no whole number of them, or more than can be counted. */
export function bytesOf(dtype: string, shape: Shape): number | undefined {
  const bytes = (numel(shape) * bitsOf[dtype]!) / 8;
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Whether a value from a file is a list of lengths. */
export function isLengths(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length <= 64 && value.every((each) => isIntegerIn(each, 0));
}

interface Kind {
  /** What it is read as by default. */
  readonly dtype: DeviceDType;
  /** The values in memory of their own, aligned bytes, which it may keep. */
  readonly values: (bytes: Uint8Array, length: number) => HostArray | BigInt64Array | BigUint64Array;
  /** The bytes of values. */
  readonly bytes?: (values: HostArray) => ArrayBufferView;
}

const view = <T>(
  Kind: new (buffer: ArrayBufferLike, at: number, length: number) => T,
  { buffer, byteOffset }: Uint8Array,
  length: number,
): T => new Kind(buffer, byteOffset, length);

const kinds: Readonly<Record<string, Kind>> = {
  F64: { dtype: "float64", values: (b, n) => view(Float64Array, b, n), bytes: (v) => Float64Array.from(v) },
  F32: { dtype: "float32", values: (b, n) => view(Float32Array, b, n), bytes: (v) => Float32Array.from(v) },
  ...Object.fromEntries(
    floatDTypes.filter(isNarrow).map((narrow): [string, Kind] => {
      const byte = bitsOf[fileDType(narrow)] === 8; // where a device has two
      return [
        fileDType(narrow),
        {
          dtype: computeDType(narrow),
          values: (b, n) =>
            decode(byte ? Uint16Array.from(b.subarray(0, n)) : view(Uint16Array, b, n), narrow),
          bytes: (v) => (byte ? Uint8Array.from(encode(v, narrow)) : encode(v, narrow)),
        },
      ];
    }),
  ),
  I64: { dtype: "int32", values: (b, n) => view(BigInt64Array, b, n) },
  I32: { dtype: "int32", values: (b, n) => view(Int32Array, b, n), bytes: (v) => Int32Array.from(v) },
  I16: { dtype: "int32", values: (b, n) => Int32Array.from(view(Int16Array, b, n)) },
  I8: { dtype: "int32", values: (b, n) => Int32Array.from(view(Int8Array, b, n)) },
  U64: { dtype: "uint32", values: (b, n) => view(BigUint64Array, b, n) },
  U32: { dtype: "uint32", values: (b, n) => view(Uint32Array, b, n), bytes: (v) => Uint32Array.from(v) },
  U16: { dtype: "uint32", values: (b, n) => Uint32Array.from(view(Uint16Array, b, n)) },
  U8: { dtype: "uint32", values: (b, n) => Uint32Array.from(b.subarray(0, n)) },
  BOOL: {
    dtype: "bool",
    values: (b, n) => Uint32Array.from(b.subarray(0, n)),
    bytes: (v) => Uint8Array.from(v),
  },
};

/** Whether a dtype of a file becomes a tensor, and of which dtype. @throws DTypeError where it does not. */
export function readDType(where: string, dtype: string, asked: DeviceDType | undefined): DeviceDType {
  const kind = kinds[dtype];
  if (!kind)
    throw new DTypeError(
      `${where}: is ${dtype}, which tensors do not have; they are read of ${Object.keys(kinds).join(", ")}. Take its bytes.`,
    );
  if (asked === undefined) return kind.dtype;
  if (isFloat(asked) !== isFloat(kind.dtype))
    throw new DTypeError(
      `${where}: is ${dtype}, and ${asked} is asked for; floats are read as floats, others as integers or bool. Read it as ${kind.dtype} and convert with .astype("${asked}").`,
    );
  return asked;
}

/** Whether elements of a file lie there as a device stores them. */
const liesAsStored = (dtype: string, of: DType) =>
  fileDType(of) === dtype && bitsOf[dtype] === 8 * bytesPerElement(of);

/**
 * What a device stores of the elements of a file, which may be the bytes themselves.
 *
 * @throws DTypeError for an element that the dtype does not hold.
 */
export function fromFile(
  where: string,
  dtype: string,
  bytes: Uint8Array,
  shape: Shape,
  as: DeviceDType,
): StoredArray {
  const length = numel(shape);
  if (isNarrow(as) && liesAsStored(dtype, as)) return view(Uint16Array, bytes, length);
  const { values: read, dtype: own } = kinds[dtype]!;
  const values = read(bytes, length);
  if (
    values instanceof BigInt64Array ||
    values instanceof BigUint64Array ||
    (!isFloat(own) && (as !== own || as === "bool"))
  ) {
    const result = hostArray(as, length);
    for (let i = 0; i < length; i++) {
      const value = Number(values[i]!);
      if (!holds(as, value))
        throw new DTypeError(
          `${where}: element ${i} is ${values[i]}, which ${as} does not hold. Take its bytes.`,
        );
      result[i] = value;
    }
    return result;
  }
  if (as === own) return values;
  if (isNarrow(as)) return encode(values, as);
  return as === "float64" ? Float64Array.from(values) : Float32Array.from(values);
}

/** The bytes of values that are stored as a dtype, as one of a file, floats rounded to the nearest; the values themselves where they are it. */
export function toFile(dtype: string, stored: StoredArray, of: DType): Uint8Array {
  const made = liesAsStored(dtype, of) ? stored : kinds[dtype]!.bytes!(decode(stored, of));
  return new Uint8Array(made.buffer, made.byteOffset, made.byteLength);
}

/** Whether a tensor of a dtype is written as a dtype of a file. */
export function canWrite(dtype: string, of: DType): boolean {
  return (
    fileDType(of) === dtype ||
    (isFloat(of) && kinds[dtype]?.bytes !== undefined && isFloat(kinds[dtype].dtype))
  );
}
