import { addTo } from "../base/group.ts";
import {
  type Core,
  coreExpressions,
  type Draft,
  draftSize,
  joinedOrder,
  madeBy,
  placesOf,
  readsOf,
  sizeTogether,
  variables,
} from "./draft.ts";
import { Entries, type Entry, maxSize } from "./entries.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import { countInPlace, readElsewhere, type Whole } from "./in-place.ts";
import { joinRows } from "./rows.ts";
import type { Target } from "./target.ts";
import { bytesOf, type ValueId } from "./value.ts";

/** Siblings that a kernel is compared with, the latest first: so that the time to compile grows with their number. */
const maxSiblings = 16;

interface Fusion extends Whole {
  readonly entries: Entries;
  readonly target: Target;
  readonly e: Expressions;
}

/**
 * Joins kernels of one size: an elementwise kernel goes into the kernel whose result it reads (its epilogue),
 * or into a sibling, so that Adam's parameter and moments are one dispatch. Then what works on the same rows is
 * joined (rows.ts), and stores that nobody else reads are dropped. Returns the kernels in an order in which they can run.
 */
export function fuse(drafts: readonly Draft[], whole: Whole, target: Target, e: Expressions): Draft[] {
  const entries = new Entries(drafts, whole.outputs);
  const fusion: Fusion = { ...whole, entries, target, e };
  /** By kind, in the order of their places. */
  const siblings = new Map<string, Entry[]>();
  for (let entry of entries.all) {
    // A merged kernel may fit into a further one: the reader of two results joins both.
    for (let joined = true; joined; ) {
      joined = false;
      for (const earlier of candidates(entry, entries, siblings)) {
        const merged = merge(earlier, entry, fusion);
        if (!merged) continue;
        const alike = siblings.get(kindOf(earlier.draft)) ?? [];
        const known = alike.lastIndexOf(earlier);
        if (known >= 0) alike.splice(known, 1);
        entries.replace([earlier, entry], merged);
        entry = merged;
        joined = true;
        break;
      }
    }
    addTo(siblings, kindOf(entry.draft), entry);
  }
  joinRows(entries, target, e);
  entries.trim();
  const bytes = (value: ValueId) => bytesOf(whole.values[value]!);
  return entries.releasing(bytes, whole.donated).map(({ draft }) => draft);
}

/** Kernels of one kind may be joined side by side. */
function kindOf({ size, core }: Draft): string {
  return `${core.kind} ${size} ${core.kind === "reduce" ? core.inner : ""}`;
}

/** Earlier kernels of the same size that `entry` could go into: those it reads from first. */
function candidates(
  entry: Entry,
  entries: Entries,
  siblings: ReadonlyMap<string, readonly Entry[]>,
): Entry[] {
  const { size, core } = entry.draft;
  const feeds = entries.makersFor(entry);
  const found = [...feeds].filter(({ draft }) => draft.size === size).sort((a, b) => b.at - a.at);
  if (core.kind !== "none" && core.kind !== "reduce") return found;
  const beside = siblings.get(kindOf(entry.draft)) ?? [];
  for (let i = beside.length - 1, left = maxSiblings; i >= 0 && left > 0; i--) {
    if (feeds.has(beside[i]!)) continue;
    found.push(beside[i]!);
    left--;
  }
  return found;
}

/** The kernel that does the work of both, if they go together. */
function merge(first: Entry, second: Entry, fusion: Fusion): Entry | undefined {
  const { entries, donated, target, e } = fusion;
  const [into, from] = [first.draft, second.draft];
  const made = [...into.stores.keys()];
  const dependent = made.some((value) => second.reads.has(value));
  if (!coresJoin(into, from, dependent)) return undefined;
  // A reduction that could run early must not wait for a late one where that delays something.
  if (from.core.kind === "reduce" && !runTogether(first, second, entries)) return undefined;
  // What only the merged kernel reads need not be stored; this may make room for its bindings.
  const unread = new Set(
    made.filter((value) => second.reads.has(value) && !entries.isWanted(value, first, second)),
  );
  const others = [...second.reads].filter((value) => !into.stores.has(value) && !first.reads.has(value));
  const results = made.length - unread.size + from.stores.size;
  const excess = first.reads.size + others.length + results - target.maxBindings;
  if (excess > 0 && excess > [...first.reads, ...others].filter((value) => donated.has(value)).length)
    return undefined;
  // Not through a third kernel: what else `second` reads must not come from `first`.
  if (entries.reaches(second, first)) return undefined;
  const position = e.variable(variables.position, from.size);
  if (dependent && !readsOnlyAt(from, into, position)) return undefined;
  // What fills a part of a value does not know the rest, and what keeps the rest of one needs it stored.
  if ([...(into.placed?.keys() ?? [])].some((value) => second.reads.has(value))) return undefined;
  if ([...(from.placed?.values() ?? [])].some(({ over }) => over !== undefined && into.stores.has(over)))
    return undefined;

  // Side by side, expressions stay what they are: too many are found before they are put together.
  const beside = !dependent && from.core.kind === "none";
  if (beside && sizeTogether(into, from) > maxSize) return undefined;
  const draft = join(into, from, unread, e, beside);
  if (draftSize(draft) > maxSize || readsWhatItReplaces(draft)) return undefined;
  if (excess > 0 && excess > countInPlace(draft, [first, second], fusion)) return undefined;
  const depth =
    from.core.kind === "none" && into.core.kind !== "none"
      ? first.depth
      : Math.max(first.depth, second.depth);
  return { draft, reads: readsOf(draft), at: second.at, depth };
}

/** One draft of two: what the second loads of the first becomes the expression that is stored there. */
function join(
  into: Draft,
  from: Draft,
  unread: ReadonlySet<ValueId>,
  e: Expressions,
  beside: boolean,
): Draft {
  const shift =
    into.core.kind === "reduce" && from.core.kind === "reduce" ? into.core.accumulators.length : 0;
  const memo = new Map<Expr, Expr>();
  const replace = (expr: Expr) =>
    beside
      ? expr
      : e.rewrite(
          expr,
          (part) => {
            if (part.kind === "load") return into.stores.get(part.value);
            if (part.kind === "accumulator" && shift > 0)
              return e.accumulator(part.index + shift, part.dtype);
            return undefined;
          },
          memo,
        );
  const stores = new Map([...into.stores].filter(([value]) => !unread.has(value)));
  for (const [value, expr] of from.stores) stores.set(value, replace(expr));
  const placed = new Map(into.placed);
  for (const [value, { index, over }] of from.placed ?? [])
    placed.set(value, { index: replace(index), over });
  const order = joinedOrder(into, from);
  return { size: into.size, core: joinedCore(into.core, from.core, replace), stores, placed, order };
}

/** Whether a kernel reads other elements of what it replaces a part of than the one in whose place it stores. */
function readsWhatItReplaces({ core, stores, placed }: Draft): boolean {
  return [...(placed ?? [])].some(
    ([, { index, over }]) =>
      over !== undefined && readElsewhere(coreExpressions(core), stores.values(), index).has(over),
  );
}

function joinedCore(into: Core, from: Core, replace: (expr: Expr) => Expr): Core {
  if (into.kind === "none") return from;
  if (into.kind !== "reduce" || from.kind !== "reduce") return into;
  const shift = into.accumulators.length;
  const added = from.accumulators.map((a) => ({ ...a, index: a.index + shift, expr: replace(a.expr) }));
  return { ...into, accumulators: [...into.accumulators, ...added] };
}

/** Whether nobody waits for the earlier of two kernels before the later one runs, nor memory that it reads. */
function runTogether(first: Entry, second: Entry, entries: Entries): boolean {
  if (first.depth === second.depth) return true;
  const [early, late] = first.depth < second.depth ? [first, second] : [second, first];
  for (const value of madeBy(early.draft))
    for (const reader of entries.readersOf(value))
      if (reader !== early && reader.depth <= late.depth) return false;
  for (const value of early.reads) if (!entries.isAlive(value, late.depth, early)) return false;
  return true;
}

/** An elementwise kernel joins anything it reads from, and elementwise siblings; two reductions over as many elements join side by side. */
function coresJoin(into: Draft, from: Draft, dependent: boolean): boolean {
  const [a, b] = [into.core, from.core];
  if (b.kind === "none")
    return a.kind === "none" || (dependent && (a.kind === "reduce" || a.kind === "matmul"));
  return a.kind === "reduce" && b.kind === "reduce" && !dependent && a.inner === b.inner;
}

/** Every load of what `into` makes is at the position of the grid. */
function readsOnlyAt(from: Draft, into: Draft, position: Expr): boolean {
  let only = true;
  walk([...from.stores.values(), ...placesOf(from)], (part) => {
    if (part.kind === "load" && into.stores.has(part.value) && part.index !== position) only = false;
  });
  return only;
}
