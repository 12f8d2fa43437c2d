import type { Local, Push, Scalar, Value, ValueType } from "./assemble.ts";
import type { Named, Operator } from "./instructions.ts";

// Expressions of addresses, counters and vectors, as they are read: `i32.add(at, 16)`.

/** A vector of 128 bits. */
export type Vector = Push<"v128">;

/** What an instruction makes of values. */
export const apply =
  <R extends ValueType = "v128">(name: Operator, ...values: readonly Value<ValueType>[]): Push<R> =>
  (code) => {
    for (const value of values) code.push(value);
    code.op(name);
  };

export const unary =
  <T extends ValueType = "v128", R extends ValueType = T>(name: Named<"unary">) =>
  (x: Value<T>): Push<R> =>
    apply<R>(name, x);

export const binary =
  <T extends ValueType = "v128", R extends ValueType = T>(name: Named<"binary">) =>
  (x: Value<T>, y: Value<T>): Push<R> =>
    apply<R>(name, x, y);

export const loadBy =
  <R extends ValueType>(name: Named<"load">, address: Value<"i32">, offset = 0): Push<R> =>
  (code) =>
    code.push(address).memory(name, offset);

const load =
  <R extends ValueType>(name: Named<"load">) =>
  (address: Value<"i32">, offset = 0): Push<R> =>
    loadBy(name, address, offset);

/** Whole numbers without a sign. */
export const i32 = {
  add: binary<"i32">("i32.add"),
  sub: binary<"i32">("i32.sub"),
  mul: binary<"i32">("i32.mul"),
  div: binary<"i32">("i32.div_u"),
  rem: binary<"i32">("i32.rem_u"),
  lt: binary<"i32">("i32.lt_u"),
  le: binary<"i32">("i32.le_u"),
  gt: binary<"i32">("i32.gt_u"),
  ge: binary<"i32">("i32.ge_u"),
  eq: binary<"i32">("i32.eq"),
  and: binary<"i32">("i32.and"),
  shl: binary<"i32">("i32.shl"),
  shr: binary<"i32">("i32.shr_u"),
  /** As numbers with a sign. */
  ltSigned: binary<"i32">("i32.lt_s"),
  isZero: unary<"i32">("i32.eqz"),
  load: load<"i32">("i32.load"),
};

export const f32 = { load: load<"f32">("f32.load") };

export const f64 = {
  add: binary<"f64">("f64.add"),
  sub: binary<"f64">("f64.sub"),
  mul: binary<"f64">("f64.mul"),
};

/** A number of a type. */
export const constant =
  <T extends Scalar>(type: T, value: number): Push<T> =>
  (code) =>
    code[type](value);

const shaped = (shape: "f32x4" | "f64x2") => {
  const [add, sub, mul] = [binary(`${shape}.add`), binary(`${shape}.sub`), binary(`${shape}.mul`)];
  return {
    add,
    sub,
    mul,
    /** sum + x y, rounded twice. */
    multiplyAdd: (x: Value<"v128">, y: Value<"v128">, to: Value<"v128">) => add(to, mul(x, y)),
    /** The same, rounded once. */
    fusedMultiplyAdd: (x: Value<"v128">, y: Value<"v128">, to: Value<"v128">) =>
      apply(`${shape}.relaxed_madd`, x, y, to),
  };
};

export const f32x4 = shaped("f32x4");
export const f64x2 = shaped("f64x2");

export const v128 = {
  constant:
    (values: Float64Array | Float32Array | Int32Array): Vector =>
    (code) =>
      code.v128(values),
  load: load<"v128">("v128.load"),
  /** One number in all lanes. */
  loadSplat32: load<"v128">("v128.load32_splat"),
  loadSplat64: load<"v128">("v128.load64_splat"),
  /** Lanes of 32 bits: 0 to 3 of x, 4 to 7 of y. */
  lanes:
    (x: Value<"v128">, y: Value<"v128">, ...lanes: readonly [number, number, number, number]): Push<"v128"> =>
    (code) =>
      code
        .push(x)
        .push(y)
        .lanes(...lanes),
};

/** What is in memory, as a value of a type. */
export function loadAs<T extends ValueType>(type: T, address: Value<"i32">, offset = 0): Push<T> {
  return load<T>(`${type}.load`)(address, offset);
}

/** `local = value` as an expression. */
export function tee<T extends ValueType>(local: Local<T>, value: Value<T>): Push<T> {
  return (code) => code.push(value).tee(local);
}

/** One lane of a vector. */
export const extractLane =
  <R extends Scalar>(name: Named<"extract">, x: Value<"v128">, lane: number): Push<R> =>
  (code) =>
    code.push(x).lane(name, lane);

/** A vector with a number in the place of one lane. */
const replaceLane =
  (name: Named<"replace">, x: Value<"v128">, lane: number, by: Value<ValueType>): Vector =>
  (code) =>
    code.push(x).push(by).lane(name, lane);

/** Four lanes, each by itself. */
export const eachLane = (shape: "f32x4" | "i32x4", of: (lane: number) => Value<ValueType>): Vector =>
  [1, 2, 3].reduce(
    (lanes, lane) => replaceLane(`${shape}.replace_lane`, lanes, lane, of(lane)),
    apply(`${shape}.splat`, of(0)),
  );

/** Four elements, each from an address of its own or so much behind it; those of 16 bits in words. */
export function loadEach(bytes: number, address: (lane: number) => Value<"i32">, offset = 0): Vector {
  if (bytes === 2) return eachLane("i32x4", (lane) => loadBy("i32.load16_s", address(lane), offset));
  return (code) => {
    const lanes = code.let("v128", v128.loadSplat32(address(0), offset));
    for (const lane of [1, 2, 3])
      code.push(address(lane)).get(lanes).memory("v128.load32_lane", offset, lane).set(lanes);
    code.get(lanes);
  };
}

/** Half a vector of float32 as two float64. */
export const widen = (x: Value<"v128">, half: 0 | 1): Vector =>
  apply("f64x2.promote_low_f32x4", half === 1 ? v128.lanes(x, x, 2, 3, 2, 3) : x);

/** Two vectors of two float64 as four float32. */
export const narrow = (low: Value<"v128">, high: Value<"v128">): Vector =>
  v128.lanes(apply("f32x4.demote_f64x2_zero", low), apply("f32x4.demote_f64x2_zero", high), 0, 1, 4, 5);
