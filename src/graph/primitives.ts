import type { DType } from "../base/dtype.ts";
import type { Primitive, ScalarOp } from "./node.ts";
import { rowOnly, scalarOp } from "./scalar.ts";
import { bitsOfFloat, floatOfBits, roundHalfEven } from "./special.ts";

// Elementwise operations for which every backend has code of its own (`Primitive`).
// The type annotation on each row lets its gradient refer to other rows, and to itself.

const none = () => [];
const isWhole = (dtype: DType) => dtype === "int32" || dtype === "uint32";

// Arithmetic.

export const add: ScalarOp = scalarOp({
  name: "add",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => x + y,
  vjp: (g) => [g, g],
});

export const sub: ScalarOp = scalarOp({
  name: "sub",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => x - y,
  vjp: (g) => [g, neg(g)],
});

export const mul: ScalarOp = scalarOp({
  name: "mul",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y, _, dtype) => (isWhole(dtype) ? Math.imul(x, y) : x * y),
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
  vjp: (g, q, [, y]) => [div(g, y!), neg(mul(g, div(q, y!)))],
});

export const neg: ScalarOp = scalarOp({
  name: "neg",
  arity: 1,
  types: "numeric",
  ulp: 0,
  evaluate: (x) => -x,
  vjp: (g) => [neg(g)],
});

// Extremes pass NaN on; tied operands share the cotangent.

export const maximum: ScalarOp = scalarOp({
  name: "maximum",
  arity: 2,
  types: "numeric",
  ulp: 0,
  evaluate: (x, y) => Math.max(x, y),
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
  vjp: (g, _, [x, y]) => [
    where(eq(x!, y!), mul(g, 0.5), where(gt(x!, y!), 0, g)),
    where(eq(x!, y!), mul(g, 0.5), where(lt(x!, y!), 0, g)),
  ],
});

// Comparisons.

function comparison(name: Primitive, evaluate: (x: number, y: number) => boolean): ScalarOp {
  return scalarOp({
    name,
    arity: 2,
    types: "compare",
    ulp: 0,
    evaluate: (x, y) => (evaluate(x, y) ? 1 : 0),
  });
}

export const eq: ScalarOp = comparison("eq", (x, y) => x === y);
export const ne: ScalarOp = comparison("ne", (x, y) => x !== y);
export const lt: ScalarOp = comparison("lt", (x, y) => x < y);
export const le: ScalarOp = comparison("le", (x, y) => x <= y);
export const gt: ScalarOp = comparison("gt", (x, y) => x > y);
export const ge: ScalarOp = comparison("ge", (x, y) => x >= y);

export const isnan: ScalarOp = scalarOp({
  name: "isNaN",
  arity: 1,
  types: "test",
  ulp: 0,
  evaluate: (x) => (Number.isNaN(x) ? 1 : 0),
});

export const isfinite: ScalarOp = scalarOp({
  name: "isFinite",
  arity: 1,
  types: "test",
  ulp: 0,
  evaluate: (x) => (Number.isFinite(x) ? 1 : 0),
});

/** `condition ? x : y`; exactly zero flows to the branch not taken, whatever it holds. */
export const where: ScalarOp = scalarOp({
  name: "where",
  arity: 3,
  types: "select",
  ulp: 0,
  evaluate: (condition, x, y) => (condition ? x : y),
  vjp: (g, _, [condition]) => [undefined, where(condition!, g, 0), where(condition!, 0, g)],
});

// Bits of integers; logic of booleans.

export const bitwiseAnd: ScalarOp = scalarOp({
  name: "bitwiseAnd",
  arity: 2,
  types: "bits",
  ulp: 0,
  evaluate: (x, y) => x & y,
});

export const bitwiseOr: ScalarOp = scalarOp({
  name: "bitwiseOr",
  arity: 2,
  types: "bits",
  ulp: 0,
  evaluate: (x, y) => x | y,
});

export const bitwiseXor: ScalarOp = scalarOp({
  name: "bitwiseXor",
  arity: 2,
  types: "bits",
  ulp: 0,
  evaluate: (x, y) => x ^ y,
});

/** Shifts by the lowest five bits of y. */
export const leftShift: ScalarOp = scalarOp({
  name: "leftShift",
  arity: 2,
  types: "integer",
  ulp: 0,
  evaluate: (x, y) => x << y,
});

/** Shifts by the lowest five bits of y; keeps the sign of int32. */
export const rightShift: ScalarOp = scalarOp({
  name: "rightShift",
  arity: 2,
  types: "integer",
  ulp: 0,
  evaluate: (x, y, _, dtype) => (dtype === "uint32" ? x >>> y : x >> y),
});

/** A uint32 as the float32 of the same bits, and a float32 as its bits. */
export const bitcast: ScalarOp = scalarOp({
  name: "bitcast",
  arity: 1,
  types: "bitcast",
  ulp: 0,
  evaluate: (x, _y, _z, dtype) => (dtype === "uint32" ? floatOfBits(x) : bitsOfFloat(x)),
});

// Of one float.

export const sqrt: ScalarOp = scalarOp({
  name: "sqrt",
  arity: 1,
  types: "float",
  ulp: 2.5,
  cost: 4,
  evaluate: Math.sqrt,
  vjp: (g, y) => [div(g, mul(y, 2))],
});

export const abs: ScalarOp = scalarOp({
  name: "abs",
  arity: 1,
  types: "numeric",
  ulp: 0,
  evaluate: Math.abs,
  vjp: (g, _, [x]) => [mul(g, sign(x!))],
});

/** -1, 0 or 1; 0 for zeros and NaN. */
export const sign: ScalarOp = scalarOp({
  name: "sign",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: (x) => (x > 0 ? 1 : x < 0 ? -1 : 0),
  vjp: none,
});

export const floor: ScalarOp = scalarOp({
  name: "floor",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: Math.floor,
  vjp: none,
});

export const ceil: ScalarOp = scalarOp({
  name: "ceil",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: Math.ceil,
  vjp: none,
});

/** To the nearest integer, halves to the even one. */
export const round: ScalarOp = scalarOp({
  name: "round",
  arity: 1,
  types: "float",
  ulp: 0,
  evaluate: roundHalfEven,
  vjp: none,
});

/** x 2^n with n the whole number nearest to y, from -252 to 254; right where 2^n is no float32. Of expansions only. */
export const ldexp: ScalarOp = rowOnly({
  name: "ldexp",
  arity: 2,
  types: "float",
  ulp: 0,
  evaluate: (x, y) => x * 2 ** roundHalfEven(y),
});
