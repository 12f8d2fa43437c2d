import { debug } from "../../base/debug.ts";
import { coerce, type DeviceDType, isFloat, type StoredArray } from "../../base/dtype.ts";
import { DeviceError, DisposedError, internal } from "../../base/errors.ts";
import type { Kernel } from "../../compile/kernel.ts";
import type { LoopKernel, Place, Program } from "../../compile/program.ts";
import type { Target } from "../../compile/target.ts";
import { bytesOf, type ValueId } from "../../compile/value.ts";
import type { Backend, DeviceBuffer, Executable, KernelTimes, Submission } from "../backend.ts";
import { carriedBytes, sourceOfLoop, stepsOf } from "../loop.ts";
import { Memory } from "./memory.ts";
import { defaultThreads, Pool, type Run } from "./pool.ts";
import { controlBytes, entry, listed } from "./pool-worker.ts";
import { Module } from "./wasm/assemble.ts";
import { turn as atATime, joining, longest, target } from "./wasm/heuristics.ts";
import { evaluators } from "./wasm/imports.ts";
import { emitKernel, printKernel, type WasmKernel } from "./wasm/kernel.ts";
import { threadScratch } from "./wasm/matmul/schedule.ts";

/** Does the platform have vector instructions, and fused multiply-add? */
export function supportsVectors(instruction: "f32x4.add" | "f32x4.relaxed_madd" = "f32x4.add"): boolean {
  if (typeof WebAssembly === "undefined") return false;
  const module = new Module();
  module.define("probe", { x: "v128" }, (code, { x }) => {
    code.get(x).get(x);
    if (instruction === "f32x4.relaxed_madd") code.get(x);
    code.op(instruction, "drop");
  });
  return WebAssembly.validate(module.encode({ shared: false, maximum: 1 }));
}

/** A part of the memory. */
class WasmBuffer implements DeviceBuffer {
  readonly bytes: number;
  readonly at: number;

  constructor(at: number, bytes: number) {
    this.at = at;
    this.bytes = bytes;
  }
}

function wasmBuffer(buffer: DeviceBuffer): WasmBuffer {
  return buffer instanceof WasmBuffer ? buffer : internal("a buffer of another backend");
}

/** A compiled module, shared by the kernels that have it: they may differ in how many units they run. */
interface Compiled {
  readonly key: string;
  readonly id: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly functions: readonly Run[];
  /** Where the bytes lie for the workers; undefined while none needed them. */
  at: number | undefined;
  users: number;
}

interface Loaded {
  /** What there is to know of a kernel to run it; its code is shared, and its text is made again for whoever asks. */
  readonly kernel: Pick<WasmKernel, "given" | "phases" | "scratch" | "imports">;
  readonly compiled: Compiled;
  /** What it runs, in order. */
  readonly turns: readonly Turn[];
}

/** A loop, whose body is a program. */
interface LoadedLoop {
  readonly loop: LoopKernel;
  readonly body: WasmExecutable;
}

export interface WasmBackendOptions {
  readonly threads?: number | undefined;
  /** Fused multiply-add; by default where the platform has it. */
  readonly relaxed?: boolean | undefined;
  /** Nanoseconds of work from which threads share a kernel; less than a worker needs to join makes sense in tests only. */
  readonly worthSharing?: number | undefined;
}

/** Kernels as WebAssembly with vectors of 128 bits, over one memory, run by a pool of threads. */
export class WasmBackend implements Backend {
  readonly name = "cpu";
  readonly target: Target = target;
  readonly lost: Promise<string>;
  readonly memory: Memory;
  readonly #pool: Pool | undefined;
  readonly #relaxed: boolean;
  readonly #worthSharing: number;
  /** Scratch memory of this thread. */
  readonly #own: number;
  readonly #compiled = new Map<string, Promise<Compiled>>();
  readonly #tables = new Map<readonly number[], number>();
  #scratch: WasmBuffer | undefined;
  #ids = 0;

  constructor({ threads = defaultThreads(), relaxed, worthSharing = joining }: WasmBackendOptions = {}) {
    this.#worthSharing = worthSharing;
    this.memory = new Memory(controlBytes + 4096);
    this.#relaxed = relaxed ?? supportsVectors("f32x4.relaxed_madd");
    const scratch = Array.from({ length: this.memory.shared ? threads : 1 }, () =>
      this.memory.allocate(threadScratch),
    );
    this.#own = scratch[0]!;
    if (scratch.length > 1) this.#pool = new Pool(this.memory.memory, scratch.slice(1));
    this.lost = this.#pool?.lost ?? new Promise(() => {});
  }

  get description(): string {
    const threads = this.#pool?.threads ?? 1;
    const count = threads === 1 ? "one thread" : `${threads} threads`;
    return `WebAssembly SIMD, ${count}${this.#relaxed ? ", relaxed fma" : ""}`;
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

  async load(program: Program): Promise<WasmExecutable> {
    const kernels = await Promise.all(
      program.kernels.map(async (kernel) =>
        kernel.kind === "loop" ? { loop: kernel, body: await this.load(kernel.body) } : this.#load(kernel),
      ),
    );
    const heavy = kernels.some(
      (each) =>
        "kernel" in each &&
        each.kernel.phases.some((p) => p.units > 1 && p.units * p.cost > this.#worthSharing),
    );
    if (heavy) await this.#pool?.start();
    return new WasmExecutable(this, program, kernels);
  }

  /** Whole runs are taken by a thread each, where their kernels are so short that sharing these loses more. */
  together(submissions: readonly Submission[]): void {
    const threads = this.#pool?.threads ?? 1;
    const rounds = Math.ceil(submissions.length / threads);
    const size = Math.ceil(submissions.length / rounds);
    for (let at = 0; at < submissions.length; at += size) this.#round(submissions.slice(at, at + size));
  }

  /** One run for each thread, or one after the other. */
  #round(submissions: readonly Submission[]): void {
    const runs = submissions.length > 1 ? this.#lists(submissions) : undefined;
    if (!runs) {
      for (const { executable, inputs, outputs, scalars } of submissions)
        executable.run(inputs, outputs, scalars);
      return;
    }
    void this.#pool!.start(); // until it has, this thread does all of it
    const table = this.memory.allocate(4 * runs.length);
    try {
      runs.forEach(({ at }, i) => {
        this.memory.views.uint32[table / 4 + i] = at;
      });
      const job = {
        module: listed,
        bytes: 0,
        length: 0,
        phase: 0,
        args: table,
        scratch: 0,
        first: 0,
        units: runs.length,
      };
      this.#pool!.run(
        { ...job, grain: 1 },
        (begin, end) => {
          for (const { run } of runs.slice(begin, end)) run(this.#own);
        },
        this.#own,
      );
    } finally {
      this.memory.free(table);
    }
  }

  /** What threads run of these, if each may have one: with memory of its own, in which its arguments lie. */
  #lists(submissions: readonly Submission[]): List[] | undefined {
    if (!this.#pool) return undefined;
    const used = new Map<Executable, number>();
    const lists: List[] = [];
    for (const { executable, inputs, outputs, scalars } of submissions) {
      const which = used.get(executable) ?? 0;
      used.set(executable, which + 1);
      const list = (executable as WasmExecutable).listOf(which, [inputs, outputs, scalars]); // of this backend
      if (!list) return undefined;
      lists.push(list);
    }
    return lists;
  }

  /** The functions of a kernel in order, as workers find them; undefined where one is for this thread alone. */
  listed({ kernel, compiled, turns }: Loaded, args: number, scratch: number): ListEntry[] | undefined {
    if (kernel.imports.length > 0) return undefined;
    const { functions } = compiled;
    const code = this.#codeOf(compiled);
    return turns.map(({ phase, first, units, beyond }) => ({
      words: { ...code, phase, args, scratch: scratch - beyond, first, units } satisfies Words,
      run: (own) => functions[phase]!(first, first + units, args, scratch - beyond, own),
    }));
  }

  async finish(): Promise<void> {}

  dispose(): void {
    this.#pool?.dispose();
    this.#compiled.clear();
  }

  /** Runs one kernel whose arguments lie at `args`. */
  run(loaded: Loaded, args: number): void {
    const { kernel, turns } = loaded;
    const shared = kernel.scratch > 0 ? this.#scratchOf(kernel.scratch) : 0;
    for (const turn of turns) this.#runTurn(loaded, turn, args, shared - turn.beyond);
  }

  #runTurn({ kernel, compiled }: Loaded, turn: Turn, args: number, scratch: number): void {
    const { phase, first, units } = turn;
    const { cost } = kernel.phases[phase]!;
    const run = compiled.functions[phase]!;
    if (!this.#pool || units === 1 || units * cost < this.#worthSharing || kernel.imports.length > 0) {
      run(first, first + units, args, scratch, this.#own);
      return;
    }
    const fair = Math.ceil(units / (4 * this.#pool.threads));
    const grain = Math.max(1, Math.min(fair, Math.ceil(atATime / cost)));
    const job = { ...this.#codeOf(compiled), phase, args, scratch, first, units, grain };
    this.#pool.run(job, run, this.#own);
  }

  /** Programs give their kernels back; the last one takes them out of the cache. */
  release({ compiled }: Loaded): void {
    if (--compiled.users > 0) return;
    this.#compiled.delete(compiled.key);
    if (compiled.at !== undefined) this.memory.free(compiled.at);
    compiled.at = undefined;
  }

  /** Where workers find a module. */
  #codeOf(compiled: Compiled): Pick<Words, "module" | "bytes" | "length"> {
    const { id: module, bytes } = compiled;
    if (compiled.at === undefined) {
      compiled.at = this.memory.allocate(bytes.length);
      this.memory.views.uint8.set(bytes, compiled.at);
    }
    return { module, bytes: compiled.at, length: bytes.length };
  }

  /** Scratch memory that threads share, kept at the largest size that was wanted. */
  #scratchOf(bytes: number): number {
    if (!this.#scratch || this.#scratch.bytes < bytes) {
      if (this.#scratch) this.memory.free(this.#scratch.at);
      this.#scratch = undefined;
      this.#scratch = new WasmBuffer(this.memory.allocate(bytes), bytes);
    }
    return this.#scratch.at;
  }

  async #load(kernel: Kernel): Promise<Loaded> {
    const { promise, ...parts } = this.#emitted(kernel);
    const compiled = await promise;
    compiled.users++;
    return { kernel: parts, compiled, turns: turnsOf(parts) };
  }

  /** What is kept of a kernel's code while it compiles, which for a long program is much: the module, once for all that are equal. */
  #emitted(kernel: Kernel): Loaded["kernel"] & { readonly promise: Promise<Compiled> } {
    const emitted = this.#emit(kernel);
    debug("kernel", () => `\n${printKernel(kernel, emitted)}`);
    const { bytes, given, phases, scratch, imports } = emitted;
    // Equal kernels have equal bytes: values are numbered by their order in the kernel.
    let key = "";
    for (let i = 0; i < bytes.length; i += 4096) key += String.fromCharCode(...bytes.subarray(i, i + 4096));
    let promise = this.#compiled.get(key);
    if (!promise) {
      promise = this.#compile(key, bytes);
      this.#compiled.set(key, promise);
    }
    return { promise, given, phases, scratch, imports };
  }

  /** Where numbers lie that kernels look up; they stay there. */
  #tableAt(numbers: readonly number[]): number {
    let at = this.#tables.get(numbers);
    if (at === undefined) {
      at = this.memory.allocate(4 * numbers.length);
      this.memory.views.float32.set(numbers, at / 4);
      this.#tables.set(numbers, at);
    }
    return at;
  }

  #emit(kernel: Kernel): WasmKernel {
    const { maximum, shared } = this.memory;
    const tableAt = (numbers: readonly number[]) => this.#tableAt(numbers);
    return emitKernel(kernel, { maximum, shared, relaxed: this.#relaxed, tableAt });
  }

  /** The code of a kernel as text for people. */
  sourceOf(kernel: Kernel): string {
    return printKernel(kernel, this.#emit(kernel));
  }

  async #compile(key: string, bytes: Uint8Array<ArrayBuffer>): Promise<Compiled> {
    const module = await WebAssembly.compile(bytes).catch((error: Error) => {
      throw new DeviceError(
        `cpu: WebAssembly does not compile here: ${error.message}. A page's Content-Security-Policy has to allow ` +
          "'wasm-unsafe-eval' in script-src.",
      );
    });
    const instance = await WebAssembly.instantiate(module, {
      env: { memory: this.memory.memory },
      evaluators,
    });
    const functions = Object.values(instance.exports) as Run[]; // all exports are functions of this kind
    return { key, id: this.#ids++, bytes, functions, at: undefined, users: 0 };
  }
}

/** A phase of a kernel on some of its units. */
interface Turn {
  readonly phase: number;
  readonly first: number;
  readonly units: number;
  /** How far before the scratch memory that there is begins what would be there if there were as much as for all rounds. */
  readonly beyond: number;
}

/** What a kernel runs, in order: the phases of one round, then those of the next. */
function turnsOf({ phases, scratch }: Loaded["kernel"]): Turn[] {
  const { units: all, round = all } = phases[0]!; // a kernel has one at least
  const rounds = all === 0 ? 0 : Math.ceil(all / round);
  return Array.from({ length: rounds }, (_, i) =>
    phases.map(({ units, round = units }, phase) => ({
      phase,
      first: i * round,
      units: Math.min(round, units - i * round),
      beyond: i * scratch,
    })),
  ).flat();
}

type Words = Readonly<Record<Exclude<keyof typeof entry, "words">, number>>;

/** A function of a kernel on some of its units, for workers and for this thread. */
interface ListEntry {
  readonly words: Words;
  readonly run: (own: number) => void;
}

/** A run of a program by one thread: where the list of its functions lies, and the same for this thread. */
interface List {
  readonly at: number;
  readonly run: (own: number) => void;
}

type RunArguments = Parameters<Executable["run"]>;

/** A kernel and its arguments. */
interface Call {
  readonly loaded: Loaded;
  /** Where its arguments lie. */
  readonly places: readonly Place[];
  readonly args: number;
  readonly scalars: readonly number[];
}

/** A loop and what it carries from step to step. */
interface CallOfLoop extends LoadedLoop {
  readonly spare: readonly (readonly [WasmBuffer, WasmBuffer])[];
}

class WasmExecutable implements Executable {
  readonly #bytes: number;
  readonly #backend: WasmBackend;
  readonly #program: Program;
  readonly #calls: readonly (Call | CallOfLoop)[];
  /** All that is allocated: the arguments, slots, and what loops carry. */
  readonly #held: readonly number[];
  readonly #slots: readonly number[];
  readonly #loaded: readonly (Loaded | LoadedLoop)[];
  /** The same program with memory of its own, for runs beside each other. */
  readonly #twins: WasmExecutable[] = [];
  /** What one thread runs, once it was asked for; undefined where several have to. */
  #list: { readonly list: List | undefined; readonly held: readonly number[] } | undefined;
  #disposed = false;

  constructor(backend: WasmBackend, program: Program, loaded: readonly (Loaded | LoadedLoop)[]) {
    this.#backend = backend;
    this.#program = program;
    this.#loaded = loaded;
    const { memory } = backend;
    let size = 0;
    const offsets = loaded.map((each) => {
      const at = size;
      if ("kernel" in each) size += Math.ceil(each.kernel.given.bytes / 8) * 8;
      return at;
    });
    const carried = loaded.map((each) => ("loop" in each ? carriedBytes(each.loop) : []));
    const wanted = [size, ...program.slots, ...carried.flat().flatMap((bytes) => [bytes, bytes])];
    const held: number[] = [];
    try {
      for (const bytes of wanted) held.push(memory.allocate(bytes));
    } catch (error) {
      for (const at of held) memory.free(at);
      for (const entry of loaded) release(backend, entry);
      throw error;
    }
    this.#held = held;
    const block = held[0]!; // it is asked for first
    this.#slots = held.slice(1, 1 + program.slots.length);
    const bodies = loaded.map((each) => ("loop" in each ? each.body.bytes : 0));
    this.#bytes = [...wanted.slice(1), ...bodies].reduce((sum, bytes) => sum + bytes, 0);
    let next = 1 + program.slots.length;
    this.#calls = loaded.map((entry, i) => {
      if ("loop" in entry) {
        const buffer = (bytes: number) => new WasmBuffer(held[next++]!, bytes);
        return { ...entry, spare: carried[i]!.map((bytes) => [buffer(bytes), buffer(bytes)] as const) };
      }
      const { given } = entry.kernel;
      return {
        loaded: entry,
        args: block + offsets[i]!,
        scalars: given.scalars,
        places: given.values.map((value) => program.places[value]!),
      };
    });
  }

  get bytes(): number {
    return this.#bytes * (1 + this.#twins.length);
  }

  /**
   * What one thread runs of the program on these arguments, in memory that runs of another number do not use. Undefined where
   * several threads are better, where the calling thread has to, and where there is no memory.
   */
  listOf(which: number, args: RunArguments): List | undefined {
    if (which > 0) {
      try {
        for (let i = this.#twins.length; i < which; i++) this.#twins.push(this.#twin());
      } catch (error) {
        if (error instanceof DeviceError) return undefined;
        throw error;
      }
      return this.#twins[which - 1]!.listOf(0, args);
    }
    this.#list ??= this.#makeList();
    const { list } = this.#list;
    if (list) this.#prepare(...args);
    return list;
  }

  #twin(): WasmExecutable {
    if (this.#disposed) throw gone();
    for (const each of this.#loaded) if ("compiled" in each) each.compiled.users++;
    return new WasmExecutable(this.#backend, this.#program, this.#loaded);
  }

  #makeList(): { readonly list: List | undefined; readonly held: readonly number[] } {
    const none = { list: undefined, held: [] };
    const calls = this.#calls.filter((call): call is Call => "loaded" in call);
    if (calls.length < this.#calls.length) return none; // loops are of the calling thread
    const phases = calls.flatMap(({ loaded }) => loaded.kernel.phases);
    if (phases.reduce((time, { units, cost }) => time + units * cost, 0) > longest) return none;
    const { memory } = this.#backend;
    const held: number[] = [];
    const allocate = (bytes: number) => {
      const at = memory.allocate(bytes);
      held.push(at);
      return at;
    };
    try {
      const most = Math.max(0, ...calls.map(({ loaded }) => loaded.kernel.scratch));
      const scratch = most > 0 ? allocate(most) : 0;
      const entries = calls.map(({ loaded, args }) => this.#backend.listed(loaded, args, scratch));
      if (entries.includes(undefined)) return { list: undefined, held };
      const all = entries.flatMap((each) => each!);
      const at = allocate(4 * (1 + entry.words * all.length));
      const { uint32 } = memory.views;
      uint32[at / 4] = all.length;
      all.forEach(({ words }, i) => {
        for (const [name, value] of Object.entries(words))
          uint32[at / 4 + 1 + i * entry.words + entry[name as keyof typeof words]] = value;
      });
      const run = (own: number) => {
        for (const each of all) each.run(own);
      };
      return { list: { at, run }, held };
    } catch (error) {
      for (const at of held) memory.free(at);
      if (error instanceof DeviceError) return none;
      throw error;
    }
  }

  get sources(): readonly string[] {
    return this.#program.kernels.map((kernel, i) => {
      const call = this.#calls[i]!;
      if (kernel.kind !== "loop") return this.#backend.sourceOf(kernel);
      return "loop" in call ? sourceOfLoop(call.loop, call.body.sources) : "";
    });
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly DeviceBuffer[], scalars: readonly number[]): void {
    for (const call of this.#prepare(inputs, outputs, scalars)) call();
  }

  async profile(
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    scalars: readonly number[],
  ): Promise<KernelTimes> {
    const spans = this.#prepare(inputs, outputs, scalars).map((call) => {
      const start = performance.now();
      call();
      return { start, end: performance.now() };
    });
    return { clock: "host", spans };
  }

  /**
   * Writes the arguments of all kernels, and gives what runs each. An output that does not lie where the plan lets it begins
   * as a copy.
   */
  #prepare(
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    scalars: readonly number[],
  ): (() => void)[] {
    if (this.#disposed) throw gone();
    const { views } = this.#backend.memory;
    this.#program.replaces.forEach((input, output) => {
      if (input === undefined || inputs[input] === outputs[output]) return;
      const [from, to] = [wasmBuffer(inputs[input]!), wasmBuffer(outputs[output]!)];
      views.uint8.copyWithin(to.at, from.at, from.at + Math.min(from.bytes, to.bytes));
    });
    const address = (place: Place) =>
      place.kind === "slot"
        ? this.#slots[place.index]! + place.offset
        : wasmBuffer((place.kind === "input" ? inputs : outputs)[place.index]!).at;
    return this.#calls.map((call) => {
      if ("loop" in call) {
        const { values, places } = this.#program;
        const at = (value: ValueId) => new WasmBuffer(address(places[value]!), bytesOf(values[value]!));
        const { loop, body, spare } = call;
        return () => {
          for (const step of stepsOf(loop, at, spare, scalars))
            body.run(step.inputs, step.outputs, step.scalars);
        };
      }
      const { loaded, places, args, scalars: wanted } = call;
      const first = args / 4;
      for (let i = 0; i < places.length; i++) views.uint32[first + i] = address(places[i]!);
      const at = args + loaded.kernel.given.scalarsAt;
      for (let i = 0; i < wanted.length; i++) {
        const { source, dtype } = this.#program.scalars[wanted[i]!]!;
        store(views, at + 8 * i, coerce(scalars[source]!, dtype), dtype);
      }
      return () => this.#backend.run(loaded, args);
    });
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const at of [...this.#held, ...(this.#list?.held ?? [])]) this.#backend.memory.free(at);
    for (const twin of this.#twins) twin.dispose();
    for (const call of this.#calls) release(this.#backend, "loaded" in call ? call.loaded : call);
  }
}

const gone = () => new DisposedError("cpu: the program was disposed and cannot run.");

function release(backend: WasmBackend, loaded: Loaded | LoadedLoop): void {
  if ("loop" in loaded) loaded.body.dispose();
  else backend.release(loaded);
}

function store(views: Memory["views"], at: number, value: number, dtype: DeviceDType): void {
  if (dtype === "float64") views.float64[at / 8] = value;
  else if (isFloat(dtype)) views.float32[at / 4] = value;
  else views.int32[at / 4] = value;
}
