import { coerce, type DeviceDType } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Level } from "../../../compile/place.ts";
import { isPowerOfTwo } from "./addresses.ts";
import type { Code } from "./assemble.ts";
import { writeCodes, writeLevels } from "./codes.ts";
import type { Vector } from "./expressions.ts";
import { loadVector } from "./loads.ts";
import { narrowLanes } from "./narrow.ts";
import { bounded, castLanes, laneShape, pushesOnce, scalarOperation, vectorOperation } from "./operations.ts";
import type { Writer } from "./writer.ts";

/** Pushes four lanes, from their parts. */
export function writeVector(w: Writer, e: Expr, code: Code, at: Level): void {
  const lanes = w.lanes(code);
  switch (e.kind) {
    case "load":
      loadVector(w, e, code, at);
      break;
    case "apply": {
      if (writeLevels(w, e, code, at) || writeCodes(w, e, code, at)) break;
      const dtype = e.args[e.args.length - 1]!.dtype;
      if (e.row.name === "leftShift" || e.row.name === "rightShift") {
        shift(w, e, code, at);
        break;
      }
      const extreme = withConstant(w, e, code, at);
      if (extreme) {
        extreme(code);
        break;
      }
      // Plain operations take their arguments from the stack; others push them more than once.
      const held = e.args.map((arg): Vector => {
        const cheap = arg.kind === "constant" || w.isHeld(arg);
        if (cheap || pushesOnce(e.row)) return (into) => w.vector(arg, into, at);
        return lanes.hold((into) => w.vector(arg, into, at));
      });
      if (e.row.name === "where") for (const i of [1, 2, 0]) held[i]!(code);
      if (e.row.name === "where") code.op("v128.bitselect");
      else vectorOperation(lanes, e.row, dtype, held)(code);
      break;
    }
    case "cast":
      castVector(w, e.arg, e.dtype, code, at);
      break;
    case "variable": {
      const { extent, exact } = w.scope.vector!;
      code.get(w.variable(e.name)).op("i32x4.splat");
      const o = w.offset;
      lanes.i32s(o, o + 1, o + 2, o + 3)(code);
      code.op("i32x4.add");
      if (!exact) {
        lanes.i32(extent - 1)(code);
        code.op("i32x4.min_s");
      }
      break;
    }
    case "sum": {
      lanes.i32(e.constant)(code);
      for (const { coefficient, atom } of e.terms) {
        w.vector(atom, code, at);
        if (coefficient !== 1) {
          lanes.i32(coefficient)(code);
          code.op("i32x4.mul");
        }
        code.op("i32x4.add");
      }
      break;
    }
    case "digit":
      digitVector(w, e, code, at);
      break;
    case "clamp":
      w.vector(e.arg, code, at);
      lanes.i32(0)(code);
      code.op("i32x4.max_s");
      lanes.i32(e.length - 1)(code);
      code.op("i32x4.min_s");
      break;
    case "inRange":
      w.vector(e.arg, code, at);
      lanes.i32(e.length)(code);
      code.op("i32x4.lt_u");
      break;
    case "constant":
    case "hostNumber":
    case "accumulator":
      throw new Error(`internal: ${e.kind} as a vector`);
    default:
      e satisfies never;
  }
}

/** The extreme of a number and a constant, where that takes few instructions. */
function withConstant(
  w: Writer,
  e: Extract<Expr, { kind: "apply" }>,
  code: Code,
  at: Level,
): Vector | undefined {
  const [x, y] = e.args;
  if (e.dtype !== "float32" || !x || !y) return undefined;
  const [bound, other] = y.kind === "constant" ? [y, x] : [x, y];
  if (bound.kind !== "constant") return undefined;
  return bounded(w.lanes(code), e.row, (into) => w.vector(other, into, at), coerce(bound.value, e.dtype));
}

function shift(w: Writer, e: Extract<Expr, { kind: "apply" }>, code: Code, at: Level): void {
  const [x, by] = e.args as [Expr, Expr];
  if (w.varies(by)) {
    shiftLanes(w, e, code, at);
    return;
  }
  w.vector(x, code, at);
  w.scalar(by, code, at);
  code.op(e.row.name === "leftShift" ? "i32x4.shl" : `i32x4.shr${x.dtype === "uint32" ? "_u" : "_s"}`);
}

/** Each lane shifted by scalar code: extract, compute, put together. */
function shiftLanes(w: Writer, e: Extract<Expr, { kind: "apply" }>, code: Code, at: Level): void {
  const args = e.args.map((arg) => w.lanes(code).hold((into) => w.vector(arg, into, at)));
  perLane(e.dtype, code, (lane) => {
    for (const push of args) {
      push(code);
      code.lane("i32x4.extract_lane", lane);
    }
    scalarOperation(code, e.row, e.dtype);
  });
}

function perLane(dtype: DeviceDType, code: Code, write: (lane: number) => void): void {
  const shape = laneShape(dtype);
  const lane = (i: number) => {
    write(i);
    if (dtype === "bool") code.i32(-1).op("i32.mul");
  };
  lane(0);
  code.op(`${shape}.splat`);
  for (let i = 1; i < 4; i++) {
    lane(i);
    code.lane(`${shape}.replace_lane`, i);
  }
}

function digitVector(w: Writer, e: Extract<Expr, { kind: "digit" }>, code: Code, at: Level): void {
  const modulus = e.high / e.low;
  if (isPowerOfTwo(e.low) && (modulus === Infinity || isPowerOfTwo(modulus))) {
    w.vector(e.arg, code, at);
    if (e.low > 1) code.i32(Math.log2(e.low)).op("i32x4.shr_u");
    if (modulus !== Infinity) {
      w.lanes(code).i32(modulus - 1)(code);
      code.op("v128.and");
    }
    return;
  }
  const arg = w.lanes(code).hold((into) => w.vector(e.arg, into, at));
  perLane("int32", code, (lane) => {
    arg(code);
    code.lane("i32x4.extract_lane", lane);
    if (e.low !== 1) code.i32(e.low).op("i32.div_u");
    if (modulus !== Infinity) code.i32(modulus).op("i32.rem_u");
  });
}

function castVector(w: Writer, arg: Expr, to: DeviceDType, code: Code, at: Level): void {
  const lanes = w.lanes(code);
  const from = arg.dtype;
  const narrow = narrowLanes(to);
  if (narrow) narrow.round(lanes, (into) => w.vector(arg, into, at))(code);
  else castLanes(lanes, from, to, (into) => w.vector(arg, into, at))(code);
}
