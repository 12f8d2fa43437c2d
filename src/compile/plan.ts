import { walk } from "./expr.ts";
import { alike, readElsewhere } from "./in-place.ts";
import { expressionsOf, type Kernel, writesOf } from "./kernel.ts";
import type { Place, Program } from "./program.ts";
import { assignSlots } from "./slots.ts";
import { bytesOf, type ValueId } from "./value.ts";

/** A program before its values have places. */
export interface Unplaced extends Pick<Program, "kernels" | "values" | "inputs" | "outputs"> {
  /** Positions of inputs whose buffers outputs may take over. */
  readonly donated: ReadonlySet<number>;
}

/** Where kernels write and last read each value. */
interface Uses {
  readonly written: ReadonlyMap<ValueId, number>;
  readonly lastRead: ReadonlyMap<ValueId, number>;
}

/**
 * Memory plan: inputs and outputs are whole buffers, some outputs those of donated inputs; intermediates share slots.
 *
 * @param maxBuffer Bytes up to which intermediates may share a buffer.
 */
export function planMemory(
  program: Unplaced,
  maxBuffer: number,
): Pick<Program, "places" | "slots" | "replaces"> {
  const { values, kernels, inputs, outputs } = program;
  const lastRead = new Map<ValueId, number>();
  const written = new Map<ValueId, number>();
  const readBy = kernels.map(reads);
  kernels.forEach((kernel, at) => {
    for (const value of readBy[at]!) lastRead.set(value, at);
    for (const value of writesOf(kernel)) written.set(value, at);
  });

  // Values that fusing made unnecessary get no place.
  const places = new Array<Place | undefined>(values.length);
  inputs.forEach((value, index) => {
    places[value] = { kind: "input", index };
  });
  outputs.forEach((value, index) => {
    places[value] ??= { kind: "output", index }; // it may be an input handed through, or an earlier output
  });
  const intermediates = [...written].filter(([value]) => !places[value]);
  const assigned = assignSlots(
    intermediates.map(([value, from]) => ({
      value,
      bytes: bytesOf(values[value]!),
      from,
      to: lastRead.get(value) ?? from,
      beside: readBy[from]!,
    })),
    maxBuffer,
  );
  for (const [value, place] of assigned.places) places[value] = place;
  return { places, slots: assigned.slots, replaces: replacements(program, { written, lastRead }) };
}

/**
 * For each output the donated input whose buffer it takes over: one that its own kernel reads in place and nobody
 * later (fusion counts on these, see in-place.ts); else the one of its bytes that was read last before.
 */
function replacements(
  { values, kernels, inputs, outputs, donated }: Unplaced,
  { written, lastRead }: Uses,
): (number | undefined)[] {
  const free = new Set([...donated].filter((input) => !outputs.includes(inputs[input]!)));
  const replaces = new Array<number | undefined>(outputs.length).fill(undefined);
  const choose = (fits: (old: ValueId, value: ValueId, by: number) => boolean) => {
    outputs.forEach((value, index) => {
      const by = written.get(value);
      if (by === undefined || replaces[index] !== undefined || outputs.indexOf(value) < index) return;
      const fitting = [...free].filter((input) => fits(inputs[input]!, value, by));
      if (fitting.length === 0) return;
      replaces[index] = fitting.reduce((best, input) => (readAt(input) > readAt(best) ? input : best));
      free.delete(replaces[index]!);
    });
  };
  const readAt = (input: number) => lastRead.get(inputs[input]!) ?? -1;
  choose(
    (old, value, by) =>
      lastRead.get(old) === by && alike(values[old]!, values[value]!) && isOverwritable(kernels[by]!, old),
  );
  choose(
    (old, value, by) => (lastRead.get(old) ?? -1) < by && bytesOf(values[old]!) === bytesOf(values[value]!),
  );
  return replaces;
}

/** Whether a kernel may write a result over what it reads: each element just before it is overwritten. */
function isOverwritable(kernel: Kernel, old: ValueId): boolean {
  if (kernel.kind !== "loop" && kernel.kind !== "matmul") return false;
  const core = kernel.kind === "loop" ? kernel.accumulators.map(({ expr }) => expr) : [kernel.a, kernel.b];
  const { index } = kernel.stores[0]!; // that of all its results
  const results = kernel.stores.map(({ expr }) => expr);
  return !readElsewhere(core, results, index).has(old);
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
