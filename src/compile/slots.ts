import type { Place } from "./program.ts";
import type { ValueId } from "./value.ts";

/** An intermediate value, with the kernels that write it and read it last. */
export interface Lifetime {
  readonly value: ValueId;
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
  /** What the kernel that writes it reads. */
  readonly beside: ReadonlySet<ValueId>;
  /** Whether nothing may lie beside it in its slot. */
  readonly alone?: boolean;
}

interface Held extends Lifetime {
  readonly offset: number;
}

interface Slot {
  bytes: number;
  readonly held: Held[];
  /** Whether one of these wants it alone. */
  alone: boolean;
  /** Whether some lie side by side. */
  parts: boolean;
}

/** WebGPU binds parts of buffers that begin at multiples of this: minStorageBufferOffsetAlignment is at most that. */
const alignment = 256;

/**
 * Gives intermediates places in slots, which are buffers of the given bytes: values share them one after the other
 * and side by side. The largest value comes first (greedy by size; Pisarchyk and Lee 2020, arXiv:2001.03288), and
 * each goes where a slot grows least: a slot of its own is growth by all its bytes. Of such places it takes one in a
 * slot that no kernel then both reads and writes, and of these the one that stands empty for the shortest time before
 * or after.
 *
 * @param maxBuffer Bytes that no slot exceeds unless one value does.
 */
export function assignSlots(
  lifetimes: readonly Lifetime[],
  maxBuffer: number,
): { readonly slots: readonly number[]; readonly places: ReadonlyMap<ValueId, Place> } {
  const slots: Slot[] = [];
  const places = new Map<ValueId, Extract<Place, { kind: "slot" }>>();
  /** By the values that their kernels read. */
  const readers = new Map<ValueId, ValueId[]>();
  for (const { value, beside } of lifetimes)
    for (const read of beside) {
      const list = readers.get(read);
      if (list) list.push(value);
      else readers.set(read, [value]);
    }
  // Of equal ones those that are needed last: what is needed before then finds their places empty.
  for (const life of [...lifetimes].sort((a, b) => b.bytes - a.bytes || b.to - a.to)) {
    let best = { index: slots.length, offset: 0, growth: life.bytes, mixed: 0, idle: Infinity };
    // What a kernel reads while it writes this, and what one writes that reads it.
    const meets = [...life.beside, ...(readers.get(life.value) ?? [])];
    for (const [index, { bytes, held, alone, parts }] of slots.entries()) {
      const whole = life.alone || alone;
      if (whole && parts) continue;
      const there = held.filter((other) => idleBetween(life, other) <= 0);
      let mixed: 0 | 1 | undefined;
      for (const offset of whole ? [0] : [0, ...there.map(endOf)]) {
        const end = offset + life.bytes;
        const growth = Math.max(0, end - bytes);
        if (growth > best.growth || growth === life.bytes || end > maxBuffer) continue;
        if (there.some((other) => overlap(offset, life, other))) continue;
        const idle = idleAt(offset, life, held);
        mixed ??= meets.some((value) => places.get(value)?.index === index) ? 1 : 0;
        if ((growth - best.growth || mixed - best.mixed || idle - best.idle) < 0)
          best = { index, offset, growth, mixed, idle };
      }
    }
    const { index, offset, growth } = best;
    if (index === slots.length) slots.push({ bytes: 0, held: [], alone: false, parts: false });
    const slot = slots[index]!;
    slot.bytes += growth;
    slot.held.push({ ...life, offset });
    slot.alone ||= life.alone ?? false;
    slot.parts ||= offset > 0;
    places.set(life.value, { kind: "slot", index, offset });
  }
  return { slots: slots.map(({ bytes }) => bytes), places };
}

/**
 * Kernels between two lifetimes; 0 or less where they meet. Where one ends and the other begins they do: a kernel
 * does not write over what it reads.
 */
function idleBetween(a: Lifetime, b: Lifetime): number {
  return Math.max(a.from - b.to, b.from - a.to);
}

/** Whether a value at an offset of a slot has bytes in common with one that lies there. */
function overlap(offset: number, life: Lifetime, other: Held): boolean {
  return other.offset < offset + life.bytes && offset < other.offset + other.bytes;
}

/** The shortest time between a value at an offset of a slot and those that lie there before or after it. */
function idleAt(offset: number, life: Lifetime, held: readonly Held[]): number {
  let idle = Infinity;
  for (const other of held) if (overlap(offset, life, other)) idle = Math.min(idle, idleBetween(life, other));
  return idle;
}

/** Where a further value may follow. */
function endOf({ offset, bytes }: Held): number {
  return Math.ceil((offset + bytes) / alignment) * alignment;
}
