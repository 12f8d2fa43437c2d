import {
  type DeviceDType,
  type FloatDType,
  floatDTypes,
  floatRange,
  isNarrow,
  type NarrowFloatDType,
} from "../../base/dtype.ts";
import { DTypeError } from "../../base/errors.ts";
import { floatLayout } from "../../base/narrow.ts";

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

/** Bits in the upper half of a word: see below. */
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

// Narrow floats of which WGSL has no type. A value in the code is its bits in the upper half of a word, as it is taken out of
// the pair that it lies in. The conversions follow from which numbers the float has.

const roundName = (dtype: NarrowFloatDType) => `lorantz_${dtype}`;
/** Of one, or of four. */
const widenName = (dtype: NarrowFloatDType, four: boolean) => `lorantz_${four ? "four" : "of"}_${dtype}`;

const hex = (bits: number) => `0x${bits.toString(16)}u`;

/** From f32: rounded to the nearest, ties to even. */
function printRound(dtype: NarrowFloatDType): string[] {
  const range = floatRange(dtype);
  const { fractionBits, exponentBits, width, infinite } = floatLayout(range);
  const lost = 23 - fractionBits;
  // Below the least exponent more places are lost; with the exponents of f32, those are lost already.
  const lines =
    exponentBits === 8
      ? [
          `let rounded = (size + ${hex(2 ** (lost - 1) - 1)} + ((size >> ${lost}u) & 1u)) >> ${lost}u;`,
          `return (sign | rounded) << 16u;`,
        ]
      : [
          `let below = max(${range.least + 127} - i32(size >> 23u), 0);`,
          `let lost = min(${lost}u + u32(below), 25u);`,
          `let bits = select(size - ${hex((range.least + 126) * 2 ** 23)}, (size & 0x7fffffu) | 0x800000u, below > 0);`,
          `let rounded = (bits + (1u << (lost - 1u)) - 1u + ((bits >> lost) & 1u)) >> lost;`,
          `return (sign | min(rounded, ${hex(infinite)})) << 16u;`,
        ];
  return [
    `fn ${roundName(dtype)}(x: f32) -> u32 {`,
    "let size = bitcast<u32>(x) & 0x7fffffffu;",
    `let sign = (bitcast<u32>(x) >> 31u) << ${width - 1}u;`,
    "if (size > 0x7f800000u) {",
    `return (sign | ${hex(infinite + 2 ** (fractionBits - 1))}) << 16u;`,
    "}",
    ...lines,
    "}",
  ];
}

/** To f32, exactly; or four to four. */
function printWiden(dtype: NarrowFloatDType, four: boolean): string[] {
  const range = floatRange(dtype);
  const { fractionBits, exponentBits, width, infinite } = floatLayout(range);
  const lost = 23 - fractionBits;
  const [words, floats] = four ? ["vec4<u32>", "vec4<f32>"] : ["u32", "f32"];
  const all = (bits: number) => (four ? `vec4<u32>(${hex(bits)})` : hex(bits));
  const up = `x << ${all(16 - width)}`;
  const lines =
    exponentBits === 8
      ? [`return bitcast<${floats}>(${width === 16 ? "x" : up});`]
      : [
          `let size = (x >> ${all(16)}) & ${all(2 ** (width - 1) - 1)};`,
          `let small = bitcast<${words}>(${floats}(size) * ${2 ** (range.least - fractionBits)}f);`,
          `let placed = size << ${all(lost)};`,
          `let normal = placed + ${all((range.least + 126) * 2 ** 23)};`,
          `let finite = select(normal, small, size < ${all(2 ** fractionBits)});`,
          `let number = select(finite, placed | ${all(0x7f800000)}, size >= ${all(infinite)});`,
          `return bitcast<${floats}>(((${up}) & ${all(0x80000000)}) | number);`,
        ];
  return [`fn ${widenName(dtype, four)}(x: ${words}) -> ${floats} {`, ...lines, "}"];
}

/** The functions of narrow floats by name. */
export const narrowFunctions: ReadonlyMap<string, () => string[]> = new Map(
  floatDTypes.filter(isNarrow).flatMap((dtype): [string, () => string[]][] => [
    [roundName(dtype), () => printRound(dtype)],
    [widenName(dtype, false), () => printWiden(dtype, false)],
    [widenName(dtype, true), () => printWiden(dtype, true)],
  ]),
);
