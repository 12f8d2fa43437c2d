import { checkArgument, field, functionOf, optional } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { flattenTree, mapTree, pathName, treeStructure } from "../base/tree.ts";
import { Device } from "../runtime/device.ts";
import { evaluateNodes } from "../runtime/evaluate.ts";
import { checkReadable } from "../runtime/tracing.ts";
import { Tensor } from "./tensor.ts";

/** Plain objects and arrays of tensors: parameters, optimizer states, batches. */
export type TensorTree =
  | Tensor
  | undefined
  | null
  | readonly TensorTree[]
  | { readonly [key: string]: TensorTree };

export function isTensor(value: unknown): value is Tensor {
  return value instanceof Tensor;
}

const aFunction = functionOf<unknown>("a function");
const list = field<readonly unknown[]>(
  "a list of trees of one structure",
  (trees) => Array.isArray(trees) && trees.length > 0,
);
const aDevice = optional(field<Device>("a device that init opened", (device) => device instanceof Device));

/**
 * Replaces each tensor by `f(tensor, path)`, where path is the keys joined by dots. A function of one argument, as
 * `zerosLike`, is given no more. The tree comes first, where `jax.tree.map` takes the function first; `zip` goes along several.
 *
 * @example
 * tree.map({ w: ones([2]), b: tensor(1) }, (x) => x.mul(0)); // { w: [0, 0], b: 0 }
 */
export function map<T>(tree: T, f: (leaf: Tensor, path: string) => unknown): T {
  if (typeof tree === "function")
    throw new ValueError(
      "tree.map: the tree comes first, tree.map(tree, f); tree.zip([x, y], f) goes along several.",
    );
  checkArgument("tree.map", "f", f, aFunction);
  const one = f as (leaf: Tensor) => unknown; // it reads one argument
  return mapTree(tree, isTensor, (leaf, path) => (f.length === 1 ? one(leaf) : f(leaf, pathName(path)))) as T; // the structure is kept
}

/** The tensors of a tree in order. */
export function leaves(tree: unknown): Tensor[] {
  return flattenTree(tree, isTensor).map(({ leaf }) => leaf);
}

/** The tensors of a tree with their paths, `layers.0.weight`. */
export function entries(tree: unknown): [path: string, leaf: Tensor][] {
  return flattenTree(tree, isTensor).map(({ leaf, path }) => [pathName(path), leaf]);
}

/** Combines trees of one structure, leaf by leaf. */
export function zip<T>(trees: readonly [T, ...T[]], f: (leaves: Tensor[], path: string) => unknown): T {
  checkArgument("tree.zip", "trees", trees, list);
  const [first, ...rest] = trees;
  const structure = treeStructure(first, isTensor);
  const columns = rest.map((other, i) => {
    if (treeStructure(other, isTensor) !== structure) {
      throw new ValueError(
        `tree.zip: tree ${i + 1} has another structure than tree 0: ${treeStructure(other, isTensor)} and ${structure}.`,
      );
    }
    return leaves(other);
  });
  let at = 0;
  return map(first, (leaf, path) => {
    const i = at++;
    return f([leaf, ...columns.map((column) => column[i]!)], path);
  });
}

/**
 * Splits a tree in two of the same structure: leaves for which `keep` holds, and the others; where a leaf is
 * missing stands undefined. `combine` is the inverse.
 */
export function partition<T>(tree: T, keep: (leaf: Tensor, path: string) => boolean): [kept: T, rest: T] {
  checkArgument("tree.partition", "keep", keep, aFunction);
  return [
    map(tree, (leaf, path) => (keep(leaf, path) ? leaf : undefined)),
    map(tree, (leaf, path) => (keep(leaf, path) ? undefined : leaf)),
  ];
}

/** Puts trees together: keys of all, and where several have a leaf, the last one's. */
export function combine<T>(...trees: readonly unknown[]): T {
  for (const tree of trees) leaves(tree); // refuses what is in no tree
  return trees.reduce((left, right) => merge(left, right)) as T; // the caller names the joint structure
}

function merge(left: unknown, right: unknown): unknown {
  if (right === undefined || right === null) return left;
  if (left === undefined || left === null || isTensor(right)) return right;
  // A part without leaves, such as a partition leaves where the other side has them, replaces none.
  if (isTensor(left)) return leaves(right).length > 0 ? right : left;
  if (Array.isArray(left) && Array.isArray(right)) {
    return Array.from({ length: Math.max(left.length, right.length) }, (_, i) => merge(left[i], right[i]));
  }
  const [a, b] = [left as Record<string, unknown>, right as Record<string, unknown>]; // trees are objects, arrays or leaves
  return Object.fromEntries(
    [...new Set([...Object.keys(a), ...Object.keys(b)])].map((key) => [key, merge(a[key], b[key])]),
  );
}

/** Number of elements of all tensors. */
export function count(tree: unknown): number {
  return leaves(tree).reduce((sum, leaf) => sum + leaf.size, 0);
}

/**
 * Computes all tensors of a tree as one program, and returns the tree: what several of them need is computed once, where each
 * `data()` by itself computes it again.
 */
export function evaluate<T>(tree: T, device?: Device): Promise<T> {
  checkArgument("tree.evaluate", "device", device, aDevice);
  const nodes = leaves(tree).map((leaf) => leaf.node);
  checkReadable("tree.evaluate", nodes);
  return evaluateNodes(nodes, device).then(() => tree);
}

/** Frees all tensors of a tree. */
export function dispose(tree: unknown): void {
  for (const leaf of leaves(tree)) leaf.dispose();
}
