import type { Code, Local, Push } from "./assemble.ts";
import type { Operator } from "./instructions.ts";

// Expressions of vectors of 128 bits.

export type { Push } from "./assemble.ts";

/** Where vector expressions are written: the code, and constants that are made once, outside of all loops. */
export class Lanes {
  readonly #code: Code;
  readonly #constants: Code;
  readonly #known: Map<string, Local>;

  constructor(code: Code, constants: Code, known: Map<string, Local>) {
    this.#code = code;
    this.#constants = constants;
    this.#known = known;
  }

  /** Computes a value here; what comes back pushes it as often as wanted. */
  hold = (value: Push): Push => {
    value(this.#code);
    const local = this.#code.local("v128");
    this.#code.set(local);
    return (code) => code.get(local);
  };

  /** A value that is computed here, and again where `whenAny` says so. */
  variable = (value: Push): { readonly get: Push; readonly set: (value: Push) => void } => {
    const local = this.#code.local("v128");
    const set = (next: Push) => {
      next(this.#code);
      this.#code.set(local);
    };
    set(value);
    return { get: (code) => code.get(local), set };
  };

  /** Runs what `then` writes if any lane of a mask is set; its constants are made there, so that none is kept for it. */
  whenAny = (mask: Push, then: (l: Lanes) => void): void => {
    const code = this.#code;
    mask(code);
    code.op("v128.any_true").when(() => then(new Lanes(code, code, new Map())));
  };

  f32 = (value: number): Push =>
    this.#constant(`f${value}${Object.is(value, -0)}`, () => Float32Array.of(value, value, value, value));
  f64 = (value: number): Push => this.#constant(`d${value}`, () => Float64Array.of(value, value));
  i32 = (value: number): Push => this.i32s(value, value, value, value);
  i32s = (...values: readonly number[]): Push =>
    this.#constant(`i${values.join()}`, () => Int32Array.from(values));

  #constant(key: string, values: () => Float32Array | Float64Array | Int32Array): Push {
    let local = this.#known.get(key);
    if (!local) {
      local = this.#constants.local("v128");
      this.#constants.v128(values()).set(local);
      this.#known.set(key, local);
    }
    const constant = local;
    return (code) => code.get(constant);
  }
}

export const unary =
  (name: Operator) =>
  (x: Push): Push =>
  (code) => {
    x(code);
    code.op(name);
  };

export const binary =
  (name: Operator) =>
  (x: Push, y: Push): Push =>
  (code) => {
    x(code);
    y(code);
    code.op(name);
  };

export function shift(name: Operator, x: Push, by: number): Push {
  return (code) => {
    x(code);
    code.i32(by).op(name);
  };
}

/** `condition ? x : y`, lane by lane. */
export function select(condition: Push, x: Push, y: Push): Push {
  return (code) => {
    x(code);
    y(code);
    condition(code);
    code.op("v128.bitselect");
  };
}

/** Half a vector of float32 as two float64. */
export function widen(x: Push, half: 0 | 1): Push {
  return (code) => {
    x(code);
    if (half === 1) {
      x(code);
      code.lanes(2, 3, 2, 3);
    }
    code.op("f64x2.promote_low_f32x4");
  };
}

/** Two vectors of two float64 as four float32. */
export function narrow(low: Push, high: Push): Push {
  return (code) => {
    low(code);
    code.op("f32x4.demote_f64x2_zero");
    high(code);
    code.op("f32x4.demote_f64x2_zero").lanes(0, 1, 4, 5);
  };
}
