import type { DeviceDType } from "../../../base/dtype.ts";
import type { ScalarRow } from "../../../graph/node.ts";
import type { Code, Scalar } from "./assemble.ts";
import type { Operator } from "./instructions.ts";
import * as polynomials from "./polynomials.ts";
import { type Lanes, type Push, select } from "./polynomials.ts";

// The table of elementwise operations in WebAssembly, beside the rows of src/graph/elementwise.ts. A row that is
// not here is called in JavaScript, element by element (float64), so a new row works before it is fast.
//
// In scalar code a bool is 0 or 1. In vectors of four lanes it is a mask, all bits 0 or all bits 1.

/** The type of a value in scalar code. float16 is loaded as the float32 of its value, and stored as its bits. */
export function valueType(dtype: DeviceDType): Scalar {
  return dtype === "float64" ? "f64" : dtype === "float32" || dtype === "float16" ? "f32" : "i32";
}

/** How four lanes of a dtype are seen. */
export function laneShape(dtype: DeviceDType): "f32x4" | "i32x4" {
  return valueType(dtype) === "f32" ? "f32x4" : "i32x4";
}

const floats = <T extends "f32" | "f64" | "f32x4">(t: T) =>
  ({
    add: `${t}.add`,
    sub: `${t}.sub`,
    mul: `${t}.mul`,
    div: `${t}.div`,
    maximum: `${t}.max`,
    minimum: `${t}.min`,
    neg: `${t}.neg`,
    abs: `${t}.abs`,
    sqrt: `${t}.sqrt`,
    floor: `${t}.floor`,
    ceil: `${t}.ceil`,
    round: `${t}.nearest`,
    eq: `${t}.eq`,
    ne: `${t}.ne`,
    lt: `${t}.lt`,
    le: `${t}.le`,
    gt: `${t}.gt`,
    ge: `${t}.ge`,
  }) as const;

const integers = <T extends "i32" | "i32x4">(t: T, sign: "s" | "u") =>
  ({
    add: `${t}.add`,
    sub: `${t}.sub`,
    mul: `${t}.mul`,
    eq: `${t}.eq`,
    ne: `${t}.ne`,
    lt: `${t}.lt_${sign}`,
    le: `${t}.le_${sign}`,
    gt: `${t}.gt_${sign}`,
    ge: `${t}.ge_${sign}`,
  }) as const;

const wholeLanes = (sign: "s" | "u") =>
  ({
    ...integers("i32x4", sign),
    neg: "i32x4.neg",
    abs: "i32x4.abs",
    maximum: `i32x4.max_${sign}`,
    minimum: `i32x4.min_${sign}`,
    bitwiseAnd: "v128.and",
    bitwiseOr: "v128.or",
    bitwiseXor: "v128.xor",
  }) as const;

const whole = (sign: "s" | "u") =>
  ({
    ...integers("i32", sign),
    bitwiseAnd: "i32.and",
    bitwiseOr: "i32.or",
    bitwiseXor: "i32.xor",
    leftShift: "i32.shl",
    rightShift: `i32.shr_${sign}`,
  }) as const;

type Operators = Readonly<Record<string, Operator>>;

/** Operations that are one instruction, by the dtype of their arguments: on one element, and on four lanes. */
const scalarOperators: Readonly<Record<DeviceDType, Operators>> = {
  float16: {},
  float32: { ...floats("f32"), bitcast: "i32.reinterpret_f32" },
  float64: floats("f64"),
  int32: whole("s"),
  uint32: { ...whole("u"), bitcast: "f32.reinterpret_i32" },
  bool: whole("u"),
};

const laneOperators: Readonly<Record<DeviceDType, Operators>> = {
  float16: {},
  float32: floats("f32x4"),
  float64: {},
  int32: wholeLanes("s"),
  uint32: wholeLanes("u"),
  bool: wholeLanes("u"),
};

const functions: Record<string, (l: Lanes, ...args: readonly Push[]) => Push> = {
  exp: polynomials.exp as Unary,
  expm1: polynomials.expm1 as Unary,
  log: polynomials.log as Unary,
  log1p: polynomials.log1p as Unary,
  sin: polynomials.sin as Unary,
  cos: polynomials.cos as Unary,
  tanh: polynomials.tanh as Unary,
  sigmoid: polynomials.sigmoid as Unary,
  erf: polynomials.erf as Unary,
  pow: polynomials.pow as Unary, // of two arguments
};
type Unary = (l: Lanes, ...args: readonly Push[]) => Push; // rows give as many arguments as their arity says

/** Operations that take a few instructions. */
const composed = new Set(["where", "isNaN", "isFinite", "sign", "bitcast", "leftShift", "rightShift"]);

/** Does the operation have code for four lanes of `dtype`? */
export function hasVector(row: ScalarRow, dtype: DeviceDType): boolean {
  if (dtype === "float64") return false;
  return row.name in laneOperators[dtype] || row.name in functions || composed.has(row.name);
}

/** Is a scalar operation on `dtype` code, rather than a call of the row's evaluation? */
export function hasScalar(row: ScalarRow, dtype: DeviceDType): boolean {
  if (dtype !== "float64") return hasVector(row, dtype);
  return hasVector(row, "float32") && !(row.name in functions);
}

/** Four lanes; `args` push vectors and may be pushed more than once. Shifts have a case of their own. */
export function vectorOperation(l: Lanes, row: ScalarRow, dtype: DeviceDType, args: readonly Push[]): Push {
  const [x, y, z] = args as readonly [Push, Push, Push]; // as many as the row's arity
  const op = (name: Operator, ...operands: readonly Push[]): Push => {
    return (code) => {
      for (const operand of operands) operand(code);
      code.op(name);
    };
  };
  const { name } = row;
  if (name === "abs" && dtype === "uint32") return x;
  const operator = laneOperators[dtype][name];
  if (operator) return op(operator, ...args);
  if (functions[name]) return functions[name](l, ...args);
  switch (name) {
    case "where":
      return select(x, y, z);
    case "bitcast":
      return x;
    case "isNaN":
      return op("f32x4.ne", x, x);
    case "isFinite":
      return op("f32x4.lt", op("f32x4.abs", x), l.f32(Infinity));
    case "sign": {
      const one = l.f32(1);
      const positive = op("v128.and", op("f32x4.gt", x, l.f32(0)), one);
      return op("f32x4.sub", positive, op("v128.and", op("f32x4.lt", x, l.f32(0)), one));
    }
    default:
      throw new Error(`internal: no vector code for ${name}`);
  }
}

/**
 * Four lanes of the larger or smaller of x and a constant, by the pseudo-extreme that gives x where the two do not
 * compare: NaN stays. That is one instruction, `f32x4.max` is eight. Undefined where it does not do.
 */
export function bounded(l: Lanes, row: ScalarRow, x: Push, bound: number): Push | undefined {
  if (Number.isNaN(bound) || (row.name !== "maximum" && row.name !== "minimum")) return undefined;
  const largest = row.name === "maximum";
  if (Object.is(bound, -0) && !largest) return undefined; // x would be +0 where that is
  return (code) => {
    x(code);
    l.f32(bound)(code);
    code.op(largest ? "f32x4.pmax" : "f32x4.pmin");
    if (!largest || !Object.is(bound, 0)) return;
    l.f32(0)(code);
    code.op("f32x4.add"); // -0 becomes +0, which counts as more
  };
}

/** One element, arguments on the stack in order; only where `hasScalar`, and not for float32's functions. */
export function scalarOperation(code: Code, row: ScalarRow, dtype: DeviceDType): void {
  const { name } = row;
  const operator = scalarOperators[dtype][name];
  if (operator) code.op(operator);
  else if (dtype === "float32" || dtype === "float64") float(code, name, dtype === "float32" ? "f32" : "f64");
  else integer(code, name, dtype);
}

function float(code: Code, name: string, type: "f32" | "f64"): void {
  const x = code.local(type);
  const constant = (value: number) => (type === "f32" ? code.f32(value) : code.f64(value));
  switch (name) {
    case "isNaN":
      code.tee(x).get(x).op(`${type}.ne`);
      break;
    case "isFinite":
      code.op(`${type}.abs`);
      constant(Infinity).op(`${type}.lt`);
      break;
    case "sign":
      code.set(x).get(x);
      constant(0).op(`${type}.gt`).get(x);
      constant(0).op(`${type}.lt`, "i32.sub", `${type}.convert_i32_s`);
      break;
    default:
      throw new Error(`internal: no scalar code for ${name}`);
  }
}

function integer(code: Code, name: string, dtype: DeviceDType): void {
  switch (name) {
    case "neg":
      code.i32(-1).op("i32.mul");
      break;
    case "abs": {
      if (dtype === "uint32") break;
      const [x, mask] = [code.local("i32"), code.local("i32")];
      code.tee(x).i32(31).op("i32.shr_s").tee(mask).get(x).op("i32.xor").get(mask).op("i32.sub");
      break;
    }
    case "maximum":
    case "minimum": {
      const [x, y] = [code.local("i32"), code.local("i32")];
      code.set(y).tee(x).get(y).get(x).get(y);
      code.op(`i32.${name === "maximum" ? "gt" : "lt"}_${dtype === "int32" ? "s" : "u"}`, "select");
      break;
    }
    default:
      throw new Error(`internal: no scalar code for ${name}`);
  }
}

/** Whether the function is a polynomial in float32, for scalar code too. */
export function isPolynomial(row: ScalarRow, dtype: DeviceDType): boolean {
  return dtype === "float32" && row.name in functions;
}
