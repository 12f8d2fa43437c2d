import { getOrInsert } from "../base/group.ts";
import type { Expr, Expressions } from "./expr.ts";
import { alike, readElsewhere } from "./in-place.ts";
import {
  type Composite,
  type Kernel,
  partsOf,
  reads,
  resultsOf,
  type Store,
  storesOf,
  writesOf,
} from "./kernel.ts";
import { asLoop, computedBy, exprsOf, mapStores, nestOf } from "./nest.ts";
import type { LoopKernel, Program } from "./program.ts";
import type { Value, ValueId } from "./value.ts";

/** A program before its values have places. */
export interface Unplaced extends Pick<Program, "kernels" | "values" | "inputs" | "outputs"> {
  /** Positions of inputs whose buffers outputs may take over. */
  readonly donated: ReadonlySet<number>;
}

/** A program in which it is known what lies in the place of what was there before. */
export interface Settled extends Unplaced {
  /** For each value that takes over the place of another one: which. */
  readonly over: ReadonlyMap<ValueId, ValueId>;
}

/**
 * Decides which values take over the place of another one while their kernel reads that for the last time, element by
 * element; and for each store of a part whether it may overwrite the value whose rest it keeps. It may when nobody wants that
 * value as it was: no output, no kernel that comes later, nor this one at another place than that which it replaces; an
 * input must be donated, and what becomes of it be an output. Otherwise a kernel before copies the value. This is the one
 * place that decides; schedule and fusion only make a copy unlikely.
 */
export function settleParts(program: Unplaced, e: Expressions): Settled {
  const { kernels, inputs, outputs, donated } = program;
  const values: Value[] = [...program.values];
  const lastUse = new Map<ValueId, number>();
  kernels.forEach((kernel, at) => {
    for (const value of reads(kernel)) lastUse.set(value, at);
    for (const { part } of partsOf(kernel)) {
      if (part?.over !== undefined) lastUse.set(part.over, at);
    }
  });
  const made = new Set(kernels.flatMap(writesOf));
  const over = new Map<ValueId, ValueId>();
  const user = new Map<ValueId, ValueId>();
  /** The last of the values that lie in one place. */
  const lastOf = (value: ValueId): ValueId => {
    const next = user.get(value);
    return next === undefined ? value : lastOf(next);
  };
  const mayOverwrite = (
    old: ValueId,
    { value, index }: Store,
    kernel: Kernel | LoopKernel,
    at: number,
  ): boolean => {
    if (outputs.includes(old) || lastUse.get(old) !== at || !readsInPlace(kernel, old, index)) return false;
    if (partsOf(kernel).some(({ part, value: other }) => part?.over === old && other !== value)) return false;
    const input = inputs.indexOf(old);
    return input < 0 || (donated.has(input) && outputs.includes(lastOf(value)));
  };
  // From the last one, so that it is known what becomes of each.
  const settled: (Kernel | LoopKernel)[] = [];
  for (let at = kernels.length - 1; at >= 0; at--) {
    const kernel = kernels[at]!;
    const copies: Kernel[] = [];
    const copied = new Map<ValueId, ValueId>();
    for (const store of partsOf(kernel)) {
      const old = store.part?.over;
      if (old === undefined) continue;
      let base = old;
      if (!mayOverwrite(old, store, kernel, at)) {
        base = values.push({ ...values[old]!, id: values.length }) - 1;
        copies.push(copyOf(values[old]!, base, e));
        copied.set(store.value, base);
      }
      over.set(store.value, base);
      user.set(base, store.value);
    }
    settled.push(withBases(kernel, copied), ...copies);
    if (!coreOf(kernel)) continue;
    // A whole value, too, may lie where its kernel reads another one for the last time.
    for (const { value, index, part } of resultsOf(kernel)) {
      if (part || outputs.includes(value)) continue;
      const old = [...reads(kernel)].find(
        (read) =>
          made.has(read) &&
          !outputs.includes(read) &&
          !user.has(read) &&
          lastUse.get(read) === at &&
          alike(values[read]!, values[value]!) &&
          readsInPlace(kernel, read, index),
      );
      if (old === undefined) continue;
      over.set(value, old);
      user.set(old, value);
    }
  }
  return { ...program, kernels: settled.reverse(), values, over };
}

/** Whether a kernel reads of a value only the element in whose place it stores. */
export function readsInPlace(kernel: Kernel | Composite, value: ValueId, index: Store["index"]): boolean {
  if (!reads(kernel).has(value)) return true;
  const core = coreOf(kernel);
  if (!core) return false;
  const found = getOrInsert(
    getOrInsert(elsewhere, kernel, () => new Map()),
    index,
    () => readElsewhere(core, computedBy(storesOf(kernel)), index),
  );
  return !found.has(value);
}

/** What a kernel reads at other indices than one, or for its core. */
const elsewhere = new WeakMap<Kernel | Composite, Map<Expr, ReadonlySet<ValueId>>>();

/** What a kernel reads before it stores the result at a place; undefined where it reads and stores again and again. */
export function coreOf(kernel: Kernel | Composite): readonly Expr[] | undefined {
  if (kernel.kind === "matmul") return [kernel.a, kernel.b];
  const loop = kernel.kind === "nest" ? asLoop(kernel) : undefined;
  return loop && exprsOf(loop.accumulators);
}

/** The kernel with the values that its stores keep the rest of replaced by copies. */
function withBases(kernel: Kernel | LoopKernel, copied: ReadonlyMap<ValueId, ValueId>): Kernel | LoopKernel {
  if (copied.size === 0 || kernel.kind === "procedure" || kernel.kind === "loop") return kernel; // that fills no parts
  const replace = (store: Store): Store => {
    const over = copied.get(store.value);
    return over === undefined ? store : { ...store, part: { over } };
  };
  return kernel.kind === "nest"
    ? mapStores(kernel, replace)
    : { ...kernel, stores: kernel.stores.map(replace) };
}

function copyOf(from: Value, to: ValueId, e: Expressions): Kernel {
  const axis = { name: "i0", extent: from.size };
  const index = e.variable(axis.name, axis.extent);
  const store = { value: to, index, expr: e.load(from.id, index, from.dtype) };
  return nestOf({ grid: [axis], inner: [], accumulators: [], stores: [store] });
}
