import { type Draft, madeBy, readsOf, withoutStores } from "./draft.ts";
import type { ValueId } from "./value.ts";

/** Distinct expressions that one kernel may hold after joining. */
export const maxSize = 600;

/** A kernel on its way through fusion, with the values it loads. */
export interface Entry {
  readonly draft: Draft;
  readonly reads: ReadonlySet<ValueId>;
}

function makers(entries: readonly Entry[]): Map<ValueId, Entry> {
  return new Map(entries.flatMap((entry) => madeBy(entry.draft).map((value) => [value, entry] as const)));
}

/** How many kernels must run before this one, one after the other. */
export function depth(entry: Entry, entries: readonly Entry[]): number {
  const maker = makers(entries);
  const known = new Map<Entry, number>();
  const of = (one: Entry): number => {
    let most = known.get(one);
    if (most === undefined) {
      known.set(one, 0); // kernels do not read what follows from them
      most = Math.max(
        0,
        ...[...one.reads]
          .map((value) => maker.get(value))
          .map((source) => (source && source !== one ? of(source) + 1 : 0)),
      );
      known.set(one, most);
    }
    return most;
  };
  return of(entry);
}

/** Does `second` read, through other kernels, what `first` makes — or `first` what `second` makes? */
export function reaches(second: Entry, first: Entry, entries: readonly Entry[]): boolean {
  const maker = makers(entries);
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
  for (const value of madeBy(second.draft)) maker.set(value, second);
  return depends(second, first, false) || depends(first, second, true);
}

/** Drops stores that nobody reads, then kernels that store nothing, which may leave others unread. */
export function withoutUnread(entries: readonly Entry[], outputs: ReadonlySet<ValueId>): readonly Entry[] {
  const wanted = (value: ValueId, by: Entry) =>
    outputs.has(value) || entries.some((other) => other !== by && other.reads.has(value));
  const trimmed = entries.map((entry) => {
    const unread = new Set(madeBy(entry.draft).filter((value) => !wanted(value, entry)));
    if (unread.size === 0) return entry;
    const draft = withoutStores(entry.draft, unread);
    return { draft, reads: readsOf(draft) };
  });
  const left = trimmed.filter(({ draft }) => madeBy(draft).length > 0);
  return left.length < entries.length ? withoutUnread(left, outputs) : trimmed;
}

/** Makers before readers; otherwise the given order. */
export function inOrder(entries: readonly Entry[]): Entry[] {
  const maker = makers(entries);
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
