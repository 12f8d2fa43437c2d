import type { StoredArray } from "../../base/dtype.ts";
import type { Program } from "../../compile/program.ts";
import type { Target } from "../../compile/target.ts";
import type { Backend, DeviceBuffer, Executable, Submission } from "../backend.ts";
import { WasmBuffer, wasmBuffer } from "./buffer.ts";
import { WasmExecutable } from "./executable.ts";
import type { List } from "./loaded.ts";
import { Memory } from "./memory.ts";
import type { Emitted } from "./modules.ts";
import { controlBytes } from "./pool-worker.ts";
import { Runner, type RunnerOptions } from "./runner.ts";
import { target } from "./wasm/heuristics.ts";
import { fetchPrinters } from "./wasm/kernel.ts";

/** Kernels as WebAssembly with vectors of 128 bits, over one memory, run by a pool of threads. */
export class WasmBackend implements Backend {
  readonly name = "cpu";
  readonly target: Target = target;
  readonly lost: Promise<string>;
  readonly memory: Memory;
  readonly #runner: Runner;

  constructor(options: RunnerOptions = {}) {
    this.memory = new Memory(controlBytes + 4096);
    this.#runner = new Runner(this.memory, options);
    this.lost = this.#runner.lost;
  }

  get description(): string {
    const { threads, modules } = this.#runner;
    const count = threads === 1 ? "one thread" : `${threads} threads`;
    return `WebAssembly SIMD, ${count}${modules.relaxed ? ", relaxed fma" : ""}`;
  }

  allocate(bytes: number): DeviceBuffer {
    return new WasmBuffer(this.memory.allocate(bytes), bytes);
  }

  free(buffer: DeviceBuffer): void {
    this.memory.free(wasmBuffer(buffer).at);
  }

  write(buffer: DeviceBuffer, data: StoredArray, at = 0): void {
    this.#view(data).set(data, (wasmBuffer(buffer).at + at) / data.BYTES_PER_ELEMENT);
  }

  /** A memory that is not shared moves when it grows. */
  bytesOf(buffer: DeviceBuffer): Uint8Array | undefined {
    const { memory, shared } = this.memory;
    return shared ? new Uint8Array(memory.buffer, wasmBuffer(buffer).at, buffer.bytes) : undefined;
  }

  async read(buffer: DeviceBuffer, into: StoredArray): Promise<void> {
    this.readNow(buffer, into);
  }

  readNow(buffer: DeviceBuffer, into: StoredArray): void {
    const first = wasmBuffer(buffer).at / into.BYTES_PER_ELEMENT;
    into.set(this.#view(into).subarray(first, first + into.length));
  }

  /** The memory in an array of the same kind as `like`. */
  #view(like: StoredArray): StoredArray {
    const { views } = this.memory;
    if (like instanceof Uint16Array) return views.uint16;
    if (like instanceof Float32Array) return views.float32;
    if (like instanceof Float64Array) return views.float64;
    return like instanceof Int32Array ? views.int32 : views.uint32;
  }

  load(program: Program): Promise<WasmExecutable> {
    return this.#load(program, new Map());
  }

  async #load(program: Program, emitted: Map<string, Emitted>): Promise<WasmExecutable> {
    await fetchPrinters(program.kernels.filter((kernel) => kernel.kind !== "loop"));
    const kernels = await Promise.all(
      program.kernels.map(async (kernel) =>
        kernel.kind === "loop"
          ? { loop: kernel, body: await this.#load(kernel.body, emitted) }
          : this.#runner.modules.load(kernel, emitted),
      ),
    );
    await this.#runner.expect(kernels.flatMap((each) => ("kernel" in each ? each.kernel.phases : [])));
    return new WasmExecutable(this.#runner, program, kernels);
  }

  /** Whole runs are taken by a thread each, where their kernels are so short that sharing these loses more. */
  together(submissions: readonly Submission[]): undefined {
    const { threads } = this.#runner;
    const rounds = Math.ceil(submissions.length / threads);
    const size = Math.ceil(submissions.length / rounds);
    for (let at = 0; at < submissions.length; at += size) this.#round(submissions.slice(at, at + size));
  }

  /** One run for each thread, or one after the other. */
  #round(submissions: readonly Submission[]): void {
    const runs = submissions.length > 1 ? this.#lists(submissions) : undefined;
    if (!runs) {
      for (const { executable, args } of submissions) executable.run(args);
      return;
    }
    this.#runner.runLists(runs);
  }

  /** What threads run of these, if each may have one: with memory of its own, in which its arguments lie. */
  #lists(submissions: readonly Submission[]): List[] | undefined {
    if (this.#runner.threads === 1) return undefined;
    const used = new Map<Executable, number>();
    const lists: List[] = [];
    for (const { executable, args } of submissions) {
      const which = used.get(executable) ?? 0;
      used.set(executable, which + 1);
      const list = (executable as WasmExecutable).listOf(which, args); // of this backend
      if (!list) return undefined;
      lists.push(list);
    }
    return lists;
  }

  async finish(): Promise<void> {}

  dispose(): void {
    this.#runner.dispose();
  }
}
