import { getOrInsert } from "../../../base/group.ts";
import type { Code } from "./assemble.ts";
import { apply, type Vector } from "./expressions.ts";

/** Constants of which all bits are 0. */
const zeros = new WeakSet<Vector>();

/** Where vector expressions are written: the code, and constants that are made once, outside of all loops. */
export class Lanes {
  readonly #code: Code;
  readonly #constants: Code;
  readonly #known: Map<string, Vector>;

  constructor(code: Code, constants: Code, known: Map<string, Vector>) {
    this.#code = code;
    this.#constants = constants;
    this.#known = known;
  }

  /** Computes a value here; what comes back pushes it as often as wanted. */
  hold = (value: Vector): Vector => {
    value(this.#code);
    const local = this.#code.local("v128");
    this.#code.set(local);
    return (code) => code.get(local);
  };

  /** A value that is computed here, and again where `whenAny` says so. */
  variable = (value: Vector): { readonly get: Vector; readonly set: (value: Vector) => void } => {
    const local = this.#code.local("v128");
    const set = (next: Vector) => {
      next(this.#code);
      this.#code.set(local);
    };
    set(value);
    return { get: (code) => code.get(local), set };
  };

  /** Runs what `then` writes if any lane of a mask is set; its constants are made there, so that none is kept for it. */
  whenAny = (mask: Vector, then: (l: Lanes) => void): void => {
    const code = this.#code;
    mask(code);
    code.op("v128.any_true").when(() => then(new Lanes(code, code, new Map())));
  };

  f32 = (value: number): Vector =>
    this.#constant(`f${value}${Object.is(value, -0)}`, () => Float32Array.of(value, value, value, value));
  f64 = (value: number): Vector => this.#constant(`d${value}`, () => Float64Array.of(value, value));
  i32 = (value: number): Vector => this.i32s(value, value, value, value);
  i32s = (...values: readonly number[]): Vector =>
    this.#constant(`i${values.join()}`, () => Int32Array.from(values));

  /** `condition ? x : y`, lane by lane: where one of them is 0, one instruction of three. */
  select = (condition: Vector, x: Vector, y: Vector): Vector => {
    if (zeros.has(x)) return apply("v128.andnot", y, condition);
    if (zeros.has(y)) return apply("v128.and", x, condition);
    return apply("v128.bitselect", x, y, condition);
  };

  #constant(key: string, values: () => Float32Array | Float64Array | Int32Array): Vector {
    return getOrInsert(this.#known, key, () => {
      const local = this.#constants.local("v128");
      this.#constants.v128(values()).set(local);
      const constant: Vector = (code) => code.get(local);
      if (new Int32Array(values().buffer).every((bits) => bits === 0)) zeros.add(constant);
      return constant;
    });
  }
}
