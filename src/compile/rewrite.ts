import { isFloat } from "../base/dtype.ts";
import { numel } from "../base/shape.ts";
import { mul } from "../graph/elementwise.ts";
import { expand, padAlong, permute, reshape, transpose } from "../graph/movement.ts";
import { elements, type Node, type ReduceName, topological, transform } from "../graph/node.ts";
import { matmul, neutral, reduce } from "../graph/reduce.ts";
import { splitMatmul } from "./split.ts";
import type { Target } from "./target.ts";

/** Partial results that a long reduction is split into. */
const partials = 1024;

/** Replaces what the target does badly, or kernels do not know, by equal graphs. */
export function rewrite(roots: readonly Node[], target: Target): Node[] {
  const users = new Map<Node, number>();
  for (const node of [...roots, ...topological(roots).flatMap(({ inputs }) => inputs)])
    users.set(node, (users.get(node) ?? 0) + 1);
  const equal = transform(roots, (node, original) =>
    rewriteNode(
      node,
      target,
      original.inputs.every((input) => users.get(input) === 1),
    ),
  );
  // Last, since rules above look for matmuls.
  return target.busyResults > 0 ? transform(equal, (node) => splitMatmul(node, target)) : equal;
}

/** @param alone Whether nobody else reads the inputs of the node. */
function rewriteNode(node: Node, target: Target, alone: boolean): Node {
  const { operation } = node;
  if (operation.kind === "procedure" && target.sharesRows) return operation.apart?.(node.inputs[0]!) ?? node;
  if (operation.kind === "permute" && alone) return transposedMatmul(node, operation.axes);
  if (operation.kind === "matmul") {
    if (!isFloat(node.dtype) || (target.sumsVectorProducts && hasVector(node))) return sumOfProducts(node);
    return node;
  }
  if (operation.kind === "reduce") {
    const { shape } = node.inputs[0]!;
    const { name, axes } = operation;
    const length = numel(axes.map((axis) => shape[axis]!));
    // A thread has four results where they lie side by side.
    const threads = elements(node) / (axes.includes(shape.length - 1) ? 1 : 4);
    if (length > target.longReduction && threads < target.fewThreads)
      return twoStages(node, name, axes, length);
  }
  return node;
}

/** (A B)^T is B^T A^T: so that gradients of weights are stored in the order in which they are read. */
function transposedMatmul(node: Node, axes: readonly number[]): Node {
  const product = node.inputs[0]!;
  const rank = axes.length;
  const swaps = axes.every((axis, i) => axis === (i < rank - 2 ? i : i === rank - 2 ? rank - 1 : rank - 2));
  if (product.operation.kind !== "matmul" || !isFloat(node.dtype) || !swaps) return node;
  const [a, b] = product.inputs.map((x) => transpose(x, rank - 2, rank - 1)) as [Node, Node];
  return matmul(b, a);
}

/** A row or a column times a matrix: each element of the matrix is used once, so there is nothing to tile. */
function hasVector({ shape }: Node): boolean {
  return shape[shape.length - 2] === 1 || shape[shape.length - 1] === 1;
}

/** Products without a matmul kernel: of integers, for which there is none, and of vectors. */
function sumOfProducts(node: Node): Node {
  const [a, b] = node.inputs as [Node, Node];
  const batch = node.shape.slice(0, -2);
  const [m, n, k] = [
    node.shape[node.shape.length - 2]!,
    node.shape[node.shape.length - 1]!,
    a.shape[a.shape.length - 1]!,
  ];
  const rows = expand(reshape(a, [...batch, m, 1, k]), [...batch, m, n, k]);
  const swapped = transpose(b, b.shape.length - 2, b.shape.length - 1);
  const columns = expand(reshape(swapped, [...batch, 1, n, k]), [...batch, m, n, k]);
  return reduce("sum", mul(rows, columns), [batch.length + 2]);
}

/**
 * First to partial results, each over neighbours, in quads; then over those. What is kept stays the innermost axis, so
 * that it is read as it lies.
 */
function twoStages(node: Node, name: ReduceName, axes: readonly number[], length: number): Node {
  const x = node.inputs[0]!;
  const kept = x.shape.flatMap((_, axis) => (axes.includes(axis) ? [] : [axis]));
  const outer = kept.map((axis) => x.shape[axis]!);
  const flat = reshape(permute(x, [...axes, ...kept]), [length, ...outer]);
  const each = 4 * Math.ceil(length / partials / 4);
  const full = padAlong(flat, 0, 0, each * partials - length, neutral(name, node.dtype));
  return reduce(name, reduce(name, reshape(full, [partials, each, ...outer]), [1]), [0]);
}
