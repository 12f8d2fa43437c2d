import { bytesPerElement } from "../base/dtype.ts";
import { type Expr, walk } from "./expr.ts";
import { expressionsOf, type Kernel, writesOf } from "./kernel.ts";
import type { Place } from "./program.ts";
import type { Value, ValueId } from "./value.ts";

export interface Plan {
  readonly places: readonly (Place | undefined)[];
  readonly slots: readonly number[];
  readonly replaces: readonly (number | undefined)[];
}

/**
 * Memory plan: whole buffers, shared by values whose lifetimes do not meet. An output takes over the buffer of
 * a donated input of its size whose last reader is its own kernel, reading the very element that it writes, or
 * an earlier one.
 */
export function planMemory(
  values: readonly Value[],
  kernels: readonly Kernel[],
  inputs: readonly ValueId[],
  outputs: readonly ValueId[],
  donated: ReadonlySet<number>,
): Plan {
  const bytesOf = (value: ValueId) =>
    Math.max(values[value]!.size * bytesPerElement(values[value]!.dtype), 4);
  const lastRead = new Map<ValueId, number>();
  const written = new Map<ValueId, number>();
  kernels.forEach((kernel, at) => {
    for (const value of reads(kernel)) lastRead.set(value, at);
    for (const value of writesOf(kernel)) written.set(value, at);
  });

  const places = new Array<Place | undefined>(values.length);
  inputs.forEach((value, index) => {
    places[value] = { kind: "input", index };
  });
  const taken = new Set<number>();
  const replaces = outputs.map((value, index) => {
    if (places[value]) return undefined; // an input handed through, or the same value again
    places[value] = { kind: "output", index };
    const by = written.get(value);
    if (by === undefined) return undefined;
    const fits = (input: number) => {
      const old = inputs[input]!;
      if (taken.has(input) || outputs.includes(old) || bytesOf(old) !== bytesOf(value)) return false;
      const last = lastRead.get(old) ?? -1;
      if (last === by && values[old]!.size !== values[value]!.size) return false; // elements lie elsewhere
      return last < by || (last === by && readsWhereWritten(kernels[by]!, old, value));
    };
    // The input it was computed from first: a parameter's update goes into that parameter.
    const candidates = [...donated].sort((a, b) => distance(a, by) - distance(b, by));
    const found = candidates.find(fits);
    if (found !== undefined) taken.add(found);
    return found;
  });
  function distance(input: number, by: number): number {
    const last = lastRead.get(inputs[input]!) ?? -1;
    return last === by ? 0 : 1 + Math.abs(by - last);
  }

  const slots = assignSlots(
    [...written].flatMap(([value, from]) =>
      places[value] ? [] : [{ value, bytes: bytesOf(value), from, to: lastRead.get(value) ?? from }],
    ),
    places,
  );
  // Values that fusing made unnecessary have no place.
  return { places, slots, replaces };
}

/** An intermediate value, with the kernels that write it and read it last. */
interface Lifetime {
  readonly value: ValueId;
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Gives intermediates slots, and returns the bytes of each slot: the largest first, each in the slot that stands
 * empty for the shortest time before or after (greedy by size; Pisarchyk and Lee 2020, arXiv:2001.03288).
 */
function assignSlots(lifetimes: readonly Lifetime[], places: (Place | undefined)[]): number[] {
  const slots: { readonly bytes: number; readonly held: Lifetime[] }[] = [];
  for (const life of [...lifetimes].sort((a, b) => b.bytes - a.bytes || a.from - b.from)) {
    let [index, least] = [slots.length, Infinity];
    slots.forEach(({ held }, slot) => {
      // 0 or less where lifetimes meet. Where one ends and the other begins they do: a buffer is never read and
      // written by one dispatch.
      const idle = Math.min(...held.map(({ from, to }) => Math.max(life.from - to, from - life.to)));
      if (idle > 0 && idle < least) [index, least] = [slot, idle];
    });
    if (index === slots.length) slots.push({ bytes: life.bytes, held: [] });
    slots[index]!.held.push(life);
    places[life.value] = { kind: "slot", index };
  }
  return slots.map(({ bytes }) => bytes);
}

/** The values a finished kernel needs: those it loads and does not make itself. */
export function reads(kernel: Kernel): Set<ValueId> {
  const found = new Set<ValueId>();
  walk(expressionsOf(kernel), (e) => {
    if (e.kind === "load") found.add(e.value);
  });
  for (const value of writesOf(kernel)) found.delete(value);
  return found;
}

/** Every load of `old` is of the element that the kernel writes to `value`, just before it is written. */
function readsWhereWritten(kernel: Kernel, old: ValueId, value: ValueId): boolean {
  if (kernel.kind !== "loop" && kernel.kind !== "matmul") return false;
  const store = kernel.stores.find((s) => s.value === value);
  const core: Expr[] =
    kernel.kind === "loop" ? kernel.accumulators.map(({ expr }) => expr) : [kernel.a, kernel.b];
  let elsewhere = false;
  walk(core, (e) => {
    if (e.kind === "load" && e.value === old) elsewhere = true;
  });
  walk(
    kernel.stores.flatMap(({ index, expr }) => [index, expr]),
    (e) => {
      if (e.kind === "load" && e.value === old && e.index !== store?.index) elsewhere = true;
    },
  );
  return !elsewhere;
}
