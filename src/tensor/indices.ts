import { show } from "../base/arguments.ts";
import { DTypeError, ValueError } from "../base/errors.ts";
import { add, lt, where } from "../graph/elementwise.ts";
import { checkIndices, indices, withoutViews } from "../graph/indices.ts";
import type { IndexRange, Node } from "../graph/node.ts";
import { valuesAtHand } from "../runtime/evaluate.ts";

// Indices as public functions take them: int32, those whose values the host has are checked at once.

/** Indices from 0 on, each marked with its range. */
export function counted(index: Node, range: IndexRange): Node {
  const source = withoutViews(index);
  const { operation, shape } = source;
  const values = operation.kind === "iota" ? [0, shape[operation.axis]! - 1] : valuesAtHand(source);
  if (values && !index.shape.includes(0)) checkIndices(range, values);
  return indices(index, range);
}

/** Indices of an axis, negative ones counted from its end, of each of which so many elements are taken. */
export function fromEither(what: string, index: Node, length: number, taken = 1): Node {
  const marked = counted(index, { what, from: -length, length, ...(taken === 1 ? {} : { taken }) });
  return where(lt(marked, 0), add(marked, length), marked);
}

/** @throws ValueError for what is no tensor, DTypeError for another dtype. */
export function checkInt32(operation: string, what: string, index: { readonly dtype: string }): void {
  if (typeof index !== "object" || index === null || !("node" in index))
    throw new ValueError(`${operation}: ${what} is ${show(index)}; it is an int32 tensor.`);
  if (index.dtype !== "int32")
    throw new DTypeError(
      `${operation}: ${what} must be int32; given ${show(index)}. Cast with .astype("int32").`,
    );
}
