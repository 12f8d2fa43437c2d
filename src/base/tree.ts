import { isPlainObject } from "./arguments.ts";
import { ValueError } from "./errors.ts";

/**
 * Trees: plain objects and arrays whose leaves are of some class, as in Equinox and JAX. Keys keep their
 * order; `undefined` is a leaf that is absent and stays so. A leaf is whatever `isLeaf` says.
 */
export type Tree<L> = L | undefined | readonly Tree<L>[] | { readonly [key: string]: Tree<L> };

export type IsLeaf<L> = (value: unknown) => value is L;

/** Where a leaf sits: the keys from the root, `layers.0.weight`. */
export type Path = readonly (string | number)[];

export function pathName(path: Path): string {
  return path.join(".");
}

/** Replaces every leaf by `f(leaf, path)`, keeping the structure. */
export function mapTree<L>(
  tree: unknown,
  isLeaf: IsLeaf<L>,
  f: (leaf: L, path: Path) => unknown,
  path: Path = [],
): unknown {
  if (isLeaf(tree)) return f(tree, path);
  if (tree === undefined || tree === null) return tree;
  if (Array.isArray(tree)) return tree.map((child: unknown, i) => mapTree(child, isLeaf, f, [...path, i]));
  if (isPlainObject(tree)) {
    const result: Record<string, unknown> = {};
    for (const key of Object.keys(tree)) result[key] = mapTree(tree[key], isLeaf, f, [...path, key]);
    return result;
  }
  throw new ValueError(
    `tree: ${path.length ? pathName(path) : "the root"} is ${typeof tree === "object" ? tree.constructor.name : `a ${typeof tree}`}; ` +
      "trees are made of plain objects, arrays and tensors.",
  );
}

export interface LeafAt<L> {
  readonly leaf: L;
  readonly path: Path;
}

/** The leaves in order, each with its path. */
export function flattenTree<L>(tree: unknown, isLeaf: IsLeaf<L>): LeafAt<L>[] {
  const leaves: LeafAt<L>[] = [];
  mapTree(tree, isLeaf, (leaf, path) => leaves.push({ leaf, path }));
  return leaves;
}

/** The structure of a tree as text: equal texts mean that leaves correspond one to one. */
export function treeStructure<L>(tree: unknown, isLeaf: IsLeaf<L>): string {
  return JSON.stringify(
    mapTree(tree, isLeaf, () => 0),
    (_, value: unknown) => (value === undefined ? null : value),
  );
}
