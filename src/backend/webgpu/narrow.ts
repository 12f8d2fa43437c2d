import { floatDTypes, floatRange, isNarrow, type NarrowFloatDType } from "../../base/dtype.ts";
import { floatLayout } from "../../base/narrow.ts";

// Narrow floats of which WGSL has no type. A value in the code is its bits in the upper half of a word, as it is taken out of
// the pair that it lies in. The conversions follow from which numbers the float has.

export const roundName = (dtype: NarrowFloatDType) => `lorantz_${dtype}`;
/** Of one, or of four. */
export const widenName = (dtype: NarrowFloatDType, four: boolean) =>
  `lorantz_${four ? "four" : "of"}_${dtype}`;

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
