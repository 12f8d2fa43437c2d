import { coerce, type DeviceDType } from "../../../base/dtype.ts";
import { internal } from "../../../base/errors.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Code, Value, ValueType } from "./assemble.ts";
import { codesOf, levelsOf } from "./codes.ts";
import { apply, eachLane, extractLane, i32, type Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";
import { loadVector } from "./loads.ts";
import { narrowLanes } from "./narrow.ts";
import {
  bounded,
  castLanes,
  isShift,
  laneShape,
  pushesOnce,
  scalarOperation,
  shiftLanes,
  vectorOperation,
} from "./operations.ts";
import { isPowerOfTwo, numberOf, scalarOf, splatOf } from "./scalar.ts";
import { lookUp } from "./tables.ts";
import type { Values } from "./values.ts";

// Expressions as code for four lanes at once.

/** Four lanes; bools as masks. */
export function vectorOf(values: Values, e: Expr): Vector {
  if (e.kind === "constant") return (code) => code.push(constantOf(values.lanes(code), e.value, e.dtype));
  if (!values.placement.varies(e)) return splatOf(values, e);
  if (e.kind === "accumulator") return (code) => code.push(values.accumulator(e.index));
  const write: Vector = (code) => code.push(written(values, e, code));
  if (values.placement.name(e) === undefined) return write;
  return values.inLanes(e, write);
}

function constantOf(l: Lanes, value: number, dtype: DeviceDType): Vector {
  const exact = coerce(value, dtype);
  return dtype === "float32" ? l.f32(exact) : l.i32(dtype === "bool" ? -exact : exact);
}

/** What is written where an expression is computed, of its parts; what it needs before goes into `code`. */
function written(values: Values, e: Expr, code: Code): Vector {
  const l = values.lanes(code);
  switch (e.kind) {
    case "load":
      return loadVector(values, e, l, code, (part) => vectorOf(values, part));
    case "apply":
      return applied(values, e, l, code);
    case "cast": {
      const x = vectorOf(values, e.arg);
      const narrow = narrowLanes(e.dtype);
      return narrow ? narrow.round(l, x) : castLanes(l, e.arg.dtype, e.dtype, x);
    }
    case "variable": {
      const { extent, exact } = values.scope.vector!;
      const o = values.offset;
      const first = apply("i32x4.splat", values.variable(e.name));
      const lanes = apply("i32x4.add", first, l.i32s(o, o + 1, o + 2, o + 3));
      return exact ? lanes : apply("i32x4.min_s", lanes, l.i32(extent - 1));
    }
    case "sum":
      return e.terms.reduce<Vector>((sum, { coefficient, atom }) => {
        const x = vectorOf(values, atom);
        return apply("i32x4.add", sum, coefficient === 1 ? x : apply("i32x4.mul", x, l.i32(coefficient)));
      }, l.i32(e.constant));
    case "digit":
      return digit(values, e, l);
    case "clamp": {
      const above = apply("i32x4.max_s", vectorOf(values, e.arg), l.i32(0));
      return apply("i32x4.min_s", above, l.i32(e.length - 1));
    }
    case "inRange":
      return apply("i32x4.lt_u", vectorOf(values, e.arg), l.i32(e.length));
    case "constant":
    case "hostNumber":
    case "accumulator":
      return internal(`${e.kind} as a vector`);
    default:
      return e satisfies never;
  }
}

function applied(values: Values, e: Extract<Expr, { kind: "apply" }>, l: Lanes, code: Code): Vector {
  const { row, args } = e;
  if (row.name === "where" && values.holds(args[0]!)) return vectorOf(values, args[1]!);
  const codes = values.scope.vector!.whole && (levelsOf(values, e) ?? codesOf(values, e, l, code));
  if (codes) return codes;
  if (row.table) return lookUp(values, l, row.table, vectorOf(values, args[0]!));
  const dtype = args[args.length - 1]!.dtype;
  if (isShift(row.name)) return shifted(values, e, row.name, l);
  const chosen = e.dtype === "float32" && pseudoExtreme(e);
  if (chosen) return apply(chosen.name, ...chosen.of.map((arg) => vectorOf(values, arg)));
  const [x, y] = args;
  if (e.dtype === "float32" && x && y) {
    // The extreme of a number and a constant takes few instructions.
    const [bound, other] = y.kind === "constant" ? [y, x] : [x, y];
    const extreme =
      bound.kind === "constant" && bounded(l, row, vectorOf(values, other), coerce(bound.value, e.dtype));
    if (extreme) return extreme;
  }
  // Plain operations take their arguments from the stack; others push them more than once.
  const once = pushesOnce(row);
  const operands = args.map((arg): Vector => {
    const cheap = arg.kind === "constant" || values.isHeld(arg) || once;
    return cheap ? vectorOf(values, arg) : l.hold(vectorOf(values, arg));
  });
  return vectorOperation(l, row, dtype, operands);
}

/** The larger or smaller of two numbers, chosen by comparing them: one instruction does just that. */
function pseudoExtreme({ row, args: [condition, then, otherwise] }: Extract<Expr, { kind: "apply" }>) {
  if (row.name !== "where" || condition!.kind !== "apply" || condition!.row.name !== "lt") return undefined;
  const [x, y] = condition!.args as [Expr, Expr];
  if (then === y && otherwise === x) return { name: "f32x4.pmax", of: [x, y] } as const;
  return then === x && otherwise === y ? ({ name: "f32x4.pmin", of: [y, x] } as const) : undefined;
}

function shifted(
  values: Values,
  e: Extract<Expr, { kind: "apply" }>,
  name: Parameters<typeof shiftLanes>[0],
  l: Lanes,
): Vector {
  const [x, by] = e.args as [Expr, Expr];
  if (!values.placement.varies(by))
    return shiftLanes(name, x.dtype, vectorOf(values, x), numberOf(values, by));
  // Each lane by itself: extracted, computed, put together.
  const args = e.args.map((arg) => l.hold(vectorOf(values, arg)));
  return laneByLane(e.dtype, (lane) =>
    scalarOperation(
      e.row,
      e.dtype,
      args.map((arg) => extractLane("i32x4.extract_lane", arg, lane)),
    ),
  );
}

function laneByLane(dtype: DeviceDType, of: (lane: number) => Value<ValueType>): Vector {
  const mask = (lane: number) => i32.mul(of(lane) as Value<"i32">, -1);
  return eachLane(laneShape(dtype), dtype === "bool" ? mask : of);
}

function digit(values: Values, e: Extract<Expr, { kind: "digit" }>, l: Lanes): Vector {
  const modulus = e.high / e.low;
  if (isPowerOfTwo(e.low) && (modulus === Infinity || isPowerOfTwo(modulus))) {
    const x = vectorOf(values, e.arg);
    const quotient = e.low > 1 ? apply("i32x4.shr_u", x, Math.log2(e.low)) : x;
    return modulus === Infinity ? quotient : apply("v128.and", quotient, l.i32(modulus - 1));
  }
  // It begins anew where a run does, if at all.
  if (values.placement.stride(e) === 1 && e.arg.kind === "variable") {
    const o = values.offset;
    return apply("i32x4.add", apply("i32x4.splat", scalarOf(values, e)), l.i32s(o, o + 1, o + 2, o + 3));
  }
  const arg = l.hold(vectorOf(values, e.arg));
  return laneByLane("int32", (lane) => {
    const x = extractLane<"i32">("i32x4.extract_lane", arg, lane);
    const quotient = e.low === 1 ? x : i32.div(x, e.low);
    return modulus === Infinity ? quotient : i32.rem(quotient, modulus);
  });
}
