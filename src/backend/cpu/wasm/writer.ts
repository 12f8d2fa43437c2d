import type { DeviceDType } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { Level, Scope as PlaceScope, Places } from "../../../compile/place.ts";
import type { Code, Local, Module, Push, Value, ValueType } from "./assemble.ts";
import type { Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";

/** The loop variable that four lanes run along. */
export interface VectorAxis {
  readonly name: string;
  readonly extent: number;
  /** No lane ever lies beyond the extent, so strided loads of all lanes stay inside the buffer. */
  readonly exact: boolean;
  /** All of it is one step, so that a lane is where its offset says. */
  readonly whole?: boolean;
  /** The loop around it that takes two of its points at a time. */
  readonly pairs?: string | undefined;
}

export interface Scope extends PlaceScope {
  readonly module: Module;
  /** Roots of all expressions of the function. */
  readonly roots: readonly Expr[];
  readonly vector?: VectorAxis | undefined;
  /** Address of a value's first element. */
  readonly pointer: (value: number) => Local<"i32">;
  /** Loop variables that several sets of values share. */
  readonly variables?: Map<string, Local<"i32">>;
  /** Loads a host number. */
  readonly hostNumber: (index: number, dtype: DeviceDType) => Push;
}

/** What the files that write one kind of code each (scalar.ts, vector.ts, loads.ts) know of the values of a function. */
export interface Writer {
  readonly scope: Scope;
  /** Where expressions are computed. */
  readonly places: Places;
  /** Added to the vector variable: which of several vectors in a row is written. */
  readonly offset: number;
  /** Which of the two points of `pairs` is written. */
  readonly copy: number;
  local<T extends ValueType>(type: T): Local<T>;
  /** The code of a level. */
  piece(level: Level): Code;
  variable(name: string): Local<"i32">;
  accumulator(index: number): Local;
  lanes(code: Code): Lanes;
  /** Does the expression differ between lanes? */
  varies(e: Expr): boolean;
  /** How far apart neighbouring lanes of an index are; undefined where that is not one number. */
  stride(index: Expr): number | undefined;
  /** A local by a name; its value is known at a level, and forgotten when that or one further out starts anew. */
  held(name: string): Local | undefined;
  hold<T extends Local>(name: string, level: Level, local: T): T;
  /** Are its lanes in a local? */
  isHeld(e: Expr): boolean;
  /** A local with what is made of an expression, there where that is known, for all vectors and for both points of a pair. */
  made(
    e: Expr,
    what: string,
    code: Code,
    at: Level,
    make: (into: Code, level: Level) => Local<"v128">,
  ): Local<"v128">;
  /** One element; what does not change at level `at` is computed further out. */
  scalar(e: Expr, at: Level): Push;
  /** The same of an index. */
  index(e: Expr, at: Level): Push<"i32">;
  /** Four lanes; bools as masks. */
  vector(e: Expr, at: Level): Vector;
  /** The address of an element, or of its first lane. */
  address(value: number, index: Expr, dtype: DeviceDType, at: Level): Address;
}

/** An address is a sum, and a constant offset. */
export interface Address {
  readonly base: Value<"i32">;
  readonly offset: number;
}
