import { listFolder, urlOf, writeFiles } from "#files";
import { type Fields, field, isPlainObject, optional, readOptions, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import { blobOf } from "./blob.ts";
import { bytesOfEntry, type Entry, entryOf } from "./entry.ts";
import { type Folder, findFile, isFolder, openFolder, othersOf, readJson } from "./folder.ts";
import { type FileSource, openSource } from "./open.ts";
import { decodeText, readRange, type Source } from "./source.ts";
import { bitsOf, bytesOf, isLengths } from "./stored.ts";
import { type Placed, TensorFile } from "./tensor-file.ts";

// safetensors: eight bytes with the length of a header, the header in JSON, and the bytes of the tensors without holes.
// https://github.com/huggingface/safetensors, safetensors/src/tensor.rs

export type Metadata = Readonly<Record<string, string>>;

/** The longest header that the format allows. */
const longestHeader = 100_000_000;

const indexName = "model.safetensors.index.json";

/**
 * Opens a safetensors file, the shards that an index (`model.safetensors.index.json`) lists, or the one or other that lies
 * in a folder. Only headers are read; a tensor is read when it is asked for.
 *
 * @throws ValueError for a file that is malformed: a header that is longer than the file or no JSON, tensors that overlap,
 *   leave holes, or have sizes that do not fit shape and dtype; shards that are missing. LorantzError for what cannot be read.
 * @example
 * const blob = await safetensors.toBlob({ weight: tensor([[1, 2]]) });
 * const file = await safetensors.open(blob);
 * console.log(file.names, file.info("weight")); // ["weight"], F32 [1, 2], 8 bytes
 */
export async function open(from: FileSource | Folder): Promise<TensorFile<Metadata>> {
  if (isFolder(from)) return openIn(from);
  if (typeof from === "string" || from instanceof URL) {
    const place = urlOf(from);
    const path = typeof place === "string" ? place : place.pathname;
    if (typeof place === "string" ? await listFolder(place) : path.endsWith("/"))
      return openIn(await openFolder(place));
    if (path.endsWith(".index.json")) {
      const at = path.lastIndexOf("/") + 1;
      const folder = typeof place === "string" ? path.slice(0, at) || "." : new URL(".", place);
      return openShards(await openFolder(folder), path.slice(at));
    }
  }
  const source = await openSource(from);
  const { placed, metadata } = await readHeader(source);
  return new TensorFile(source.name, placed, metadata);
}

async function openIn(folder: Folder): Promise<TensorFile<Metadata>> {
  if (await folder.find(indexName)) return openShards(folder, indexName);
  const single = await folder.find("model.safetensors");
  if (single) return open(single);
  const [only, ...more] = (folder.names ?? []).filter((name) => name.endsWith(".safetensors"));
  if (only !== undefined && more.length === 0) return open(await findFile(folder, only));
  const pickle = folder.names?.find((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  const advice = pickle
    ? ` ${pickle} is a pickle, which is code and is not read: in Python, model.save_pretrained(folder, safe_serialization=True) writes it as safetensors.`
    : "";
  throw new ValueError(
    `${folder.name}: expected model.safetensors, ${indexName} or a single .safetensors file${othersOf(folder)}.${advice}`,
  );
}

async function openShards(folder: Folder, index: string): Promise<TensorFile<Metadata>> {
  const where = `${folder.name}: ${index}`;
  const { weight_map: map } = (await readJson(folder, index)) as { readonly weight_map?: unknown };
  if (!isPlainObject(map))
    throw new ValueError(`${where}: weight_map is ${show(map)}; it is an object of file names.`);
  const shards = new Map<string, Awaited<ReturnType<typeof readHeader>>>();
  const missing: string[] = [];
  for (const file of new Set(Object.values(map))) {
    if (typeof file !== "string" || /[/\\]|^\.*$/.test(file))
      throw new ValueError(`${where}: weight_map has the file ${show(file)}; shards lie beside the index.`);
    const source = await folder.find(file);
    if (source) shards.set(file, await readHeader(source));
    else missing.push(file);
  }
  if (missing.length > 0)
    throw new ValueError(
      `${where}: of ${shards.size + missing.length} shards, ${missing.length} are missing: ${missing.slice(0, 8).join(", ")}${missing.length > 8 ? ", ..." : ""}. Download them too.`,
    );
  const placed = new Map<string, Placed>();
  for (const [name, file] of Object.entries(map)) {
    const found = shards.get(file as string)!.placed.get(name); // strings, as checked above
    if (!found)
      throw new ValueError(
        `${where}: the tensor ${show(name)} is said to be in ${file}, which does not have it.`,
      );
    placed.set(name, found);
  }
  const metadata = Object.assign({}, ...[...shards.values()].map((shard) => shard.metadata)) as Metadata;
  return new TensorFile(folder.name, placed, metadata);
}

/** What the header of a file says, once it is sure that it is so. */
async function readHeader(
  source: Source,
): Promise<{ readonly placed: ReadonlyMap<string, Placed>; readonly metadata: Metadata }> {
  const where = source.name;
  const fail = (what: string): never => {
    throw new ValueError(`${where}: ${what}. It is no safetensors file, or it was cut off.`);
  };
  if (source.size < 8)
    fail(`has ${source.size} bytes; a file begins with 8 that give the length of its header`);
  const length = new DataView((await readRange(source, 0, 8)).buffer).getBigUint64(0, true);
  if (length > source.size - 8)
    fail(`its header is said to have ${length} bytes, and ${source.size - 8} follow`);
  if (length > longestHeader) fail(`its header has ${length} bytes, more than ${longestHeader}`);
  const start = 8 + Number(length);
  const text = decodeText(where, await readRange(source, 8, start - 8));
  if (!text.startsWith("{")) fail("its header does not begin with {");
  const { __metadata__: about = {}, ...entries } = parseJson(`${where}: the header`, text) as Record<
    string,
    unknown
  >;
  if (!isPlainObject(about) || !Object.values(about).every((value) => typeof value === "string"))
    fail("__metadata__ is not an object of texts");

  const room = source.size - start;
  const placed = Object.entries(entries).map(([name, entry]): [string, Placed] => {
    const bad = (what: string): never => fail(`the tensor ${show(name)} ${what}`);
    if (!isPlainObject(entry)) return bad(`is ${show(entry)}, not an object`);
    const { dtype, shape, data_offsets: offsets, ...rest } = entry;
    for (const other of Object.keys(rest)) bad(`has the unknown field ${show(other)}`);
    if (typeof dtype !== "string" || !Object.hasOwn(bitsOf, dtype))
      return bad(`has the dtype ${show(dtype)}`);
    if (!isLengths(shape)) return bad(`has the shape ${show(shape)}`);
    if (!isLengths(offsets) || offsets.length !== 2) return bad(`has the data_offsets ${show(offsets)}`);
    const [first, end] = offsets as readonly [number, number];
    if (first > end || end > room) return bad(`lies at bytes ${first} to ${end} of ${room}`);
    const bytes = bytesOf(dtype, shape);
    if (bytes !== end - first)
      return bad(
        `lies in ${end - first} bytes, and ${dtype}[${shape.join(",")}] takes ${bytes ?? "more than there are"}`,
      );
    return [name, { dtype, shape, bytes, source, start: start + first }];
  });
  // Those without bytes come before those that begin where they lie.
  const order = [...placed].sort(([, a], [, b]) => a.start - b.start || a.bytes - b.bytes);
  let at = start;
  for (const [name, tensor] of order) {
    if (tensor.start !== at)
      fail(
        `the tensor ${show(name)} begins at byte ${tensor.start - start}, where ${at - start} is expected: tensors ${tensor.start < at ? "overlap" : "leave a hole"}`,
      );
    at += tensor.bytes;
  }
  if (at !== source.size) fail(`${source.size - at} bytes at its end belong to no tensor`);
  return { placed: new Map(placed), metadata: about as Metadata }; // texts, as checked above
}

export interface WriteOptions {
  /** Texts for the header. */
  readonly metadata?: Metadata;
}

const writeFields: Fields<{ metadata: Metadata }> = {
  metadata: optional(
    field(
      "an object of texts",
      (value) => isPlainObject(value) && Object.values(value).every((each) => typeof each === "string"),
    ),
  ),
};

/**
 * Writes a safetensors file, tensor by tensor. The same tensors give the same bytes: larger elements come first, then
 * names in order, so that each tensor lies at a multiple of its element's size. The file is written beside its place and
 * renamed.
 *
 * @throws ValueError for names and entries that a file cannot have, DTypeError for a dtype that does not fit the tensor,
 *   LorantzError if the system refuses; then an old file is as it was.
 */
export async function write(
  path: string,
  entries: Readonly<Record<string, Entry>>,
  options: WriteOptions = {},
): Promise<void> {
  await writeFiles(new Map([[path, parts(path, entries, options)]]));
}

/** The same as a Blob, for pages: to download, or to open again. */
export async function toBlob(
  entries: Readonly<Record<string, Entry>>,
  options: WriteOptions = {},
): Promise<Blob> {
  return blobOf(parts("safetensors.toBlob", entries, options));
}

/** The bytes of a file in pieces. */
export async function* parts(
  where: string,
  entries: Readonly<Record<string, Entry>>,
  options: WriteOptions = {},
): AsyncGenerator<Uint8Array> {
  const { metadata } = readOptions(where, writeFields, options);
  const list = Object.entries(entries).map(([name, entry]) => ({
    name,
    ...entryOf(`${where}: ${name}`, entry),
  }));
  list.sort((a, b) => bitsOf[b.dtype]! - bitsOf[a.dtype]! || (a.name < b.name ? -1 : 1));
  const header: [string, unknown][] = [];
  if (metadata && Object.keys(metadata).length > 0)
    header.push(["__metadata__", Object.fromEntries(Object.entries(metadata).sort())]);
  let at = 0;
  for (const { name, dtype, shape, bytes } of list) {
    if (name === "__metadata__" || name === "__proto__")
      throw new ValueError(`${where}: a tensor cannot be named ${name}.`);
    header.push([name, { dtype, shape, data_offsets: [at, at + bytes] }]);
    at += bytes;
  }
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(text.length / 8) * 8;
  if (length > longestHeader)
    throw new ValueError(`${where}: names and metadata take ${length} bytes, more than ${longestHeader}.`);
  const head = new Uint8Array(8 + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(text, 8);
  yield head;
  for (const entry of list) if (entry.bytes > 0) yield await bytesOfEntry(`${where}: ${entry.name}`, entry);
}
