import { DeviceError, internal, messageOf } from "../../base/errors.ts";
import type { DeviceBuffer } from "../backend.ts";

let nextId = 0;

/** A buffer on the GPU. */
export class GpuBuffer implements DeviceBuffer {
  /** Unique for all time, unlike memory: names the buffer in caches. */
  readonly id = nextId++;
  readonly bytes: number;
  readonly buffer: GPUBuffer;

  constructor(bytes: number, buffer: GPUBuffer) {
    this.bytes = bytes;
    this.buffer = buffer;
  }
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
