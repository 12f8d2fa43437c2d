import type { Accumulator } from "../../../compile/kernel.ts";
import { neutral } from "../../../graph/reduce.ts";
import type { Code, Local, Push } from "./assemble.ts";
import { narrow } from "./expressions.ts";
import type { Operator } from "./instructions.ts";
import { valueType } from "./operations.ts";

// Sums, products and extremes as they run in registers, one element or one vector at a time. Sums and products of
// float32 run in float64. Extremes of float32 give NaN if there is one, and +0 counts as more than -0.

/** The registers of a running value. */
export type Running = readonly Local[];

function isWide({ name, dtype }: Accumulator): boolean {
  return dtype === "float32" && (name === "sum" || name === "prod");
}

function isFloatExtreme({ name, dtype }: Accumulator): boolean {
  return dtype === "float32" && (name === "max" || name === "min");
}

/** How many registers a running value takes. */
export function registersOf(a: Accumulator, vector: boolean): number {
  return vector && (isWide(a) || isFloatExtreme(a)) ? 2 : 1;
}

export function beginScalar(code: Code, a: Accumulator): Running {
  const type = isWide(a) ? "f64" : valueType(a.dtype);
  const local = code.local(type);
  const start = neutral(a.name, a.dtype);
  if (type === "f64") code.f64(start);
  else if (type === "f32") code.f32(start);
  else code.i32(start);
  code.set(local);
  return [local];
}

/** Takes in the element that `x` pushes. */
export function updateScalar(code: Code, a: Accumulator, [register]: Running, x: Push): void {
  joinScalar(code, a, register!, (into) => {
    x(into);
    if (isWide(a)) into.op("f64.promote_f32");
  });
}

/** Takes in a number of the register's type. */
function joinScalar(code: Code, a: Accumulator, running: Local, x: Push): void {
  if (running.type !== "i32" || a.name === "sum" || a.name === "prod") {
    code.get(running);
    x(code);
    const names = { sum: "add", prod: "mul", max: "max", min: "min" } as const;
    code.op(`${running.type}.${names[a.name]}` as Operator).set(running); // i32 has sums and products only
    return;
  }
  const held = code.local("i32");
  x(code);
  code.tee(held).get(running).get(held).get(running);
  code.op(`i32.${a.name === "max" ? "gt" : "lt"}_${a.dtype === "int32" ? "s" : "u"}`, "select").set(running);
}

export function finishScalar(code: Code, a: Accumulator, [register]: Running): Local {
  if (!isWide(a)) return register!;
  const result = code.local("f32");
  code.get(register!).op("f32.demote_f64").set(result);
  return result;
}

export function beginVector(code: Code, a: Accumulator): Running {
  const start = neutral(a.name, a.dtype);
  const all = [start, start, start, start];
  const set = (values: Float64Array | Float32Array | Int32Array): Local => {
    const local = code.local("v128");
    code.v128(values).set(local);
    return local;
  };
  if (isWide(a)) return [set(Float64Array.of(start, start)), set(Float64Array.of(start, start))];
  if (isFloatExtreme(a)) return [set(Float32Array.from(all)), set(Int32Array.of(0, 0, 0, 0))];
  return [set(a.dtype === "float32" ? Float32Array.from(all) : Int32Array.from(all))];
}

/** Takes in the vector that `x` pushes. */
export function updateVector(code: Code, a: Accumulator, running: Running, x: Push): void {
  const [first, second] = running as [Local, Local];
  x(code);
  if (isWide(a)) {
    const held = code.local("v128");
    const join = joinOf(a);
    code.tee(held).op("f64x2.promote_low_f32x4").get(first).op(join).set(first);
    code.get(held).get(held).lanes(2, 3, 2, 3);
    code.op("f64x2.promote_low_f32x4").get(second).op(join).set(second);
  } else if (isFloatExtreme(a)) {
    const held = code.local("v128");
    code.set(held);
    extreme(code, a, first, held);
    code.set(first);
    // Lanes that met a NaN.
    code.get(held).get(held).op("f32x4.ne").get(second).op("v128.or").set(second);
  } else code.get(first).op(joinOf(a)).set(first);
}

/**
 * The greater or smaller of two vectors without NaN, in three instructions where `f32x4.max` is eight that wait for
 * each other: both orders of the pseudo-extreme differ only if zeros of both signs meet.
 */
function extreme(code: Code, { name }: Accumulator, x: Local, y: Local): void {
  const op = name === "max" ? "f32x4.pmax" : "f32x4.pmin";
  code.get(x).get(y).op(op).get(y).get(x).op(op);
  code.op(name === "max" ? "v128.and" : "v128.or");
}

/** Takes in what another part of the same reduction came to, register by register. */
export function join(code: Code, a: Accumulator, running: Running, other: Running): void {
  const [first, second] = running as [Local, Local];
  if (first.type !== "v128") {
    joinScalar(code, a, first, (into) => into.get(other[0]!));
    return;
  }
  if (isFloatExtreme(a)) {
    extreme(code, a, first, other[0]!);
    code.set(first).get(second).get(other[1]!).op("v128.or").set(second);
    return;
  }
  running.forEach((register, i) => {
    code.get(register).get(other[i]!).op(joinOf(a)).set(register);
  });
}

/** The results of four lanes of elements, each with a running value of its own. */
export function finishLanes(code: Code, a: Accumulator, running: Running): Local {
  const [first, second] = running as [Local, Local];
  const result = code.local("v128");
  if (isWide(a))
    narrow(
      (c) => c.get(first),
      (c) => c.get(second),
    )(code);
  else if (isFloatExtreme(a)) code.get(first).get(second).op("v128.or");
  else return first;
  code.set(result);
  return result;
}

/** The result of one element from partial values in the lanes of several vectors, joined in a fixed order. */
export function finishAcross(code: Code, a: Accumulator, parts: readonly Running[]): Local {
  const [first, ...rest] = parts as [Running, ...Running[]];
  for (const part of rest) join(code, a, first, part);
  const result = code.local(valueType(a.dtype));
  if (isWide(a)) {
    const [low, high] = first as [Local, Local];
    const v = code.local("v128");
    code.get(low).get(high).op(joinOf(a)).set(v);
    code.get(v).lane("f64x2.extract_lane", 0).get(v).lane("f64x2.extract_lane", 1);
    code.op(a.name === "sum" ? "f64.add" : "f64.mul", "f32.demote_f64").set(result);
    return result;
  }
  // The upper half onto the lower one, then one lane onto the other.
  const fold = (x: number, y: number, z: number, w: number) => {
    const other = first.map((register) => {
      const local = code.local("v128");
      code.get(register).get(register).lanes(x, y, z, w).set(local);
      return local;
    });
    join(code, a, first, other);
  };
  fold(2, 3, 0, 1);
  fold(1, 0, 3, 2);
  code.get(finishLanes(code, a, first));
  code.lane(a.dtype === "float32" ? "f32x4.extract_lane" : "i32x4.extract_lane", 0).set(result);
  return result;
}

/** The instruction that joins two vectors of an accumulator. */
function joinOf({ name, dtype }: Accumulator): Operator {
  if (dtype === "float32") {
    const names = { sum: "f64x2.add", prod: "f64x2.mul", max: "f32x4.max", min: "f32x4.min" } as const;
    return names[name];
  }
  const sign = dtype === "int32" ? "s" : "u";
  const names = {
    sum: "i32x4.add",
    prod: "i32x4.mul",
    max: `i32x4.max_${sign}`,
    min: `i32x4.min_${sign}`,
  } as const;
  return names[name];
}
