import { letterOf } from "../base/dtype.ts";
import { type Expr, operandsOf, type Term, walk } from "./expr.ts";
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

/** Levels and uses of the expressions below some roots. */
export class Places {
  readonly #scope: Scope;
  readonly #uses = new Map<Expr, number>();
  readonly #levels = new Map<Expr, Level>();

  constructor(roots: readonly Expr[], scope: Scope) {
    this.#scope = scope;
    const use = (e: Expr) => this.#uses.set(e, (this.#uses.get(e) ?? 0) + 1);
    roots.forEach(use);
    walk(roots, (e) => operandsOf(e).forEach(use));
  }

  level(e: Expr): Level {
    let level = this.#levels.get(e);
    if (level === undefined) {
      if (e.kind === "variable") level = this.#scope.levels?.get(e.name) ?? 0;
      else if (e.kind === "accumulator") level = this.#scope.afterwards ?? 0;
      else {
        const first = e.kind === "load" ? (this.#scope.written?.get(e.value) ?? 0) : 0;
        level = operandsOf(e).reduce((most, part) => Math.max(most, this.level(part)), first);
      }
      this.#levels.set(e, level);
    }
    return level;
  }

  /** Whether it is used once, there where it can first be computed: then it needs no place of its own. */
  isUsedInPlace(e: Expr, at: Level): boolean {
    return this.level(e) >= at && this.#uses.get(e) === 1;
  }

  /** The same of a number, which needs none either where it is as simple as its name. */
  isInline(e: Expr, at: Level): boolean {
    return isSimple(e) || this.isUsedInPlace(e, at);
  }

  /** The terms of a sum by the level where they are known, outermost first: inner loops add only what changes in them. */
  termsByLevel(terms: readonly Term[]): { readonly level: Level; readonly terms: readonly Term[] }[] {
    const levels = [...new Set(terms.map(({ atom }) => this.level(atom)))].sort((a, b) => a - b);
    return levels.map((level) => ({ level, terms: terms.filter(({ atom }) => this.level(atom) === level) }));
  }
}

function isSimple(e: Expr): boolean {
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
}

/** A sum as it is added up: what is known further out comes first, under a name. */
export interface Addition {
  /** The name of what was added up before; none at the beginning. */
  readonly onto: string | undefined;
  readonly addends: readonly (Term | number)[];
}

/** `name = what`. */
export interface Let {
  readonly name: string;
  readonly what: Expr | Addition;
}

/** What is computed where, as data: a printer writes the lets of each level, and each use by the names that there are. */
export interface Placement {
  lets(level: Level): readonly Let[];
  /** The name of an expression that has one. */
  name(e: Expr): string | undefined;
  /** What is left of a sum to be added up where it is used. */
  rest(sum: Extract<Expr, { kind: "sum" }>): Addition;
  /** Loop variables, results and host numbers that are used by name, in the order in which they are met. */
  readonly free: ReadonlySet<Expr>;
}

export interface PlaceOptions extends Scope {
  /** Names of what is declared elsewhere. */
  readonly given?: ReadonlyMap<Expr, string>;
  /** Expressions that are others under another guise, such as loads of what was just stored: they get their names. */
  readonly same?: ReadonlyMap<Expr, Expr>;
}

/** Vertices of an expression that stands without a name in another one: compilers of shaders refuse deep nesting. */
const longest = 50;

/** Decides the place of each expression, in the order of the uses. @param roots All that is used, if more than `uses`. */
export function place(
  uses: readonly Use[],
  { given, same = new Map(), ...scope }: PlaceOptions = {},
  roots: readonly Expr[] = uses.map(({ expr }) => expr),
): Placement {
  const places = new Places(roots, scope);
  const names = new Map<Expr, string>(given);
  const lets = new Map<Level, Let[]>();
  const rests = new Map<Expr, Addition>();
  const free = new Set<Expr>();
  let count = 0;

  const declare = (level: Level, name: string, what: Expr | Addition): string => {
    const list = lets.get(level);
    if (list) list.push({ name, what });
    else lets.set(level, [{ name, what }]);
    return name;
  };
  const keep = (e: Expr) => {
    names.set(e, declare(places.level(e), `${letterOf(e.dtype)}${count++}`, e));
  };

  /** The number of vertices that stand where it is used. */
  const visit = (e: Expr, at: Level): number => {
    if (names.has(e)) return 1;
    if (e.kind === "variable" || e.kind === "accumulator" || e.kind === "hostNumber") free.add(e);
    const inline = places.isInline(e, at);
    const inside = inline ? at : places.level(e);
    const size =
      e.kind === "sum" && e.terms.length > 0
        ? visitSum(e, inside)
        : 1 + sum(operandsOf(e).map((part) => visit(part, inside)));
    if (inline && size <= longest) return size;
    keep(e);
    return 1;
  };
  const visitSum = (e: Extract<Expr, { kind: "sum" }>, at: Level): number => {
    let size = 1;
    let onto: string | undefined;
    let addends: readonly (Term | number)[] = [];
    const groups = places.termsByLevel(e.terms);
    groups.forEach(({ level, terms }, i) => {
      const last = i === groups.length - 1;
      size += sum(terms.map(({ atom }) => visit(atom, last ? at : level)));
      addends = [...addends, ...terms, ...(i === 0 && e.constant !== 0 ? [e.constant] : [])];
      // One number by itself has a name, or needs none.
      const isNumber = addends.length === 1 && terms[0]!.coefficient === 1 && onto === undefined;
      if (last || level >= at || isNumber) return;
      onto = declare(level, `i${count++}_`, { onto, addends });
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
  for (const { expr, at, named } of uses) {
    visit(expr, at);
    // What is as simple as a name may stand in an expression before this one: a name would come too late there.
    if (named && !names.has(expr) && !isSimple(expr)) keep(expr);
  }
  return {
    lets: (level) => lets.get(level) ?? [],
    name: (e) => names.get(e),
    rest: (e) => rests.get(e)!,
    free,
  };
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
