import {
  type DeviceDType,
  type FloatDType,
  floatDTypes,
  isNarrow,
  type NarrowFloatDType,
} from "../../base/dtype.ts";
import { DTypeError } from "../../base/errors.ts";
import { roundName, widenName } from "./narrow.ts";

/** How WGSL has the values of a dtype. */
export interface WgslType {
  /** Of a value in the code. */
  readonly value: string;
  /** Of an element in a buffer, which cannot be a bool. */
  readonly stored: string;
  /** Two elements lie in a word of the buffer, each in the upper half of its value. */
  readonly pairs?: boolean;
  /** The extension that it takes, and the feature of adapters which have that. */
  readonly needs?: { readonly extension: string; readonly feature: string };
  /** A narrow float of an f32, rounded to the nearest. */
  readonly round?: (x: string) => string;
  /** What a narrow float is computed in: one, or a vector of them. */
  readonly widen?: (x: string, type: "f32" | "vec4<f32>") => string;
}

type Stored = Exclude<DeviceDType, "float64">;

/** The types that WGSL has: of all dtypes, and of some narrow floats. */
const types: Readonly<
  Record<Exclude<Stored, NarrowFloatDType>, WgslType> & Partial<Record<NarrowFloatDType, WgslType>>
> = {
  float16: {
    value: "f16",
    stored: "f16",
    needs: { extension: "f16", feature: "shader-f16" },
    // Compilers take a conversion to f16 and back for nothing, and need not round to the nearest.
    round: (x) => `f16(lorantz_roundToHalf(${x}))`,
    widen: (x, type) => `${type}(${x})`,
  },
  float32: { value: "f32", stored: "f32" },
  int32: { value: "i32", stored: "i32" },
  uint32: { value: "u32", stored: "u32" },
  bool: { value: "bool", stored: "u32" },
};

/** Bits in the upper half of a word: see narrow.ts. */
const asBits = (dtype: NarrowFloatDType): WgslType => ({
  value: "u32",
  stored: "u32",
  pairs: true,
  round: (x) => `${roundName(dtype)}(${x})`,
  widen: (x, type) => `${widenName(dtype, type !== "f32")}(${x})`,
});

/** @throws DTypeError for float64. */
export function wgslType(dtype: DeviceDType): WgslType {
  if (dtype === "float64")
    throw new DTypeError(
      'webgpu: a program holds float64, which no GPU has. Use float32, or init({ backend: "cpu" }).',
    );
  return typeOf(dtype);
}

const typeOf = (dtype: Stored) => (isNarrow(dtype) ? (types[dtype] ?? asBits(dtype)) : types[dtype]);

/** Type of an element in a buffer; WGSL cannot store booleans. */
export function storedType(dtype: DeviceDType): string {
  return wgslType(dtype).stored;
}

/** Type of a value in the code. */
export function valueType(dtype: DeviceDType): string {
  return wgslType(dtype).value;
}

/** Floats that an adapter with these features stores. */
export function floatsOf(features: readonly string[]): readonly FloatDType[] {
  return floatDTypes.filter((dtype) => {
    if (dtype === "float64") return false;
    const { needs } = typeOf(dtype);
    return needs === undefined || features.includes(needs.feature);
  });
}
