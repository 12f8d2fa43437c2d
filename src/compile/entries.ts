import { getOrInsert } from "../base/group.ts";
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
  /** The kernels that wait for a value that they need not read. */
  readonly #waiting = new Map<ValueId, Set<Entry>>();
  /** Numbers that grow from makers to readers: of two kernels only that with the higher one can depend on the other. */
  readonly #levels = new Map<Entry, number>();
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
    for (const value of entry.reads) addTo(this.#readers, value, entry);
    for (const value of entry.draft.order?.after ?? []) addTo(this.#waiting, value, entry);
    let level = 0;
    for (const maker of this.#makers(entry, neededBy(entry)))
      level = Math.max(level, 1 + this.#levels.get(maker)!);
    this.#levels.set(entry, level);
    this.#raiseAfter(entry);
  }

  /** Puts all that depends on a kernel above it. */
  #raiseAfter(entry: Entry): void {
    const stack = [entry];
    for (let below = stack.pop(); below; below = stack.pop()) {
      const least = 1 + this.#levels.get(below)!;
      for (const value of everMadeBy(below.draft))
        for (const followers of [this.#readers.get(value), this.#waiting.get(value)])
          for (const next of followers ?? []) {
            if (next === below || this.#levels.get(next)! >= least) continue;
            this.#levels.set(next, least);
            stack.push(next);
          }
    }
  }

  remove(entry: Entry): void {
    this.#all.delete(entry);
    for (const value of everMadeBy(entry.draft)) this.#maker.delete(value);
    for (const value of entry.reads) this.#readers.get(value)!.delete(entry);
    for (const value of entry.draft.order?.after ?? []) this.#waiting.get(value)!.delete(entry);
    this.#levels.delete(entry);
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
    const makers = new Set<Entry>();
    for (const value of values) {
      const maker = this.#maker.get(value);
      if (maker && maker !== entry) makers.add(maker);
    }
    return makers;
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
    for (const reader of this.#readers.get(value)!)
      if (reader !== besides && reader.depth >= depth) return true;
    return false;
  }

  /** Must `second` come, through other kernels, after `first` — or `first` after `second`? */
  reaches(second: Entry, first: Entry): boolean {
    return this.#depends(second, first, false) || this.#depends(first, second, true);
  }

  /** @param direct Whether it counts when `from` itself reads from `on`. */
  #depends(from: Entry, on: Entry, direct: boolean): boolean {
    const levelOf = (entry: Entry) => this.#levels.get(entry)!;
    const floor = levelOf(on);
    if (levelOf(from) <= floor) return false;
    const seen = new Set<Entry>();
    const stack = [from];
    for (let entry = stack.pop(); entry; entry = stack.pop()) {
      const next: Entry[] = [];
      for (const source of this.#makers(entry, neededBy(entry))) {
        if (source === on) {
          if (entry !== from || direct) return true;
        } else if (levelOf(source) > floor && !seen.has(source)) {
          seen.add(source);
          next.push(source);
        }
      }
      // The lowest first: it either leads to what is looked for or has little below it.
      stack.push(...next.sort((a, b) => levelOf(b) - levelOf(a)));
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

  /**
   * The same order, but for kernels that free more bytes than they make: each runs as soon as it can. So the product of two
   * large operands that is a small gradient does not keep both until its update.
   *
   * @param bytesOf Bytes of a value.
   * @param donated Inputs that a kernel may replace, after all that read them.
   */
  releasing(bytesOf: (value: ValueId) => number, donated: ReadonlySet<ValueId>): Entry[] {
    const order = this.inOrder();
    const place = new Map(order.map((entry, i) => [entry, i]));
    const waiting = new Map(order.map((entry) => [entry, this.#makers(entry, neededBy(entry))]));
    const left = new Map([...this.#readers].map(([value, readers]) => [value, new Set(readers)]));
    const releases = ({ draft, reads }: Entry): boolean => {
      if (draft.placed && draft.placed.size > 0) return false;
      let freed = 0;
      for (const value of reads) {
        const last = left.get(value)!.size === 1;
        if (donated.has(value) && !last) return false;
        if (last && this.#maker.has(value) && !this.#outputs.has(value)) freed += bytesOf(value);
      }
      return freed > madeBy(draft).reduce((sum, v) => sum + (this.#outputs.has(v) ? 0 : bytesOf(v)), 0);
    };
    const after = new Map(order.map((entry) => [entry, [] as Entry[]]));
    for (const [entry, makers] of waiting) for (const maker of makers) after.get(maker)!.push(entry);
    const result: Entry[] = [];
    const run = (entry: Entry) => {
      waiting.delete(entry);
      result.push(entry);
      const touched = new Set(after.get(entry));
      for (const next of touched) waiting.get(next)?.delete(entry);
      for (const value of entry.reads) {
        left.get(value)!.delete(entry);
        for (const reader of left.get(value)!.size === 1 ? left.get(value)! : []) touched.add(reader);
      }
      return [...touched].sort((a, b) => place.get(a)! - place.get(b)!);
    };
    for (const entry of order) {
      if (!waiting.has(entry)) continue;
      const ready = run(entry);
      for (let next = ready.shift(); next; next = ready.shift())
        if (waiting.get(next)?.size === 0 && releases(next)) ready.push(...run(next));
    }
    return result;
  }
}

function addTo(sets: Map<ValueId, Set<Entry>>, value: ValueId, entry: Entry): void {
  getOrInsert(sets, value, () => new Set()).add(entry);
}
