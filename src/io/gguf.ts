import { writeFiles } from "#files";
import { isIntegerIn, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { blobOf } from "./blob.ts";
import { bytesOfEntry, type Entry, entryOf } from "./entry.ts";
import { type FileSource, openSource } from "./open.ts";
import { decodeText, readRange, type Source } from "./source.ts";
import { type Placed, TensorFile } from "./tensor-file.ts";

// GGUF, version 2 and 3: typed fields, then a list of tensors with their lengths from the last axis to the first, then
// their bytes, each at a multiple of an alignment. https://github.com/ggml-org/ggml, docs/gguf.md

const magic = 0x46554747;
const usualAlignment = 32;

/** A value of a field; one of an array has no type of its own. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[];

/** A field of the header with its type. Integers of 64 bits are bigint; an array names the type of its elements. */
export type GgufField =
  | { readonly type: NumberType; readonly value: number }
  | { readonly type: "uint64" | "int64"; readonly value: bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "array"; readonly of: FieldType; readonly value: readonly GgufValue[] };

export type GgufFields = Readonly<Record<string, GgufField>>;

type NumberType = "uint8" | "int8" | "uint16" | "int16" | "uint32" | "int32" | "float32" | "float64";
type FieldType = GgufField["type"];

/** By their numbers in files. */
const fieldTypes: readonly FieldType[] = [
  "uint8",
  "int8",
  "uint16",
  "int16",
  "uint32",
  "int32",
  "float32",
  "bool",
  "string",
  "array",
  "uint64",
  "int64",
  "float64",
];

/** Types of tensors by their numbers: the name, the elements of a block and its bytes (ggml.h, ggml-common.h). */
const tensorTypes: Readonly<Record<number, readonly [name: string, block: number, bytes: number]>> = {
  0: ["F32", 1, 4],
  1: ["F16", 1, 2],
  2: ["Q4_0", 32, 18],
  3: ["Q4_1", 32, 20],
  6: ["Q5_0", 32, 22],
  7: ["Q5_1", 32, 24],
  8: ["Q8_0", 32, 34],
  9: ["Q8_1", 32, 36],
  10: ["Q2_K", 256, 84],
  11: ["Q3_K", 256, 110],
  12: ["Q4_K", 256, 144],
  13: ["Q5_K", 256, 176],
  14: ["Q6_K", 256, 210],
  15: ["Q8_K", 256, 292],
  24: ["I8", 1, 1],
  25: ["I16", 1, 2],
  26: ["I32", 1, 4],
  27: ["I64", 1, 8],
  28: ["F64", 1, 8],
  30: ["BF16", 1, 2],
};

/**
 * Opens a GGUF file: its typed fields, and tensors that are read when they are asked for; those of quantised types as
 * bytes only. Lengths of axes are in the order of the library, the last axis adjacent in memory.
 *
 * @throws ValueError for a file that is malformed or of another kind, LorantzError for what cannot be read.
 * @example
 * const blob = await gguf.toBlob({ w: tensor([1, 2]) }, { "general.type": { type: "string", value: "adapter" } });
 * const file = await gguf.open(blob);
 * console.log(file.metadata["general.type"]?.value, file.info("w").shape); // adapter, [2]
 */
export async function open(from: FileSource): Promise<TensorFile<GgufFields>> {
  const source = await openSource(from);
  // The header does not say how long it is.
  for (let length = 2 ** 16; ; length *= 4) {
    const whole = length >= source.size;
    try {
      const { placed, fields } = parse(source, await readRange(source, 0, Math.min(length, source.size)));
      return new TensorFile(source.name, placed, fields);
    } catch (error) {
      if (!(error instanceof Short)) throw error;
      if (whole)
        throw new ValueError(
          `${source.name}: ends within its header. It is no GGUF file, or it was cut off.`,
        );
    }
  }
}

/** The bytes at hand end before the header does. */
class Short extends Error {}

function parse(
  source: Source,
  bytes: Uint8Array,
): { readonly placed: ReadonlyMap<string, Placed>; readonly fields: GgufFields } {
  const fail = (what: string): never => {
    throw new ValueError(`${source.name}: ${what}. It is no GGUF file, or it is damaged.`);
  };
  const view = new DataView(bytes.buffer);
  let at = 0;
  const take = (length: number): number => {
    if (length > bytes.length - at) throw new Short();
    at += length;
    return at - length;
  };
  const count = (): number => {
    const value = view.getBigUint64(take(8), true);
    // Each of what is counted takes a byte at least.
    return value <= source.size
      ? Number(value)
      : fail(`counts ${value} of something, in ${source.size} bytes`);
  };
  const text = (): string => {
    const length = count();
    const start = take(length);
    return decodeText(source.name, bytes.subarray(start, start + length));
  };
  const typeOf = (): FieldType => {
    const number = view.getUint32(take(4), true);
    return fieldTypes[number] ?? fail(`has a field of the type ${number}`);
  };
  const value = (type: FieldType, depth: number): GgufField => {
    switch (type) {
      case "string":
        return { type, value: text() };
      case "bool": {
        const byte = view.getUint8(take(1));
        return byte > 1 ? fail(`has a truth value of ${byte}`) : { type, value: byte === 1 };
      }
      case "array": {
        if (depth > 4) fail("has arrays in each other");
        const of = typeOf();
        const length = count();
        const list: GgufValue[] = [];
        for (let i = 0; i < length; i++) list.push(value(of, depth + 1).value);
        return { type, of, value: list };
      }
      case "uint64":
        return { type, value: view.getBigUint64(take(8), true) };
      case "int64":
        return { type, value: view.getBigInt64(take(8), true) };
      default:
        return { type, value: numbers[type].read(view, take(numbers[type].bytes)) };
    }
  };

  if (source.size < 24) fail(`has ${source.size} bytes, fewer than a header`);
  if (view.getUint32(take(4), true) !== magic) fail("does not begin with GGUF");
  const version = view.getUint32(take(4), true);
  if (version !== 2 && version !== 3) fail(`is of version ${version}; 2 and 3 are known`);
  const [tensorCount, fieldCount] = [count(), count()];
  const fields = new Map<string, GgufField>();
  for (let i = 0; i < fieldCount; i++) {
    const name = text();
    if (fields.has(name) || name === "__proto__") fail(`has the field ${show(name)} twice, or under no name`);
    fields.set(name, value(typeOf(), 0));
  }
  const alignment = fields.get("general.alignment")?.value ?? usualAlignment;
  if (!isIntegerIn(alignment, 1, 2 ** 20)) return fail(`has the alignment ${show(alignment)}`);
  const listed: [string, Omit<Placed, "source" | "start"> & { readonly offset: number }][] = [];
  for (let i = 0; i < tensorCount; i++) {
    const name = text();
    const bad = (what: string): never => fail(`the tensor ${show(name)} ${what}`);
    const rank = view.getUint32(take(4), true);
    if (rank > 8) bad(`has ${rank} axes`);
    const shape: number[] = [];
    for (let axis = 0; axis < rank; axis++) shape.unshift(Number(view.getBigUint64(take(8), true)));
    const number = view.getUint32(take(4), true);
    const [dtype, block, bytesOfBlock] = tensorTypes[number] ?? bad(`is of the type ${number}`);
    const size = (numel(shape) / block) * bytesOfBlock;
    const offset = view.getBigUint64(take(8), true);
    if (!Number.isInteger(size) || size > source.size)
      bad(`is ${dtype}[${shape.join(",")}], which the file has no room for`);
    if (offset > source.size || Number(offset) % alignment !== 0) bad(`lies at byte ${offset}`);
    listed.push([name, { dtype, shape, bytes: size, offset: Number(offset) }]);
  }
  const start = alignedTo(at, alignment);
  let end = 0;
  const placed = new Map<string, Placed>();
  for (const [name, { offset, ...tensor }] of [...listed].sort(
    ([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes,
  )) {
    if (offset < end) fail(`the tensor ${show(name)} overlaps another one`);
    if (offset > alignedTo(end, alignment)) fail(`there is a hole before the tensor ${show(name)}`);
    end = offset + tensor.bytes;
    if (start + end > source.size)
      fail(`the tensor ${show(name)} ends at byte ${start + end} of ${source.size}`);
    if (placed.has(name)) fail(`has the tensor ${show(name)} twice`);
    placed.set(name, { ...tensor, source, start: start + offset });
  }
  const inOrder = listed.map(([name]): [string, Placed] => [name, placed.get(name)!]);
  return { placed: new Map(inOrder), fields: Object.fromEntries(fields) };
}

/**
 * Writes a GGUF file of version 3, fields and tensors in the order in which they are given. It is written beside its place
 * and renamed.
 *
 * @throws as `safetensors.write`.
 */
export async function write(
  path: string,
  entries: Readonly<Record<string, Entry>>,
  fields: GgufFields = {},
): Promise<void> {
  await writeFiles(new Map([[path, parts(path, entries, fields)]]));
}

/** The same as a Blob, for pages. */
export async function toBlob(
  entries: Readonly<Record<string, Entry>>,
  fields: GgufFields = {},
): Promise<Blob> {
  return blobOf(parts("gguf.toBlob", entries, fields));
}

/** The bytes of a file in pieces. */
export async function* parts(
  where: string,
  entries: Readonly<Record<string, Entry>>,
  fields: GgufFields,
): AsyncGenerator<Uint8Array> {
  const alignment = Number(fields["general.alignment"]?.value ?? usualAlignment);
  const list = Object.entries(entries).map(([name, entry]) => ({
    name,
    ...entryOf(`${where}: ${name}`, entry),
  }));
  const header = new Header();
  header.uint32(magic);
  header.uint32(3);
  header.uint64(list.length);
  header.uint64(Object.keys(fields).length);
  for (const [name, field] of Object.entries(fields)) {
    header.text(name);
    header.field(field);
  }
  let at = 0;
  for (const { name, dtype, shape, bytes } of list) {
    const number = Object.keys(tensorTypes).find((key) => tensorTypes[Number(key)]![0] === dtype);
    if (number === undefined)
      throw new ValueError(`${where}: ${name} is ${dtype}, which GGUF does not have.`);
    header.text(name);
    header.uint32(shape.length);
    for (const length of shape.toReversed()) header.uint64(length);
    header.uint32(Number(number));
    header.uint64(at);
    at += alignedTo(bytes, alignment);
  }
  yield header.bytes(alignment);
  for (const entry of list) {
    yield await bytesOfEntry(`${where}: ${entry.name}`, entry);
    yield new Uint8Array(alignedTo(entry.bytes, alignment) - entry.bytes);
  }
}

const alignedTo = (at: number, alignment: number) => Math.ceil(at / alignment) * alignment;

interface NumberKind {
  readonly bytes: number;
  readonly read: (view: DataView, at: number) => number;
  readonly write: (view: DataView, value: number) => void;
}

const numbers: Readonly<Record<NumberType, NumberKind>> = {
  uint8: { bytes: 1, read: (v, at) => v.getUint8(at), write: (v, x) => v.setUint8(0, x) },
  int8: { bytes: 1, read: (v, at) => v.getInt8(at), write: (v, x) => v.setInt8(0, x) },
  uint16: { bytes: 2, read: (v, at) => v.getUint16(at, true), write: (v, x) => v.setUint16(0, x, true) },
  int16: { bytes: 2, read: (v, at) => v.getInt16(at, true), write: (v, x) => v.setInt16(0, x, true) },
  uint32: { bytes: 4, read: (v, at) => v.getUint32(at, true), write: (v, x) => v.setUint32(0, x, true) },
  int32: { bytes: 4, read: (v, at) => v.getInt32(at, true), write: (v, x) => v.setInt32(0, x, true) },
  float32: { bytes: 4, read: (v, at) => v.getFloat32(at, true), write: (v, x) => v.setFloat32(0, x, true) },
  float64: { bytes: 8, read: (v, at) => v.getFloat64(at, true), write: (v, x) => v.setFloat64(0, x, true) },
};

class Header {
  readonly #pieces: Uint8Array[] = [];

  number(type: NumberType, value: number): void {
    const { bytes, write } = numbers[type];
    const piece = new DataView(new ArrayBuffer(bytes));
    write(piece, value);
    this.#pieces.push(new Uint8Array(piece.buffer));
  }

  uint32(value: number): void {
    this.number("uint32", value);
  }

  uint64(value: number | bigint): void {
    this.#pieces.push(new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, BigInt(value))).buffer));
  }

  text(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.uint64(bytes.length);
    this.#pieces.push(bytes);
  }

  field(field: GgufField): void {
    this.uint32(fieldTypes.indexOf(field.type));
    if (field.type === "array") {
      this.uint32(fieldTypes.indexOf(field.of));
      this.uint64(field.value.length);
      for (const value of field.value) this.value(field.of, value);
    } else this.value(field.type, field.value);
  }

  value(type: FieldType, value: GgufValue): void {
    if (type === "string") this.text(String(value));
    else if (type === "bool") this.number("uint8", value ? 1 : 0);
    else if (type === "uint64" || type === "int64") this.uint64(BigInt(value as bigint));
    else if (type === "array") throw new ValueError("gguf: arrays of arrays are not written.");
    else this.number(type, Number(value));
  }

  /** All of it, filled up with zeros to a multiple. */
  bytes(alignment: number): Uint8Array {
    const length = this.#pieces.reduce((sum, piece) => sum + piece.length, 0);
    const all = new Uint8Array(alignedTo(length, alignment));
    let at = 0;
    for (const piece of this.#pieces) {
      all.set(piece, at);
      at += piece.length;
    }
    return all;
  }
}
