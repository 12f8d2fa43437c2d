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
  const slots: { bytes: number; readonly held: Held[] }[] = [];
  const places = new Map<ValueId, Place>();
  // Of equal ones those that are needed last: what is needed before then finds their places empty.
  for (const life of [...lifetimes].sort((a, b) => b.bytes - a.bytes || b.to - a.to)) {
    let best = { index: slots.length, offset: 0, growth: life.bytes, mixed: 0, idle: Infinity };
    const consider = (index: number, offset: number) => {
      const { bytes, held } = slots[index]!;
      if (
        (life.alone || held.some((other) => other.alone)) &&
        (offset > 0 || held.some((other) => other.offset > 0))
      )
        return;
      const end = offset + life.bytes;
      const growth = Math.max(0, end - bytes);
      if (growth > best.growth || growth === life.bytes || end > maxBuffer) return;
      const idle = idleAt(offset, life, held);
      if (idle <= 0) return;
      const mixed = held.some((other) => meetInKernel(life, other)) ? 1 : 0;
      if ((growth - best.growth || mixed - best.mixed || idle - best.idle) < 0)
        best = { index, offset, growth, mixed, idle };
    };
    for (const [index, { held }] of slots.entries()) {
      consider(index, 0);
      for (const other of held) if (idleBetween(life, other) <= 0) consider(index, endOf(other));
    }
    const { index, offset, growth } = best;
    if (index === slots.length) slots.push({ bytes: 0, held: [] });
    slots[index]!.bytes += growth;
    slots[index]!.held.push({ ...life, offset });
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

/** The shortest time between a value at an offset of a slot and those that lie there before or after it. */
function idleAt(offset: number, life: Lifetime, held: readonly Held[]): number {
  let idle = Infinity;
  for (const other of held) {
    if (other.offset >= offset + life.bytes || offset >= other.offset + other.bytes) continue;
    idle = Math.min(idle, idleBetween(life, other));
    if (idle <= 0) break; // they meet
  }
  return idle;
}

/** Whether a kernel reads one and writes the other. */
function meetInKernel(a: Lifetime, b: Lifetime): boolean {
  return a.beside.has(b.value) || b.beside.has(a.value);
}

/** Where a further value may follow. */
function endOf({ offset, bytes }: Held): number {
  return Math.ceil((offset + bytes) / alignment) * alignment;
}
