import { isFloat } from "../base/dtype.ts";
import { padAlong, permute, reshape } from "../graph/movement.ts";
import { elements, type Node } from "../graph/node.ts";
import { matmul, reduce } from "../graph/reduce.ts";
import type { Target } from "./target.ts";

/** Inner indices that each part has at least, and parts that are worth a second kernel. */
const shortestPart = 128;
const fewestParts = 4;

/**
 * A matmul with few results and a long inner axis as a batch of products over parts of that axis, and the sum over
 * the parts ("split-k"): x A^T and the gradients of LoRA's factors have too few results to keep a GPU busy. The sum
 * is the kernel that carries the epilogue; its order is fixed. Parts are equally long: where the axis does not
 * divide, the last one is filled up with zeros.
 */
export function splitMatmul(node: Node, target: Target): Node {
  if (node.operation.kind !== "matmul" || !isFloat(node.dtype)) return node;
  const [a, b] = node.inputs as [Node, Node];
  const batch = a.shape.slice(0, -2);
  const [rows, inner] = a.shape.slice(-2) as [number, number];
  const columns = b.shape[b.shape.length - 1]!;
  const most = Math.min(target.busyResults / elements(node), inner / shortestPart);
  const parts = 2 ** Math.floor(Math.log2(most));
  if (parts < fewestParts) return node;

  const each = Math.ceil(inner / parts);
  const rank = batch.length;
  const full = (x: Node, axis: number) => padAlong(x, axis, 0, parts * each - inner);
  const ofA = reshape(full(a, rank + 1), [...batch, rows, parts, each]);
  const ofB = reshape(full(b, rank), [...batch, parts, each, columns]);
  const outer = batch.map((_, axis) => axis);
  return reduce("sum", matmul(permute(ofA, [...outer, rank + 1, rank, rank + 2]), ofB), [rank]);
}
