import { coerce, type DeviceDType, isNarrow } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Level } from "../../../compile/place.ts";
import type { Code } from "./assemble.ts";
import type { Vector } from "./expressions.ts";
import { importRow } from "./imports.ts";
import type { Lanes } from "./lanes.ts";
import { narrowLanes } from "./narrow.ts";
import { hasScalar, laneShape, scalarOperation, valueType, vectorOperation } from "./operations.ts";
import type { Writer } from "./writer.ts";

/** Pushes one element, from its parts. */
export function writeScalar(w: Writer, e: Expr, code: Code, at: Level): void {
  switch (e.kind) {
    case "constant": {
      const value = coerce(e.value, e.dtype);
      if (e.dtype === "float32") code.f32(value);
      else if (e.dtype === "float64") code.f64(value);
      else code.i32(value);
      break;
    }
    case "hostNumber":
      w.scope.hostNumber(e.index, e.dtype)(code);
      break;
    case "load": {
      const { base, offset } = w.address(e.value, e.index, e.dtype, at);
      base(code);
      const narrow = narrowLanes(e.dtype);
      if (narrow) {
        code.memory("i32.load16_s", offset).op("i32x4.splat");
        firstLane(w, code, narrow.load);
      } else code.memory(`${valueType(e.dtype)}.load`, offset);
      break;
    }
    case "accumulator":
      code.get(w.accumulator(e.index));
      break;
    case "variable":
      code.get(w.variable(e.name));
      break;
    case "apply":
      applyScalar(w, e, code, at);
      break;
    case "cast": {
      w.scalar(e.arg, code, at);
      const narrow = narrowLanes(e.dtype);
      if (narrow) {
        code.op("f32x4.splat");
        firstLane(w, code, narrow.round);
      } else castScalar(code, e.arg.dtype, e.dtype);
      break;
    }
    case "sum":
      sum(w, e, code, at);
      break;
    case "digit": {
      w.scalar(e.arg, code, at);
      if (e.low !== 1) code.i32(e.low).op("i32.div_u");
      if (e.high !== Infinity) code.i32(e.high / e.low).op("i32.rem_u");
      break;
    }
    case "clamp": {
      const x = w.local("i32");
      w.scalar(e.arg, code, at);
      code.tee(x).i32(0).get(x).i32(0).op("i32.gt_s", "select").tee(x);
      code
        .i32(e.length - 1)
        .get(x)
        .i32(e.length - 1)
        .op("i32.lt_s", "select");
      break;
    }
    case "inRange":
      w.scalar(e.arg, code, at);
      code.i32(e.length).op("i32.lt_u");
      break;
    default:
      e satisfies never;
  }
}

/** One number by a function of vectors, of the vector on the stack. */
function firstLane(w: Writer, code: Code, f: (lanes: Lanes, x: Vector) => Vector): void {
  f(w.lanes(code), () => {})(code);
  code.lane("f32x4.extract_lane", 0);
}

function applyScalar(w: Writer, e: Extract<Expr, { kind: "apply" }>, code: Code, at: Level): void {
  const { row, args } = e;
  const dtype = args[args.length - 1]!.dtype;
  if (dtype !== "float64" && !hasScalar(row, dtype)) {
    // One lane of four, so that values are the same everywhere.
    const lanes = w.lanes(code);
    const held = args.map((arg) =>
      lanes.hold((into) => {
        w.scalar(arg, into, at);
        into.op(`${laneShape(arg.dtype)}.splat`);
      }),
    );
    vectorOperation(lanes, row, dtype, held)(code);
    code.lane(`${laneShape(e.dtype)}.extract_lane`, 0);
    return;
  }
  if (row.name === "where") {
    w.scalar(args[1]!, code, at);
    w.scalar(args[2]!, code, at);
    w.scalar(args[0]!, code, at);
    code.op("select");
    return;
  }
  if (!hasScalar(row, dtype)) {
    for (let i = 0; i < 3; i++) {
      const arg = args[i];
      if (!arg) code.f64(0);
      else {
        w.scalar(arg, code, at);
        castScalar(code, arg.dtype, "float64");
      }
    }
    code.call(importRow(w.scope.module, row.name));
    castScalar(code, "float64", e.dtype);
    return;
  }
  for (const arg of args) w.scalar(arg, code, at);
  scalarOperation(code, row, dtype);
}

function sum(w: Writer, e: Extract<Expr, { kind: "sum" }>, code: Code, at: Level): void {
  let first = true;
  const append = (write: () => void) => {
    write();
    if (!first) code.op("i32.add");
    first = false;
  };
  for (const { coefficient, atom } of e.terms) {
    append(() => {
      w.scalar(atom, code, at);
      if (coefficient !== 1) code.i32(coefficient).op("i32.mul");
    });
  }
  if (e.constant !== 0 || first) append(() => code.i32(e.constant));
}

export function castScalar(code: Code, from: DeviceDType, to: DeviceDType): void {
  if (from === to) return;
  const source = valueType(from);
  switch (to) {
    case "float32":
      if (isNarrow(from)) break;
      if (from === "float64") code.op("f32.demote_f64");
      else code.op(from === "int32" ? "f32.convert_i32_s" : "f32.convert_i32_u");
      break;
    case "float64":
      if (from === "float32") code.op("f64.promote_f32");
      else code.op(from === "int32" ? "f64.convert_i32_s" : "f64.convert_i32_u");
      break;
    case "bool":
      if (source === "f32") code.f32(0).op("f32.ne");
      else if (source === "f64") code.f64(0).op("f64.ne");
      else code.i32(0).op("i32.ne");
      break;
    default:
      // The only types that are left.
      if (source !== "i32") code.op(`i32.trunc_sat_${source}_${to === "int32" ? "s" : "u"}`);
  }
}
