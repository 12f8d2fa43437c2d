import type { DeviceBuffer } from "../backend/backend.ts";
import {
  checkArgument,
  type Fields,
  field,
  isPlainObject,
  oneOf,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import {
  bytesPerElement,
  type DeviceDType,
  deviceDTypes,
  type FloatDType,
  fileDType,
  isFloat,
  type StoredArray,
} from "../base/dtype.ts";
import { DTypeError, ValueError } from "../base/errors.ts";
import { numel, type Shape } from "../base/shape.ts";
import { makeNode } from "../graph/node.ts";
import { Device } from "../runtime/device.ts";
import { storageOf, storedNode, TensorStorage } from "../runtime/storage.ts";
import { type Packed, type PackFormat, type PackOptions, pack, packedFloats } from "../tensor/packed.ts";
import { Tensor } from "../tensor/tensor.ts";
import { dispose, evaluate } from "../tensor/tree.ts";
import { readRange, type Source } from "./source.ts";
import { fromFile, readDType } from "./stored.ts";

/** What a file says of a tensor. */
export interface TensorInfo {
  /** As the format names it: "F32", "BF16", "I64", ... */
  readonly dtype: string;
  readonly shape: Shape;
  readonly bytes: number;
}

/** A tensor of a file, and where its bytes are. */
export interface Placed extends TensorInfo {
  readonly source: Source;
  /** Of the first byte in the source. */
  readonly start: number;
}

export interface ReadOptions<D extends DeviceDType = DeviceDType> {
  /** Puts the values on a device at once, by way of memory that is used again: faster for many tensors. */
  readonly device?: Device;
  /**
   * What the values become, rounded to the nearest. By default F64 becomes float64, F32, F16 and BF16 float32, integers
   * int32 or uint32, BOOL bool. "float16" keeps F16 as it is, "bfloat16" BF16.
   */
  readonly dtype?: D;
}

export interface ReadPackedOptions extends ReadOptions<FloatDType> {
  /** Storage of the weight, as `pack` takes it; `dtype` is that of the unpacked weight. */
  readonly pack: PackFormat | PackOptions;
}

const dtypeField = optional(oneOf(deviceDTypes));
const readFields: Fields<{ dtype: DeviceDType; pack: PackFormat | PackOptions; device: Device }> = {
  dtype: dtypeField,
  device: optional(field("a device that init opened", (device) => device instanceof Device)),
  pack: optional(
    field(
      'a format such as "nf4", or options of pack',
      (value) => typeof value === "string" || isPlainObject(value),
    ),
  ),
};
const aName = field<string>("the name of a tensor", (name) => typeof name === "string");

/** The tensors of one file, or of the shards of a checkpoint. A tensor is read when it is asked for. */
export class TensorFile<M = unknown> {
  /** For messages. */
  readonly name: string;
  readonly names: readonly string[];
  /** What the file says beside its tensors. */
  readonly metadata: M;
  readonly #placed: ReadonlyMap<string, Placed>;
  #passing: Uint8Array | undefined;

  /** @internal */
  constructor(name: string, placed: ReadonlyMap<string, Placed>, metadata: M) {
    this.name = name;
    this.names = [...placed.keys()];
    this.metadata = metadata;
    this.#placed = placed;
  }

  has(name: string): boolean {
    return this.#placed.has(name);
  }

  /** @throws ValueError for a name that is not there, naming those that are close. */
  info(name: string): TensorInfo {
    const { dtype, shape, bytes } = this.placed(name);
    return { dtype, shape, bytes };
  }

  /** @internal */
  placed(name: string): Placed {
    const placed = this.#placed.get(checkArgument(this.name, "name", name, aName));
    if (placed) return placed;
    const last = name.split(".").slice(-2).join(".");
    const close = this.names.filter((other) => other.endsWith(last) || name.endsWith(other));
    const list = close.length > 0 ? close : this.names;
    throw new ValueError(
      `${this.name}: there is no tensor ${show(name)}; it has ${list.slice(0, 8).join(", ") || "none"}${list.length > 8 ? ", ..." : ""}.`,
    );
  }

  /** The bytes of a tensor as the file has them. @throws as `info`, LorantzError where they cannot be read. */
  async bytes(name: string): Promise<Uint8Array> {
    const { source, start, bytes } = this.placed(name);
    return readRange(source, start, bytes);
  }

  /**
   * A tensor, or a weight in packed storage: packed as it is read, so that no dense copy of it stays. Packing other
   * than BF16 to "bfloat16" is computed on the default device.
   *
   * @throws as `info`; DTypeError for dtypes that tensors do not have, and for integers beyond 32 bits; LorantzError where
   *   the bytes cannot be read.
   * @example
   * const file = await safetensors.open(await safetensors.toBlob({ w: tensor([1, 2]) }));
   * const w = await file.read("w", { dtype: "float64" }); // float64[2]
   */
  read<D extends DeviceDType>(
    name: string,
    options: { readonly dtype: D; readonly device?: Device },
  ): Promise<Tensor<D>>;
  read(name: string, options: ReadPackedOptions): Promise<Packed>;
  read(name: string, options?: ReadOptions): Promise<Tensor>;
  read(name: string, options: ReadOptions & { readonly pack?: undefined }): Promise<Tensor>;
  async read(name: string, options: ReadOptions | ReadPackedOptions = {}): Promise<Tensor | Packed> {
    const placed = this.placed(name);
    const where = `${this.name}: ${name}`;
    const given = readOptions(where, readFields, options);
    const dtype = readDType(where, placed.dtype, given.dtype);
    const { device } = given;
    const dense = (as = dtype) => {
      const values = (bytes: Uint8Array, shape: Shape) => fromFile(where, placed.dtype, bytes, shape, as);
      return device && isFloat(as)
        ? this.#pass(placed, device, as, values)
        : this.#make(placed, device, as, values);
    };
    if (given.pack === undefined) return dense();
    if (!isFloat(dtype)) throw new DTypeError(`${where}: is ${placed.dtype}; only floats are packed.`);
    const packing = typeof given.pack === "string" ? { format: given.pack } : given.pack;
    if (packing.format === "bfloat16") return packedFloats(await dense("bfloat16"), dtype);
    const whole = await dense();
    const packed = await evaluate(pack(whole, packing), device);
    dispose(whole);
    return packed;
  }

  /** A tensor of the bytes, read at once. */
  async #make(
    { source, start, bytes, shape }: Placed,
    device: Device | undefined,
    as: DeviceDType,
    values: Values,
  ): Promise<Tensor> {
    const made = storedNode(values(await readRange(source, start, bytes), shape), shape, as);
    if (device) storageOf(made).on(device);
    return new Tensor(made);
  }

  /** Floats of the bytes, in a buffer of the device: read there where that can be, and where they are stored as they are. */
  async #pass(placed: Placed, device: Device, as: DeviceDType, values: Values): Promise<Tensor> {
    const { source, start, dtype, shape } = placed;
    const length = numel(shape);
    const buffer = device.allocate(length * bytesPerElement(as));
    try {
      const same = source.fillsShared && fileDType(as) === dtype;
      const there = same ? device.backend.bytesOf?.(buffer) : undefined;
      if (there) await source.read(there.subarray(0, placed.bytes), start);
      else await this.#inParts(placed, device, as, values, buffer);
    } catch (error) {
      device.free(buffer);
      throw error;
    }
    const storage = new TensorStorage(as, length, { device, buffer });
    return new Tensor(makeNode({ kind: "buffer", storage }, [], shape, as));
  }

  /** Part by part by way of memory that is used again: new memory costs more than to read, and a large tensor is never there twice. */
  async #inParts(
    { source, start, bytes, shape }: Placed,
    device: Device,
    as: DeviceDType,
    values: Values,
    buffer: DeviceBuffer,
  ): Promise<void> {
    const length = numel(shape);
    const each = bytes / Math.max(length, 1);
    const memory = this.#passing ?? new Uint8Array(mostPassing);
    this.#passing = undefined; // another read at the same time takes its own
    const most = mostPassing / each;
    for (let from = 0; from < length; from += most) {
      const count = Math.min(most, length - from);
      const part = memory.subarray(0, count * each);
      await source.read(part, start + from * each);
      device.backend.write(buffer, values(part, [count]), from * bytesPerElement(as));
    }
    this.#passing = memory;
  }
}

/** What a device stores of the bytes of a tensor, or of a part of it. */
type Values = (bytes: Uint8Array, shape: Shape) => StoredArray;

/** Bytes that are kept to read into. */
const mostPassing = 2 ** 22;
