import { bytesPerElement, coerce, type DeviceDType, isNarrow } from "../../../base/dtype.ts";
import { constantOf, type Expr } from "../../../compile/expr.ts";
import { type Addition, isSimple } from "../../../compile/place.ts";
import type { Code, Push, Scalar, Value, ValueType } from "./assemble.ts";
import { apply, constant, extractLane, i32, loadBy, tee, type Vector } from "./expressions.ts";
import { importRow } from "./imports.ts";
import { narrowLanes } from "./narrow.ts";
import { hasScalar, laneShape, scalarOperation, valueType, vectorOperation } from "./operations.ts";
import { lookUpOne } from "./tables.ts";
import type { Values } from "./values.ts";

// Expressions as code for one element: what is written of each vertex, and where elements lie.

/** One element. */
export function scalarOf(values: Values, e: Expr): Push {
  const write: Push = (code) => code.push(written(values, e, code));
  // The variable of lanes is the place of the first one.
  const name = e.kind === "variable" ? undefined : values.placement.name(e);
  return name === undefined ? write : values.once(name, values.placement.level(e), valueType(e.dtype), write);
}

/** What lanes have in common, as a number in a local. */
export function numberOf(values: Values, e: Expr): Push {
  if (isSimple(e)) return scalarOf(values, e);
  return values.once(`number ${e.id}`, values.placement.level(e), valueType(e.dtype), scalarOf(values, e));
}

/** What lanes have in common, in each of them; bools as masks. */
export function splatOf(values: Values, e: Expr): Vector {
  const x = scalarOf(values, e);
  const lanes = apply(`${laneShape(e.dtype)}.splat`, e.dtype === "bool" ? i32.sub(0, x as Push<"i32">) : x); // 0 or 1
  return values.inLanes(e, lanes);
}

/** One element of an index. */
export function indexOf(values: Values, e: Expr): Push<"i32"> {
  return scalarOf(values, e) as Push<"i32">; // what indices are
}

/** What is written where an expression is computed; what it needs before goes into `code`. */
function written(values: Values, e: Expr, code: Code): Value<ValueType> {
  switch (e.kind) {
    case "constant":
      return constant(valueType(e.dtype), coerce(e.value, e.dtype));
    case "hostNumber":
      return values.scope.hostNumber(e.index, e.dtype);
    case "load": {
      const { base, offset } = addressOf(values, e.value, e.index, e.dtype, code);
      const narrow = narrowLanes(e.dtype);
      if (!narrow) return loadBy(`${valueType(e.dtype)}.load`, base, offset);
      return firstFloat(
        narrow.load(values.lanes(code), apply("i32x4.splat", loadBy("i32.load16_s", base, offset))),
      );
    }
    case "accumulator":
      return values.accumulator(e.index);
    case "variable":
      return values.variable(e.name);
    case "apply":
      return applied(values, e, code);
    case "cast": {
      const x = scalarOf(values, e.arg);
      const narrow = narrowLanes(e.dtype);
      return narrow
        ? firstFloat(narrow.round(values.lanes(code), apply("f32x4.splat", x)))
        : castScalar(x, e.arg.dtype, e.dtype);
    }
    case "sum":
      return added(values, values.placement.rest(e));
    case "digit": {
      const x = indexOf(values, e.arg);
      const quotient = e.low === 1 ? x : i32.div(x, e.low);
      return e.high === Infinity ? quotient : i32.rem(quotient, e.high / e.low);
    }
    case "clamp": {
      const x = values.local("i32");
      const last = e.length - 1;
      const above = apply<"i32">("select", tee(x, indexOf(values, e.arg)), 0, apply("i32.gt_s", x, 0));
      return apply("select", tee(x, above), last, apply("i32.lt_s", x, last));
    }
    case "inRange":
      return i32.lt(indexOf(values, e.arg), e.length);
    default:
      return e satisfies never;
  }
}

const firstFloat = (x: Value<"v128">) => extractLane<"f32">("f32x4.extract_lane", x, 0);

function added(values: Values, { onto, addends }: Addition): Push<"i32"> {
  const parts = addends.map((addend): Value<"i32"> => {
    if (typeof addend === "number") return addend;
    const { coefficient, atom } = addend;
    return coefficient === 1 ? indexOf(values, atom) : i32.mul(indexOf(values, atom), coefficient);
  });
  if (onto) parts.unshift(values.once(onto.name, onto.level, "i32", added(values, onto.what as Addition)));
  return (code) => code.push(parts.reduce((sum, part) => i32.add(sum, part)));
}

function applied(values: Values, e: Extract<Expr, { kind: "apply" }>, code: Code): Value<ValueType> {
  const { row, args } = e;
  const dtype = args[args.length - 1]!.dtype;
  const operands = args.map((arg) => scalarOf(values, arg));
  if (row.table) return lookUpOne(values, row.table, operands[0] as Value<"i32">); // codes are uint32
  if (hasScalar(row, dtype)) return scalarOperation(row, dtype, operands);
  if (dtype !== "float64") {
    // One lane of four, so that values are the same everywhere.
    const l = values.lanes(code);
    const held = args.map((arg, i) => l.hold(apply(`${laneShape(arg.dtype)}.splat`, operands[i]!)));
    return extractLane(`${laneShape(e.dtype)}.extract_lane`, vectorOperation(l, row, dtype, held), 0);
  }
  const called: Push<"f64"> = (code) => {
    for (let i = 0; i < 3; i++)
      code.push(args[i] ? castScalar(operands[i]!, args[i]!.dtype, "float64") : constant("f64", 0));
    code.call(importRow(values.scope.module, row.name));
  };
  return castScalar(called, "float64", e.dtype);
}

function castScalar(x: Value<ValueType>, from: DeviceDType, to: DeviceDType): Value<ValueType> {
  if (from === to) return x;
  const source = valueType(from);
  switch (to) {
    case "float32":
      if (isNarrow(from)) return x;
      if (from === "float64") return apply("f32.demote_f64", x);
      return apply(from === "int32" ? "f32.convert_i32_s" : "f32.convert_i32_u", x);
    case "float64":
      if (from === "float32") return apply("f64.promote_f32", x);
      return apply(from === "int32" ? "f64.convert_i32_s" : "f64.convert_i32_u", x);
    case "bool":
      return apply<Scalar>(`${source}.ne`, x, constant(source, 0));
    default:
      // The only types that are left.
      return source === "i32" ? x : apply(`i32.trunc_sat_${source}_${to === "int32" ? "s" : "u"}`, x);
  }
}

/** An address is a sum, and a constant offset. */
export interface Address {
  readonly base: Value<"i32">;
  readonly offset: number;
}

/**
 * The address of an element, or of its first lane: pointer and terms are added up at the levels where they are
 * known, so that inner loops only add what changes in them.
 */
export function addressOf(values: Values, value: number, at: Expr, dtype: DeviceDType, code: Code): Address {
  const { placement, scope } = values;
  const bytes = bytesPerElement(dtype);
  const stride = placement.stride(at) ?? 0;
  // Small constants go into the instruction: no buffer begins below them, so bases do not fall below 0.
  const constantBytes = (constantOf(at) + stride * values.offset) * bytes;
  const fits = constantBytes >= 0 && constantBytes < 1024;
  const [offset, rest] = fits ? [constantBytes, 0] : [0, constantBytes];
  const groups = [...placement.terms(at)];
  if (groups[0]?.level !== 0 && rest !== 0) groups.unshift({ level: 0, terms: [] });
  let base: Value<"i32"> = scope.pointer(value);
  let name = `address ${value},${bytes},${rest}`;
  for (const { level, terms } of groups) {
    if (level === 0 && rest !== 0) base = i32.add(base, rest);
    for (const { coefficient, atom } of terms) {
      const [x, factor] = [indexOf(values, atom), coefficient * bytes];
      const shifts = factor > 0 && isPowerOfTwo(factor);
      base = i32.add(base, shifts ? i32.shl(x, Math.log2(factor)) : i32.mul(x, factor));
    }
    if (!values.outside(code, level)) continue;
    name += `;${level}:${terms.map(({ coefficient, atom }) => `${coefficient}*${atom.id}`).join()}`;
    base = values.once(name, level, "i32", base);
  }
  return { base, offset };
}

/** An address as one number. */
export const addedUp = ({ base, offset }: Address): Value<"i32"> =>
  offset > 0 ? i32.add(base, offset) : base;

export function isPowerOfTwo(x: number): boolean {
  return Number.isInteger(Math.log2(x));
}
