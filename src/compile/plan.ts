import { addTo, getOrInsert } from "../base/group.ts";
import { alike } from "./in-place.ts";
import { reads, resultsOf, writesOf } from "./kernel.ts";
import { coreOf, readsInPlace, type Settled } from "./overwrite.ts";
import type { Place, Program } from "./program.ts";
import { assignSlots } from "./slots.ts";
import { bytesOf, type ValueId } from "./value.ts";

/** The values of one place, in the order in which they are there; all but the first take over that of another one. */
interface Tenants {
  readonly values: readonly ValueId[];
  /** Kernels that write the first and read the last of them. */
  readonly from: number;
  readonly to: number;
  /** What the kernels that write them read. */
  readonly beside: ReadonlySet<ValueId>;
}

/**
 * Memory plan: inputs and outputs are whole buffers, some outputs those of donated inputs; intermediates share slots.
 *
 * @param maxBuffer Bytes up to which intermediates may share a buffer.
 */
export function planMemory(
  program: Settled,
  maxBuffer: number,
): Pick<Program, "places" | "slots" | "replaces"> {
  const { values, kernels, inputs, outputs, over } = program;
  const lastRead = new Map<ValueId, number>();
  const written = new Map<ValueId, number>();
  kernels.forEach((kernel, at) => {
    for (const value of reads(kernel)) lastRead.set(value, at);
    for (const value of writesOf(kernel)) written.set(value, at);
  });
  // Those that take over an input's place are the input's tenants.
  const first = (value: ValueId): ValueId => (over.has(value) ? first(over.get(value)!) : value);
  const tenants = new Map<ValueId, ValueId[]>();
  for (const value of [...inputs, ...written.keys()]) {
    addTo(tenants, first(value), value);
  }
  const known = new Map<ValueId, Tenants>();
  const tenantsOf = (value: ValueId): Tenants => {
    const leader = first(value);
    return getOrInsert(known, leader, () => together(tenants.get(leader)!));
  };
  const together = (list: readonly ValueId[]): Tenants => {
    const times = list.map((each) => written.get(each) ?? -1);
    return {
      values: list,
      from: Math.min(...times),
      to: Math.max(...times, ...list.map((each) => lastRead.get(each) ?? -1)),
      beside: new Set(times.flatMap((at) => (at < 0 ? [] : [...reads(kernels[at]!)]))),
    };
  };

  // Values that fusing made unnecessary get no place.
  const places = new Array<Place | undefined>(values.length);
  inputs.forEach((value, index) => {
    places[value] = { kind: "input", index };
  });
  outputs.forEach((value, index) => {
    for (const each of written.has(value) ? tenantsOf(value).values : [value])
      places[each] ??= { kind: "output", index };
  });
  // What a loop reads and writes is bound in its body, whole.
  const alone = new Set(
    kernels.flatMap((kernel) => (kernel.kind === "loop" ? [...reads(kernel), ...writesOf(kernel)] : [])),
  );
  const intermediates = [...tenants.keys()].filter((leader) => !places[leader]).map(tenantsOf);
  const assigned = assignSlots(
    intermediates.map(({ values: list, from, to, beside }) => ({
      value: list[0]!,
      bytes: bytesOf(values[list[0]!]!),
      from,
      to,
      beside,
      alone: list.some((each) => alone.has(each)),
    })),
    maxBuffer,
  );
  for (const { values: list } of intermediates)
    for (const value of list) places[value] = assigned.places.get(list[0]!);
  return { places, slots: assigned.slots, replaces: replacements(program, { lastRead, written, tenantsOf }) };
}

interface Uses {
  readonly lastRead: ReadonlyMap<ValueId, number>;
  readonly written: ReadonlyMap<ValueId, number>;
  readonly tenantsOf: (value: ValueId) => Tenants;
}

/**
 * For each output the donated input whose buffer it takes over: that of which it replaces a part; else one that its own
 * kernel reads in place and nobody later (fusion counts on these, see in-place.ts); else the one of its bytes that was read
 * last before.
 */
function replacements(
  { values, kernels, inputs, outputs, donated }: Settled,
  { lastRead, written, tenantsOf }: Uses,
): (number | undefined)[] {
  const free = new Set(donated);
  const replaces = new Array<number | undefined>(outputs.length).fill(undefined);
  const readAt = (old: ValueId) => lastRead.get(old) ?? -1;
  const choose = (
    /** By what inputs fit at most. */
    of: (old: ValueId) => number,
    wanted: (value: ValueId, among: Tenants) => number,
    fits: (old: ValueId, value: ValueId, among: Tenants) => boolean = () => true,
  ) => {
    const inputsBy = new Map<number, number[]>();
    for (const input of free) addTo(inputsBy, of(inputs[input]!), input);
    outputs.forEach((value, index) => {
      if (!written.has(value) || replaces[index] !== undefined) return;
      const among = tenantsOf(value);
      const fitting = (inputsBy.get(wanted(value, among)) ?? []).filter(
        (input) => free.has(input) && fits(inputs[input]!, value, among),
      );
      if (fitting.length === 0) return;
      replaces[index] = fitting.reduce((best, input) =>
        readAt(inputs[input]!) > readAt(inputs[best]!) ? input : best,
      );
      free.delete(replaces[index]!);
    });
  };
  choose(
    (old) => old,
    (_, among) => among.values[0]!,
  );
  choose(
    readAt,
    (_, { from }) => from,
    (old, value, { values: among, from }) => {
      if (among.length > 1 || !alike(values[old]!, values[value]!)) return false;
      const kernel = kernels[from]!;
      if (!coreOf(kernel)) return false;
      const { index, part } = resultsOf(kernel).find((store) => store.value === value)!;
      return !part && readsInPlace(kernel, old, index);
    },
  );
  choose(
    (old) => bytesOf(values[old]!),
    (value) => bytesOf(values[value]!),
    (old, _, { from }) => readAt(old) < from,
  );
  return replaces;
}
