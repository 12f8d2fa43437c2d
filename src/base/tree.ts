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

/** Deeper trees than any model's: what goes deeper is taken for cyclic. */
const maxDepth = 500;

/**
 * Replaces every leaf by `f(leaf, path)`, keeping the structure.
 *
 * @param where What the tree is, for messages.
 * @throws ValueError for anything but plain objects, arrays, leaves, undefined and null.
 */
export function mapTree<L>(
  tree: unknown,
  isLeaf: IsLeaf<L>,
  f: (leaf: L, path: Path) => unknown,
  where = "tree:",
): unknown {
  const refuse = (path: Path, what: string): never => {
    throw new ValueError(
      `${where} ${path.length ? pathName(path) : "the root"} ${what}; trees are made of plain objects, arrays and tensors.`,
    );
  };
  const visit = (part: unknown, path: Path): unknown => {
    if (isLeaf(part)) return f(part, path);
    if (part === undefined || part === null) return part;
    if (path.length > maxDepth)
      refuse(path.slice(0, 3), `goes on for more than ${maxDepth} levels, as if it held itself`);
    if (Array.isArray(part)) return Array.from(part, (child: unknown, i) => visit(child, [...path, i]));
    if (!isPlainObject(part)) return refuse(path, `is ${kindOf(part)}`);
    if (Object.getOwnPropertySymbols(part).length > 0) refuse(path, "has a symbol among its keys");
    return Object.fromEntries(Object.keys(part).map((key) => [key, visit(part[key], [...path, key])]));
  };
  return visit(tree, []);
}

function kindOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return `a ${typeof value}`;
  return `of the class ${value.constructor?.name ?? "of another prototype"}`;
}

export interface LeafAt<L> {
  readonly leaf: L;
  readonly path: Path;
}

/** The leaves in order, each with its path. */
export function flattenTree<L>(tree: unknown, isLeaf: IsLeaf<L>, where?: string): LeafAt<L>[] {
  const leaves: LeafAt<L>[] = [];
  mapTree(tree, isLeaf, (leaf, path) => leaves.push({ leaf, path }), where);
  return leaves;
}

/**
 * The structure of a tree as text: equal texts mean equal keys in one order, and leaves, undefined and null at the same
 * places.
 */
export function treeStructure<L>(tree: unknown, isLeaf: IsLeaf<L>): string {
  const write = (part: unknown): string => {
    if (typeof part !== "object" || part === null) return String(part);
    if (Array.isArray(part)) return `[${part.map(write).join()}]`;
    const entries = Object.entries(part).map(([key, child]) => `${JSON.stringify(key)}:${write(child)}`);
    return `{${entries.join()}}`;
  };
  return write(mapTree(tree, isLeaf, () => "*"));
}
