import { type Draft, everMadeBy, madeBy, readsOf, withoutStores } from "./draft.ts";
import type { ValueId } from "./value.ts";

/** Distinct expressions that one kernel may hold after joining. */
export const maxSize = 600;

/** A kernel on its way through fusion. */
export interface Entry {
  readonly draft: Draft;
  /** The values it loads. */
  readonly reads: ReadonlySet<ValueId>;
  /** Its place among the kernels, where dependencies leave a choice. */
  readonly at: number;
  /** How many kernels must run before it, one after the other; of its core, if others joined it. */
  readonly depth: number;
}

/** The values that must be there before a kernel runs. */
function neededBy({ draft, reads }: Pick<Entry, "draft" | "reads">): Iterable<ValueId> {
  const { order } = draft;
  return order && order.after.size > 0 ? [...reads, ...order.after] : reads;
}

/** The kernels of a program while they are joined, with who makes and who reads each value. */
export class Entries {
  readonly #all = new Set<Entry>();
  readonly #maker = new Map<ValueId, Entry>();
  readonly #readers = new Map<ValueId, Set<Entry>>();
  readonly #outputs: ReadonlySet<ValueId>;

  /**
   * @param drafts Makers before readers.
   * @param outputs Values that are wanted, whether a kernel reads them or not.
   */
  constructor(drafts: readonly Draft[], outputs: ReadonlySet<ValueId>) {
    this.#outputs = outputs;
    drafts.forEach((draft, at) => {
      const reads = readsOf(draft);
      let depth = 0;
      for (const value of neededBy({ draft, reads }))
        depth = Math.max(depth, 1 + (this.#maker.get(value)?.depth ?? -1));
      this.add({ draft, reads, at, depth });
    });
  }

  /** In the order of their places. */
  get all(): Entry[] {
    return [...this.#all].sort((a, b) => a.at - b.at);
  }

  has(entry: Entry): boolean {
    return this.#all.has(entry);
  }

  add(entry: Entry): void {
    this.#all.add(entry);
    for (const value of everMadeBy(entry.draft)) this.#maker.set(value, entry);
    for (const value of entry.reads) {
      const readers = this.#readers.get(value);
      if (readers) readers.add(entry);
      else this.#readers.set(value, new Set([entry]));
    }
  }

  remove(entry: Entry): void {
    this.#all.delete(entry);
    for (const value of everMadeBy(entry.draft)) this.#maker.delete(value);
    for (const value of entry.reads) this.#readers.get(value)!.delete(entry);
  }

  replace(old: readonly Entry[], by: Entry): void {
    for (const entry of old) this.remove(entry);
    this.add(by);
  }

  /** The kernels that `entry` reads from. */
  makersFor(entry: Entry): Set<Entry> {
    return this.#makers(entry, entry.reads);
  }

  #makers(entry: Entry, values: Iterable<ValueId>): Set<Entry> {
    const makers = [...values].flatMap((value) => this.#maker.get(value) ?? []);
    return new Set(makers.filter((maker) => maker !== entry));
  }

  /** The kernels that read what `entry` makes. */
  usersOf(entry: Entry): Set<Entry> {
    const readers = madeBy(entry.draft).flatMap((value) => [...(this.#readers.get(value) ?? [])]);
    return new Set(readers.filter((reader) => reader !== entry));
  }

  /** The kernels that read a value. */
  readersOf(value: ValueId): ReadonlySet<Entry> {
    return this.#readers.get(value) ?? new Set();
  }

  /** The kernels that run before one of these in any order. */
  before(these: readonly Entry[]): Set<Entry> {
    const found = new Set<Entry>();
    const stack = [...these];
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      for (const value of neededBy(entry)) {
        const maker = this.#maker.get(value);
        if (!maker || maker === entry || found.has(maker)) continue;
        found.add(maker);
        stack.push(maker);
      }
    }
    return found;
  }

  /** Whether a value must be stored for somebody else than these. */
  isWanted(value: ValueId, ...besides: readonly Entry[]): boolean {
    if (this.#outputs.has(value)) return true;
    for (const reader of this.#readers.get(value) ?? []) if (!besides.includes(reader)) return true;
    return false;
  }

  /** Whether a value is kept up to that depth, whatever `besides` does. */
  isAlive(value: ValueId, depth: number, besides: Entry): boolean {
    if (this.#outputs.has(value) || !this.#maker.has(value)) return true;
    return [...this.#readers.get(value)!].some((reader) => reader !== besides && reader.depth >= depth);
  }

  /** Must `second` come, through other kernels, after `first` — or `first` after `second`? */
  reaches(second: Entry, first: Entry): boolean {
    return this.#depends(second, first, false) || this.#depends(first, second, true);
  }

  /** @param direct Whether it counts when `from` itself reads from `on`. */
  #depends(from: Entry, on: Entry, direct: boolean): boolean {
    const seen = new Set<Entry>();
    const stack = [from];
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      for (const value of neededBy(entry)) {
        const source = this.#maker.get(value);
        if (!source || source === entry || seen.has(source)) continue;
        if (source === on) {
          if (entry !== from || direct) return true;
          continue;
        }
        seen.add(source);
        stack.push(source);
      }
    }
    return false;
  }

  /** Drops stores that nobody reads, and kernels that store nothing. */
  trim(): void {
    // Readers first: what they read may then be read by nobody.
    for (const entry of this.inOrder().reverse()) {
      const made = madeBy(entry.draft);
      const unread = new Set(made.filter((value) => !this.isWanted(value, entry)));
      if (unread.size === 0) continue;
      this.remove(entry);
      if (unread.size === made.length) continue;
      const draft = withoutStores(entry.draft, unread);
      this.add({ ...entry, draft, reads: readsOf(draft) });
    }
  }

  /**
   * Makers before readers, and readers of a value before what replaces a part of it, if that can be; otherwise in the
   * order of their places.
   */
  inOrder(): Entry[] {
    const done = new Set<Entry>();
    const open = new Set<Entry>();
    const result: Entry[] = [];
    const stack = this.all.reverse();
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      if (done.has(entry)) continue;
      const first = [...this.#makers(entry, neededBy(entry))].filter((maker) => !done.has(maker));
      if (!open.has(entry))
        for (const { over } of entry.draft.placed?.values() ?? [])
          for (const reader of over === undefined ? [] : this.readersOf(over))
            if (reader !== entry && !done.has(reader) && !open.has(reader)) first.push(reader);
      open.add(entry);
      if (first.length > 0) {
        stack.push(entry, ...first.reverse());
        continue;
      }
      done.add(entry);
      result.push(entry);
    }
    return result;
  }
}
