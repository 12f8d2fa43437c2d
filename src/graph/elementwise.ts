import type { DType } from "../base/dtype.ts";
import type { Code, ScalarOp } from "./node.ts";
import { scalarOp } from "./scalar.ts";
import { bitsOfFloat, erf32, erf as erf64, floatOfBits, roundHalfEven } from "./special.ts";

// The table of elementwise operations. A new one is a row here and a documented method or function in
// src/tensor; printers, both backends, gradients and tests read the row.
// The type annotation on each row lets its gradient refer to other rows, and to itself.

const none = () => [];
const compound = (text: string): Code => ({ compound: text });
const infix =
  (symbol: string) =>
  ([x, y]: readonly string[]): Code =>
    compound(`${x} ${symbol} ${y}`);
const isWhole = (dtype: DType) => dtype === "int32" || dtype === "uint32";

// Arithmetic.

export const add: ScalarOp = scalarOp({
  name: "add",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => x + y,
  wgsl: infix("+"),
  vjp: (g) => [g, g],
});

export const sub: ScalarOp = scalarOp({
  name: "sub",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => x - y,
  wgsl: infix("-"),
  vjp: (g) => [g, neg(g)],
});

export const mul: ScalarOp = scalarOp({
  name: "mul",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y, _, dtype) => (isWhole(dtype) ? Math.imul(x, y) : x * y),
  wgsl: infix("*"),
  vjp: (g, _, [x, y]) => [mul(g, y!), mul(g, x!)],
});

/** Floats only. */
export const div: ScalarOp = scalarOp({
  name: "div",
  arity: 2,
  types: "float",
  ulp: 2.5,
  cost: 4,
  evaluate: (x, y) => x / y,
  wgsl: infix("/"),
  vjp: (g, q, [, y]) => [div(g, y!), neg(mul(g, div(q, y!)))],
});

export const neg: ScalarOp = scalarOp({
  name: "neg",
  arity: 1,
  types: "numeric",
  ulp: 0,
  evaluate: (x) => -x,
  wgsl: ([x], dtype) => compound(dtype === "uint32" ? `~${x} + 1u` : `-${x}`),
  vjp: (g) => [neg(g)],
});

/** d/dx = y x^(y-1), 0 where y = 0; d/dy = x^y log x, 0 where x = 0 and y >= 0. */
export const pow: ScalarOp = scalarOp({
  name: "pow",
  arity: 2,
  types: "float",
  ulp: 4,
  cost: 24,
  // JavaScript has NaN where the magnitude is 1 and the exponent infinite.
  evaluate: (x, y) => (x === 1 || y === 0 || (x === -1 && Math.abs(y) === Infinity) ? 1 : x ** y),
  wgsl: ([x, y]) => `lorantz_pow(${x}, ${y})`,
  vjp: (g, z, [x, y]) => {
    const constant = eq(y!, 0);
    const flat = bitwiseAnd(eq(x!, 0), ge(y!, 0));
    // What is not taken is finite, so that derivatives of these are no 0 * Infinity.
    return [
      where(constant, 0, mul(g, mul(y!, pow(x!, sub(where(constant, 1, y!), 1))))),
      where(flat, 0, mul(g, mul(z, log(where(flat, 1, x!))))),
    ];
  },
});

// Extremes pass NaN on; tied operands share the cotangent.

export const maximum: ScalarOp = scalarOp({
  name: "maximum",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => Math.max(x, y),
  wgsl: ([x, y], dtype) => (dtype === "float32" ? `lorantz_maximum(${x}, ${y})` : `max(${x}, ${y})`),
  vjp: (g, _, [x, y]) => [
    where(eq(x!, y!), mul(g, 0.5), where(lt(x!, y!), 0, g)),
    where(eq(x!, y!), mul(g, 0.5), where(gt(x!, y!), 0, g)),
  ],
});

export const minimum: ScalarOp = scalarOp({
  name: "minimum",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => Math.min(x, y),
  wgsl: ([x, y], dtype) => (dtype === "float32" ? `lorantz_minimum(${x}, ${y})` : `min(${x}, ${y})`),
  vjp: (g, _, [x, y]) => [
    where(eq(x!, y!), mul(g, 0.5), where(gt(x!, y!), 0, g)),
    where(eq(x!, y!), mul(g, 0.5), where(lt(x!, y!), 0, g)),
  ],
});

// Comparisons.

function comparison(
  name: string,
  symbol: string,
  evaluate: (x: number, y: number) => boolean,
  wgsl = infix(symbol.slice(0, 2)),
): ScalarOp {
  return scalarOp({
    name,
    arity: 2,
    types: "compare",
    ulp: 0,
    evaluate: (x, y) => (evaluate(x, y) ? 1 : 0),
    wgsl,
  });
}

export const eq: ScalarOp = comparison("eq", "===", (x, y) => x === y);
// WGSL's != is false for NaN.
export const ne: ScalarOp = comparison(
  "ne",
  "!==",
  (x, y) => x !== y,
  ([x, y]) => `!(${x} == ${y})`,
);
export const lt: ScalarOp = comparison("lt", "<", (x, y) => x < y);
export const le: ScalarOp = comparison("le", "<=", (x, y) => x <= y);
export const gt: ScalarOp = comparison("gt", ">", (x, y) => x > y);
export const ge: ScalarOp = comparison("ge", ">=", (x, y) => x >= y);

export const isnan: ScalarOp = scalarOp({
  name: "isNaN",
  arity: 1,
  types: "test",
  ulp: 0,
  evaluate: (x) => (Number.isNaN(x) ? 1 : 0),
  wgsl: ([x]) => `lorantz_isNaN(${x})`, // from the bits: WGSL may assume that x != x is false
});

export const isfinite: ScalarOp = scalarOp({
  name: "isFinite",
  arity: 1,
  types: "test",
  ulp: 0,
  evaluate: (x) => (Number.isFinite(x) ? 1 : 0),
  wgsl: ([x]) => `lorantz_isFinite(${x})`,
});

/** `condition ? x : y`; exactly zero flows to the branch not taken, whatever it holds. */
export const where: ScalarOp = scalarOp({
  name: "where",
  arity: 3,
  types: "select",
  ulp: 0,
  evaluate: (condition, x, y) => (condition ? x : y),
  wgsl: ([condition, x, y]) => `select(${y}, ${x}, ${condition})`,
  vjp: (g, _, [condition]) => [undefined, where(condition!, g, 0), where(condition!, 0, g)],
});

// Bits of integers; logic of booleans.

export const bitwiseAnd: ScalarOp = scalarOp({
  name: "bitwiseAnd",
  arity: 2,
  types: "bits",
  ulp: 0,
  evaluate: (x, y) => x & y,
  wgsl: infix("&"),
});

export const bitwiseOr: ScalarOp = scalarOp({
  name: "bitwiseOr",
  arity: 2,
  types: "bits",
  ulp: 0,
  evaluate: (x, y) => x | y,
  wgsl: infix("|"),
});

export const bitwiseXor: ScalarOp = scalarOp({
  name: "bitwiseXor",
  arity: 2,
  types: "bits",
  ulp: 0,
  evaluate: (x, y) => x ^ y,
  wgsl: (args, dtype) => infix(dtype === "bool" ? "!=" : "^")(args),
});

/** Shifts by the lowest five bits of y. */
export const leftShift: ScalarOp = scalarOp({
  name: "leftShift",
  arity: 2,
  types: "integer",
  ulp: 0,
  evaluate: (x, y) => x << y,
  wgsl: ([x, y]) => compound(`${x} << (u32(${y}) & 31u)`),
});

/** Shifts by the lowest five bits of y; keeps the sign of int32. */
export const rightShift: ScalarOp = scalarOp({
  name: "rightShift",
  arity: 2,
  types: "integer",
  ulp: 0,
  evaluate: (x, y, _, dtype) => (dtype === "uint32" ? x >>> y : x >> y),
  wgsl: ([x, y]) => compound(`${x} >> (u32(${y}) & 31u)`),
});

/** A uint32 as the float32 of the same bits, and a float32 as its bits. */
export const bitcast: ScalarOp = scalarOp({
  name: "bitcast",
  arity: 1,
  types: "bitcast",
  ulp: 0,
  evaluate: (x, _y, _z, dtype) => (dtype === "uint32" ? floatOfBits(x) : bitsOfFloat(x)),
  wgsl: ([x], dtype) => `bitcast<${dtype === "uint32" ? "f32" : "u32"}>(${x})`,
});

// Functions of one float.

export const exp: ScalarOp = scalarOp({
  name: "exp",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 12,
  evaluate: Math.exp,
  wgsl: ([x]) => `lorantz_exp(${x})`,
  vjp: (g, y) => [mul(g, y)],
});

export const expm1: ScalarOp = scalarOp({
  name: "expm1",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 14,
  evaluate: Math.expm1,
  wgsl: ([x]) => `lorantz_expm1(${x})`,
  vjp: (g, y) => [mul(g, add(y, 1))],
});

export const log: ScalarOp = scalarOp({
  name: "log",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 12,
  evaluate: Math.log,
  wgsl: ([x]) => `lorantz_log(${x})`,
  vjp: (g, _, [x]) => [div(g, x!)],
});

export const log1p: ScalarOp = scalarOp({
  name: "log1p",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 14,
  evaluate: Math.log1p,
  wgsl: ([x]) => `lorantz_log1p(${x})`,
  vjp: (g, _, [x]) => [div(g, add(x!, 1))],
});

export const sqrt: ScalarOp = scalarOp({
  name: "sqrt",
  arity: 1,
  types: "float",
  ulp: 2.5,
  cost: 4,
  evaluate: Math.sqrt,
  wgsl: ([x]) => `sqrt(${x})`,
  vjp: (g, y) => [div(g, mul(y, 2))],
});

export const sin: ScalarOp = scalarOp({
  name: "sin",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 16,
  evaluate: Math.sin,
  wgsl: ([x]) => `lorantz_sin(${x})`,
  vjp: (g, _, [x]) => [mul(g, cos(x!))],
});

export const cos: ScalarOp = scalarOp({
  name: "cos",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 16,
  evaluate: Math.cos,
  wgsl: ([x]) => `lorantz_cos(${x})`,
  vjp: (g, _, [x]) => [neg(mul(g, sin(x!)))],
});

export const tanh: ScalarOp = scalarOp({
  name: "tanh",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 16,
  evaluate: Math.tanh,
  wgsl: ([x]) => `lorantz_tanh(${x})`,
  vjp: (g, y) => [mul(g, sub(1, mul(y, y)))],
});

/** 1 / (1 + exp(-x)), without overflow: exp(-|x|) is at most 1. */
export const sigmoid: ScalarOp = scalarOp({
  name: "sigmoid",
  arity: 1,
  types: "float",
  ulp: 4,
  cost: 16,
  evaluate: (x) => (x < 0 ? Math.exp(x) : 1) / (1 + Math.exp(-Math.abs(x))),
  wgsl: ([x]) => compound(`select(1.0, lorantz_exp(${x}), ${x} < 0.0) / (1.0 + lorantz_exp(-abs(${x})))`),
  vjp: (g, y) => [mul(g, mul(y, sub(1, y)))],
});

/** 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x. */
export const erf: ScalarOp = scalarOp({
  name: "erf",
  arity: 1,
  types: "float",
  ulp: 8,
  cost: 20,
  evaluate: (x, _y, _z, dtype) => (dtype === "float32" ? erf32(x) : erf64(x)),
  wgsl: ([x]) => `lorantz_erf(${x})`,
  vjp: (g, _, [x]) => [mul(g, mul(2 / Math.sqrt(Math.PI), exp(neg(mul(x!, x!)))))],
});

export const abs: ScalarOp = scalarOp({
  name: "abs",
  arity: 1,
  types: "numeric",
  ulp: 0,
  evaluate: Math.abs,
  wgsl: ([x]) => `abs(${x})`,
  vjp: (g, _, [x]) => [mul(g, sign(x!))],
});

/** -1, 0 or 1; 0 for zeros and NaN. */
export const sign: ScalarOp = scalarOp({
  name: "sign",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: (x) => (x > 0 ? 1 : x < 0 ? -1 : 0),
  wgsl: ([x]) => `select(select(0.0, -1.0, ${x} < 0.0), 1.0, ${x} > 0.0)`,
  vjp: none,
});

export const floor: ScalarOp = scalarOp({
  name: "floor",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: Math.floor,
  wgsl: ([x]) => `floor(${x})`,
  vjp: none,
});

export const ceil: ScalarOp = scalarOp({
  name: "ceil",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: Math.ceil,
  wgsl: ([x]) => `ceil(${x})`,
  vjp: none,
});

/** To the nearest integer, halves to the even one. */
export const round: ScalarOp = scalarOp({
  name: "round",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: roundHalfEven,
  wgsl: ([x]) => `round(${x})`,
  vjp: none,
});
