import { evaluate } from "../graph/evaluate.ts";
import { type Node, type Storage, topological } from "../graph/node.ts";
import { storageOf } from "../runtime/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * The values of tensors by the reference evaluator: node by node in float64, with no backend. Slow, and the
 * judge of both backends.
 */
export async function referenceValues(tensors: readonly Tensor[]): Promise<Float64Array[]> {
  const nodes = tensors.map((x) => x.node);
  const settled = new Map<Storage, ArrayLike<number>>();
  for (const node of topological(nodes).filter(isSettled)) {
    const storage = storageOf(node);
    if (!settled.has(storage)) settled.set(storage, await storage.read());
  }
  return evaluate(nodes, {
    buffer: (storage) => settled.get(storage)!,
    input: () => new Float64Array(),
  });
}

function isSettled(node: Node): boolean {
  return node.operation.kind === "buffer";
}
