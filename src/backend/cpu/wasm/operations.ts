import { coerce, computeDType, type DeviceDType } from "../../../base/dtype.ts";
import { internal } from "../../../base/errors.ts";
import { getOrInsert } from "../../../base/group.ts";
import { expansionOf, usesOf } from "../../../compile/expand.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { ExpandedRow, Primitive, ScalarRow } from "../../../graph/node.ts";
import type { Code, Push, Scalar, Value, ValueType } from "./assemble.ts";
import { apply, constant, i32, tee, type Vector } from "./expressions.ts";
import * as functions from "./functions.ts";
import type { Operator } from "./instructions.ts";
import type { Lanes } from "./lanes.ts";

// Elementwise operations in WebAssembly: the primitives, and what is made of them. Of float64 there are only those that
// are instructions; the host evaluates the others, element by element.
//
// In scalar code a bool is 0 or 1. In vectors of four lanes it is a mask, all bits 0 or all bits 1.

/** The type of a value in scalar code. A narrow float is loaded as the float32 of its value, and stored as its bits. */
export function valueType(dtype: DeviceDType): Scalar {
  const computed = computeDType(dtype);
  return computed === "float64" ? "f64" : computed === "float32" ? "f32" : "i32";
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

type Operators = Readonly<{ [name in string]?: Operator }>;

/** Operations that are one instruction, by the dtype of their arguments: on one element, and on four lanes. */
const scalarOperators: Readonly<Partial<Record<DeviceDType, Operators>>> = {
  float32: { ...floats("f32"), bitcast: "i32.reinterpret_f32" },
  float64: floats("f64"),
  int32: whole("s"),
  uint32: { ...whole("u"), bitcast: "f32.reinterpret_i32" },
  bool: whole("u"),
};

const laneOperators: Readonly<Partial<Record<DeviceDType, Operators>>> = {
  float32: floats("f32x4"),
  int32: wholeLanes("s"),
  uint32: wholeLanes("u"),
  bool: wholeLanes("u"),
};

/** Four lanes of an operation's results; `args` push vectors, and may be pushed more than once. */
type Lanewise = (l: Lanes, args: readonly Vector[], dtype: DeviceDType) => Vector;

/** Those of one instruction, which depends on the dtype. */
const single = [
  ...(["add", "sub", "mul", "div", "neg", "sqrt", "floor", "ceil", "round", "maximum", "minimum"] as const),
  ...(["eq", "ne", "lt", "le", "gt", "ge", "bitwiseAnd", "bitwiseOr", "bitwiseXor"] as const),
];

type Single = (typeof single)[number];

const isSingle = (name: string): name is Single => (single as readonly string[]).includes(name);

const instruction = (name: Primitive, args: readonly Vector[], dtype: DeviceDType): Vector =>
  apply(laneOperators[dtype]![name]!, ...args);

type Shift = "leftShift" | "rightShift";

export const isShift = (name: string): name is Shift => name === "leftShift" || name === "rightShift";

/** The bits of all lanes, moved by one number. */
export function shiftLanes(name: Shift, dtype: DeviceDType, x: Vector, by: Value<ValueType>): Vector {
  const right = dtype === "uint32" ? "i32x4.shr_u" : "i32x4.shr_s";
  return apply(name === "leftShift" ? "i32x4.shl" : right, x, by);
}

/** The others. */
const lanewise: Readonly<Record<Exclude<Primitive, Single | Shift>, Lanewise>> = {
  abs: (_, [x], dtype) => (dtype === "uint32" ? x! : instruction("abs", [x!], dtype)),
  bitcast: (_, [x]) => x!,
  where: (l, [condition, x, y]) => l.select(condition!, x!, y!),
  isNaN: (_, [x]) => apply("f32x4.ne", x!, x!),
  isFinite: (l, [x]) => apply("f32x4.lt", apply("f32x4.abs", x!), l.f32(Infinity)),
  sign: (l, [x]) => {
    const one = l.f32(1);
    const positive = apply("v128.and", apply("f32x4.gt", x!, l.f32(0)), one);
    return apply("f32x4.sub", positive, apply("v128.and", apply("f32x4.lt", x!, l.f32(0)), one));
  },
  ldexp: (l, [x, power]) => functions.ldexp(l, x!, functions.wholeBits(l, power!)),
  sin: (l, [x]) => functions.sin(l, x!),
  cos: (l, [x]) => functions.cos(l, x!),
  pow: (l, [x, y]) => functions.pow(l, x!, y!),
};

/** Four lanes; `args` push vectors and may be pushed more than once. */
export function vectorOperation(
  l: Lanes,
  row: ScalarRow,
  dtype: DeviceDType,
  args: readonly Vector[],
): Vector {
  if (row.expand) return expanded(l, row, args);
  if (row.table || isShift(row.name)) return internal(`${row.name} beside the writer`);
  return isSingle(row.name) ? instruction(row.name, args, dtype) : lanewise[row.name](l, args, dtype);
}

/** Four lanes of an operation that is made of others. What is used twice is held. */
function expanded(l: Lanes, row: ExpandedRow, args: readonly Vector[]): Vector {
  const root = expansionOf(row.expand, row.arity);
  const uses = usesOf(root);
  const known = new Map<Expr, Vector>();
  // Where a power of two and the rounded exponent are both wanted, they are made of the same bits.
  const bits = new Map<Expr, Vector>();
  const powers = new Set(
    [...uses.keys()].flatMap((e) => (e.kind === "apply" && e.row.name === "ldexp" ? e.args.slice(1) : [])),
  );
  const bitsOf = (power: Expr): Vector => getOrInsert(bits, power, () => functions.wholeBits(l, of(power)));
  const of = (e: Expr): Vector =>
    getOrInsert(known, e, () => {
      const written = write(e);
      const cheap = constantOf(e) !== undefined || e.kind === "accumulator";
      return cheap || uses.get(e) === 1 ? written : l.hold(written);
    });
  const write = (e: Expr): Vector => {
    const constant = constantOf(e);
    if (constant !== undefined) return e.dtype === "float32" ? l.f32(constant) : l.i32(constant);
    switch (e.kind) {
      case "accumulator":
        return args[e.index]!;
      case "cast":
        return castLanes(l, e.arg.dtype, e.dtype, of(e.arg));
      case "apply": {
        const dtype = e.args[e.args.length - 1]!.dtype;
        if (e.row.name === "ldexp") return functions.ldexp(l, of(e.args[0]!), bitsOf(e.args[1]!));
        if (e.row.name === "round" && powers.has(e.args[0]!)) return functions.wholeOf(l, bitsOf(e.args[0]!));
        const by = e.args[1] && constantOf(e.args[1]);
        if (by !== undefined) {
          const own = withConstant(l, e.row, dtype, of(e.args[0]!), by);
          if (own) return own;
        }
        const parts = e.args.map(of);
        return vectorOperation(l, e.row, dtype, pushesOnce(e.row) ? parts : parts.map(l.hold));
      }
      default:
        return internal(`${e.kind} in an expansion`);
    }
  };
  return of(root);
}

/** The number that an expression always is. Indices have theirs as sums. */
function constantOf(e: Expr): number | undefined {
  if (e.kind === "sum" && e.terms.length === 0) return e.constant;
  return e.kind === "constant" ? coerce(e.value, e.dtype) : undefined;
}

/** An operation on a number and a constant, where there are better instructions for that. */
function withConstant(
  l: Lanes,
  row: ScalarRow,
  dtype: DeviceDType,
  x: Vector,
  by: number,
): Vector | undefined {
  if (isShift(row.name)) return shiftLanes(row.name, dtype, x, by);
  return dtype === "float32" ? bounded(l, row, x, by) : undefined;
}

/** Does the operation push each of its arguments once? */
export function pushesOnce({ name }: ScalarRow): boolean {
  return isSingle(name) || ["abs", "where", "bitcast", "isFinite"].includes(name);
}

/** Four lanes of another dtype of 32 bits; bools are masks. */
export function castLanes(l: Lanes, from: DeviceDType, to: DeviceDType, x: Vector): Vector {
  if (to === "bool") return apply(from === "float32" ? "f32x4.ne" : "i32x4.ne", x, l.i32(0));
  if (from === "bool") return apply("v128.and", x, to === "float32" ? l.f32(1) : l.i32(1));
  if (from === "float32" && to === "int32") return apply("i32x4.trunc_sat_f32x4_s", x);
  if (from === "float32" && to === "uint32") return apply("i32x4.trunc_sat_f32x4_u", x);
  if (to === "float32" && from === "int32") return apply("f32x4.convert_i32x4_s", x);
  if (to === "float32" && from === "uint32") return apply("f32x4.convert_i32x4_u", x);
  return x;
}

/**
 * Four lanes of the larger or smaller of x and a constant, by the pseudo-extreme that gives x where the two do not
 * compare: NaN stays. That is one instruction, `f32x4.max` is eight. Undefined where it does not do.
 */
export function bounded(l: Lanes, row: ScalarRow, x: Vector, bound: number): Vector | undefined {
  if (Number.isNaN(bound) || (row.name !== "maximum" && row.name !== "minimum")) return undefined;
  const largest = row.name === "maximum";
  if (Object.is(bound, -0) && !largest) return undefined; // x would be +0 where that is
  const nearer = apply(largest ? "f32x4.pmax" : "f32x4.pmin", x, l.f32(bound));
  // -0 becomes +0, which counts as more
  return largest && Object.is(bound, 0) ? apply("f32x4.add", nearer, l.f32(0)) : nearer;
}

/** Of one element, an operation that takes several instructions. */
type Composed = (code: Code, args: readonly Value<ValueType>[]) => Value<ValueType>;
type Composites = Readonly<{ [name in string]?: Composed }>;

const chosen: Composed = (_, [condition, x, y]) => apply("select", x!, y!, condition!);

const composedFloats = <T extends "f32" | "f64">(t: T): Composites => ({
  where: chosen,
  isNaN: (code, [x]) => {
    const held = code.local(t);
    return apply(`${t}.ne`, tee<ValueType>(held, x!), held);
  },
  isFinite: (_, [x]) => apply(`${t}.lt`, apply(`${t}.abs`, x!), constant(t, Infinity)),
  sign: (code, [x]) => {
    const [held, zero] = [code.local(t), constant(t, 0)];
    const positive = apply<"i32">(`${t}.gt`, tee<ValueType>(held, x!), zero);
    return apply(`${t}.convert_i32_s`, i32.sub(positive, apply<"i32">(`${t}.lt`, held, zero)));
  },
});

const composedIntegers = (sign: "s" | "u"): Composites => {
  const extreme =
    (comparison: "gt" | "lt"): Composed =>
    (code, [x, y]) => {
      const [a, b] = [code.local("i32"), code.local("i32")];
      const taken = [tee<ValueType>(a, x!), tee<ValueType>(b, y!)] as const;
      return apply("select", ...taken, apply(`i32.${comparison}_${sign}`, a, b));
    };
  return {
    where: chosen,
    neg: (_, [x]) => apply("i32.mul", x!, -1),
    abs: (code, [x]) => {
      if (sign === "u") return x!;
      const [held, mask] = [code.local("i32"), code.local("i32")];
      const all = tee(mask, apply("i32.shr_s", tee<ValueType>(held, x!), 31));
      return i32.sub(apply("i32.xor", all, held), mask);
    },
    maximum: extreme("gt"),
    minimum: extreme("lt"),
  };
};

const composed: Readonly<Partial<Record<DeviceDType, Composites>>> = {
  float32: composedFloats("f32"),
  float64: composedFloats("f64"),
  int32: composedIntegers("s"),
  uint32: composedIntegers("u"),
  bool: composedIntegers("u"),
  // Of other operations on these, one lane of four is taken.
  float16: { where: chosen },
  bfloat16: { where: chosen },
};

/**
 * What has no code of its own for one element is not here: of 32 bits it is a lane of four, of float64 it is evaluated by
 * the host.
 */
export function hasScalar({ name }: ScalarRow, dtype: DeviceDType): boolean {
  return scalarOperators[dtype]?.[name] !== undefined || composed[dtype]?.[name] !== undefined;
}

/** One element. */
export function scalarOperation(
  { name }: ScalarRow,
  dtype: DeviceDType,
  args: readonly Value<ValueType>[],
): Push {
  const operator = scalarOperators[dtype]?.[name];
  if (operator) return apply<ValueType>(operator, ...args);
  const several = composed[dtype]?.[name] ?? internal(`no scalar code for ${name}`);
  return (code) => code.push(several(code, args));
}
