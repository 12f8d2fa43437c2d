import { coerce, type DeviceDType } from "../../base/dtype.ts";
import { internal } from "../../base/errors.ts";
import type { Dialect, Emitter, Level } from "../../compile/emit.ts";
import type { Store } from "../../compile/kernel.ts";
import { type Bindings, valueType } from "./shader.ts";

// Expressions as WGSL.

/** WGSL evaluates constant expressions exactly or refuses them, so a literal operand alone is hidden in a call. */
const literal = /^\(?-?[\d.][\w.+-]*\)?$/;

export function wgsl(bindings: Bindings): Dialect {
  return {
    constant: printConstant,
    hostNumber: (index, dtype) => bindings.scalar(index, dtype),
    load: (value, index, dtype) => bindings.load(value, index, dtype),
    accumulator: (index) => `r${index}`,
    apply(row, args, _, argument) {
      // Booleans have no order in WGSL.
      const ordered = argument === "bool" && ["lt", "le", "gt", "ge"].includes(row.name);
      let operands = ordered ? args.map((arg) => `u32(${arg})`) : args;
      if (argument === "float32") {
        const special = withZero(row.name, operands);
        if (special) return special;
        if (operands.every((arg) => literal.test(arg))) operands = operands.map(hidden);
      }
      return row.wgsl
        ? row.wgsl(operands, ordered ? "uint32" : argument)
        : `lorantz_${row.name}(${operands.join(", ")})`;
    },
    cast(arg, from, to) {
      // Not with !=, which is false for NaN.
      if (to === "bool")
        return `!(${arg} == ${from === "float32" ? "0.0f" : from === "uint32" ? "0u" : "0"})`;
      // Compilers take a conversion to f16 and back for nothing, and need not round to the nearest.
      if (to === "float16") return `f16(lorantz_roundToHalf(${arg}))`;
      if ((to === "int32" || to === "uint32") && from === "float32") return `lorantz_${to}(${arg})`;
      return `${valueType(to)}(${from === "float32" && literal.test(arg) ? hidden(arg) : arg})`;
    },
    digit(arg, low, modulus) {
      const quotient = low === 1 ? arg : `${arg} / ${low}`;
      return modulus === Infinity ? quotient : `${quotient} % ${modulus}`;
    },
    clamp: (arg, length) => `clamp(${arg}, 0, ${length - 1})`,
    inRange: (arg, length) => `${arg} >= 0 && ${arg} < ${length}`,
    declare: (name, text) => `let ${name} = ${text};`,
  };
}

/** Products with a literal zero and quotients by one: compilers take the product for 0, also that of NaN. */
function withZero(name: string, [x, y]: readonly string[]): string | undefined {
  if (name === "div" && zero.test(y!)) return `lorantz_overZero(${x}, ${y})`;
  if (name !== "mul") return undefined;
  if (zero.test(y!)) return `lorantz_timesZero(${x}, ${y})`;
  return zero.test(x!) ? `lorantz_timesZero(${y}, ${x})` : undefined;
}

const zero = /^(0\.0f|lorantz_float\(0x80000000u\))$/;

export function printConstant(value: number, dtype: DeviceDType): string {
  const stored = coerce(value, dtype);
  switch (dtype) {
    case "float32":
      return printFloat(stored);
    case "int32":
      // Without a suffix: -2147483648i would be the negative of a number that i32 lacks.
      return String(stored);
    case "uint32":
      return `${stored}u`;
    case "bool":
      return stored ? "true" : "false";
    case "float16": // they are casts of float32
    case "float64":
      return internal(`a constant of ${dtype}`);
    default:
      return dtype satisfies never;
  }
}

/** The shortest decimal of the float64 is exact for a float32; what has no literal comes from its bits. */
function printFloat(value: number): string {
  if (!Number.isFinite(value) || Object.is(value, -0) || (value !== 0 && Math.abs(value) < 2 ** -126))
    return fromBits(value);
  const text = String(value);
  return /[.e]/.test(text) ? `${text.replace("e+", "e")}f` : `${text}.0f`;
}

function fromBits(value: number): string {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  return `lorantz_float(0x${bits!.toString(16).padStart(8, "0")}u)`;
}

function hidden(text: string): string {
  return fromBits(Number.parseFloat(text.replace(/^\(/, "")));
}

/** Names all results before the first is stored: a result may replace what another one reads. */
export function printStores(
  stores: readonly Store[],
  emitter: Emitter,
  level: Level,
  bindings: Bindings,
): string[] {
  const values = stores.map(({ expr }) => emitter.name(expr, level));
  return stores.map(({ value, index, expr }, i) =>
    bindings.store(value, emitter.print(index, 0), values[i]!, expr.dtype),
  );
}
