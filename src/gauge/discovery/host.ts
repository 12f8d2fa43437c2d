import { evaluate } from "../../graph/evaluate.ts";
import { type Storage, topological } from "../../graph/node.ts";
import { storageOf } from "../../runtime/storage.ts";
import { scalar, tensor } from "../../tensor/creation.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";

// Tensors whose values are at hand: computed node by node in float64 by the reference evaluator, with no device.

const known = new WeakMap<Storage, ArrayLike<number>>();

/** A tensor of values that stay at hand. */
export function held(values: Float64Array, { shape, dtype }: Pick<Tensor, "shape" | "dtype">): Tensor {
  if (dtype === "number") return scalar(values[0]!) as Tensor;
  const result = tensor(values, { shape, dtype });
  known.set(storageOf(result.node), values);
  return result;
}

/** The tree with every tensor computed and held. */
export async function computed<T>(lazy: T): Promise<T> {
  const nodes = tree.leaves(lazy).map((leaf) => leaf.node);
  for (const { operation } of topological(nodes)) {
    // Tensors that the optimizer made itself.
    if (operation.kind === "buffer" && !known.has(operation.storage))
      known.set(operation.storage, await storageOf({ operation } as (typeof nodes)[number]).read());
  }
  const values = evaluate(nodes, { buffer: (storage) => known.get(storage)!, input: () => [] });
  let at = 0;
  return tree.map(lazy, (leaf) => held(values[at++]!, leaf));
}

/** The values of a tensor from `held` or `computed`. */
export function valuesOf(x: Tensor): ArrayLike<number> {
  const { operation } = x.node;
  if (operation.kind === "constant") return [operation.value];
  return known.get(storageOf(x.node))!;
}

/** Whether two tensors of one shape agree to the last bit. */
export function sameValues(a: Tensor, b: Tensor): boolean {
  const [x, y] = [valuesOf(a), valuesOf(b)];
  return Array.from(x).every((value, i) => Object.is(value, y[i]));
}

/** The tensor times a number; its values are rounded once. */
export function scaledBy(x: Tensor, factor: number): Tensor {
  return held(
    Float64Array.from(valuesOf(x), (value) => value * factor),
    x,
  );
}
