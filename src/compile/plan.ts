import { type Expr, walk } from "./expr.ts";
import { expressionsOf, type Kernel, writesOf } from "./kernel.ts";
import type { Place } from "./program.ts";
import { assignSlots } from "./slots.ts";
import { bytesOf, type Value, type ValueId } from "./value.ts";

export interface Plan {
  readonly places: readonly (Place | undefined)[];
  readonly slots: readonly number[];
  readonly replaces: readonly (number | undefined)[];
}

/**
 * Memory plan: inputs and outputs are whole buffers, intermediates share slots. An output takes over the buffer of
 * a donated input of its size whose last reader is its own kernel, reading the very element that it writes, or
 * an earlier one.
 */
export function planMemory(
  values: readonly Value[],
  kernels: readonly Kernel[],
  inputs: readonly ValueId[],
  outputs: readonly ValueId[],
  donated: ReadonlySet<number>,
  maxBuffer: number,
): Plan {
  const bytes = (value: ValueId) => bytesOf(values[value]!);
  const lastRead = new Map<ValueId, number>();
  const written = new Map<ValueId, number>();
  const readBy = kernels.map(reads);
  kernels.forEach((kernel, at) => {
    for (const value of readBy[at]!) lastRead.set(value, at);
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
      if (taken.has(input) || outputs.includes(old) || bytes(old) !== bytes(value)) return false;
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

  const intermediates = [...written].filter(([value]) => !places[value]);
  const assigned = assignSlots(
    intermediates.map(([value, from]) => ({
      value,
      bytes: bytes(value),
      from,
      to: lastRead.get(value) ?? from,
      beside: readBy[from]!,
    })),
    maxBuffer,
  );
  for (const [value, place] of assigned.places) places[value] = place;
  // Values that fusing made unnecessary have no place.
  return { places, slots: assigned.slots, replaces };
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
