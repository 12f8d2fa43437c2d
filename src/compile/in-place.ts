import { bytesPerElement } from "../base/dtype.ts";
import { type Expr, walk } from "./expr.ts";
import type { Value, ValueId } from "./value.ts";

// An output may take over the buffer of a donated input while one kernel reads the input and writes the output:
// element by element, each read just before it is overwritten. The kernel then binds that buffer once.

/** Whether the elements of two values lie at the same bytes. */
export function alike(a: Value, b: Value): boolean {
  return a.size === b.size && bytesPerElement(a.dtype) === bytesPerElement(b.dtype);
}

/** Whether all loads of a value are for results that are stored at its very index, and none is for a kernel's core. */
export function isReadInPlace(
  value: ValueId,
  index: Expr,
  { core, results }: { readonly core: Iterable<Expr>; readonly results: Iterable<Expr> },
): boolean {
  let elsewhere = false;
  walk(core, (e) => {
    if (e.kind === "load" && e.value === value) elsewhere = true;
  });
  walk(results, (e) => {
    if (e.kind === "load" && e.value === value && e.index !== index) elsewhere = true;
  });
  return !elsewhere;
}
