import type { DeviceDType } from "../../base/dtype.ts";
import type { Primitive } from "../../graph/node.ts";

// Elementwise operations in WGSL: the primitives, from which the others are made. What WGSL lacks, or has inexact or
// undefined for some arguments, is a function of shaders/scalar.wgsl.

/** Text that is an operand as it stands, such as a name or a call, or one that needs parentheses as an operand. */
export type Code = string | { readonly compound: string };

/** An operation on arguments of a dtype, which are operands as they stand. */
type Text = (args: readonly string[], dtype: DeviceDType) => Code;

const compound = (text: string): Code => ({ compound: text });

const infix =
  (symbol: string): Text =>
  ([x, y]) =>
    compound(`${x} ${symbol} ${y}`);

const call =
  (name: string): Text =>
  (args) =>
    `${name}(${args.join(", ")})`;

/** Extremes of floats that know NaN, and which zero is the greater. */
const extreme =
  (name: "max" | "min", careful: string): Text =>
  (args, dtype) =>
    call(dtype === "float32" ? careful : name)(args, dtype);

export const primitives: Readonly<Record<Primitive, Text>> = {
  add: infix("+"),
  sub: infix("-"),
  mul: infix("*"),
  div: infix("/"),
  neg: ([x], dtype) => compound(dtype === "uint32" ? `~${x} + 1u` : `-${x}`),
  abs: call("abs"),
  sign: ([x]) => `select(select(0.0, -1.0, ${x} < 0.0), 1.0, ${x} > 0.0)`,
  sqrt: call("sqrt"),
  floor: call("floor"),
  ceil: call("ceil"),
  round: call("round"),
  maximum: extreme("max", "lorantz_maximum"),
  minimum: extreme("min", "lorantz_minimum"),
  eq: infix("=="),
  // != is false for NaN.
  ne: ([x, y]) => compound(`!(${x} == ${y})`),
  lt: infix("<"),
  le: infix("<="),
  gt: infix(">"),
  ge: infix(">="),
  where: ([condition, x, y]) => `select(${y}, ${x}, ${condition})`,
  // From the bits: compilers may assume that x != x is false.
  isNaN: call("lorantz_isNaN"),
  isFinite: call("lorantz_isFinite"),
  bitwiseAnd: infix("&"),
  bitwiseOr: infix("|"),
  bitwiseXor: (args, dtype) => infix(dtype === "bool" ? "!=" : "^")(args, dtype),
  leftShift: ([x, y]) => compound(`${x} << (u32(${y}) & 31u)`),
  rightShift: ([x, y]) => compound(`${x} >> (u32(${y}) & 31u)`),
  bitcast: ([x], dtype) => `bitcast<${dtype === "uint32" ? "f32" : "u32"}>(${x})`,
  ldexp: ([x, n]) => `lorantz_scale(${x}, i32(round(${n})))`,
  sin: call("lorantz_sin"),
  cos: call("lorantz_cos"),
  pow: call("lorantz_pow"),
};
