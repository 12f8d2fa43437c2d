import { type Load, loadsOf, motionOf, startsRun } from "../../compile/access.ts";
import type { Expr } from "../../compile/expr.ts";
import type { Axis, Store } from "../../compile/kernel.ts";
import { exprsOf } from "../../compile/nest.ts";
import type { Access } from "./shader.ts";

// Four neighbours at once. Drivers load a vector of four in one go, software drivers at the price of one or two
// scalars. A kernel whose index runs in steps of four loads and stores quads where four elements lie side by side from a
// multiple of four; what it computes of them is in elements.ts.
//
// A buffer is an array of vectors if its accesses in a kernel are quads, or loads of what four have in common. Buffers are padded to whole quads,
// so that the last one of a length that is no multiple of four reads and writes padding.

/** How an index moves within a quad of the variable, which starts at a multiple of four. */
type QuadMotion =
  /** It does not. */
  | "same"
  /** With the variable, from a multiple of four. */
  | "quad"
  | "other";

/** The motion of an index expression. */
function quadMotion(index: Expr, variable: string): QuadMotion {
  const motion = motionOf(index, { variable, run: 4 });
  return motion.stride === 0 ? "same" : startsRun(motion) ? "quad" : "other";
}

export function isQuadLoad(e: Expr, variable: string): e is Load {
  return e.kind === "load" && quadMotion(e.index, variable) === "quad";
}

/** What stores load that are quads along one axis and none along another. */
export function turnedLoads(stores: readonly Store[], along: Axis, across: Axis): Load[] {
  return loadsOf(exprsOf(stores)).filter(
    (load) => quadMotion(load.index, along.name) === "other" && isQuadLoad(load, across.name),
  );
}

/** How stores, and what they load, access buffers as the variable moves; undefined where some store is no quad. */
export function accessesOf(stores: readonly Store[], variable: string): Access[] | undefined {
  if (stores.some(({ index }) => quadMotion(index, variable) !== "quad")) return undefined;
  return [...stores.map(({ value }) => ({ value, quad: true })), ...loadAccesses(exprsOf(stores), variable)];
}

/** How expressions load from buffers as the variable moves. */
export function loadAccesses(
  exprs: readonly Expr[],
  variable: string,
  counts: (load: Load) => boolean = () => true,
): Access[] {
  return loadsOf(exprs)
    .filter(counts)
    .map(({ value, index }) => {
      const motion = quadMotion(index, variable);
      return { value, quad: motion === "quad", once: motion === "same" };
    });
}

/** How stores, and what they load, access buffers one element at a time. */
export function singleAccesses(stores: readonly Store[]): Access[] {
  return [...stores, ...loadsOf(exprsOf(stores))].map(({ value }) => ({ value, quad: false }));
}
