import { costOf, type Expr, walk } from "../../compile/expr.ts";
import type { Store } from "../../compile/kernel.ts";
import { bitwiseAnd, where } from "../../graph/elementwise.ts";
import type { Access } from "./shader.ts";

// Four neighbours at once. Drivers load a vector of four in one go, software drivers at the price of one or two
// scalars. A kernel whose index runs in steps of four loads and stores quads where four elements lie side by side from a
// multiple of four; what it computes of them is in elements.ts.
//
// A buffer is an array of vectors if all of its accesses in a kernel are quads. Buffers are padded to whole quads,
// so that the last one of a length that is no multiple of four reads and writes padding.

/** How an index moves within a quad of the variable, which starts at a multiple of four. */
export type Motion =
  /** It does not. */
  | "same"
  /** With the variable, from a multiple of four. */
  | "quad"
  | "other";

interface Index {
  readonly motion: Motion | "shifted";
  /** Whether its value at the start of the quad is a multiple of four. */
  readonly multiple: boolean;
}

/** The motion of an index expression. */
export function motionOf(index: Expr, variable: string): Motion {
  const { motion } = analyse(index, variable);
  return motion === "shifted" ? "other" : motion;
}

function analyse(e: Expr, variable: string): Index {
  switch (e.kind) {
    case "variable":
      return e.name === variable ? quad : same;
    case "sum": {
      let steps = 0;
      let multiple = e.constant % 4 === 0;
      for (const { coefficient, atom } of e.terms) {
        const inner = analyse(atom, variable);
        if (inner.motion !== "same") {
          if (inner.motion === "other" || coefficient !== 1) return other;
          steps++;
        }
        multiple &&= inner.multiple || coefficient % 4 === 0;
      }
      if (steps === 0) return { motion: "same", multiple };
      return steps > 1 ? other : { motion: multiple ? "quad" : "shifted", multiple };
    }
    case "digit": {
      const inner = analyse(e.arg, variable);
      if (inner.motion === "same") return same;
      if (inner.motion !== "quad") return other;
      // A quad lies between two multiples of four, so it shares all higher digits.
      if (e.low === 1) return e.high % 4 === 0 || e.high === Infinity ? quad : other;
      return e.low % 4 === 0 ? same : other;
    }
    case "inRange": {
      const inner = analyse(e.arg, variable);
      return inner.motion === "same" || (inner.motion === "quad" && e.length % 4 === 0) ? same : other;
    }
    case "apply": {
      if (!moves(e, variable)) return same;
      // A guarded index, 0 outside: where the start of a quad is outside, so is all of it.
      if (e.row !== where.row || !isGuard(e.args[0]!, variable)) return other;
      return analyse(e.args[1]!, variable).motion === "quad" && isZero(e.args[2]!) ? quad : other;
    }
    default:
      return moves(e, variable) ? other : same;
  }
}

const same: Index = { motion: "same", multiple: false };
const quad: Index = { motion: "quad", multiple: true };
const other: Index = { motion: "other", multiple: false };

/** Whether a condition that holds for some element of a quad holds for the first one. */
function isGuard(e: Expr, variable: string): boolean {
  if (e.kind === "inRange") {
    const { motion } = analyse(e.arg, variable);
    return motion === "same" || motion === "quad";
  }
  if (e.kind === "apply" && e.row === bitwiseAnd.row) return e.args.every((arg) => isGuard(arg, variable));
  return !moves(e, variable);
}

const isZero = (e: Expr) => e.kind === "sum" && e.terms.length === 0 && e.constant === 0;

function moves(e: Expr, variable: string): boolean {
  let found = false;
  walk([e], (part) => {
    if (part.kind === "variable" && part.name === variable) found = true;
  });
  return found;
}

export type Load = Extract<Expr, { kind: "load" }>;

export function isQuadLoad(e: Expr, variable: string): e is Load {
  return e.kind === "load" && motionOf(e.index, variable) === "quad";
}

/** The loads of expressions with how they move; those in the index of another one come before it. */
export function loadsOf(roots: readonly Expr[], variable: string): { load: Load; motion: Motion }[] {
  const found: { load: Load; motion: Motion }[] = [];
  walk(roots, (e) => {
    if (e.kind === "load") found.push({ load: e, motion: motionOf(e.index, variable) });
  });
  return found;
}

/** How stores, and what they load, access buffers as the variable moves; undefined where some store is no quad. */
export function accessesOf(stores: readonly Store[], variable: string): Access[] | undefined {
  if (stores.some(({ index }) => motionOf(index, variable) !== "quad")) return undefined;
  return [
    ...stores.map(({ value }) => ({ value, quad: true })),
    ...loadAccesses(
      stores.map(({ expr }) => expr),
      variable,
    ),
  ];
}

/** How expressions load from buffers as the variable moves. */
export function loadAccesses(exprs: readonly Expr[], variable: string): Access[] {
  return loadsOf(exprs, variable).map(({ load, motion }) => ({ value: load.value, quad: motion === "quad" }));
}

/** How stores, and what they load, access buffers one element at a time. */
export function singleAccesses(stores: readonly Store[]): Access[] {
  const loads = loadsOf(
    stores.map(({ expr }) => expr),
    "",
  );
  return [...stores, ...loads.map(({ load }) => load)].map(({ value }) => ({ value, quad: false }));
}

/** Elements below which quads save less than compiling four times the code takes. */
export const manyElements = 1024;

/** Vertices of an expression that is computed four times in a kernel: more would take long to compile. */
const maxVertices = 120;

/** Whether the code of expressions is short enough to stand four times in a kernel. */
export function isShort(exprs: readonly Expr[], most = maxVertices): boolean {
  let count = 0;
  walk(exprs, () => count++);
  return count <= most;
}

/** Vertices, and additions' worth of work, of expressions that are computed sixteen times in a kernel. */
const fewVertices = 24;
const littleWork = 8;

/** Whether the code of expressions is short enough to stand sixteen times in a kernel. */
export function isTiny(exprs: readonly Expr[]): boolean {
  return isShort(exprs, fewVertices) && exprs.reduce((work, expr) => work + costOf(expr), 0) <= littleWork;
}
