import { writeFiles } from "#files";
import { isIntegerIn, isPlainObject, show } from "../base/arguments.ts";
import { deviceDTypes, fileDType, integerRange } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { mostLevels, parseJson } from "../base/json.ts";
import { flattenTree, type Path, pathName } from "../base/tree.ts";
import { constant } from "../graph/node.ts";
import { scalar } from "../tensor/creation.ts";
import { Key } from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import { evaluate } from "../tensor/tree.ts";
import type { FileSource } from "./open.ts";
import { open, parts, toBlob, type WriteOptions } from "./safetensors.ts";
import type { TensorFile } from "./tensor-file.ts";

// Trees as safetensors: tensors are named by their paths, so that any reader of the format finds them, and the text
// "lorantz" among the metadata is the tree itself in JSON. There what JSON does not have is an object with one field that
// begins with $, and a field of the tree that does so begins with $$.

/** What is saved: tensors, random keys, and plain data; packed weights and optimizer states are such trees. */
export type Saved =
  | Tensor
  | Key
  | number
  | string
  | boolean
  | null
  | undefined
  | readonly Saved[]
  | { readonly [key: string]: Saved };

/**
 * Writes a tree to a file, beside its place first and then renamed: tensors with their dtypes and bits, host numbers,
 * random keys, numbers (NaN, infinities and -0 too), texts, booleans, null, undefined, lists and plain objects. It is a
 * safetensors file whose names are the paths of the tensors. What is donated before the promise resolves may be lost.
 *
 * @throws ValueError for anything else in the tree, LorantzError if the system refuses; then an old file is as it was.
 * @example
 * await save("checkpoint.safetensors", { step: 3, key: random.key(0), params: { w: tensor([1, 2]) } });
 * const { step, params } = (await load("checkpoint.safetensors")) as { step: number; params: { w: Tensor } };
 */
export async function save(path: string, tree: unknown): Promise<void> {
  const [entries, options] = await flatten(path, tree);
  await writeFiles(new Map([[path, parts(path, entries, options)]]));
}

/** The same as a Blob, for pages: to download, or to load again. */
export async function saveBlob(tree: unknown): Promise<Blob> {
  return toBlob(...(await flatten("saveBlob", tree)));
}

/**
 * The tree that `save` or `saveBlob` wrote.
 *
 * @throws ValueError for another file or one that is malformed, LorantzError for what cannot be read.
 */
export async function load(from: FileSource): Promise<Saved> {
  const file = await open(from);
  const text = file.metadata.lorantz;
  if (text === undefined)
    throw new ValueError(
      `${file.name}: was not written by save; it has ${file.names.length} tensors. Read them with safetensors.open.`,
    );
  const asked = new Set<string>();
  const tree = await read(file, parseJson(`${file.name}: the tree`, text), asked);
  const rest = file.names.filter((name) => !asked.has(name));
  if (rest.length > 0) throw new ValueError(`${file.name}: the tensor ${show(rest[0])} is not in the tree.`);
  return tree;
}

type Leaf = Exclude<Saved, readonly Saved[] | { readonly [key: string]: Saved }> | Tensor | Key;

const isLeaf = (value: unknown): value is Leaf =>
  value instanceof Tensor ||
  value instanceof Key ||
  value === null ||
  ["number", "string", "boolean", "undefined"].includes(typeof value);

/** The levels that the file may have: a tree, and what stands for its leaves. */
const mostDeep = mostLevels - 2;

/** The tensors of a tree by name, and the tree as a text among the metadata. */
async function flatten(where: string, tree: unknown): Promise<[Record<string, Tensor>, WriteOptions]> {
  const leaves = flattenTree(tree, isLeaf, `${where}:`);
  const words = leaves.flatMap(({ leaf }) => (leaf instanceof Key ? wordsOf(leaf) : []));
  const tensors = leaves.flatMap(({ leaf }) => (leaf instanceof Tensor ? [leaf] : []));
  await evaluate([...tensors, ...words]);
  /** What is a number or two on the host. */
  const hosted = new Map<Leaf, unknown>();
  for (const { leaf } of leaves) {
    if (leaf instanceof Key)
      hosted.set(leaf, { $key: await Promise.all(wordsOf(leaf).map((word) => word.item())) });
    else if (leaf instanceof Tensor && leaf.dtype === "number")
      hosted.set(leaf, { $scalar: ofNumber(await leaf.item()) });
  }
  const entries = new Map<string, Tensor>();
  const write = (part: unknown, path: Path): unknown => {
    if (path.length > mostDeep)
      throw new ValueError(
        `${where}: ${pathName(path.slice(0, 3))} goes on for more than ${mostDeep} levels. Save a flatter tree.`,
      );
    if (part instanceof Tensor || part instanceof Key) {
      if (hosted.has(part)) return hosted.get(part);
      let name = pathName(path) || "value";
      while (entries.has(name) || name === "__metadata__") name += "'";
      entries.set(name, part as Tensor); // keys are on the host
      return { $tensor: name };
    }
    if (part === undefined) return { $undefined: true };
    if (typeof part === "number") return ofNumber(part);
    if (Array.isArray(part)) return Array.from(part, (child: unknown, i) => write(child, [...path, i]));
    if (!isPlainObject(part)) return part;
    return Object.fromEntries(
      Object.entries(part).map(([key, child]) => {
        const inner = [...path, key];
        if (key === "__proto__") throw new ValueError(`${where}: ${pathName(inner)} is no name of a field.`);
        return [key.startsWith("$") ? `$${key}` : key, write(child, inner)];
      }),
    );
  };
  const lorantz = JSON.stringify(write(tree, []));
  return [Object.fromEntries(entries), { metadata: { lorantz } }];
}

const wordsOf = (key: Key): readonly Tensor[] => key.words.map((node) => new Tensor(node));

/** A number as JSON has it, or by its name. */
function ofNumber(x: number): unknown {
  return Number.isFinite(x) && !Object.is(x, -0) ? x : { $number: Object.is(x, -0) ? "-0" : String(x) };
}

/** A part of the tree as it was; the names of its tensors are noted. */
async function read(file: TensorFile, part: unknown, asked: Set<string>): Promise<Saved> {
  if (Array.isArray(part)) {
    const list: Saved[] = [];
    for (const child of part) list.push(await read(file, child, asked));
    return list;
  }
  if (!isPlainObject(part)) return part as Saved; // JSON
  const fields = Object.entries(part);
  const [[mark, value] = ["", undefined]] = fields;
  if (fields.length === 1 && /^\$[^$]/.test(mark)) {
    const [first, second, ...more] = mark === "$key" && Array.isArray(value) ? value : [];
    const number = mark === "$scalar" || mark === "$number" ? numberOf(value) : undefined;
    if (mark === "$tensor" && typeof value === "string" && file.has(value)) {
      asked.add(value);
      const { dtype } = file.info(value);
      return file.read(value, { dtype: deviceDTypes.find((own) => fileDType(own) === dtype)! }); // as it was written
    }
    if (mark === "$undefined") return undefined;
    if (number !== undefined) return mark === "$scalar" ? scalar(number) : number;
    if (isWord(first) && isWord(second) && more.length === 0)
      return new Key([constant(first, "uint32", true), constant(second, "uint32", true)]);
  }
  const result: [string, Saved][] = [];
  for (const [key, child] of fields) {
    if (/^\$(?!\$)/.test(key))
      throw new ValueError(`${file.name}: the tree is malformed (${show(key)}: ${show(child)}).`);
    result.push([key.replace(/^\$/, ""), await read(file, child, asked)]);
  }
  return Object.fromEntries(result);
}

const isWord = (value: unknown): value is number => isIntegerIn(value, ...integerRange.uint32);

/** A number as JSON has it, or one of those by name. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const name = isPlainObject(value) ? value.$number : value;
  return ["NaN", "Infinity", "-Infinity", "-0"].includes(name as string) ? Number(name) : undefined;
}
