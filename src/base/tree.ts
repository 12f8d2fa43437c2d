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

/** What becomes of the parts of a tree. */
interface Fold<L, R> {
  /** `path` is that of this leaf while it is looked at; copy it to keep it. */
  leaf(leaf: L, path: Path): R;
  absent(part: undefined | null): R;
  list(parts: readonly R[]): R;
  record(entries: readonly (readonly [key: string, part: R])[]): R;
}

function foldTree<L, R>(tree: unknown, isLeaf: IsLeaf<L>, fold: Fold<L, R>, where = "tree:"): R {
  const path: (string | number)[] = [];
  const refuse = (at: Path, what: string): never => {
    throw new ValueError(
      `${where} ${at.length ? pathName(at) : "the root"} ${what}; trees are made of plain objects, arrays and tensors.`,
    );
  };
  const inside = (key: string | number, part: unknown): R => {
    path.push(key);
    const found = visit(part);
    path.pop();
    return found;
  };
  const visit = (part: unknown): R => {
    if (isLeaf(part)) return fold.leaf(part, path);
    if (part === undefined || part === null) return fold.absent(part);
    if (path.length > maxDepth)
      refuse(path.slice(0, 3), `goes on for more than ${maxDepth} levels, as if it held itself`);
    if (Array.isArray(part)) {
      const parts: R[] = [];
      for (let i = 0; i < part.length; i++) parts.push(inside(i, part[i]));
      return fold.list(parts);
    }
    if (!isPlainObject(part)) return refuse(path, `is ${kindOf(part)}`);
    if (Object.getOwnPropertySymbols(part).length > 0) refuse(path, "has a symbol among its keys");
    return fold.record(Object.keys(part).map((key) => [key, inside(key, part[key])] as const));
  };
  return visit(tree);
}

/**
 * Replaces every leaf by `f(leaf, path)`, keeping the structure. The path is that of this leaf during the call.
 *
 * @param where What the tree is, for messages.
 * @throws ValueError for anything but plain objects, arrays, leaves, undefined and null.
 */
export function mapTree<L>(
  tree: unknown,
  isLeaf: IsLeaf<L>,
  f: (leaf: L, path: Path) => unknown,
  where?: string,
): unknown {
  const same = <T>(part: T) => part;
  return foldTree<L, unknown>(
    tree,
    isLeaf,
    { leaf: f, absent: same, list: same, record: Object.fromEntries },
    where,
  );
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
  const leaf = (leaf: L, path: Path) => void leaves.push({ leaf, path: [...path] });
  foldTree<L, void>(tree, isLeaf, { leaf, absent() {}, list() {}, record() {} }, where);
  return leaves;
}

/**
 * The structure of a tree as text: equal texts mean equal keys in one order, and undefined, null and leaves of which `text` gives
 * the same at the same places.
 */
export function treeStructure<L>(
  tree: unknown,
  isLeaf: IsLeaf<L>,
  text: (leaf: L, path: Path) => string = () => "*",
  where?: string,
): string {
  return foldTree<L, string>(
    tree,
    isLeaf,
    {
      leaf: text,
      absent: String,
      list: (parts) => `[${parts.join()}]`,
      record: (entries) => `{${entries.map(([key, part]) => `${JSON.stringify(key)}:${part}`).join()}}`,
    },
    where,
  );
}
