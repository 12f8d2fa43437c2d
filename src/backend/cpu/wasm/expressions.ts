import type { Push, Scalar, Value, ValueType } from "./assemble.ts";
import type { Named } from "./instructions.ts";

// Expressions of addresses, counters and vectors, as they are read: `i32.add(at, 16)`.

const unary =
  <T extends ValueType, R extends ValueType>(name: Named<"unary">) =>
  (x: Value<T>): Push<R> =>
  (code) =>
    code.push(x).op(name);

const binary =
  <T extends ValueType, R extends ValueType>(name: Named<"binary">) =>
  (x: Value<T>, y: Value<T>): Push<R> =>
  (code) =>
    code.push(x).push(y).op(name);

const load =
  <R extends ValueType>(name: Named<"load">) =>
  (address: Value<"i32">, offset = 0): Push<R> =>
  (code) =>
    code.push(address).memory(name, offset);

/** Whole numbers without a sign. */
export const i32 = {
  add: binary<"i32", "i32">("i32.add"),
  sub: binary<"i32", "i32">("i32.sub"),
  mul: binary<"i32", "i32">("i32.mul"),
  div: binary<"i32", "i32">("i32.div_u"),
  rem: binary<"i32", "i32">("i32.rem_u"),
  lt: binary<"i32", "i32">("i32.lt_u"),
  le: binary<"i32", "i32">("i32.le_u"),
  gt: binary<"i32", "i32">("i32.gt_u"),
  ge: binary<"i32", "i32">("i32.ge_u"),
  isZero: unary<"i32", "i32">("i32.eqz"),
  load: load<"i32">("i32.load"),
};

export const f32 = { load: load<"f32">("f32.load") };

const shaped = (shape: "f32x4" | "f64x2") => {
  const product = binary<"v128", "v128">(`${shape}.mul`);
  const sum = binary<"v128", "v128">(`${shape}.add`);
  return {
    /** sum + x y, rounded twice. */
    multiplyAdd: (x: Value<"v128">, y: Value<"v128">, to: Value<"v128">) => sum(to, product(x, y)),
    /** The same, rounded once. */
    fusedMultiplyAdd:
      (x: Value<"v128">, y: Value<"v128">, to: Value<"v128">): Push<"v128"> =>
      (code) =>
        code.push(x).push(y).push(to).op(`${shape}.relaxed_madd`),
  };
};

export const f32x4 = shaped("f32x4");
export const f64x2 = shaped("f64x2");

export const v128 = {
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

/** A number of a type, from memory. */
export function loadNumber<T extends Scalar>(type: T, address: Value<"i32">): Push<T> {
  return load<T>(`${type}.load`)(address);
}
