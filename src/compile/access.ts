import { getOrInsert } from "../base/group.ts";
import { bitwiseAnd, where } from "../graph/elementwise.ts";
import { constantOf, type Expr, termsOf, walk } from "./expr.ts";

// How an expression moves while a loop variable does: which loads lie side by side, which are the same ones again. Every
// question of this kind, of any target, is asked here.

/** What an expression is watched along. */
export interface Along {
  /** The loop variable. */
  readonly variable: string;
  /** How many of its values are looked at together, from a multiple of as many; all of them where this is left out. */
  readonly run?: number;
  /** Whether the results of the kernel's core move with it as well. */
  readonly results?: boolean;
}

export interface Motion {
  /** How far it moves when the variable goes up by one, within a run; undefined where that is not always the same. */
  readonly stride: number | undefined;
  /** The same where it neither begins another row nor crosses the edge of what a guard lets through. */
  readonly usual: number;
  /** Whether it is a multiple of the run where the run begins. */
  readonly multiple: boolean;
}

const fixed: Motion = { stride: 0, usual: 0, multiple: false };
const moving: Motion = { stride: 1, usual: 1, multiple: true };

type Memo = Map<Expr, Motion>;

/**
 * The motion of an expression, mostly of an index. Of a guarded index, 0 outside, it is the motion where the guard lets
 * it through, if all of a run is outside when its first value is: what is loaded outside is not used.
 */
export function motionOf(e: Expr, along: Along, memo: Memo = new Map()): Motion {
  return getOrInsert(memo, e, () => computeMotion(e, along, memo));
}

function computeMotion(e: Expr, along: Along, memo: Memo): Motion {
  const { variable, run = Infinity } = along;
  const of = (part: Expr) => motionOf(part, along, memo);
  switch (e.kind) {
    case "variable":
      return e.name === variable ? moving : fixed;
    case "accumulator":
      return along.results ? jumping(0) : fixed;
    case "sum": {
      let stride: number | undefined = 0;
      let usual = 0;
      let multiple = e.constant % run === 0;
      for (const { coefficient, atom } of e.terms) {
        const inner = of(atom);
        stride =
          stride === undefined || inner.stride === undefined
            ? undefined
            : stride + coefficient * inner.stride;
        usual += coefficient * inner.usual;
        multiple &&= inner.multiple || coefficient % run === 0;
      }
      return { stride, usual, multiple };
    }
    case "digit": {
      const inner = of(e.arg);
      if (inner.stride === 0) return fixed;
      const usual = e.low === 1 ? inner.usual : 0;
      // A run lies between two multiples of its length, so it shares all higher digits.
      if (startsRun(inner) && e.low === 1 && e.high % run === 0) return { ...moving, usual };
      return startsRun(inner) && e.low % run === 0 ? fixed : jumping(usual);
    }
    case "inRange": {
      const inner = of(e.arg);
      return inner.stride === 0 || (startsRun(inner) && e.length % run === 0) ? fixed : jumping(0);
    }
    case "apply": {
      if (e.args.every((arg) => of(arg).stride === 0)) return fixed;
      if (e.row !== where.row) return jumping(0);
      const [guard, index, outside] = e.args as [Expr, Expr, Expr];
      const inner = of(index);
      const skips = startsRun(inner) && isZero(outside) && lacksFromTheFirst(guard, along, memo);
      return skips ? inner : jumping(inner.usual);
    }
    case "constant":
    case "hostNumber":
    case "load":
    case "cast":
    case "clamp":
      return e.operands.every((part) => of(part).stride === 0) ? fixed : jumping(0);
    default:
      return e satisfies never;
  }
}

const jumping = (usual: number): Motion => ({ stride: undefined, usual, multiple: false });

/** Whether it moves with the variable from a multiple of the run. */
export function startsRun({ stride, multiple }: Motion): boolean {
  return stride === 1 && multiple;
}

/** Whether a condition that holds for some value of a run holds for the first one. */
function lacksFromTheFirst(guard: Expr, along: Along, memo: Memo): boolean {
  if (along.run === undefined) return false;
  if (guard.kind === "apply" && guard.row === bitwiseAnd.row)
    return guard.args.every((arg) => lacksFromTheFirst(arg, along, memo));
  const motion = motionOf(guard.kind === "inRange" ? guard.arg : guard, along, memo);
  return motion.stride === 0 || (guard.kind === "inRange" && startsRun(motion));
}

/** The condition of an index that is 0 where it does not hold, and what the index is where it does. */
export function guardOf(index: Expr): { readonly guard: Expr; readonly inside: Expr } | undefined {
  if (index.kind !== "apply" || index.row !== where.row) return undefined;
  const [guard, inside, outside] = index.args as [Expr, Expr, Expr];
  return isZero(outside) ? { guard, inside } : undefined;
}

export type Limit = Extract<Expr, { kind: "inRange" }>;

/** A guard as limits, all of which must hold. */
export function limitsOf(guard: Expr): readonly Limit[] | undefined {
  if (guard.kind === "inRange") return [guard];
  if (guard.kind !== "apply" || guard.row !== bitwiseAnd.row) return undefined;
  const parts = guard.args.map(limitsOf);
  return parts.every((part) => part !== undefined) ? parts.flat() : undefined;
}

const isZero = (e: Expr) => e.kind === "sum" && e.terms.length === 0 && e.constant === 0;

/** How far an index moves with a variable, or undefined where that is not always the same. */
export function strideIn(index: Expr, variable: string): number | undefined {
  return motionOf(index, { variable }).stride;
}

export type Load = Extract<Expr, { kind: "load" }>;

/** The loads of expressions; those in the index of another one come before it. */
export function loadsOf(roots: readonly Expr[]): Load[] {
  const found: Load[] = [];
  walk(roots, (e) => {
    if (e.kind === "load") found.push(e);
  });
  return found;
}

/** Whether some load mostly moves to the next element when the variable does. */
export function isContiguous(root: Expr, variable: string): boolean {
  return loadsOf([root]).some(({ index }) => motionOf(index, { variable }).usual === 1);
}

/** What a run has in common: loads of neighbours that come as one, and the largest parts that do not change within it. */
export function sharedIn(
  exprs: readonly Expr[],
  along: Along,
  isWide: (e: Expr) => boolean,
  known: ReadonlyMap<Expr, Expr>,
): { readonly expr: Expr; readonly wide?: Load }[] {
  const memo: Memo = new Map();
  const found: { readonly expr: Expr; readonly wide?: Load }[] = [];
  const seen = new Set<Expr>();
  const visit = (e: Expr) => {
    if (seen.has(e)) return;
    seen.add(e);
    const isPart = e.kind === "load" || e.kind === "apply" || e.kind === "cast";
    if (known.has(e)) visit(known.get(e)!);
    else if (e.kind === "load" && isWide(e)) found.push({ expr: e, wide: e });
    else if (isPart && motionOf(e, along, memo).stride === 0) found.push({ expr: e });
    else for (const part of e.operands) visit(part);
  };
  for (const expr of exprs) visit(expr);
  return found;
}

/** Loads of every second element of which the one begins an element behind the other: all of them lie side by side. */
export interface Twins {
  readonly first: Load;
  readonly second: Load;
}

/** The twins among loads, under each of the two. @param stride How far apart the elements are that a load takes. */
export function twinsOf(
  loads: readonly Load[],
  stride: (index: Expr) => number | undefined,
): ReadonlyMap<Load, Twins> {
  const twins = new Map<Load, Twins>();
  const known = new Map<string, Load>();
  const read = loads.flatMap((load) => {
    const { guard, inside } = guardOf(load.index) ?? { guard: undefined, inside: load.index };
    if (stride(inside) !== 2) return [];
    const constant = constantOf(inside);
    const index = termsOf(inside)
      .map(({ coefficient, atom }) => `${coefficient}*${atom.id}`)
      .join();
    return [
      { load, constant, at: (place: number) => `${load.value}:${load.dtype},${guard?.id},${index},${place}` },
    ];
  });
  for (const { load, constant, at } of read.sort((one, other) => one.constant - other.constant)) {
    const first = known.get(at(constant - 1));
    if (first && !twins.has(first)) {
      const found = { first, second: load };
      twins.set(first, found).set(load, found);
    }
    known.set(at(constant), load);
  }
  return twins;
}
