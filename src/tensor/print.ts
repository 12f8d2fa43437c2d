import {
  computeDType,
  type DType,
  type FloatDType,
  floatRange,
  type HostArray,
  isFloat,
} from "../base/dtype.ts";
import { numel, type Shape } from "../base/shape.ts";

/** More elements than these are not all printed: the first and last three along each axis are. */
const most = 1000;
const ends = 3;

/** Values as NumPy prints them: nested brackets, numbers of one width, the shortest digits that tell them apart. */
export function printValues(values: HostArray, shape: Shape, dtype: DType): string {
  if (numel(shape) === 0) return "[]";
  const write = writerOf(dtype);
  if (shape.length === 0) return write(values[0]!);
  const shown = shape.map((length) =>
    numel(shape) <= most || length <= 2 * ends
      ? Array.from({ length }, (_, i) => i)
      : [
          ...Array.from({ length: ends }, (_, i) => i),
          -1,
          ...Array.from({ length: ends }, (_, i) => length - ends + i),
        ],
  );
  /** Texts of the elements that are shown, in order. */
  const texts: string[] = [];
  const collect = (axis: number, offset: number): void => {
    if (axis === shape.length) texts.push(write(values[offset]!));
    else for (const i of shown[axis]!) if (i >= 0) collect(axis + 1, offset * shape[axis]! + i);
  };
  collect(0, 0);
  const width = Math.max(...texts.map((text) => text.length));
  let at = 0;
  const build = (axis: number): string => {
    if (axis === shape.length) return texts[at++]!.padStart(width);
    const inner = axis === shape.length - 1;
    const between = inner ? ", " : `,${"\n".repeat(shape.length - 1 - axis)}${" ".repeat(axis + 1)}`;
    return `[${shown[axis]!.map((i) => (i < 0 ? "..." : build(axis + 1))).join(between)}]`;
  };
  const text = build(0);
  return shape.length > 1 ? `\n${text}` : text;
}

/** Decimal digits that tell numbers of a dtype apart, at most eight: those beyond are of a float32's float64. */
function digitsOf(dtype: DType): number | undefined {
  if (!isFloat(dtype) || computeDType(dtype) !== "float32") return undefined;
  return Math.min(8, 1 + Math.ceil(floatRange(dtype as FloatDType).digits * Math.log10(2))); // just checked
}

function writerOf(dtype: DType): (value: number) => string {
  if (dtype === "bool") return (value) => (value ? "true" : "false");
  const digits = digitsOf(dtype);
  return (value) => {
    if (Object.is(value, -0)) return "-0";
    return String(
      digits === undefined || !Number.isFinite(value) ? value : Number(value.toPrecision(digits)),
    );
  };
}
