import type { Accumulator } from "../../../compile/kernel.ts";
import { neutral } from "../../../graph/reduce.ts";
import type { Code, Local, Push, Scalar, Value, ValueType } from "./assemble.ts";
import {
  apply,
  constant,
  extractLane,
  loadAs,
  narrow,
  tee,
  type Vector,
  v128,
  widen,
} from "./expressions.ts";
import type { Operator } from "./instructions.ts";
import { laneShape, valueType } from "./operations.ts";

// Sums, products and extremes as they run in registers, one element or one vector at a time. Sums and products of
// float32 run in float64, sums of products with a packed factor in float32 for a while. Extremes of float32 give NaN if
// there is one, and +0 counts as more than -0.

/** The registers of a running value. */
export type Running = readonly Local[];

/** Whether it runs in float64 although it is of float32. */
export function isWide({ name, dtype }: Accumulator): boolean {
  return dtype === "float32" && (name === "sum" || name === "prod");
}

function isFloatExtreme({ name, dtype }: Accumulator): boolean {
  return dtype === "float32" && (name === "max" || name === "min");
}

/** Sums in float32, one for each accumulator of each vector: as locals they begin at 0, and do so again when they are added. */
export function nearSums(code: Code, vectors: number, count: number): readonly (readonly Vectors[])[] {
  return Array.from({ length: vectors }, () => Array.from({ length: count }, () => code.local("v128")));
}

export function updateNear(code: Code, _: Accumulator, [near]: Running, x: Push): void {
  code.assign(near!, apply("f32x4.add", x, near!));
}

/** Adds what is near to the running sums, and begins anew. */
export function addNear(
  code: Code,
  running: readonly Running[],
  near: readonly (readonly Vectors[])[],
): void {
  for (const vector of near)
    vector.forEach((local, j) => {
      for (const half of [0, 1] as const) {
        const to = running[j]![half] as Vectors;
        code.assign(to, apply("f64x2.add", widen(local, half), to));
      }
      code.assign(local, v128.constant(new Float32Array(4)));
    });
}

/** How many registers a running value takes. */
export function registersOf(a: Accumulator, vector: boolean): number {
  return vector && (isWide(a) || isFloatExtreme(a)) ? 2 : 1;
}

/** Bytes in which a register is kept. */
const slotBytes = 16;

/** Keeps registers at an address, and takes them from there. */
export function keep(code: Code, slot: Local<"i32">, registers: readonly Local[]): void {
  registers.forEach((register, i) => {
    code.store(`${register.type}.store`, slot, slotBytes * i, register);
  });
}

export function resume(code: Code, slot: Local<"i32">, registers: readonly Local[], first = 0): void {
  registers.forEach((register, i) => {
    code.assign(register, loadAs(register.type, slot, slotBytes * (first + i)));
  });
}

/** Bytes that it takes to keep so many registers. */
export const bytesOf = (registers: number): number => slotBytes * registers;

export function beginScalar(code: Code, a: Accumulator): Running {
  const type = isWide(a) ? "f64" : valueType(a.dtype);
  return [code.let(type, constant(type, neutral(a.name, a.dtype)))];
}

/** Takes in an element. */
export function updateScalar(code: Code, a: Accumulator, [register]: Running, x: Push): void {
  joinScalar(code, a, register!, isWide(a) ? apply("f64.promote_f32", x) : x);
}

/** Takes in a number of the register's type. */
function joinScalar(code: Code, a: Accumulator, running: Local, x: Value<ValueType>): void {
  if (running.type !== "i32" || a.name === "sum" || a.name === "prod") {
    const names = { sum: "add", prod: "mul", max: "max", min: "min" } as const;
    const operator = `${running.type}.${names[a.name]}` as Operator; // i32 has sums and products only
    code.assign(running, apply<ValueType>(operator, running, x));
    return;
  }
  const held = code.local("i32");
  const nearer = `i32.${a.name === "max" ? "gt" : "lt"}_${a.dtype === "int32" ? "s" : "u"}` as const;
  code.assign(
    running,
    apply<ValueType>("select", tee<ValueType>(held, x), running, apply(nearer, held, running)),
  );
}

export function finishScalar(code: Code, a: Accumulator, [register]: Running): Local {
  return isWide(a) ? code.let("f32", apply("f32.demote_f64", register!)) : register!;
}

export function beginVector(code: Code, a: Accumulator): Running {
  const start = neutral(a.name, a.dtype);
  const all = [start, start, start, start];
  const set = (values: Float64Array | Float32Array | Int32Array) => code.let("v128", v128.constant(values));
  if (isWide(a)) return [set(Float64Array.of(start, start)), set(Float64Array.of(start, start))];
  if (isFloatExtreme(a)) return [set(Float32Array.from(all)), set(Int32Array.of(0, 0, 0, 0))];
  return [set(a.dtype === "float32" ? Float32Array.from(all) : Int32Array.from(all))];
}

/** Takes in a vector. */
export function updateVector(code: Code, a: Accumulator, running: Running, x: Vector): void {
  const [first, second] = running as [Vectors, Vectors];
  const join = joinOf(a);
  if (isWide(a)) {
    const held = code.local("v128");
    updateHalves(code, a, running, [widen(tee(held, x), 0), widen(held, 1)]);
  } else if (isFloatExtreme(a)) {
    const held = code.let("v128", x);
    code.assign(first, extreme(a, first, held));
    // Lanes that met a NaN.
    code.assign(second, apply("v128.or", apply("f32x4.ne", held, held), second));
  } else code.assign(first, apply(join, x, first));
}

/** Takes in the halves of a vector as float64. */
export function updateHalves(
  code: Code,
  a: Accumulator,
  running: Running,
  halves: readonly [Vector, Vector],
): void {
  for (const half of [0, 1] as const)
    code.assign(running[half] as Vectors, apply(joinOf(a), halves[half], running[half]!));
}

/**
 * The greater or smaller of two vectors without NaN, in three instructions where `f32x4.max` is eight that wait for
 * each other: both orders of the pseudo-extreme differ only if zeros of both signs meet.
 */
function extreme({ name }: Accumulator, x: Local, y: Local): Vector {
  const op = name === "max" ? "f32x4.pmax" : "f32x4.pmin";
  return apply(name === "max" ? "v128.and" : "v128.or", apply(op, x, y), apply(op, y, x));
}

/** Takes in what another part of the same reduction came to, register by register. */
export function join(code: Code, a: Accumulator, running: Running, other: Running): void {
  const [first, second] = running as [Local, Local];
  if (first.type !== "v128") {
    joinScalar(code, a, first, other[0]!);
    return;
  }
  if (isFloatExtreme(a)) {
    code.assign(first, extreme(a, first, other[0]!));
    code.assign(second, apply("v128.or", second, other[1]!));
    return;
  }
  running.forEach((register, i) => {
    code.assign(register, apply(joinOf(a), register, other[i]!));
  });
}

/** The results of four lanes of elements, each with a running value of its own. */
export function finishLanes(code: Code, a: Accumulator, running: Running): Local {
  const [first, second] = running as [Vectors, Vectors];
  if (isWide(a)) return code.let("v128", narrow(first, second));
  return isFloatExtreme(a) ? code.let("v128", apply("v128.or", first, second)) : first;
}

/** The result of one element from partial values in the lanes of several vectors, joined in a fixed order. */
export function finishAcross(code: Code, a: Accumulator, parts: readonly Running[]): Local {
  const [first, ...rest] = parts as [Running, ...Running[]];
  for (const part of rest) join(code, a, first, part);
  const result = code.local(valueType(a.dtype));
  if (isWide(a)) {
    const [low, high] = first as [Local, Local];
    const v = code.let("v128", apply(joinOf(a), low, high));
    const half = (lane: 0 | 1) => extractLane<"f64">("f64x2.extract_lane", v, lane);
    const both = apply<"f64">(a.name === "sum" ? "f64.add" : "f64.mul", half(0), half(1));
    code.assign(result, apply<Scalar>("f32.demote_f64", both));
    return result;
  }
  // The upper half onto the lower one, then one lane onto the other.
  const fold = (...lanes: readonly [number, number, number, number]) => {
    const other = (first as readonly Vectors[]).map((register) =>
      code.let("v128", v128.lanes(register, register, ...lanes)),
    );
    join(code, a, first, other);
  };
  fold(2, 3, 0, 1);
  fold(1, 0, 3, 2);
  const all = finishLanes(code, a, first) as Vectors;
  code.assign(result, extractLane<Scalar>(`${laneShape(a.dtype)}.extract_lane`, all, 0));
  return result;
}

type Vectors = Local<"v128">;

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
