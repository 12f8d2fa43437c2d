import { coerce, type DeviceDType } from "../../base/dtype.ts";
import { internal } from "../../base/errors.ts";
import type { Expr } from "../../compile/expr.ts";
import type { Store } from "../../compile/kernel.ts";
import {
  type Addition,
  type Level,
  type Placement,
  type PlaceOptions,
  place,
  type Use,
} from "../../compile/place.ts";
import { valueType, wgslType } from "./dtypes.ts";
import { type Code, primitives } from "./primitives.ts";
import type { Bindings } from "./shader.ts";

// Expressions as WGSL, where a placement has put them.

/** Where loads and host numbers come from. */
type Source = Pick<Bindings, "load" | "scalar">;

interface TextOptions {
  /** Names of the results of the core. */
  readonly result?: (index: number) => string;
  /** There is no NaN, and extremes are WGSL's own. */
  readonly numbers?: boolean;
}

/** The code of placed expressions. */
export class Text {
  readonly #placement: Placement;
  readonly #bindings: Source;
  readonly #result: (index: number) => string;
  readonly #numbers: boolean;

  constructor(placement: Placement, bindings: Source, { result = resultName, numbers = false }: TextOptions) {
    this.#placement = placement;
    this.#bindings = bindings;
    this.#result = result;
    this.#numbers = numbers;
    for (const e of placement.free) if (e.kind === "hostNumber") bindings.scalar(e.index, e.dtype);
  }

  /** The declarations of a level, in order. */
  statements(level: Level): string[] {
    return this.#placement
      .lets(level)
      .map(
        ({ name, what }) => `let ${name} = ${whole("kind" in what ? this.#write(what) : this.#add(what))};`,
      );
  }

  text(e: Expr): string {
    return whole(this.#code(e));
  }

  /** As an operand: compound text in parentheses. */
  operand(e: Expr): string {
    const code = this.#code(e);
    return typeof code === "string" ? code : `(${code.compound})`;
  }

  #code(e: Expr): Code {
    return this.#placement.name(e) ?? this.#write(e);
  }

  #write(e: Expr): Code {
    const bindings = this.#bindings;
    switch (e.kind) {
      case "constant":
        return constant(e.value, e.dtype);
      case "hostNumber":
        return bindings.scalar(e.index, e.dtype);
      case "load":
        return bindings.load(e.value, this.text(e.index), e.dtype);
      case "accumulator":
        return this.#result(e.index);
      case "variable":
        return e.name;
      case "apply":
        return this.#apply(e);
      case "cast":
        return this.#cast(e);
      case "sum":
        return e.terms.length === 0 ? constant(e.constant, e.dtype) : this.#add(this.#placement.rest(e));
      case "digit": {
        const quotient = e.low === 1 ? this.operand(e.arg) : `${this.operand(e.arg)} / ${e.low}`;
        return { compound: e.high === Infinity ? quotient : `${quotient} % ${e.high / e.low}` };
      }
      case "clamp":
        return `clamp(${this.operand(e.arg)}, 0, ${e.length - 1})`;
      case "inRange": {
        const at = this.operand(e.arg);
        return { compound: `${at} >= 0 && ${at} < ${e.length}` };
      }
      default:
        return e satisfies never;
    }
  }

  #add({ onto, addends }: Addition): Code {
    let text = onto?.name ?? "";
    const append = (sign: number, part: string) => {
      if (text === "") text = sign < 0 ? `-${part}` : part;
      else text += ` ${sign < 0 ? "-" : "+"} ${part}`;
    };
    for (const addend of addends) {
      if (typeof addend === "number") append(addend, String(Math.abs(addend)));
      else {
        const { coefficient, atom } = addend;
        const size = Math.abs(coefficient);
        append(coefficient, size === 1 ? this.operand(atom) : `${this.operand(atom)} * ${size}`);
      }
    }
    return { compound: text };
  }

  #apply({ row, args }: Extract<Expr, { kind: "apply" }>): Code {
    const { dtype } = args[args.length - 1]!;
    // Booleans have no order in WGSL.
    const ordered = dtype === "bool" && ["lt", "le", "gt", "ge"].includes(row.name);
    if (dtype === "float32") {
      const [x, y] = args as [Expr, Expr];
      // Compilers take the product with a literal zero for 0, also that of NaN, and likewise quotients.
      if (row.name === "div" && isZero(y)) return `lorantz_overZero(${this.operand(x)}, ${this.operand(y)})`;
      if (row.name === "mul" && isZero(y)) return `lorantz_timesZero(${this.operand(x)}, ${this.operand(y)})`;
      if (row.name === "mul" && isZero(x)) return `lorantz_timesZero(${this.operand(y)}, ${this.operand(x)})`;
    }
    const hides = dtype === "float32" && args.every(isLiteral);
    const operands = args.map((arg) =>
      ordered ? `u32(${this.operand(arg)})` : hides ? hidden(arg) : this.operand(arg),
    );
    if (row.expand || row.table) return `lorantz_${row.name}(${operands.join(", ")})`;
    if (this.#numbers && row.name === "maximum") return `max(${operands.join(", ")})`;
    if (this.#numbers && row.name === "minimum") return `min(${operands.join(", ")})`;
    return primitives[row.name](operands, ordered ? "uint32" : dtype);
  }

  #cast({ arg, dtype: to }: Extract<Expr, { kind: "cast" }>): Code {
    const from = arg.dtype;
    const x = this.operand(arg);
    // Not with !=, which is false for NaN.
    if (to === "bool")
      return { compound: `!(${x} == ${from === "float32" ? "0.0f" : from === "uint32" ? "0u" : "0"})` };
    const { round } = wgslType(to);
    if (round) return round(x);
    const { widen } = wgslType(from);
    if (widen) return widen(x, "f32");
    if ((to === "int32" || to === "uint32") && from === "float32") return `lorantz_${to}(${x})`;
    return `${valueType(to)}(${isLiteral(arg) ? hidden(arg) : x})`;
  }
}

const resultName = (index: number) => `r${index}`;

export const whole = (code: Code): string => (typeof code === "string" ? code : code.compound);

export interface WriteOptions extends PlaceOptions, TextOptions {}

/** Places expressions and gives their code. */
export function write(uses: readonly Use[], bindings: Source, options: WriteOptions = {}): Text {
  return new Text(place(uses, options), bindings, options);
}

type Constant = Extract<Expr, { kind: "constant" }>;

/** WGSL evaluates constant expressions exactly or refuses them, so literals alone are hidden in a call. */
function isLiteral(e: Expr): e is Constant {
  return e.kind === "constant" && e.dtype === "float32" && hasLiteral(coerce(e.value, e.dtype));
}

function isZero(e: Expr): boolean {
  return e.kind === "constant" && coerce(e.value, e.dtype) === 0;
}

function hidden(e: Expr): string {
  return e.kind === "constant" ? fromBits(coerce(e.value, "float32")) : internal(`${e.kind} as a literal`);
}

/** A constant as an operand. */
export function printConstant(value: number, dtype: DeviceDType): string {
  return whole(constant(value, dtype));
}

function constant(value: number, dtype: DeviceDType): Code {
  const stored = coerce(value, dtype);
  switch (dtype) {
    case "float32":
      return hasLiteral(stored) ? signed(floatLiteral(stored), stored) : fromBits(stored);
    case "int32":
      // Without a suffix: -2147483648i would be the negative of a number that i32 lacks.
      return signed(String(stored), stored);
    case "uint32":
      return `${stored}u`;
    case "bool":
      return stored ? "true" : "false";
    default: // those of narrow floats are casts of float32
      return internal(`a constant of ${dtype}`);
  }
}

const signed = (text: string, value: number): Code => (value < 0 ? { compound: text } : text);

function hasLiteral(value: number): boolean {
  return Number.isFinite(value) && !Object.is(value, -0) && (value === 0 || Math.abs(value) >= 2 ** -126);
}

/** The shortest decimal of the float64 is exact for a float32. */
function floatLiteral(value: number): string {
  const text = String(value).replace("e+", "e");
  return Number.isInteger(value) && !text.includes("e") ? `${text}.0f` : `${text}f`;
}

/** What has no literal comes from its bits. */
function fromBits(value: number): string {
  const [bits] = new Uint32Array(Float32Array.of(value).buffer);
  return `lorantz_float(0x${bits!.toString(16).padStart(8, "0")}u)`;
}

/** Stores as code. */
export interface Written {
  /** Functions that it calls. */
  readonly declarations: readonly string[];
  /** What stands before the loops around them, and what in the innermost. */
  readonly outer: readonly string[];
  readonly body: readonly string[];
}

export function writeStores(
  stores: readonly Store[],
  bindings: Bindings,
  options: WriteOptions = {},
): Written {
  const at = depthOf(options.levels);
  // All results are named before the first is stored: a result may replace what another one reads.
  const text = write(
    [
      ...stores.map(({ expr }): Use => ({ expr, at, named: true })),
      ...stores.map(({ index }): Use => ({ expr: index, at: 0 })),
    ],
    bindings,
    options,
  );
  const writes = stores.map(({ value, index, expr }) =>
    bindings.store(value, text.text(index), text.text(expr), expr.dtype),
  );
  const inner = inLoops(options.levels, (level) => text.statements(level));
  return { declarations: [], outer: text.statements(0), body: [...inner, ...writes] };
}

/** The level of the innermost loop. */
export function depthOf(levels: ReadonlyMap<string, Level> = new Map()): Level {
  return Math.max(0, ...levels.values());
}

/** The statements that stand in loops. */
export function inLoops(
  levels: ReadonlyMap<string, Level> | undefined,
  statements: (level: Level) => readonly string[],
): string[] {
  return Array.from({ length: depthOf(levels) }, (_, i) => statements(i + 1)).flat();
}
