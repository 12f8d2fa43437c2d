import { coerce, type DeviceDType } from "../../../base/dtype.ts";
import { motionOf } from "../../../compile/access.ts";
import { type Expr, operandsOf } from "../../../compile/expr.ts";
import { type Level, Places } from "../../../compile/place.ts";
import { addressOf } from "./addresses.ts";
import type { Code, Local, Push, Value, ValueType } from "./assemble.ts";
import { apply, i32, tee, type Vector } from "./expressions.ts";
import { Lanes } from "./lanes.ts";
import { laneShape, valueType } from "./operations.ts";
import { scalarOf } from "./scalar.ts";
import { vectorOf } from "./vector.ts";
import type { Address, Scope, Writer } from "./writer.ts";

/** Begins the names of what is made of vectors for both points of a pair. */
const made = "made";
/** Writes expressions into the levels of a loop nest: each level is a piece of code, and what is placed there gets a local. */
export class Values implements Writer {
  readonly scope: Scope;
  readonly places: Places;
  /** Code at the start of each level, to be placed there when all is written. */
  readonly #pieces = new Map<Level, Code>();
  readonly #code: Code;
  readonly #varying = new Map<Expr, boolean>();
  /** What is in locals by a name, with the level where it is known: numbers, splats, vectors by offset, addresses. */
  readonly #held = new Map<string, { readonly local: Local; readonly level: Level }>();
  readonly #constants = new Map<string, Local>();
  readonly #variables: Map<string, Local<"i32">>;
  readonly #accumulators = new Map<number, Local>();
  offset = 0;
  copy = 0;

  constructor(code: Code, scope: Scope) {
    this.#code = code;
    this.scope = scope;
    this.#variables = scope.variables ?? new Map();
    this.places = new Places(scope.roots, scope);
  }

  /** The code of a level. */
  piece(level: Level): Code {
    let piece = this.#pieces.get(level);
    if (!piece) {
      piece = this.#code.piece();
      this.#pieces.set(level, piece);
    }
    return piece;
  }

  /** Starts a level anew: for another vector of the same loop, or its remainder; or for the second point of a pair. */
  restart(level: Level, offset = 0, copy = this.copy): Code {
    this.offset = offset;
    const both = copy !== 0 && copy !== this.copy;
    for (const [name, { level: own }] of this.#held)
      if (own >= level && !(both && name.startsWith(made))) this.#held.delete(name);
    this.copy = copy;
    const piece = this.#code.piece();
    this.#pieces.set(level, piece);
    return piece;
  }

  held(name: string): Local | undefined {
    return this.#held.get(name)?.local;
  }

  hold<T extends Local>(name: string, level: Level, local: T): T {
    this.#held.set(name, { local, level });
    return local;
  }

  isHeld(e: Expr): boolean {
    return this.#held.has(this.#lanes(e));
  }

  #lanes(e: Expr): string {
    return this.varies(e) ? `lanes ${this.offset} ${e.id}` : `splat ${e.id}`;
  }

  made(
    e: Expr,
    what: string,
    code: Code,
    at: Level,
    make: (into: Code, level: Level) => Local<"v128">,
  ): Local<"v128"> {
    const name = `${made} ${e.id} ${what}`;
    const known = this.held(name);
    if (known) return known as Local<"v128">; // as it was made
    const own = this.places.level(e);
    return this.hold(name, own, own < at ? make(this.piece(own), own) : make(code, at));
  }

  local<T extends ValueType>(type: T): Local<T> {
    return this.#code.local(type);
  }

  variable(name: string): Local<"i32"> {
    let local = this.#variables.get(name);
    if (!local) {
      local = this.#code.local("i32", name);
      this.#variables.set(name, local);
    }
    return local;
  }

  setAccumulator(index: number, local: Local): void {
    this.#accumulators.set(index, local);
  }

  accumulator(index: number): Local {
    return this.#accumulators.get(index)!;
  }

  lanes(code: Code): Lanes {
    return new Lanes(code, this.piece(0), this.#constants);
  }

  /** Does the expression differ between lanes? */
  varies(e: Expr): boolean {
    if (!this.scope.vector) return false;
    let varying = this.#varying.get(e);
    if (varying === undefined) {
      if (e.kind === "variable") varying = e.name === this.scope.vector.name;
      else if (e.kind === "accumulator") varying = this.#accumulators.get(e.index)?.type === "v128";
      else varying = operandsOf(e).some((part) => this.varies(part));
      this.#varying.set(e, varying);
    }
    return varying;
  }

  stride(index: Expr): number | undefined {
    const { vector } = this.scope;
    if (!vector) return 0;
    const results = [...this.#accumulators.values()].some(({ type }) => type === "v128");
    return motionOf(index, { variable: vector.name, results }).stride;
  }

  scalar(e: Expr, at: Level): Push {
    const name = `number ${e.id}`;
    const write = (code: Code, level: Level) => scalarOf(this, e, level, code);
    return (code) => {
      const known = this.held(name);
      if (known) code.get(known);
      else if (this.places.isInline(e, at)) code.push(write(code, at));
      else this.#keep(name, e, valueType(e.dtype), code, at, write);
    };
  }

  index(e: Expr, at: Level): Push<"i32"> {
    return this.scalar(e, at) as Push<"i32">; // what indices are
  }

  vector(e: Expr, at: Level): Vector {
    const uniform = (_: Code, level: Level) => this.#splat(e, level);
    const write = (code: Code, level: Level) => vectorOf(this, e, level, code);
    return (code) => {
      const name = this.#lanes(e);
      const known = this.held(name);
      const varies = this.varies(e);
      if (known) code.get(known);
      else if (e.kind === "constant") code.push(this.#constant(e.value, e.dtype, code));
      else if (e.kind === "accumulator" && varies) code.get(this.#accumulators.get(e.index)!);
      else if (varies && this.places.isUsedInPlace(e, at)) code.push(write(code, at));
      else this.#keep(name, e, "v128", code, at, varies ? write : uniform);
    };
  }

  /** Computes it into a local, as far out as it is known, and pushes that. */
  #keep(
    name: string,
    e: Expr,
    type: ValueType,
    code: Code,
    at: Level,
    write: (code: Code, level: Level) => Value<ValueType>,
  ): void {
    const local = this.#code.local(type);
    const own = this.places.level(e);
    if (own < at) {
      const piece = this.piece(own);
      piece.assign(local, write(piece, own));
      code.get(local);
    } else code.push(tee(local, write(code, own)));
    this.hold(name, own, local);
  }

  #constant(value: number, dtype: DeviceDType, code: Code): Vector {
    const lanes = this.lanes(code);
    const exact = coerce(value, dtype);
    return dtype === "float32" ? lanes.f32(exact) : lanes.i32(dtype === "bool" ? -exact : exact);
  }

  address(value: number, index: Expr, dtype: DeviceDType, at: Level): Address {
    return addressOf(this, value, index, dtype, at);
  }

  #splat(e: Expr, at: Level): Vector {
    const x = this.scalar(e, at);
    return apply(`${laneShape(e.dtype)}.splat`, e.dtype === "bool" ? i32.sub(0, x as Push<"i32">) : x); // 0 or 1
  }
}
