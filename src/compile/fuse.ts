import { type Draft, readsOf, sizeOf, variables } from "./draft.ts";
import { depth, type Entry, inOrder, maxSize, reaches, withoutUnread } from "./entries.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import { joinRows } from "./rows.ts";
import type { Target } from "./target.ts";
import type { ValueId } from "./value.ts";

/**
 * Joins kernels of one size: an elementwise kernel goes into the kernel whose result it reads (its epilogue),
 * or into a sibling, so that Adam's parameter and moments are one dispatch. Then what works on the same rows is
 * joined (rows.ts), and stores that nobody else reads are dropped. Returns the kernels in an order in which they can run.
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
  return inOrder(withoutUnread(joinRows(entries, outputs, target, e), outputs)).map(({ draft }) => draft);
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
  // A reduction that could run early must not wait for a late one: others may wait for it.
  if (from.core.kind === "reduce" && depth(first, entries) !== depth(second, entries)) return undefined;
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

/** Every load of what `into` makes is at the position of the grid. */
function readsOnlyAt(from: Draft, into: Draft, position: Expr): boolean {
  let only = true;
  walk(from.stores.values(), (part) => {
    if (part.kind === "load" && into.stores.has(part.value) && part.index !== position) only = false;
  });
  return only;
}
