import {
  type Core,
  type Draft,
  draftSize,
  joinedOrder,
  madeBy,
  readsOf,
  variables,
  withoutStores,
} from "./draft.ts";
import { type Entries, type Entry, maxSize } from "./entries.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import type { Accumulator, Axis, Statement, Store } from "./kernel.ts";
import { accumulate, exprsOf, loopOver, write } from "./nest.ts";
import type { Target } from "./target.ts";
import type { ValueId } from "./value.ts";
import { workAlong } from "./work.ts";

/** Fewer rows than this leave most threads idle unless the rows are short. */
const fewRows = 8;
const shortRow = 1024;

type Rows = Extract<Core, { kind: "rows" }>;

/**
 * Joins what works on the same rows: reductions of a row, one after the other, and the elementwise work that uses
 * them. Softmax is one kernel that reads its row three times, from the cache; in between nothing is stored.
 * Elements that earlier kernels of the group would have stored are computed again in each pass.
 */
export function joinRows(entries: Entries, target: Target, e: Expressions): void {
  for (const seed of entries.all) {
    const { core, size } = seed.draft;
    if (core.kind !== "reduce" || !entries.has(seed) || seed.draft.placed?.size) continue;
    if (core.inner > target.maxRow || core.inner < 2 || (size < fewRows && core.inner > shortRow)) continue;
    let group: Entry = {
      ...seed,
      draft: {
        ...seed.draft,
        core: { kind: "rows", inner: core.inner, accumulators: core.accumulators, elements: new Map() },
      },
    };
    entries.replace([seed], group);
    let alone = true;
    for (let grown = true; grown; ) {
      grown = false;
      for (const candidate of [...entries.usersOf(group)].sort((a, b) => a.at - b.at)) {
        const merged = merge(group, candidate, entries, target, e);
        if (!merged) continue;
        entries.replace([group, candidate], merged);
        group = merged;
        alone = false;
        grown = true;
        break;
      }
    }
    if (alone) entries.replace([group], seed);
  }
}

function merge(
  group: Entry,
  candidate: Entry,
  entries: Entries,
  target: Target,
  e: Expressions,
): Entry | undefined {
  const rows = group.draft.core as Rows; // groups are made with that core
  const { size } = group.draft;
  const { core: own, stores: ownStores, size: ownSize } = candidate.draft;
  const made = new Map([...group.draft.stores, ...rows.elements]);
  const perElement = own.kind === "none" && ownSize === size * rows.inner;
  const perRow = own.kind === "reduce" && ownSize === size && own.inner === rows.inner;
  if ((!perElement && !perRow) || candidate.draft.placed?.size) return undefined;
  if (entries.reaches(candidate, group)) return undefined;

  const row = e.variable(variables.position, size);
  const element = e.combine([
    [rows.inner, row],
    [1, e.variable(variables.inner, rows.inner)],
  ]);
  // An element's position in terms of its row; only then can be seen whether loads stay in the row.
  const memo = new Map<Expr, Expr>();
  const place = (expr: Expr) =>
    perElement
      ? e.rewrite(
          expr,
          (part) => (part.kind === "variable" && part.name === variables.position ? element : undefined),
          memo,
        )
      : expr;
  const shift = rows.accumulators.length;
  let inside = true;
  const replaced = new Map<Expr, Expr>();
  const replace = (expr: Expr): Expr =>
    e.rewrite(
      place(expr),
      (part) => {
        if (part.kind === "accumulator" && perRow) return e.accumulator(part.index + shift, part.dtype);
        if (part.kind !== "load" || !made.has(part.value)) return undefined;
        if (part.index !== (rows.elements.has(part.value) ? element : row)) inside = false;
        return made.get(part.value);
      },
      replaced,
    );
  const map = (stores: ReadonlyMap<ValueId, Expr>) =>
    [...stores].map(([value, expr]) => [value, replace(expr)] as const);

  let joined: Draft;
  if (perRow) {
    const accumulators = own.accumulators.map((a) => ({
      ...a,
      index: a.index + shift,
      expr: replace(a.expr),
    }));
    joined = {
      ...group.draft,
      core: { ...rows, accumulators: [...rows.accumulators, ...accumulators] },
      stores: new Map([...group.draft.stores, ...map(ownStores)]),
    };
  } else {
    joined = { ...group.draft, core: { ...rows, elements: new Map([...rows.elements, ...map(ownStores)]) } };
  }
  joined = { ...joined, order: joinedOrder(group.draft, candidate.draft) };
  if (!inside) return undefined;
  const unread = madeBy(joined).filter((value) => !entries.isWanted(value, group, candidate));
  const trimmed = withoutStores(joined, new Set(unread));
  const reads = readsOf(trimmed);
  if (reads.size + madeBy(trimmed).length > target.maxBindings || draftSize(trimmed) > maxSize)
    return undefined;
  // The values stay known while the group grows; what nobody reads is dropped in the end.
  return { ...group, draft: joined, reads: readsOf(joined) };
}

/** The passes over a row: reductions that do not use each other's results run side by side. */
export function sideBySide(accumulators: readonly Accumulator[]): Accumulator[][] {
  const passes: Accumulator[][] = [];
  const passOf: number[] = [];
  for (const accumulator of accumulators) {
    let at = 0;
    walk([accumulator.expr], (part) => {
      if (part.kind === "accumulator") at = Math.max(at, passOf[part.index]! + 1);
    });
    passOf.push(at);
    while (passes.length <= at) passes.push([]);
    passes[at]!.push(accumulator);
  }
  return passes;
}

/** Work above which an element that several stages of a row need is kept in a result's place until that is stored. */
const keptCost = 8;

/**
 * What works on a row: a loop for each pass, what is stored once, and a loop for what is stored for each element.
 * Keeps expensive elements that a pass and what follows it share, such as the exponentials of softmax, where the
 * kernel will store a result anyway: they are computed once, and the result is then made of them.
 */
export function rowBody(
  over: readonly Axis[],
  passes: readonly (readonly Accumulator[])[],
  once: readonly Store[],
  elements: readonly Store[],
  e: Expressions,
): Statement[] {
  const kept = new Map<Expr, Expr>();
  const free = [...elements];
  const along = new Set(over.map(({ name }) => name));
  const later = (from: number): Set<Expr> => {
    const found = new Set<Expr>();
    walk(exprsOf([...passes.slice(from).flat(), ...elements]), (part) => found.add(part));
    return found;
  };
  const result = passes.map((accumulators, i) => {
    const before: Store[] = [];
    const shared = later(i + 1);
    for (const { expr } of accumulators) {
      for (const part of largestOf(
        expr,
        (candidate) => shared.has(candidate) && workAlong(candidate, along) > keptCost,
      )) {
        const place = free.findIndex(({ expr: stored }) => stored.dtype === part.dtype);
        if (place < 0 || kept.has(part)) continue;
        const { value, index } = free.splice(place, 1)[0]!;
        before.push({ value, index, expr: part });
        kept.set(part, e.load(value, index, part.dtype));
      }
    }
    const memo = new Map<Expr, Expr>();
    const use = (expr: Expr) => e.rewrite(expr, (part) => kept.get(part), memo);
    const taken = accumulate(accumulators.map((a) => ({ ...a, expr: use(a.expr) })));
    return loopOver(over, ...(before.length > 0 ? [write(before)] : []), taken);
  });
  const use = (expr: Expr) => e.rewrite(expr, (part) => kept.get(part));
  const last = elements.map((store) => ({ ...store, expr: use(store.expr) }));
  return [
    ...result,
    ...(once.length > 0 ? [write(once)] : []),
    ...(last.length > 0 ? [loopOver(over, write(last))] : []),
  ];
}

/** The outermost parts for which `fits` holds. */
function largestOf(root: Expr, fits: (e: Expr) => boolean): Expr[] {
  const found = new Set<Expr>();
  const seen = new Set<Expr>();
  const visit = (e: Expr) => {
    if (seen.has(e)) return;
    seen.add(e);
    if (fits(e)) found.add(e);
    else for (const part of e.operands) visit(part);
  };
  visit(root);
  return [...found];
}
