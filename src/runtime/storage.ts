import type { DeviceBuffer } from "../backend/backend.ts";
import {
  bytesPerElement,
  type DType,
  decode,
  encode,
  type HostArray,
  type StoredArray,
  storedArray,
} from "../base/dtype.ts";
import { DeviceError, DisposedError, internal } from "../base/errors.ts";
import type { Shape } from "../base/shape.ts";
import { makeNode, type Node, nodeCount, type Storage } from "../graph/node.ts";
import type { Device } from "./device.ts";

/** Why a tensor is gone, and the first node that can only have been made afterwards. */
export interface Closing {
  readonly reason: string;
  readonly at: number;
}

/**
 * The values of a settled node: on the host until a program on some device wants them, then on that device,
 * and read back when asked for. Freed when donated, disposed or collected.
 */
export class TensorStorage implements Storage {
  readonly dtype: DType;
  readonly length: number;
  /** As a device stores them. */
  #host: StoredArray | undefined;
  #device: Device | undefined;
  #buffer: DeviceBuffer | undefined;
  #closed: Closing | undefined;

  constructor(
    dtype: DType,
    length: number,
    values: StoredArray | { readonly device: Device; readonly buffer: DeviceBuffer },
  ) {
    this.dtype = dtype;
    this.length = length;
    if (ArrayBuffer.isView(values)) this.#host = values;
    else this.#hold(values.device, values.buffer);
  }

  get bytes(): number {
    return this.length * bytesPerElement(this.dtype);
  }

  /** The buffer on `device`; host values are uploaded the first time. Whoever may not have them checks before. */
  on(device: Device): DeviceBuffer {
    if (this.#buffer) {
      if (this.#device !== device) throw elsewhere(this.#device!, device);
      return this.#buffer;
    }
    if (!this.#host) throw this.#isGone();
    const buffer = device.allocate(this.bytes);
    device.backend.write(buffer, this.#host);
    this.#hold(device, buffer);
    return buffer;
  }

  /** The device that holds the values, or undefined while they are on the host. */
  get device(): Device | undefined {
    return this.#device;
  }

  /** A copy of the values. */
  async read(): Promise<HostArray> {
    this.check();
    return decode(await this.readStored(), this.dtype);
  }

  /** A copy of the values, as a device stores them. Whoever may not have them checks before. */
  async readStored(): Promise<StoredArray> {
    if (this.#host) return this.#host.slice();
    if (!this.#buffer) throw this.#isGone();
    const values = storedArray(this.dtype, this.length);
    if (this.length > 0) await this.#device!.read(this.#buffer, values);
    return values;
  }

  /** The values, while they are on the host and on no device yet. */
  get onHost(): HostArray | undefined {
    return this.#host && decode(this.#host, this.dtype);
  }

  /** The values, if they can be had without waiting: not those on a GPU. */
  atHand(): HostArray | undefined {
    if (this.#closed) return undefined;
    if (this.#host) return decode(this.#host, this.dtype);
    const values = storedArray(this.dtype, this.length);
    if (this.length > 0 && !this.#device!.readNow(this.#buffer!, values)) return undefined;
    return decode(values, this.dtype);
  }

  /** Gives the buffer of a tensor that was closed away: its owner may overwrite it. */
  take(device: Device): DeviceBuffer {
    const buffer = this.on(device);
    device.forget(this);
    this.#buffer = undefined;
    this.#host = undefined;
    return buffer;
  }

  /** From here on the tensor is gone; what was made of it before keeps the values. Nothing where it was gone before. */
  close(reason: string): Closing | undefined {
    if (this.#closed) return undefined;
    this.#closed = { reason, at: nodeCount() };
    return this.#closed;
  }

  /** Undoes that, where the values are still there. */
  reopen(closing: Closing): void {
    if (this.#closed === closing && (this.#host ?? this.#buffer)) this.#closed = undefined;
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  dispose(): void {
    if (this.#buffer) {
      this.#device!.forget(this);
      this.#device!.free(this.#buffer);
    }
    this.#buffer = undefined;
    this.#host = undefined;
    this.close("disposed");
  }

  /** @throws DisposedError when the tensor is gone. */
  check(): void {
    if (this.#closed) throw this.#isGone();
  }

  /** @throws DisposedError when the tensor was gone before `user` was made of it. */
  checkUse(user: Node): void {
    if (this.#closed && user.id >= this.#closed.at) throw this.#isGone();
  }

  #isGone(): DisposedError {
    return new DisposedError(
      `the tensor was ${this.#closed?.reason ?? internal("storage without values")}; its values are gone. Keep the tensor that came back instead, or do not donate it.`,
    );
  }

  #hold(device: Device, buffer: DeviceBuffer): void {
    this.#device = device;
    this.#buffer = buffer;
    this.#host = undefined;
    device.watch(this, buffer);
  }
}

function elsewhere(home: Device, wanted: Device): Error {
  home.check(); // disposed of or lost: then that is what there is to say
  const name = ({ name, description }: Device) => `${name} (${description})`;
  return new DeviceError(
    `a tensor lives on the device ${name(home)}, and another one, ${name(wanted)}, is to use it: each init() opens a new device. ` +
      "Call init() once, name the tensor's device in compile(f, { device }) and tree.evaluate(x, device), or copy the tensor: " +
      "tensor(await x.data(), { shape: x.shape, dtype: x.dtype }).",
  );
}

export function storageOf(node: Node): TensorStorage {
  const { operation } = node;
  if (operation.kind !== "buffer" || !(operation.storage instanceof TensorStorage))
    internal("the node is not settled");
  return operation.storage;
}

/** A settled node of values that are on the host. */
export function hostNode(values: HostArray, shape: Shape, dtype: DType): Node {
  return storedNode(encode(values, dtype), shape, dtype);
}

/** The same of values as a device stores them, which are not copied. */
export function storedNode(values: StoredArray, shape: Shape, dtype: DType): Node {
  return makeNode(
    { kind: "buffer", storage: new TensorStorage(dtype, values.length, values) },
    [],
    shape,
    dtype,
  );
}
