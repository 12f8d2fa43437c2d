import "../base/disposable.ts";
import type { Backend, DeviceBuffer, Executable, RunArguments } from "../backend/backend.ts";
import type { StoredArray } from "../base/dtype.ts";
import { DeviceError, DisposedError } from "../base/errors.ts";
import { keepLater, type Later } from "../base/later.ts";
import { Recent } from "../base/recent.ts";
import type { Program } from "../compile/program.ts";

/** A program and what runs it. */
export interface Loaded {
  readonly program: Program;
  readonly executable: Executable;
}

/** Sees what a device compiles, and runs programs in its place. Times are of performance.now(). */
export interface Observer {
  compiled(start: number, end: number): void;
  run(loaded: Loaded, args: RunArguments): void;
}

/** Spare buffers are kept of so many sizes. */
const mostSizes = 128;

/**
 * A backend with the bookkeeping around it: which buffers are alive, spare buffers for reuse, loaded programs,
 * and the bounds that keep lazy evaluation from running away. Made by `init`.
 */
export class Device {
  readonly backend: Backend;
  /** Bytes that live tensors may hold: beyond, garbage is collected, and if that does not help it is an error. */
  readonly maxBytes: number;
  /** Whether indices are checked whenever something is computed, for which the host waits each time. */
  readonly checkIndices: boolean;
  /** Set while the device is profiled. */
  observer: Observer | undefined;
  readonly #programs = new Recent<string, Later<Loaded>>(maxPrograms, unload);
  #caches = new WeakMap<object, Recent<string, unknown>>();
  readonly #spare = new Map<number, DeviceBuffer[]>();
  readonly #collected: FinalizationRegistry<DeviceBuffer>;
  #liveBytes = 0;
  #liveBuffers = 0;
  /** Garbage is collected when live tensors hold more than this. */
  #collectAbove: { readonly buffers: number; readonly bytes: number };
  #spareBytes = 0;
  #lost: string | undefined;
  #disposed = false;
  #submitted = 0;

  constructor(backend: Backend, maxBytes: number, checkIndices = false) {
    this.backend = backend;
    this.maxBytes = maxBytes;
    this.checkIndices = checkIndices;
    this.#collectAbove = this.#collectLater();
    this.#collected = new FinalizationRegistry((buffer) => this.free(buffer));
    void backend.lost.then((reason) => {
      this.#lost = reason;
      this.#forget();
    });
  }

  get name(): string {
    return this.backend.name;
  }

  get description(): string {
    return this.backend.description;
  }

  /** Bytes held by tensors; intermediates of programs and spare buffers not counted. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  allocate(bytes: number): DeviceBuffer {
    this.check();
    const size = Math.max(bytes, 4);
    if (size > this.maxBytes) {
      throw new DeviceError(
        `${this.name}: a tensor of ${bytes} bytes is larger than the budget of ${this.maxBytes} bytes for all live tensors. ` +
          "Split it, use a smaller batch, or raise init({ maxBytes }).",
      );
    }
    const spares = this.#spare.get(size);
    const spare = spares?.pop();
    if (spares?.length === 0) this.#spare.delete(size);
    this.#liveBytes += size;
    this.#liveBuffers++;
    if (spare) {
      this.#spareBytes -= size;
      return spare;
    }
    try {
      return this.backend.allocate(size);
    } catch (error) {
      if (this.#spareBytes > 0) {
        // Spare buffers of other sizes may be what is in the way.
        this.#release();
        try {
          return this.backend.allocate(size);
        } catch {
          // The first error says what was asked for.
        }
      }
      this.#liveBytes -= size;
      this.#liveBuffers--;
      throw error;
    }
  }

  /** Gives spare buffers back to the backend. */
  #release(): void {
    for (const list of this.#spare.values()) for (const buffer of list) this.backend.free(buffer);
    this.#spare.clear();
    this.#spareBytes = 0;
  }

  /** Takes a buffer back, to be handed out again. */
  free(buffer: DeviceBuffer): void {
    if (this.#disposed) return;
    this.#liveBytes -= buffer.bytes;
    this.#liveBuffers--;
    if (this.#lost !== undefined || this.#spareBytes + buffer.bytes > this.maxBytes / 4) {
      this.backend.free(buffer);
      return;
    }
    this.#spareBytes += buffer.bytes;
    const list = this.#spare.get(buffer.bytes) ?? [];
    list.push(buffer);
    // The sizes in the order of their last use, of which those that nobody asks for any more go.
    this.#spare.delete(buffer.bytes);
    this.#spare.set(buffer.bytes, list);
    if (this.#spare.size <= mostSizes) return;
    const [first] = this.#spare;
    const [oldest, unused] = first!; // there are more than none
    this.#spare.delete(oldest);
    for (const each of unused) this.backend.free(each);
    this.#spareBytes -= oldest * unused.length;
  }

  /** Frees the buffer when `storage` is collected, unless it is forgotten before. */
  watch(storage: object, buffer: DeviceBuffer): void {
    this.#collected.register(storage, buffer, storage);
  }

  forget(storage: object): void {
    this.#collected.unregister(storage);
  }

  async read(buffer: DeviceBuffer, into: StoredArray): Promise<void> {
    this.check();
    await this.backend.read(buffer, into);
    this.#submitted = 0;
    this.check();
  }

  /** Reads without waiting, and says whether that is possible. */
  readNow(buffer: DeviceBuffer, into: StoredArray): boolean {
    if (this.#disposed || this.#lost !== undefined || !this.backend.readNow) return false;
    this.backend.readNow(buffer, into);
    return true;
  }

  /**
   * The program of that key, made by `build` and loaded if it is new. It stays loaded at least until what awaits it has
   * gone on: whoever keeps it for longer asks again.
   */
  load(key: string, build: () => Program): Later<Loaded> {
    this.check();
    const known = this.#programs.get(key);
    if (known) return known;
    const start = performance.now();
    const program = build();
    const loaded = this.backend.load(program).then(async (executable) => {
      this.observer?.compiled(start, performance.now());
      // The memory of a long program comes on top of what making it has left, unless that goes before.
      if (program.kernels.length > fewKernels && collector()) await collectGarbage();
      return { program, executable };
    });
    return keepLater(this.#programs, key, loaded);
  }

  /** What `owner` keeps for this device, such as the traces of a compiled function: bounded, and gone with either. */
  cacheOf<V>(owner: object): Recent<string, V> {
    let cache = this.#caches.get(owner);
    if (!cache) {
      cache = new Recent(maxPrograms);
      this.#caches.set(owner, cache);
    }
    return cache as Recent<string, V>; // an owner keeps values of one kind
  }

  /** Submits a loaded program. */
  run(loaded: Loaded, args: RunArguments): void {
    this.check();
    if (this.observer) this.observer.run(loaded, args);
    else loaded.executable.run(args);
  }

  /** Submits loaded programs that do not wait for each other's results; now and then there is something to await. */
  together(runs: readonly (readonly [Loaded, RunArguments])[]): Promise<unknown> | undefined {
    const { backend } = this;
    if (this.observer || !backend.together || runs.length < 2) {
      for (const [loaded, args] of runs) this.run(loaded, args);
      return undefined;
    }
    this.check();
    return backend.together(runs.map(([{ executable }, args]) => ({ executable, args })));
  }

  /** How many programs are loaded. */
  get programs(): number {
    return this.#programs.size;
  }

  /** Called after each run: bounds the work in flight, and what waits for collection. Now and then there is something to await. */
  settle(): Promise<void> | undefined {
    const { buffers, bytes } = this.#collectAbove;
    const heavy = this.#liveBytes > bytes || this.#liveBuffers > buffers;
    return ++this.#submitted < maxInFlight && !heavy ? undefined : this.#catchUp(heavy);
  }

  async #catchUp(heavy: boolean): Promise<void> {
    this.#submitted = 0;
    await this.backend.finish();
    // Finalisers run between turns of the event loop, and a loop that only awaits promises never ends its turn.
    await nextTurn();
    if (!heavy) return;
    await collectGarbage();
    this.#collectAbove = this.#collectLater();
    if (this.#liveBytes > this.maxBytes) {
      throw new DeviceError(
        `${this.name}: live tensors hold ${this.#liveBytes} bytes, more than the budget of ${this.maxBytes}. ` +
          "Donate what a step replaces, dispose of large results, or raise init({ maxBytes }).",
      );
    }
  }

  /** What may pile up beyond what is alive now: a quarter of the budget, so that a backend never runs out before. */
  #collectLater() {
    return { buffers: this.#liveBuffers + uncollected, bytes: this.#liveBytes + this.maxBytes / 4 };
  }

  check(): void {
    if (this.#disposed)
      throw new DisposedError(`${this.name}: the device was disposed. Call init() for a new one.`);
    if (this.#lost !== undefined)
      throw new DeviceError(
        `${this.name}: the device was lost: ${this.#lost}. Dispose of it and call init() again; tensors on it are gone.`,
      );
  }

  /** Releases the device with all that is kept for it; a process that used WebGPU can then exit. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#forget();
    this.backend.dispose();
  }

  /** Lets go of all that is kept for a device that runs nothing any more. */
  #forget(): void {
    for (const loaded of this.#programs.values()) unload(loaded);
    this.#programs.clear();
    this.#caches = new WeakMap();
    this.#release();
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function unload(loaded: Later<Loaded>): void {
  void Promise.resolve(loaded).then(
    ({ executable }) => executable.dispose(),
    () => {},
  );
}

/** Programs kept loaded, and traces kept of one function; the least recently used goes first. */
const maxPrograms = 256;

/** Submits in flight before the host waits for the device. */
const maxInFlight = 64;

/** Buffers that may wait for collection before it is asked for: small ones put no pressure on the collector. */
const uncollected = 2048;

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else {
      // By a message: timers of pages wait for 4 ms, and for a second in a tab that nobody looks at.
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(undefined);
    }
  });
}

/** Kernels whose making leaves little garbage. */
const fewKernels = 512;

/** Collects garbage now and lets finalisers run. */
async function collectGarbage(): Promise<void> {
  const collect = collector() ?? provokeCollection;
  for (let round = 0; round < 2; round++) {
    await collect();
    await nextTurn();
  }
}

/** The collector of the platform, where it can be asked (Node). */
function collector(): (() => void) | undefined {
  found ??= { collect: findCollector() };
  return found.collect;
}

let found: { readonly collect: (() => void) | undefined } | undefined;

/** Pages cannot ask for a collection; dropping large buffers brings one about, mostly within 100 MB. */
async function provokeCollection(): Promise<void> {
  let collected = false;
  const registry = new FinalizationRegistry(() => {
    collected = true;
  });
  for (let i = 0; i < 64 && !collected; i++) {
    registry.register(new ArrayBuffer(2 ** 24), undefined);
    await nextTurn();
  }
}

function findCollector(): (() => void) | undefined {
  const { gc, process } = globalThis as {
    gc?: () => void;
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  if (gc) return gc;
  const v8 = process?.getBuiltinModule?.("node:v8") as typeof import("node:v8") | undefined;
  const vm = process?.getBuiltinModule?.("node:vm") as typeof import("node:vm") | undefined;
  if (!v8 || !vm) return undefined;
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc") as () => void; // the flag defines it in new contexts
}
