import { DeviceError } from "../../base/errors.ts";

const page = 65536;
/** Buffers begin at multiples of a cache line. */
const alignment = 64;
/** Kernels may read, never write, so far before and behind a buffer; what they read there is not used. */
export const reachBytes = 131072;
/** Growth in steps: each makes new views. */
const step = 64 * 2 ** 20;

function round(bytes: number): number {
  return Math.ceil(Math.max(bytes, 1) / alignment) * alignment;
}

/** Views of the whole memory, made again when it grew. */
export interface Views {
  readonly float32: Float32Array;
  readonly float64: Float64Array;
  readonly int32: Int32Array;
  readonly uint32: Uint32Array;
  readonly uint16: Uint16Array;
  readonly uint8: Uint8Array;
}

/**
 * One WebAssembly memory for everything, and who holds which part of it: free parts are kept in order of their
 * address, neighbours are joined, and a request takes the smallest part that holds it.
 */
export class Memory {
  readonly memory: WebAssembly.Memory;
  readonly shared: boolean;
  /** Pages that it may have. */
  readonly maximum: number;
  #views: Views | undefined;
  /** Free parts as address and length, in order of address. */
  readonly #free: { at: number; bytes: number }[] = [];
  readonly #held = new Map<number, number>();
  #top: number;
  #live = 0;

  /** The first `reserved` bytes are never handed out. */
  constructor(reserved: number) {
    const { memory, maximum, shared } = open();
    this.memory = memory;
    this.maximum = maximum;
    this.shared = shared;
    this.#top = round(Math.max(reserved, reachBytes + 4096));
  }

  get views(): Views {
    const { buffer } = this.memory;
    // A memory that grew has a new buffer; one that is not shared has none of the old bytes there any more.
    if (!this.#views || this.#views.uint8.buffer !== buffer) {
      this.#views = {
        float32: new Float32Array(buffer),
        float64: new Float64Array(buffer),
        int32: new Int32Array(buffer),
        uint32: new Uint32Array(buffer),
        uint16: new Uint16Array(buffer),
        uint8: new Uint8Array(buffer),
      };
    }
    return this.#views;
  }

  /** Bytes that are handed out. */
  get live(): number {
    return this.#live;
  }

  /** @throws DeviceError when there is no room. */
  allocate(bytes: number): number {
    const size = round(bytes);
    let best = -1;
    for (let i = 0; i < this.#free.length; i++) {
      const part = this.#free[i]!;
      if (part.bytes >= size && (best < 0 || part.bytes < this.#free[best]!.bytes)) best = i;
      if (part.bytes === size) break;
    }
    let at: number;
    if (best >= 0) {
      const part = this.#free[best]!;
      at = part.at;
      if (part.bytes === size) this.#free.splice(best, 1);
      else this.#free[best] = { at: at + size, bytes: part.bytes - size };
    } else at = this.#extend(size, bytes);
    this.#held.set(at, size);
    this.#live += size;
    return at;
  }

  free(at: number): void {
    const bytes = this.#held.get(at);
    if (bytes === undefined) return;
    this.#held.delete(at);
    this.#live -= bytes;
    let low = 0;
    let high = this.#free.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#free[middle]!.at < at) low = middle + 1;
      else high = middle;
    }
    const part = { at, bytes };
    const after = this.#free[low];
    if (after && at + bytes === after.at) {
      part.bytes += after.bytes;
      this.#free.splice(low, 1);
    }
    const before = this.#free[low - 1];
    if (before && before.at + before.bytes === at) before.bytes += part.bytes;
    else this.#free.splice(low, 0, part);
    const last = this.#free[this.#free.length - 1];
    if (last && last.at + last.bytes === this.#top) {
      this.#top = last.at;
      this.#free.pop();
    }
  }

  #extend(size: number, asked: number): number {
    const at = this.#top;
    const needed = at + size + reachBytes;
    const have = this.memory.buffer.byteLength;
    const most = this.maximum * page;
    if (needed > have) {
      const left = availableMemory();
      if (needed - have > left) {
        throw new DeviceError(
          `cpu: no memory for ${asked} bytes: the machine has ${left} left. Dispose of large tensors, donate what a step ` +
            "replaces, or use a smaller batch.",
        );
      }
      const wanted = Math.min(Math.max(needed, have + step), most);
      if (needed > most || !(this.#grow(wanted) || this.#grow(needed))) {
        throw new DeviceError(
          `cpu: no memory for ${asked} bytes: ${this.#live} bytes are live, and WebAssembly can have ${most} in ` +
            "one piece. Dispose of large tensors, donate what a step replaces, or use a smaller batch.",
        );
      }
    }
    this.#top = at + size;
    return at;
  }

  #grow(bytes: number): boolean {
    try {
      this.memory.grow(Math.ceil((bytes - this.memory.buffer.byteLength) / page));
      return true;
    } catch {
      return false;
    }
  }
}

/** What the machine, or the container, can still give; pages do not say. Asking for more would end the process. */
function availableMemory(): number {
  const { process } = globalThis as { process?: { availableMemory?: () => number } };
  return process?.availableMemory?.() ?? Infinity;
}

/** The largest memory that the platform gives: shared where threads are possible, up to 4 GiB. */
function open(): { memory: WebAssembly.Memory; maximum: number; shared: boolean } {
  const initial = 128; // pages, of which none is there before it is written: the scratch memory of eight threads
  const isolated = (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated !== false;
  for (const shared of isolated && typeof SharedArrayBuffer !== "undefined" ? [true, false] : [false]) {
    for (let maximum = 65536; maximum >= 4096; maximum /= 2) {
      try {
        return { memory: new WebAssembly.Memory({ initial, maximum, shared }), maximum, shared };
      } catch {
        // Less address space than that.
      }
    }
  }
  throw new DeviceError(
    "cpu: the platform gives no WebAssembly memory with room for 256 MiB. Raise its limit of address space (ulimit -v), or use WebGPU.",
  );
}
