import type { DeviceDType } from "../../../base/dtype.ts";
import type { Expr } from "../../../compile/expr.ts";
import type { LaneAxis, Level, Placement, Scope as PlaceScope, Use } from "../../../compile/place.ts";
import type { Code, Local, Module, Push, Value, ValueType } from "./assemble.ts";
import type { Vector } from "./expressions.ts";
import type { Lanes } from "./lanes.ts";

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

/** What the files that write one kind of code each (scalar.ts, vector.ts, loads.ts) know of the values of a function. */
export interface Writer {
  readonly scope: Scope;
  /** Where expressions are computed. */
  readonly placement: Placement;
  /** Added to the vector variable: which of several vectors in a row is written. */
  readonly offset: number;
  local<T extends ValueType>(type: T): Local<T>;
  /** The code of a level, if that is further out than this code. */
  outside(code: Code, level: Level): Code | undefined;
  variable(name: string): Local<"i32">;
  accumulator(index: number): Local;
  lanes(code: Code): Lanes;
  /** What is computed once into a local by a name: at its level, if that is further out than where it is pushed. */
  once<T extends ValueType>(name: string, level: Level, type: T, value: Value<T>): Push<T>;
  /** Is a guard known to hold in all lanes? */
  holds(guard: Expr): boolean;
  /** Are its lanes in a local? */
  isHeld(e: Expr): boolean;
  /** A local with what is made of an expression, there where that is known, for all vectors. */
  made(e: Expr, what: string, code: Code, make: (into: Code) => Local<"v128">): Local<"v128">;
  /** One element. */
  scalar(e: Expr): Push;
  /** What lanes have in common, as a number in a local. */
  number(e: Expr): Push;
  /** One element of an index, and a sum of such. */
  index(e: Expr): Push<"i32">;
  sum(e: Extract<Expr, { kind: "sum" }>): Push<"i32">;
  /** Four lanes; bools as masks. */
  vector(e: Expr): Vector;
}
