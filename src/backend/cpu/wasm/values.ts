import { coerce, type DeviceDType } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import { type Addition, isSimple, type Level, type Placement, place } from "../../../compile/place.ts";
import type { Code, Local, Push, Value, ValueType } from "./assemble.ts";
import { apply, i32, tee, type Vector } from "./expressions.ts";
import { Lanes } from "./lanes.ts";
import { laneShape, valueType } from "./operations.ts";
import { scalarOf } from "./scalar.ts";
import { vectorOf } from "./vector.ts";
import type { Scope, Writer } from "./writer.ts";

/** Writes expressions where a placement has put them: each level is a piece of code, and what has a name gets a local. */
export class Values implements Writer {
  readonly scope: Scope;
  readonly placement: Placement;
  /** Code at the start of each level, to be placed there when all is written. */
  readonly #pieces = new Map<Level, Code>();
  readonly #levels = new Map<Code, Level>();
  readonly #code: Code;
  /** What is in locals by a name, with the level where it is known: numbers, splats, vectors by offset, addresses. */
  readonly #held = new Map<string, { readonly local: Local; readonly level: Level }>();
  readonly #constants = new Map<string, Vector>();
  readonly #variables: Map<string, Local<"i32">>;
  readonly #accumulators = new Map<number, Local>();
  #holding: ReadonlySet<Expr> = new Set();
  offset = 0;

  constructor(code: Code, scope: Scope) {
    this.#code = code;
    this.scope = scope;
    this.#variables = scope.variables ?? new Map();
    this.placement = place(scope.uses, { ...scope, addresses: true, lanes: scope.vector });
  }

  /** The code of a level. */
  piece(level: Level): Code {
    return this.#pieces.get(level) ?? this.#start(level);
  }

  #start(level: Level): Code {
    const piece = this.#code.piece();
    this.#pieces.set(level, piece);
    this.#levels.set(piece, level);
    return piece;
  }

  outside(code: Code, level: Level): Code | undefined {
    return level < this.#levels.get(code)! ? this.piece(level) : undefined;
  }

  /** Starts a level anew: for another vector of the same loop, its remainder, or where guards hold in all lanes. */
  restart(level: Level, offset = 0, holding: ReadonlySet<Expr> = new Set()): Code {
    this.offset = offset;
    this.#holding = holding;
    for (const [name, { level: own }] of this.#held) if (own >= level) this.#held.delete(name);
    return this.#start(level);
  }

  once<T extends ValueType>(name: string, level: Level, type: T, value: Value<T>): Push<T> {
    return (code) => {
      const known = this.#held.get(name);
      if (known) {
        code.get(known.local);
        return;
      }
      const local = this.#code.local(type);
      const outside = this.outside(code, level);
      if (outside) {
        this.#wherever(() => outside.assign(local, value));
        code.get(local);
      } else code.push(tee(local, value));
      this.#held.set(name, { local, level });
    };
  }

  holds(guard: Expr): boolean {
    return this.#holding.has(guard);
  }

  /** Writes code further out, where guards need not hold. */
  #wherever<T>(write: () => T): T {
    const holding = this.#holding;
    this.#holding = new Set();
    const result = write();
    this.#holding = holding;
    return result;
  }

  isHeld(e: Expr): boolean {
    return this.#held.has(this.#lanes(e));
  }

  #lanes(e: Expr): string {
    return this.placement.varies(e) ? `lanes ${this.offset} ${e.id}` : `splat ${e.id}`;
  }

  made(e: Expr, what: string, code: Code, make: (into: Code) => Local<"v128">): Local<"v128"> {
    const name = `made ${e.id} ${what}`;
    const known = this.#held.get(name);
    if (known) return known.local as Local<"v128">; // as it was made
    const level = this.placement.level(e);
    const outside = this.outside(code, level);
    const local = outside ? this.#wherever(() => make(outside)) : make(code);
    this.#held.set(name, { local, level });
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

  scalar(e: Expr): Push {
    const write: Push = (code) => code.push(scalarOf(this, e, code));
    // The variable of lanes is the place of the first one.
    const name = e.kind === "variable" ? undefined : this.placement.name(e);
    return name === undefined ? write : this.once(name, this.placement.level(e), valueType(e.dtype), write);
  }

  number(e: Expr): Push {
    if (isSimple(e)) return this.scalar(e);
    return this.once(`number ${e.id}`, this.placement.level(e), valueType(e.dtype), this.scalar(e));
  }

  index(e: Expr): Push<"i32"> {
    return this.scalar(e) as Push<"i32">; // what indices are
  }

  sum(e: Extract<Expr, { kind: "sum" }>): Push<"i32"> {
    return this.#added(this.placement.rest(e));
  }

  #added({ onto, addends }: Addition): Push<"i32"> {
    const parts = addends.map((addend): Value<"i32"> => {
      if (typeof addend === "number") return addend;
      const { coefficient, atom } = addend;
      return coefficient === 1 ? this.index(atom) : i32.mul(this.index(atom), coefficient);
    });
    if (onto) parts.unshift(this.once(onto.name, onto.level, "i32", this.#added(onto.what as Addition)));
    return (code) => code.push(parts.reduce((sum, part) => i32.add(sum, part)));
  }

  vector(e: Expr): Vector {
    if (e.kind === "constant") return (code) => code.push(this.#constant(e.value, e.dtype, code));
    const level = this.placement.level(e);
    if (!this.placement.varies(e)) return this.once(this.#lanes(e), level, "v128", this.#splat(e));
    if (e.kind === "accumulator") return (code) => code.get(this.#accumulators.get(e.index)!);
    const write: Vector = (code) => code.push(vectorOf(this, e, code));
    if (this.placement.name(e) === undefined) return write;
    return (code) => code.push(this.once(this.#lanes(e), level, "v128", write));
  }

  #constant(value: number, dtype: DeviceDType, code: Code): Vector {
    const lanes = this.lanes(code);
    const exact = coerce(value, dtype);
    return dtype === "float32" ? lanes.f32(exact) : lanes.i32(dtype === "bool" ? -exact : exact);
  }

  #splat(e: Expr): Vector {
    const x = this.scalar(e);
    return apply(`${laneShape(e.dtype)}.splat`, e.dtype === "bool" ? i32.sub(0, x as Push<"i32">) : x); // 0 or 1
  }
}
