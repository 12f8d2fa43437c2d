import { where } from "../graph/elementwise.ts";
import { type Load, limitsOf, motionOf } from "./access.ts";
import { type Expr, type Term, termsOf, walk } from "./expr.ts";

/**
 * An element that is read in runs along an axis: neighbours lie `step` apart in memory, but where a row of windows ends, and
 * where a guard is false it is 0. So are convolutions: their windows are an index, and their padding a guard.
 */
export interface Runs extends GuardedLoad {
  readonly step: 1 | 2;
  /** What of the index moves along the axis, if it may jump: a run is whole where this goes up by the step from lane to lane. */
  readonly moving: readonly Term[] | undefined;
}

/** A load that is 0 where its guard does not hold. */
export interface GuardedLoad {
  readonly load: Load;
  readonly guard: Expr | undefined;
  /** The index where the guard holds. */
  readonly index: Expr;
}

/** What an element is read by, if it is a load with one guard or none. */
export function guardedLoad(e: Expr): GuardedLoad | undefined {
  const guarded = isWhere(e) && isZero(e.args[2]) ? e : undefined;
  const load = guarded ? guarded.args[1] : e;
  if (load?.kind !== "load") return undefined;
  const guard = guarded?.args[0];
  const index = isWhere(load.index) && load.index.args[0] === guard ? load.index.args[1]! : load.index;
  // Without its guard an index still leads to what may be read, if that is no more than where the element lies.
  return guard && index === load.index && !limitsOf(guard) ? undefined : { load, guard, index };
}

/** @param other The other axis, which must not decide where a run ends. */
export function runsOf(e: Expr, axis: string, other: string): Runs | undefined {
  const read = guardedLoad(e);
  if (read?.load.dtype !== "float32") return undefined;
  const { load, guard, index } = read;
  const along = { variable: axis };
  const { stride, usual } = motionOf(index, along);
  if ((usual !== 1 && usual !== 2) || index.kind === "apply") return undefined;
  const moving = termsOf(index).filter(({ atom }) => motionOf(atom, along).stride !== 0);
  const parts = { load, index, guard, step: usual } as const;
  if (stride !== undefined) return { ...parts, moving: undefined };
  return moving.some(({ atom }) => uses(atom, other)) ? undefined : { ...parts, moving };
}

const isWhere = (e: Expr): e is Extract<Expr, { kind: "apply" }> => e.kind === "apply" && e.row === where.row;

const isZero = (e: Expr | undefined) => e?.kind === "constant" && Object.is(e.value, 0);

/** Whether an expression uses a variable, or loads something: that may change with all of them. */
function uses(root: Expr, variable: string): boolean {
  let found = false;
  walk([root], (e) => {
    if (e.kind === "load" || (e.kind === "variable" && e.name === variable)) found = true;
  });
  return found;
}
