import { letterOf } from "../base/dtype.ts";
import { addTo } from "../base/group.ts";
import { type Along, type Motion, motionOf } from "./access.ts";
import { type Expr, type Term, termsOf, walk } from "./expr.ts";
import type { ValueId } from "./value.ts";

// Where expressions are computed in a nest of loops, and what is named: decided here, before anything is printed. What
// is used more than once, or can be computed further out than it is used, gets a name where it can be computed first.

/** Where an expression can first be computed: outside all loops is 0, inside the n-th loop n. */
export type Level = number;

export interface Scope {
  /** The levels of loop variables; 0 for others. */
  readonly levels?: ReadonlyMap<string, Level>;
  /** The level of the results of the core: after its loops. */
  readonly afterwards?: Level;
  /** Where values are stored that may be loaded again: no load of one comes further out, whatever its index. */
  readonly written?: ReadonlyMap<ValueId, Level>;
}

/** Whether it is as simple as a name. */
export function isSimple(e: Expr): boolean {
  return (
    e.kind === "constant" ||
    e.kind === "variable" ||
    e.kind === "accumulator" ||
    (e.kind === "sum" && e.terms.length === 0)
  );
}

/** An expression that is wanted where level `at` is open. */
export interface Use {
  readonly expr: Expr;
  readonly at: Level;
  /** Whether it must have a name: a value that is read before anything is stored. */
  readonly named?: boolean;
  /** Whether it is an address: its terms are added to where a value lies. */
  readonly address?: boolean;
}

/** A sum as it is added up: what is known further out comes first, under a name. */
export interface Addition {
  /** What was added up before; nothing at the beginning. */
  readonly onto: Let | undefined;
  readonly addends: readonly (Term | number)[];
}

/** `name = what`. */
export interface Let {
  readonly name: string;
  readonly level: Level;
  readonly what: Expr | Addition;
}

/** What is computed where, as data: a printer writes the lets of each level, and each use by the names that there are. */
export interface Placement {
  lets(level: Level): readonly Let[];
  /** Where an expression can first be computed: the level of its let, if it has one. */
  level(e: Expr): Level;
  /** The name of an expression that has one. */
  name(e: Expr): string | undefined;
  /** What is left of a sum to be added up where it is used. */
  rest(sum: Extract<Expr, { kind: "sum" }>): Addition;
  /** The terms of an address by the level where they are known, outermost first: inner loops add only what changes in them. */
  terms(index: Expr): readonly Terms[];
  /** Whether it differs between lanes. */
  varies(e: Expr): boolean;
  /** How far apart the elements of neighbouring lanes are; undefined where they have no address together. */
  stride(index: Expr): number | undefined;
  /** Loop variables, results and host numbers that are used by name, in the order in which they are met. */
  readonly free: ReadonlySet<Expr>;
}

/** Terms of a sum that are known at a level. */
export interface Terms {
  readonly level: Level;
  readonly terms: readonly Term[];
}

export interface PlaceOptions extends Scope {
  /** Names of what is declared elsewhere. */
  readonly given?: ReadonlyMap<Expr, string>;
  /** Expressions that are others under another guise, such as loads of what was just stored: they get their names. */
  readonly same?: ReadonlyMap<Expr, Expr>;
  /** Whether what is loaded has an address of its own: otherwise its index is an expression like others. */
  readonly addresses?: boolean;
  /** Lanes that are computed as one. What they have in common is taken where it is known. */
  readonly lanes?: LaneAxis | undefined;
}

/** What lanes run along. */
export interface LaneAxis extends Along {
  /** Whether none lies beyond the end, so that those at a distance from each other have an address together. */
  readonly exact: boolean;
}

/** Vertices of an expression that stands without a name in another one: compilers of shaders refuse deep nesting. */
const longest = 50;

/** Decides the place of each expression, in the order of the uses. */
export function place(
  uses: readonly Use[],
  { given, same = new Map(), addresses = false, lanes, ...scope }: PlaceOptions = {},
): Placement {
  const counts = new Map<Expr, number>();
  const levels = new Map<Expr, Level>();
  const names = new Map<Expr, string>(given);
  const lets = new Map<Level, Let[]>();
  const rests = new Map<Expr, Addition>();
  const sizes = new Map<Expr, number>();
  const motions = new Map<Expr, Motion>();
  const free = new Set<Expr>();
  let letters = 0;

  const roots = uses.map(({ expr }) => expr);
  const count = (e: Expr) => counts.set(e, (counts.get(e) ?? 0) + 1);
  roots.forEach(count);
  walk(roots, (e) => e.operands.forEach(count));

  const level = (e: Expr): Level => {
    const known = levels.get(e);
    if (known !== undefined) return known;
    const first = e.kind === "load" ? (scope.written?.get(e.value) ?? 0) : 0;
    const own =
      e.kind === "variable"
        ? (scope.levels?.get(e.name) ?? 0)
        : e.kind === "accumulator"
          ? (scope.afterwards ?? 0)
          : e.operands.reduce((most, part) => Math.max(most, level(part)), first);
    levels.set(e, own);
    return own;
  };
  const byLevel = (terms: readonly Term[]): Terms[] =>
    [...new Set(terms.map(({ atom }) => level(atom)))]
      .sort((a, b) => a - b)
      .map((own) => ({ level: own, terms: terms.filter(({ atom }) => level(atom) === own) }));
  const apart = (e: Expr) => (lanes ? motionOf(e, lanes, motions).stride : 0);
  const varies = (e: Expr) => apart(e) !== 0;
  const stride = (index: Expr) => {
    const found = apart(index);
    return found === 0 || found === 1 || lanes!.exact ? found : undefined;
  };

  const declare = (own: Level, name: string, what: Expr | Addition): Let => {
    const found = { name, level: own, what };
    addTo(lets, own, found);
    return found;
  };
  const keep = (e: Expr) => {
    names.set(e, declare(level(e), `${letterOf(e.dtype)}${letters++}`, e).name);
  };

  /** The number of vertices that stand where it is used. */
  const visit = (e: Expr, at: Level): number => {
    if (names.has(e)) return 1;
    const known = sizes.get(e);
    if (known !== undefined) return known;
    if (e.kind === "variable" || e.kind === "accumulator" || e.kind === "hostNumber") free.add(e);
    // What is used once, there where it can first be computed, needs no place of its own; nor does what is as simple as its name.
    const inline = (isSimple(e) && !varies(e)) || (level(e) >= at && counts.get(e) === 1);
    const size = visitParts(e, inline ? at : level(e));
    if (inline && size <= longest) {
      sizes.set(e, size);
      return size;
    }
    keep(e);
    return 1;
  };
  const visitParts = (e: Expr, at: Level): number => {
    if (e.kind === "load" && addresses && stride(e.index) !== undefined) return visitAddress(e.index);
    if (varies(e)) return 1 + sum(e.operands.map((part) => visit(part, varies(part) ? at : level(part))));
    if (e.kind === "sum" && e.terms.length > 0) return visitSum(e, at);
    return 1 + sum(e.operands.map((part) => visit(part, at)));
  };
  const visitAddress = (index: Expr): number =>
    1 + sum(termsOf(index).map(({ atom }) => visit(atom, level(atom))));
  const visitSum = (e: Extract<Expr, { kind: "sum" }>, at: Level): number => {
    let size = 1;
    let onto: Let | undefined;
    let addends: readonly (Term | number)[] = [];
    const groups = byLevel(e.terms);
    groups.forEach(({ level: own, terms }, i) => {
      const last = i === groups.length - 1;
      size += sum(terms.map(({ atom }) => visit(atom, last ? at : own)));
      addends = [...addends, ...terms, ...(i === 0 && e.constant !== 0 ? [e.constant] : [])];
      // One number by itself has a name, or needs none.
      const isNumber = addends.length === 1 && terms[0]!.coefficient === 1 && onto === undefined;
      if (last || own >= at || isNumber) return;
      onto = declare(own, `i${letters++}_`, { onto, addends });
      addends = [];
    });
    rests.set(e, { onto, addends });
    return size;
  };

  for (const [e, other] of same) {
    visit(other, 0);
    if (!names.has(other)) keep(other);
    names.set(e, names.get(other)!);
  }
  for (const { expr, at, named, address } of uses) {
    if (address) visitAddress(expr);
    else visit(expr, at);
    // What is as simple as a name may stand in an expression before this one: a name would come too late there.
    if (named && !names.has(expr) && !isSimple(expr)) keep(expr);
  }
  return {
    lets: (own) => lets.get(own) ?? [],
    level,
    name: (e) => names.get(e),
    rest: (e) => rests.get(e) ?? { onto: undefined, addends: [e.constant] },
    terms: (index) => byLevel(termsOf(index)),
    varies,
    stride,
    free,
  };
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
