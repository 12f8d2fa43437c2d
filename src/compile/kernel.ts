import { getOrInsert } from "../base/group.ts";
import { type Expr, walk } from "./expr.ts";
import { computedBy, exprsOf, type Nest, type Store, visitNest } from "./nest.ts";
import { type TemplateKernel, templateOf } from "./template.ts";
import type { ValueId } from "./value.ts";

export type { Accumulator, Axis, Loop, Nest, Part, Statement, Store } from "./nest.ts";
export type { MatmulKernel, ProcedureKernel, TemplateKernel } from "./template.ts";

/** Generated as a whole, or a template with holes. */
export type Kernel = Nest | TemplateKernel;

/** What takes a kernel's place, as far as others are concerned: a loop (program.ts). */
export interface Composite {
  readonly kind: "loop";
  readonly reads: readonly ValueId[];
  readonly stores: readonly Store[];
}

/** All stores of a kernel, in the order in which they are made. */
export function storesOf(kernel: Kernel | Composite): readonly Store[] {
  if (kernel.kind !== "nest") return kernel.stores;
  const stores: Store[] = [];
  visitNest(kernel, (s) => {
    if (s.kind === "write") stores.push(...s.stores);
  });
  return stores;
}

/** The store that makes each value: the last one. */
export function resultsOf(kernel: Kernel | Composite): readonly Store[] {
  const stores = storesOf(kernel);
  return stores.filter(({ value }, i) => stores.findLastIndex((other) => other.value === value) === i);
}

/** All expressions of a kernel. */
export function expressionsOf(kernel: Kernel): Expr[] {
  if (kernel.kind !== "nest")
    return [...exprsOf(templateOf(kernel).holes(kernel)), ...computedBy(kernel.stores)];
  const found: Expr[] = [];
  visitNest(kernel, (s) => {
    if (s.kind === "accumulate") found.push(...exprsOf(s.accumulators));
    else if (s.kind === "write") found.push(...computedBy(s.stores));
    else if (s.kind === "at") found.push(s.index);
  });
  return found;
}

/** Stores that fill parts of values. */
export function partsOf(kernel: Kernel | Composite): Store[] {
  return resultsOf(kernel).filter(({ part }) => part);
}

const known = new WeakMap<Kernel | Composite, ReadonlySet<ValueId>>();

/** The values a finished kernel needs: those it loads and does not make itself. */
export function reads(kernel: Kernel | Composite): ReadonlySet<ValueId> {
  return getOrInsert(known, kernel, () => new Set(kernel.kind === "loop" ? kernel.reads : loadedBy(kernel)));
}

function loadedBy(kernel: Kernel): Set<ValueId> {
  const found = new Set<ValueId>();
  walk(expressionsOf(kernel), (e) => {
    if (e.kind === "load") found.add(e.value);
  });
  for (const value of writesOf(kernel)) found.delete(value);
  return found;
}

/** The values a kernel writes. */
export function writesOf(kernel: Kernel | Composite): ValueId[] {
  return resultsOf(kernel).map(({ value }) => value);
}
