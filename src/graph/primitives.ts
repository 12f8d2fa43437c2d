import type { DType } from "../base/dtype.ts";
import type { Primitive, PrimitiveRow, ScalarOp } from "./node.ts";
import { floatOp, rowOnly, scalarOp } from "./scalar.ts";
import { bitsOfFloat, floatOfBits, roundHalfEven } from "./special.ts";

// Elementwise operations for which every backend has code of its own (`Primitive`).
// The type annotation on each row lets its gradient refer to other rows, and to itself.

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

// Comparisons.

const predicate = (
  name: Primitive,
  types: "compare" | "test",
  holds: (x: number, y: number) => boolean,
): ScalarOp =>
  scalarOp({
    name,
    arity: types === "compare" ? 2 : 1,
    types,
    ulp: 0,
    evaluate: (x, y) => (holds(x, y) ? 1 : 0),
  });

export const eq: ScalarOp = predicate("eq", "compare", (x, y) => x === y);
export const ne: ScalarOp = predicate("ne", "compare", (x, y) => x !== y);
export const lt: ScalarOp = predicate("lt", "compare", (x, y) => x < y);
export const le: ScalarOp = predicate("le", "compare", (x, y) => x <= y);
export const gt: ScalarOp = predicate("gt", "compare", (x, y) => x > y);
export const ge: ScalarOp = predicate("ge", "compare", (x, y) => x >= y);
export const isnan: ScalarOp = predicate("isNaN", "test", Number.isNaN);
export const isfinite: ScalarOp = predicate("isFinite", "test", Number.isFinite);

// Extremes pass NaN on; tied operands share the cotangent.

/** @param loses Whether the first is not the extreme, and whether the second is not. */
const extreme = (
  name: Primitive,
  evaluate: (x: number, y: number) => number,
  loses: readonly [first: ScalarOp, second: ScalarOp],
): ScalarOp =>
  scalarOp({
    name,
    arity: 2,
    types: "numeric",
    ulp: 0,
    evaluate,
    vjp: (g, _, [x, y]) => loses.map((is) => where(eq(x!, y!), mul(g, 0.5), where(is(x!, y!), 0, g))),
  });

export const maximum: ScalarOp = extreme("maximum", (x, y) => Math.max(x, y), [lt, gt]);
export const minimum: ScalarOp = extreme("minimum", (x, y) => Math.min(x, y), [gt, lt]);

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

const bits = (name: Primitive, types: "bits" | "integer", evaluate: PrimitiveRow["evaluate"]): ScalarOp =>
  scalarOp({ name, arity: 2, types, ulp: 0, evaluate });

export const bitwiseAnd: ScalarOp = bits("bitwiseAnd", "bits", (x, y) => x & y);
export const bitwiseOr: ScalarOp = bits("bitwiseOr", "bits", (x, y) => x | y);
export const bitwiseXor: ScalarOp = bits("bitwiseXor", "bits", (x, y) => x ^ y);
/** Shifts by the lowest five bits of y. */
export const leftShift: ScalarOp = bits("leftShift", "integer", (x, y) => x << y);
/** Shifts by the lowest five bits of y; keeps the sign of int32. */
export const rightShift: ScalarOp = bits("rightShift", "integer", (x, y, _, dtype) =>
  dtype === "uint32" ? x >>> y : x >> y,
);

/** A uint32 as the float32 of the same bits, and a float32 as its bits. */
export const bitcast: ScalarOp = scalarOp({
  name: "bitcast",
  arity: 1,
  types: "bitcast",
  ulp: 0,
  evaluate: (x, _y, _z, dtype) => (dtype === "uint32" ? floatOfBits(x) : bitsOfFloat(x)),
});

// Of one float.

export const sqrt: ScalarOp = floatOp({
  name: "sqrt",
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

/** Flat but for its jumps. */
const step = (name: Primitive, evaluate: (x: number) => number): ScalarOp =>
  floatOp({ name, ulp: 0, evaluate, vjp: () => [] });

/** -1, 0 or 1; 0 for zeros and NaN. */
export const sign: ScalarOp = step("sign", (x) => (x > 0 ? 1 : x < 0 ? -1 : 0));
export const floor: ScalarOp = step("floor", Math.floor);
export const ceil: ScalarOp = step("ceil", Math.ceil);
/** To the nearest integer, halves to the even one. */
export const round: ScalarOp = step("round", roundHalfEven);

/** x 2^n with n the whole number nearest to y, from -252 to 254; right where 2^n is no float32. Of expansions only. */
export const ldexp: ScalarOp = rowOnly({
  name: "ldexp",
  arity: 2,
  types: "float",
  ulp: 0,
  evaluate: (x, y) => x * 2 ** roundHalfEven(y),
});
