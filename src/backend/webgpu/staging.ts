import type { StoredArray } from "../../base/dtype.ts";
import type { OpenGpu } from "./gpu-web.ts";

/** Bytes of staging buffers kept for reuse. */
const maxSpareBytes = 64 * 2 ** 20;

/** Reads buffers back through mappable ones, which are kept; several reads may be in flight. */
export class Staging {
  readonly #device: GPUDevice;
  readonly #wait: OpenGpu["wait"];
  readonly #spare = new Map<number, GPUBuffer[]>();
  /** Dawn rejects the map of a buffer that is collected meanwhile: those in flight are held here. */
  readonly #inFlight = new Set<GPUBuffer>();
  #spareBytes = 0;

  constructor(device: GPUDevice, wait: OpenGpu["wait"]) {
    this.#device = device;
    this.#wait = wait;
  }

  /** Fills `into` from the start of `buffer`, after the work submitted so far. */
  async read(buffer: GPUBuffer, into: StoredArray): Promise<void> {
    if (into.byteLength === 0) return;
    const bytes = Math.ceil(into.byteLength / 4) * 4; // copies are of whole words
    const staging = this.#take(bytes);
    this.#inFlight.add(staging);
    try {
      const encoder = this.#device.createCommandEncoder();
      encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
      this.#device.queue.submit([encoder.finish()]);
      await this.#wait(staging.mapAsync(GPUMapMode.READ, 0, bytes));
      new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(
        new Uint8Array(staging.getMappedRange(0, bytes), 0, into.byteLength),
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
    return this.#device.createBuffer({
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
    const list = this.#spare.get(size);
    if (list) list.push(buffer);
    else this.#spare.set(size, [buffer]);
  }
}
