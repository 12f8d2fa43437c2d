import type { StoredArray } from "../../base/dtype.ts";
import { addTo } from "../../base/group.ts";
import { createBuffer, type GpuBuffer } from "./buffer.ts";
import type { OpenGpu } from "./gpu-web.ts";

/** Bytes of staging buffers kept for reuse. */
const maxSpareBytes = 64 * 2 ** 20;

/** Bytes that one batch of reads holds, unless a single one is larger. */
const maxBatchBytes = 16 * 2 ** 20;

interface Read {
  readonly buffer: GpuBuffer;
  readonly into: StoredArray;
  /** Where it lies in the staging buffer, in bytes. */
  readonly at: number;
}

/** Reads that are asked for in one turn: they share a submit and a map. */
interface Batch {
  readonly reads: Read[];
  bytes: number;
  readonly done: Promise<void>;
  readonly start: (transfer: Promise<void>) => void;
}

/** Reads buffers back through mappable ones, which are kept; several batches may be in flight. */
export class Staging {
  readonly #device: GPUDevice;
  readonly #wait: OpenGpu["wait"];
  readonly #spare = new Map<number, GPUBuffer[]>();
  /** Dawn rejects the map of a buffer that is collected meanwhile: those in flight are held here. */
  readonly #inFlight = new Set<GPUBuffer>();
  #spareBytes = 0;
  #waiting: Batch | undefined;

  constructor(device: GPUDevice, wait: OpenGpu["wait"]) {
    this.#device = device;
    this.#wait = wait;
  }

  /**
   * Fills `into` from the start of `buffer`, after the work submitted so far. Whoever submits or writes more, moves or
   * frees the buffer, calls `flush` before.
   */
  read(buffer: GpuBuffer, into: StoredArray): Promise<void> {
    if (into.byteLength === 0) return Promise.resolve();
    const bytes = words(into);
    if (this.#waiting && this.#waiting.bytes + bytes > maxBatchBytes) this.flush();
    this.#waiting ??= this.#newBatch();
    this.#waiting.reads.push({ buffer, into, at: this.#waiting.bytes });
    this.#waiting.bytes += bytes;
    return this.#waiting.done;
  }

  /** Submits the reads that wait for others to join them. */
  flush(): void {
    const batch = this.#waiting;
    this.#waiting = undefined;
    batch?.start(this.#transfer(batch));
  }

  #newBatch(): Batch {
    let start: Batch["start"] = () => {};
    const done = new Promise<void>((resolve) => {
      start = resolve;
    });
    queueMicrotask(() => this.flush());
    return { reads: [], bytes: 0, done, start };
  }

  async #transfer({ reads, bytes }: Batch): Promise<void> {
    const staging = this.#take(bytes);
    this.#inFlight.add(staging);
    try {
      const encoder = this.#device.createCommandEncoder();
      for (const { buffer, into, at } of reads)
        encoder.copyBufferToBuffer(buffer.memory.buffer, buffer.offset, staging, at, words(into));
      this.#device.queue.submit([encoder.finish()]);
      await this.#wait(staging.mapAsync(GPUMapMode.READ, 0, bytes));
      const mapped = new Uint8Array(staging.getMappedRange(0, bytes));
      for (const { into, at } of reads)
        new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(
          mapped.subarray(at, at + into.byteLength),
        );
      staging.unmap();
      this.#give(staging);
    } catch (error) {
      staging.destroy();
      throw error;
    } finally {
      this.#inFlight.delete(staging);
    }
  }

  dispose(): void {
    for (const buffer of [...this.#spare.values(), [...this.#inFlight]].flat()) buffer.destroy();
    this.#spare.clear();
    this.#spareBytes = 0;
  }

  #take(bytes: number): GPUBuffer {
    // Powers of two are shared by reads of many sizes; large ones would waste too much.
    const size = bytes > 2 ** 20 ? bytes : Math.max(256, 2 ** Math.ceil(Math.log2(bytes)));
    const spare = this.#spare.get(size)?.pop();
    if (spare) {
      this.#spareBytes -= size;
      return spare;
    }
    return createBuffer(this.#device, {
      size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      label: "staging",
    });
  }

  #give(buffer: GPUBuffer): void {
    const { size } = buffer;
    if (this.#spareBytes + size > maxSpareBytes) {
      buffer.destroy();
      return;
    }
    this.#spareBytes += size;
    addTo(this.#spare, size, buffer);
  }
}

/** Bytes of a copy, which is of whole words. */
function words({ byteLength }: StoredArray): number {
  return Math.ceil(byteLength / 4) * 4;
}
