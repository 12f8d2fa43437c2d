import { addTo } from "../base/group.ts";
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
  /** How many had places before it. */
  readonly order: number;
}

interface Slot {
  bytes: number;
  /** By their offsets. */
  readonly held: Held[];
  /** Whether one of these wants it alone. */
  alone: boolean;
  /** Whether some lie side by side. */
  parts: boolean;
  /** Of those that fill it the one that is there for longest: meanwhile there is room for nothing. */
  full: Held | undefined;
}

/** A place for a value, and what speaks against it, the worst first. */
interface Choice {
  readonly index: number;
  readonly offset: number;
  /** The order of the first of those that end where it begins. */
  readonly after: number;
  readonly growth: number;
  readonly mixed: 0 | 1;
  readonly idle: number;
}

/** WebGPU binds parts of buffers that begin at multiples of this: minStorageBufferOffsetAlignment is at most that. */
const alignment = 256;

/** For so many kernels before and after a value slots are looked at that stand empty for no longer, before all others. */
const near = 64;

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
  for (const { value, beside } of lifetimes) for (const read of beside) addTo(readers, read, value);
  /** Slots by the kernels where the lifetime of a value that they hold begins, and ends. */
  const [begins, ends] = [new Map<number, number[]>(), new Map<number, number[]>()];
  // Of equal ones those that are needed last: what is needed before then finds their places empty.
  for (const life of [...lifetimes].sort((a, b) => b.bytes - a.bytes || b.to - a.to)) {
    let best: Choice = {
      index: slots.length,
      offset: 0,
      after: 0,
      growth: life.bytes,
      mixed: 0,
      idle: Infinity,
    };
    // What a kernel reads while it writes this, and what one writes that reads it.
    const meets = [...life.beside, ...(readers.get(life.value) ?? [])];
    const consider = (index: number, offset: number, after: number) => {
      const slot = slots[index]!;
      const growth = Math.max(0, offset + life.bytes - slot.bytes);
      if (growth === life.bytes || offset + life.bytes > maxBuffer) return;
      const mixed = meets.some((value) => places.get(value)?.index === index) ? 1 : 0;
      if (growth === best.growth && mixed > best.mixed) return;
      const choice: Choice = { index, offset, after, growth, mixed, idle: idleAt(offset, life, slot.held) };
      if (isBetter(choice, best)) best = choice;
    };
    const seen = new Set<number>();
    const lookInto = (index: number) => {
      if (seen.has(index)) return;
      seen.add(index);
      const slot = slots[index]!;
      if (slot.full && idleBetween(life, slot.full) <= 0) return;
      const whole = life.alone || slot.alone;
      if (whole && slot.parts) return;
      /** Beyond it the slot would grow more than it has to. */
      const last = slot.bytes + best.growth - life.bytes;
      // At the beginning or behind others, where nothing lies while it lives.
      let free = 0;
      let after = -1;
      for (const other of slot.held) {
        if (free > last) return;
        if (idleBetween(life, other) > 0) continue;
        if (other.offset >= free + life.bytes) consider(index, free, after);
        const end = whole ? Infinity : endOf(other);
        if (end < free) continue;
        after = end > free ? other.order : Math.min(after, other.order);
        free = end;
      }
      if (free <= last) consider(index, free, after);
    };
    // First those that stand empty for the shortest time: if one need not grow, no other is better.
    const isBest = (idle: number) => best.growth === 0 && best.mixed === 0 && best.idle <= idle;
    for (let idle = 1; idle <= near && !isBest(idle - 1); idle++) {
      for (const index of ends.get(life.from - idle) ?? []) lookInto(index);
      for (const index of begins.get(life.to + idle) ?? []) lookInto(index);
    }
    if (!isBest(near)) for (const index of slots.keys()) lookInto(index);
    const { index, offset, growth } = best;
    if (index === slots.length)
      slots.push({ bytes: 0, held: [], alone: false, parts: false, full: undefined });
    const slot = slots[index]!;
    slot.bytes += growth;
    const next = slot.held.findIndex((other) => other.offset > offset);
    const held = { ...life, offset, order: places.size };
    slot.held.splice(next < 0 ? slot.held.length : next, 0, held);
    if (growth > 0) slot.full = undefined;
    if (life.bytes === slot.bytes && lengthOf(life) > lengthOf(slot.full)) slot.full = held;
    addTo(begins, life.from, index);
    addTo(ends, life.to, index);
    slot.alone ||= life.alone ?? false;
    slot.parts ||= offset > 0;
    places.set(life.value, { kind: "slot", index, offset });
  }
  return { slots: slots.map(({ bytes }) => bytes), places };
}

/** Of places that are as good in all else, the earlier slot, and in a slot what follows those that had places earlier. */
function isBetter(a: Choice, b: Choice): boolean {
  if (a.growth !== b.growth) return a.growth < b.growth;
  if (a.mixed !== b.mixed) return a.mixed < b.mixed;
  if (a.idle !== b.idle) return a.idle < b.idle;
  return a.index === b.index ? a.after < b.after : a.index < b.index;
}

/**
 * Kernels between two lifetimes; 0 or less where they meet. Where one ends and the other begins they do: a kernel
 * does not write over what it reads.
 */
function idleBetween(a: Lifetime, b: Lifetime): number {
  return Math.max(a.from - b.to, b.from - a.to);
}

function lengthOf(life: Lifetime | undefined): number {
  return life ? life.to - life.from : -1;
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
