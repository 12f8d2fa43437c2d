import { coerce, type DeviceDType, isNarrow } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import { addressOf } from "./addresses.ts";
import type { Code, Push, Scalar, Value, ValueType } from "./assemble.ts";
import { apply, constant, extractLane, i32, loadBy, tee } from "./expressions.ts";
import { importRow } from "./imports.ts";
import type { Lanes } from "./lanes.ts";
import { narrowLanes } from "./narrow.ts";
import { hasScalar, laneShape, scalarOperation, valueType, vectorOperation } from "./operations.ts";
import { lookUpOne } from "./tables.ts";
import type { Writer } from "./writer.ts";

/** One element, of its parts; what it needs before is written into `code`. */
export function scalarOf(w: Writer, e: Expr, code: Code): Value<ValueType> {
  const l = w.lanes(code);
  switch (e.kind) {
    case "constant":
      return constant(valueType(e.dtype), coerce(e.value, e.dtype));
    case "hostNumber":
      return w.scope.hostNumber(e.index, e.dtype);
    case "load": {
      const { base, offset } = addressOf(w, e.value, e.index, e.dtype, code);
      const narrow = narrowLanes(e.dtype);
      if (!narrow) return loadBy(`${valueType(e.dtype)}.load`, base, offset);
      return firstFloat(narrow.load(l, apply("i32x4.splat", loadBy("i32.load16_s", base, offset))));
    }
    case "accumulator":
      return w.accumulator(e.index);
    case "variable":
      return w.variable(e.name);
    case "apply":
      return applied(w, e, l);
    case "cast": {
      const x = w.scalar(e.arg);
      const narrow = narrowLanes(e.dtype);
      return narrow
        ? firstFloat(narrow.round(l, apply("f32x4.splat", x)))
        : castScalar(x, e.arg.dtype, e.dtype);
    }
    case "sum":
      return w.sum(e);
    case "digit": {
      const x = w.index(e.arg);
      const quotient = e.low === 1 ? x : i32.div(x, e.low);
      return e.high === Infinity ? quotient : i32.rem(quotient, e.high / e.low);
    }
    case "clamp": {
      const x = w.local("i32");
      const last = e.length - 1;
      const above = apply<"i32">("select", tee(x, w.index(e.arg)), 0, apply("i32.gt_s", x, 0));
      return apply("select", tee(x, above), last, apply("i32.lt_s", x, last));
    }
    case "inRange":
      return i32.lt(w.index(e.arg), e.length);
    default:
      return e satisfies never;
  }
}

const firstFloat = (x: Value<"v128">) => extractLane<"f32">("f32x4.extract_lane", x, 0);

function applied(w: Writer, e: Extract<Expr, { kind: "apply" }>, l: Lanes): Value<ValueType> {
  const { row, args } = e;
  const dtype = args[args.length - 1]!.dtype;
  const values = args.map((arg) => w.scalar(arg));
  if (row.table) return lookUpOne(w, row.table, values[0] as Value<"i32">); // codes are uint32
  if (dtype !== "float64" && !hasScalar(row, dtype)) {
    // One lane of four, so that values are the same everywhere.
    const held = args.map((arg, i) => l.hold(apply(`${laneShape(arg.dtype)}.splat`, values[i]!)));
    return extractLane(`${laneShape(e.dtype)}.extract_lane`, vectorOperation(l, row, dtype, held), 0);
  }
  if (row.name === "where") return apply("select", values[1]!, values[2]!, values[0]!);
  if (hasScalar(row, dtype)) return scalarOperation(row, dtype, values);
  const called: Push<"f64"> = (code) => {
    for (let i = 0; i < 3; i++)
      code.push(args[i] ? castScalar(values[i]!, args[i]!.dtype, "float64") : constant("f64", 0));
    code.call(importRow(w.scope.module, row.name));
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
