import type { DeviceDType } from "../../../base/dtype.ts";
import { getOrInsert } from "../../../base/group.ts";
import { type Load, loadsOf, type Twins, twinsOf } from "../../../compile/access.ts";
import type { Expr } from "../../../compile/expr.ts";
import {
  type LaneAxis,
  type Level,
  type Placement,
  type Scope as PlaceScope,
  place,
  type Use,
} from "../../../compile/place.ts";
import type { Code, Local, Module, Push, Value, ValueType } from "./assemble.ts";
import { tee, type Vector } from "./expressions.ts";
import { Lanes } from "./lanes.ts";

/** The loop variable that four lanes run along. */
export interface VectorAxis extends LaneAxis {
  readonly extent: number;
  /** All of it is one step, so that a lane is where its offset says. */
  readonly whole?: boolean;
  /** The loop around it whose body is written for two of its points. */
  readonly twice?: string | undefined;
}

export interface Scope extends PlaceScope {
  readonly module: Module;
  /** All that is written of expressions. */
  readonly uses: readonly Use[];
  readonly vector?: VectorAxis | undefined;
  /** Address of a value's first element. */
  readonly pointer: (value: number) => Local<"i32">;
  /** Loop variables that several sets of values share. */
  readonly variables?: Map<string, Local<"i32">>;
  /** Loads a host number. */
  readonly hostNumber: (index: number, dtype: DeviceDType) => Push;
}

/**
 * Where values are written and kept, as a placement says: each level is a piece of code, and what has a name gets a local.
 * What is written of an expression is in scalar.ts, for one element, and in vector.ts, for four.
 */
export class Values {
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
  #twins: ReadonlyMap<Load, Twins> | undefined;
  /** Added to the vector variable: which of several vectors in a row is written. */
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

  /** The code of a level, if that is further out than this code. */
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

  /** What is computed once into a local by a name: at its level, if that is further out than where it is pushed. */
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

  /** A local with what is made of an expression, there where that is known, for all vectors. */
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

  /** Is a guard known to hold in all lanes? */
  holds(guard: Expr): boolean {
    return this.#holding.has(guard);
  }

  /** A load and the one that takes the elements between its own. */
  twins(e: Load): Twins | undefined {
    this.#twins ??= twinsOf(loadsOf(this.scope.uses.map(({ expr }) => expr)), this.placement.stride);
    return this.#twins.get(e);
  }

  /** Writes code further out, where guards need not hold. */
  #wherever<T>(write: () => T): T {
    const holding = this.#holding;
    this.#holding = new Set();
    const result = write();
    this.#holding = holding;
    return result;
  }

  /** Four lanes of an expression, computed once for the vector that is written, or for all that have it in common. */
  inLanes(e: Expr, value: Vector): Vector {
    return (code) => code.push(this.once(this.#lanesOf(e), this.placement.level(e), "v128", value));
  }

  /** Are its lanes in a local? */
  isHeld(e: Expr): boolean {
    return this.#held.has(this.#lanesOf(e));
  }

  #lanesOf(e: Expr): string {
    return this.placement.varies(e) ? `lanes ${this.offset} ${e.id}` : `splat ${e.id}`;
  }

  local<T extends ValueType>(type: T): Local<T> {
    return this.#code.local(type);
  }

  variable(name: string): Local<"i32"> {
    return getOrInsert(this.#variables, name, () => this.#code.local("i32", name));
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
}
