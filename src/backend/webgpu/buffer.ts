import { DeviceError, internal, messageOf } from "../../base/errors.ts";
import type { DeviceBuffer } from "../backend.ts";

let nextId = 0;

/** What holds a buffer, or equal parts of which each is one: the buffers of runs that go together (stack.ts). */
export class Memory {
  /** Unique for all time: names the memory in caches. */
  readonly id = nextId++;
  readonly buffer: GPUBuffer;
  readonly parts: number;
  /** Parts in use. */
  #used = 0;

  constructor(buffer: GPUBuffer, parts = 1) {
    this.buffer = buffer;
    this.parts = parts;
  }

  take(): this {
    this.#used++;
    return this;
  }

  /** The memory goes with the last of its parts. */
  release(): void {
    if (--this.#used === 0) this.buffer.destroy();
  }
}

/** A buffer on the GPU. Between runs it may move. */
export class GpuBuffer implements DeviceBuffer {
  readonly bytes: number;
  #memory: Memory;
  #offset = 0;

  constructor(bytes: number, memory: Memory) {
    this.bytes = bytes;
    this.#memory = memory.take();
  }

  get memory(): Memory {
    return this.#memory;
  }

  /** Where it begins in its memory, in bytes. */
  get offset(): number {
    return this.#offset;
  }

  /** Lies elsewhere from now on. Gives what releases the place where it lay, once nothing that is recorded uses that. */
  move(memory: Memory, offset: number): () => void {
    const before = this.#memory;
    this.#memory = memory.take();
    this.#offset = offset;
    return () => before.release();
  }

  free(): void {
    this.#memory.release();
  }
}

/** Copies the bytes of a buffer. */
export function copyBuffer(encoder: GPUCommandEncoder, from: GpuBuffer, to: Memory, offset: number): void {
  const { memory, bytes } = from;
  encoder.copyBufferToBuffer(memory.buffer, from.offset, to.buffer, offset, wholeQuads(bytes));
}

/** Bytes with those of a last quad that is not full: kernels read and write whole ones (quads.ts). */
export function wholeQuads(bytes: number): number {
  return Math.max(16, Math.ceil(bytes / 16) * 16);
}

export function gpuBuffer(buffer: DeviceBuffer): GpuBuffer {
  return buffer instanceof GpuBuffer ? buffer : internal("a buffer of another backend");
}

/** @throws DeviceError where the platform throws. */
export function createBuffer(device: GPUDevice, descriptor: GPUBufferDescriptor): GPUBuffer {
  try {
    return device.createBuffer(descriptor);
  } catch (error) {
    throw new DeviceError(
      `webgpu: the device gives no buffer of ${descriptor.size} bytes: ${messageOf(error)}. ` +
        "Dispose of large tensors, or use a smaller batch.",
    );
  }
}
