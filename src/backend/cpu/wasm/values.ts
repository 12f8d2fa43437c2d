import { coerce, type DeviceDType } from "../../../base/dtype.ts";
import { motionOf } from "../../../compile/access.ts";
import { type Expr, operandsOf } from "../../../compile/expr.ts";
import { type Level, Places } from "../../../compile/place.ts";
import { Addresses } from "./addresses.ts";
import type { Code, Local, Push, Value, ValueType } from "./assemble.ts";
import { apply, i32, tee, type Vector } from "./expressions.ts";
import { Lanes } from "./lanes.ts";
import { laneShape, valueType } from "./operations.ts";
import { scalarOf } from "./scalar.ts";
import { vectorOf } from "./vector.ts";
import type { Address, Scope, Writer } from "./writer.ts";

/** Writes expressions into the levels of a loop nest: each level is a piece of code, and what is placed there gets a local. */
export class Values implements Writer {
  readonly scope: Scope;
  readonly places: Places;
  /** Code at the start of each level, to be placed there when all is written. */
  readonly #pieces = new Map<Level, Code>();
  readonly #code: Code;
  readonly #varying = new Map<Expr, boolean>();
  #scalars = new Map<Expr, Local>();
  /** Vectors that are the same in all lanes, and others by offset. */
  #splats = new Map<Expr, Local>();
  readonly #vectors = new Map<number, Map<Expr, Local>>();
  /** By expression and by what is made of it. */
  #made = new Map<Expr, Map<string, Local<"v128">>>();
  readonly #addresses = new Addresses(this);
  readonly #constants = new Map<string, Local>();
  readonly #variables: Map<string, Local<"i32">>;
  readonly #accumulators = new Map<number, Local>();
  #offset = 0;
  #copy = 0;

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
  restart(level: Level, offset = 0, copy = this.#copy): Code {
    this.#offset = offset;
    const kept = <T>(map: ReadonlyMap<Expr, T>) =>
      new Map([...map].filter(([e]) => this.places.level(e) < level));
    this.#scalars = kept(this.#scalars);
    this.#splats = kept(this.#splats);
    if (copy === 0 || copy === this.#copy) this.#made = kept(this.#made);
    this.#copy = copy;
    this.#addresses.restart(level);
    for (const [at, map] of this.#vectors) this.#vectors.set(at, kept(map));
    const piece = this.#code.piece();
    this.#pieces.set(level, piece);
    return piece;
  }

  #held(e: Expr): Map<Expr, Local> {
    if (!this.varies(e)) return this.#splats;
    let map = this.#vectors.get(this.#offset);
    if (!map) {
      map = new Map();
      this.#vectors.set(this.#offset, map);
    }
    return map;
  }

  get offset(): number {
    return this.#offset;
  }

  get copy(): number {
    return this.#copy;
  }

  isHeld(e: Expr): boolean {
    return this.#held(e).has(e);
  }

  made(
    e: Expr,
    what: string,
    code: Code,
    at: Level,
    make: (into: Code, level: Level) => Local<"v128">,
  ): Local<"v128"> {
    const own = this.#made.get(e) ?? new Map<string, Local<"v128">>();
    this.#made.set(e, own);
    const level = Math.min(this.places.level(e), at);
    const local = own.get(what) ?? make(level < at ? this.piece(level) : code, level);
    own.set(what, local);
    return local;
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
    const write = (code: Code, level: Level) => scalarOf(this, e, level, code);
    return (code) => {
      const known = this.#scalars.get(e);
      if (known) code.get(known);
      else if (this.places.isInline(e, at)) code.push(write(code, at));
      else this.#scalars.set(e, this.#keep(e, valueType(e.dtype), code, at, write));
    };
  }

  index(e: Expr, at: Level): Push<"i32"> {
    return this.scalar(e, at) as Push<"i32">; // what indices are
  }

  vector(e: Expr, at: Level): Vector {
    const uniform = (_: Code, level: Level) => this.#splat(e, level);
    const write = (code: Code, level: Level) => vectorOf(this, e, level, code);
    return (code) => {
      const known = this.#held(e).get(e);
      const varies = this.varies(e);
      if (known) code.get(known);
      else if (e.kind === "constant") code.push(this.#constant(e.value, e.dtype, code));
      else if (e.kind === "accumulator" && varies) code.get(this.#accumulators.get(e.index)!);
      else if (varies && this.places.isUsedInPlace(e, at)) code.push(write(code, at));
      else this.#held(e).set(e, this.#keep(e, "v128", code, at, varies ? write : uniform));
    };
  }

  /** Computes it into a local, as far out as it is known, and pushes that. */
  #keep(
    e: Expr,
    type: ValueType,
    code: Code,
    at: Level,
    write: (code: Code, level: Level) => Value<ValueType>,
  ): Local {
    const local = this.#code.local(type);
    const own = this.places.level(e);
    if (own < at) {
      const piece = this.piece(own);
      piece.assign(local, write(piece, own));
      code.get(local);
    } else code.push(tee(local, write(code, own)));
    return local;
  }

  #constant(value: number, dtype: DeviceDType, code: Code): Vector {
    const lanes = this.lanes(code);
    const exact = coerce(value, dtype);
    return dtype === "float32" ? lanes.f32(exact) : lanes.i32(dtype === "bool" ? -exact : exact);
  }

  address(value: number, index: Expr, dtype: DeviceDType, at: Level): Address {
    return this.#addresses.of(value, index, dtype, at);
  }

  #splat(e: Expr, at: Level): Vector {
    const x = this.scalar(e, at);
    return apply(`${laneShape(e.dtype)}.splat`, e.dtype === "bool" ? i32.sub(0, x as Push<"i32">) : x); // 0 or 1
  }
}
