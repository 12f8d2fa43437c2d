import { type Expr, walk } from "./expr.ts";
import type { Nest, Store } from "./nest.ts";
import { type TemplateKernel, templateOf } from "./template.ts";
import type { ValueId } from "./value.ts";

export type { Accumulator, Axis, Loop, Nest, NumberedAccumulator, Part, Pass, Store } from "./nest.ts";
export type { MatmulKernel, ScanKernel, ScatterKernel, TemplateKernel } from "./template.ts";

/** Generated as a whole, or a template with holes. */
export type Kernel = Nest | TemplateKernel;

/** All stores of a kernel, in the order in which they are made. */
export function storesOf(kernel: Kernel): readonly Store[] {
  if (kernel.kind !== "nest") return kernel.stores;
  return [...kernel.passes.flatMap(({ before }) => before), ...kernel.stores, ...kernel.elements];
}

/** All expressions of a kernel. */
export function expressionsOf(kernel: Kernel): Expr[] {
  const core =
    kernel.kind === "nest"
      ? kernel.passes.flatMap(({ accumulators }) => accumulators)
      : templateOf(kernel).holes(kernel);
  return [...core.map(({ expr }) => expr), ...storesOf(kernel).flatMap(({ index, expr }) => [index, expr])];
}

/** Stores that fill parts of values. */
export function partsOf(kernel: Kernel): Store[] {
  return kernel.stores.filter(({ part }) => part);
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

/** The values a kernel writes. */
export function writesOf(kernel: Kernel): ValueId[] {
  const results = kernel.kind === "nest" ? [...kernel.stores, ...kernel.elements] : kernel.stores;
  return results.map(({ value }) => value);
}
