import { bytesPerElement, isNarrow } from "../base/dtype.ts";
import { coreExpressions, type Draft, variables } from "./draft.ts";
import type { Entries, Entry } from "./entries.ts";
import { type Expr, type Expressions, walk } from "./expr.ts";
import type { Value, ValueId } from "./value.ts";

// An output may take over the buffer of a donated input while one kernel reads the input and writes the output:
// element by element, each read just before it is overwritten. The kernel then binds that buffer once.

/** The program as a whole, whose kernels are joined. */
export interface Whole {
  readonly values: readonly Value[];
  readonly outputs: ReadonlySet<ValueId>;
  /** Inputs whose buffers outputs may take over. */
  readonly donated: ReadonlySet<ValueId>;
}

/** Whether the elements of two values lie at the same bytes, and one buffer may be declared for both. */
export function alike(a: Value, b: Value): boolean {
  const same = isNarrow(a.dtype) || isNarrow(b.dtype) ? a.dtype === b.dtype : true;
  return same && a.size === b.size && bytesPerElement(a.dtype) === bytesPerElement(b.dtype);
}

/** What a kernel loads for its core, or for results at another index than that at which these are stored. */
export function readElsewhere(core: Iterable<Expr>, results: Iterable<Expr>, index: Expr): Set<ValueId> {
  const found = new Set<ValueId>();
  walk(core, (e) => {
    if (e.kind === "load") found.add(e.value);
  });
  walk(results, (e) => {
    if (e.kind === "load" && e.index !== index) found.add(e.value);
  });
  return found;
}

/**
 * How many results of a joined kernel are sure to take over donated inputs, before the order of kernels is known:
 * inputs that it reads in place, when all others that read them must come before it.
 */
export function countInPlace(
  { core, stores, placed, size }: Draft,
  joined: readonly Entry[],
  { values, outputs, donated, entries, e }: Whole & { readonly entries: Entries; readonly e: Expressions },
): number {
  const position = e.variable(variables.position, size);
  const elsewhere = readElsewhere(coreExpressions(core), stores.values(), position);
  const before = entries.before(joined);
  const free = new Set(joined.flatMap(({ reads }) => [...reads].filter((value) => donated.has(value))));
  for (const input of free) {
    const last = [...entries.readersOf(input)].every(
      (reader) => joined.includes(reader) || before.has(reader),
    );
    if (!last || elsewhere.has(input)) free.delete(input);
  }
  let count = 0;
  for (const value of stores.keys()) {
    if (!outputs.has(value) || placed?.has(value)) continue;
    const taken = [...free].find((input) => alike(values[input]!, values[value]!));
    if (taken === undefined) continue;
    free.delete(taken);
    count++;
  }
  return count;
}
