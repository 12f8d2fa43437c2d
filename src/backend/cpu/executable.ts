import { coerce, type DeviceDType, isFloat } from "../../base/dtype.ts";
import { DeviceError, DisposedError } from "../../base/errors.ts";
import type { LoopKernel, Place, Program } from "../../compile/program.ts";
import { bytesOf, type ValueId } from "../../compile/value.ts";
import type { Executable, KernelTimes, RunArguments } from "../backend.ts";
import { type Held, hold, sourceOfLoop, stepsOf } from "../loop.ts";
import { WasmBuffer, wasmBuffer } from "./buffer.ts";
import type { List, Loaded } from "./loaded.ts";
import type { Memory } from "./memory.ts";
import { entry } from "./pool-worker.ts";
import type { Runner } from "./runner.ts";
import { longest } from "./wasm/heuristics.ts";

/** A loop, whose body is a program. */
interface LoadedLoop {
  readonly loop: LoopKernel;
  readonly body: WasmExecutable;
}

/** A kernel and its arguments. */
interface Call {
  readonly loaded: Loaded;
  /** Where its arguments lie. */
  readonly places: readonly Place[];
  readonly args: number;
  readonly scalars: readonly number[];
}

/** A program in memory of its own: kernels, their arguments, and what lies between them. */
export class WasmExecutable implements Executable {
  readonly #bytes: number;
  readonly #runner: Runner;
  readonly #program: Program;
  readonly #calls: readonly (Call | LoadedLoop)[];
  /** Where the arguments of all kernels lie. */
  readonly #block: number;
  readonly #held: Held<WasmBuffer>;
  readonly #loaded: readonly (Loaded | LoadedLoop)[];
  /** The same program with memory of its own, for runs beside each other. */
  readonly #twins: WasmExecutable[] = [];
  /** What one thread runs, once it was asked for; undefined where several have to. */
  #list: { readonly list: List | undefined; readonly held: readonly number[] } | undefined;
  #disposed = false;

  constructor(runner: Runner, program: Program, loaded: readonly (Loaded | LoadedLoop)[]) {
    this.#runner = runner;
    this.#program = program;
    this.#loaded = loaded;
    const { memory } = runner;
    let size = 0;
    const offsets = loaded.map((each) => {
      const at = size;
      if ("kernel" in each) size += Math.ceil(each.kernel.given.bytes / 8) * 8;
      return at;
    });
    let block: number | undefined;
    try {
      block = memory.allocate(size);
      const allocate = (bytes: number) => new WasmBuffer(memory.allocate(bytes), bytes);
      this.#held = hold(program, allocate, ({ at }) => memory.free(at));
    } catch (error) {
      if (block !== undefined) memory.free(block);
      for (const entry of loaded) release(runner, entry);
      throw error;
    }
    this.#block = block;
    const bodies = loaded.flatMap((each) => ("loop" in each ? [each.body] : []));
    this.#bytes = [...this.#held.all, ...bodies].reduce((sum, { bytes }) => sum + bytes, 0);
    this.#calls = loaded.map((entry, i) => {
      if ("loop" in entry) return entry;
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
    if (list) this.#prepare(args);
    return list;
  }

  #twin(): WasmExecutable {
    if (this.#disposed) throw gone();
    for (const each of this.#loaded) if ("compiled" in each) each.compiled.users++;
    return new WasmExecutable(this.#runner, this.#program, this.#loaded);
  }

  #makeList(): { readonly list: List | undefined; readonly held: readonly number[] } {
    const none = { list: undefined, held: [] };
    const calls = this.#calls.filter((call): call is Call => "loaded" in call);
    if (calls.length < this.#calls.length) return none; // loops are of the calling thread
    const phases = calls.flatMap(({ loaded }) => loaded.kernel.phases);
    if (phases.reduce((time, { units, cost }) => time + units * cost, 0) > longest) return none;
    const { memory } = this.#runner;
    const held: number[] = [];
    const allocate = (bytes: number) => {
      const at = memory.allocate(bytes);
      held.push(at);
      return at;
    };
    try {
      const most = Math.max(0, ...calls.map(({ loaded }) => loaded.kernel.scratch));
      const scratch = most > 0 ? allocate(most) : 0;
      const entries = calls.map(({ loaded, args }) => this.#runner.modules.listed(loaded, args, scratch));
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
      if (kernel.kind !== "loop") return this.#runner.modules.sourceOf(kernel);
      return "loop" in call ? sourceOfLoop(call.loop, call.body.sources) : "";
    });
  }

  run(args: RunArguments): void {
    this.#prepare(args);
    for (const call of this.#calls) this.#run(call, args);
  }

  async profile(args: RunArguments): Promise<KernelTimes> {
    this.#prepare(args);
    const spans = this.#calls.map((call) => {
      const start = performance.now();
      this.#run(call, args);
      return { start, end: performance.now() };
    });
    return { clock: "host", spans };
  }

  /** Writes the arguments of all kernels. An output that does not lie where the plan lets it begins as a copy. */
  #prepare(args: RunArguments): void {
    const { inputs, outputs, scalars } = args;
    if (this.#disposed) throw gone();
    const { views } = this.#runner.memory;
    this.#program.replaces.forEach((input, output) => {
      if (input === undefined || inputs[input] === outputs[output]) return;
      const [from, to] = [wasmBuffer(inputs[input]!), wasmBuffer(outputs[output]!)];
      views.uint8.copyWithin(to.at, from.at, from.at + Math.min(from.bytes, to.bytes));
    });
    for (const call of this.#calls) {
      if ("loop" in call) continue;
      const { places, scalars: wanted } = call;
      const first = call.args / 4;
      for (let i = 0; i < places.length; i++) views.uint32[first + i] = this.#address(places[i]!, args);
      const at = call.args + call.loaded.kernel.given.scalarsAt;
      for (let i = 0; i < wanted.length; i++) {
        const { source, dtype } = this.#program.scalars[wanted[i]!]!;
        store(views, at + 8 * i, coerce(scalars[source]!, dtype), dtype);
      }
    }
  }

  #address(place: Place, { inputs, outputs }: RunArguments): number {
    return place.kind === "slot"
      ? this.#held.slots[place.index]!.at + place.offset
      : wasmBuffer((place.kind === "input" ? inputs : outputs)[place.index]!).at;
  }

  #run(call: Call | LoadedLoop, args: RunArguments): void {
    if ("loaded" in call) {
      this.#runner.run(call.loaded, call.args);
      return;
    }
    const { values, places } = this.#program;
    const at = (value: ValueId) =>
      new WasmBuffer(this.#address(places[value]!, args), bytesOf(values[value]!));
    for (const step of stepsOf(call.loop, at, this.#held.spare.get(call.loop)!, args.scalars))
      call.body.run(step);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    const held = this.#held.all.map(({ at }) => at);
    for (const at of [this.#block, ...held, ...(this.#list?.held ?? [])]) this.#runner.memory.free(at);
    for (const twin of this.#twins) twin.dispose();
    for (const call of this.#calls) release(this.#runner, "loaded" in call ? call.loaded : call);
  }
}

const gone = () => new DisposedError("cpu: the program was disposed and cannot run.");

function release(runner: Runner, loaded: Loaded | LoadedLoop): void {
  if ("loop" in loaded) loaded.body.dispose();
  else runner.modules.release(loaded);
}

function store(views: Memory["views"], at: number, value: number, dtype: DeviceDType): void {
  if (dtype === "float64") views.float64[at / 8] = value;
  else if (isFloat(dtype)) views.float32[at / 4] = value;
  else views.int32[at / 4] = value;
}
