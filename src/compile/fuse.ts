import { type Draft, readsOf, variables } from "./draft.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import type { Target } from "./target.ts";
import type { ValueId } from "./value.ts";

/** Distinct expressions that one kernel may hold after joining. */
const maxSize = 600;

interface Entry {
  draft: Draft;
  reads: Set<ValueId>;
}

/**
 * Joins kernels of one size: an elementwise kernel goes into the kernel whose result it reads (its epilogue),
 * or into a sibling, so that Adam's parameter and moments are one dispatch. Stores that nobody else reads are
 * then dropped. Returns the kernels in an order in which they can run.
 */
export function fuse(
  drafts: readonly Draft[],
  outputs: ReadonlySet<ValueId>,
  target: Target,
  e: Expressions,
): Draft[] {
  const waiting = drafts.map((draft): Entry => ({ draft, reads: readsOf(draft) }));
  const entries: Entry[] = [];
  for (let entry = waiting.shift(); entry; entry = waiting.shift()) {
    // A merged kernel may fit into a further one: the reader of two results joins both.
    for (let joined = true; joined; ) {
      joined = false;
      for (const earlier of candidates(entry, entries)) {
        const merged = merge(earlier, entry, [...entries, ...waiting], outputs, target, e);
        if (!merged) continue;
        entries.splice(entries.indexOf(earlier), 1);
        entry = merged;
        joined = true;
        break;
      }
    }
    entries.push(entry);
  }
  return inOrder(withoutUnread(entries, outputs)).map(({ draft }) => draft);
}

/** Kernels of the same size that `entry` could go into: those it reads from first. */
function candidates(entry: Entry, entries: readonly Entry[]): Entry[] {
  const same = entries.filter(({ draft }) => draft.size === entry.draft.size);
  const feeds = ({ draft }: Entry) => [...draft.stores.keys()].some((value) => entry.reads.has(value));
  return [...same.filter(feeds).reverse(), ...same.filter((other) => !feeds(other)).reverse()];
}

function merge(
  first: Entry,
  second: Entry,
  entries: readonly Entry[],
  outputs: ReadonlySet<ValueId>,
  target: Target,
  e: Expressions,
): Entry | undefined {
  const [into, from] = [first.draft, second.draft];
  const dependent = [...into.stores.keys()].some((value) => second.reads.has(value));
  if (!coresJoin(into, from, dependent)) return undefined;
  // Not through a third kernel: what else `second` reads must not come from `first`.
  if (reaches(second, first, entries)) return undefined;
  const position = e.variable(variables.position, from.size);
  if (dependent && !readsOnlyAt(from, into, position)) return undefined;

  const shift =
    into.core.kind === "reduce" && from.core.kind === "reduce" ? into.core.accumulators.length : 0;
  const memo = new Map<Expr, Expr>();
  const replace = (expr: Expr) =>
    e.rewrite(
      expr,
      (part) => {
        if (part.kind === "load") return into.stores.get(part.value);
        if (part.kind === "accumulator" && shift > 0) return e.accumulator(part.index + shift, part.dtype);
        return undefined;
      },
      memo,
    );
  const stores = new Map(into.stores);
  for (const [value, expr] of from.stores) stores.set(value, replace(expr));
  // What only the merged kernel read need not be stored; this may make room for its bindings.
  for (const value of into.stores.keys()) {
    if (outputs.has(value)) continue;
    if (!entries.some((other) => other !== first && other.reads.has(value)) && second.reads.has(value))
      stores.delete(value);
  }
  const core =
    into.core.kind === "reduce" && from.core.kind === "reduce"
      ? {
          ...into.core,
          accumulators: [
            ...into.core.accumulators,
            ...from.core.accumulators.map((a) => ({ ...a, expr: replace(a.expr) })),
          ],
        }
      : into.core.kind === "none"
        ? from.core
        : into.core;
  const draft: Draft = { size: into.size, core, stores };
  const reads = readsOf(draft);
  if (reads.size + stores.size + 1 > target.maxBindings || sizeOf(draft) > maxSize) return undefined;
  return { draft, reads };
}

/** An elementwise kernel joins anything it reads from, and elementwise siblings; two reductions over as many elements join side by side. */
function coresJoin(into: Draft, from: Draft, dependent: boolean): boolean {
  const [a, b] = [into.core, from.core];
  if (b.kind === "none")
    return a.kind === "none" || (dependent && (a.kind === "reduce" || a.kind === "matmul"));
  return a.kind === "reduce" && b.kind === "reduce" && !dependent && a.inner === b.inner;
}

/** Does `second` read, through other kernels, what `first` makes — or `first` what `second` makes? */
function reaches(second: Entry, first: Entry, entries: readonly Entry[]): boolean {
  const maker = new Map<ValueId, Entry>();
  for (const entry of entries) for (const value of entry.draft.stores.keys()) maker.set(value, entry);
  const depends = (from: Entry, on: Entry, direct: boolean): boolean => {
    const seen = new Set<Entry>();
    const stack = [from];
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      for (const value of entry.reads) {
        const source = maker.get(value);
        if (!source || seen.has(source)) continue;
        if (source === on) {
          if (entry !== from || direct) return true;
          continue;
        }
        seen.add(source);
        stack.push(source);
      }
    }
    return false;
  };
  for (const value of second.draft.stores.keys()) maker.set(value, second);
  return depends(second, first, false) || depends(first, second, true);
}

/** Every load of what `into` makes is at the position of the grid. */
function readsOnlyAt(from: Draft, into: Draft, position: Expr): boolean {
  let only = true;
  walk(from.stores.values(), (part) => {
    if (part.kind === "load" && into.stores.has(part.value) && part.index !== position) only = false;
  });
  return only;
}

function sizeOf(draft: Draft): number {
  let size = 0;
  walk(draft.stores.values(), () => size++);
  return size;
}

/** Drops stores that nobody reads, then kernels that store nothing, which may leave others unread. */
function withoutUnread(entries: readonly Entry[], outputs: ReadonlySet<ValueId>): readonly Entry[] {
  const wanted = (value: ValueId, by: Entry) =>
    outputs.has(value) || entries.some((other) => other !== by && other.reads.has(value));
  const trimmed = entries.map((entry) => {
    const stores = new Map([...entry.draft.stores].filter(([value]) => wanted(value, entry)));
    if (stores.size === entry.draft.stores.size) return entry;
    const draft = { ...entry.draft, stores };
    return { draft, reads: readsOf(draft) };
  });
  const left = trimmed.filter(({ draft }) => draft.stores.size > 0);
  return left.length < entries.length ? withoutUnread(left, outputs) : trimmed;
}

/** Makers before readers; otherwise the given order. */
function inOrder(entries: readonly Entry[]): Entry[] {
  const maker = new Map<ValueId, Entry>();
  for (const entry of entries) for (const value of entry.draft.stores.keys()) maker.set(value, entry);
  const done = new Set<Entry>();
  const result: Entry[] = [];
  const visit = (entry: Entry) => {
    if (done.has(entry)) return;
    done.add(entry);
    for (const value of entry.reads) {
      const source = maker.get(value);
      if (source && source !== entry) visit(source);
    }
    result.push(entry);
  };
  entries.forEach(visit);
  return result;
}
