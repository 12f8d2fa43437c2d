import { debug } from "../../base/debug.ts";
import type { StoredArray } from "../../base/dtype.ts";
import { DisposedError, internal, messageOf } from "../../base/errors.ts";
import { getOrInsert } from "../../base/group.ts";
import { Recent } from "../../base/recent.ts";
import { type LoopKernel, type Place, type Program, physicalPlace } from "../../compile/program.ts";
import type { ValueId } from "../../compile/value.ts";
import type { DeviceBuffer, Executable, KernelTimes, RunArguments } from "../backend.ts";
import { type Held, hold, sourceOfLoop, stepsOf } from "../loop.ts";
import { copyBuffer, type GpuBuffer, gpuBuffer, type Memory } from "./buffer.ts";
import type { OpenGpu } from "./gpu-web.ts";
import { HostNumbers } from "./numbers.ts";
import type { Pipeline } from "./pipelines.ts";
import type { Shader } from "./shader.ts";
import {
  inOrder,
  move,
  movesApart,
  movesTogether,
  sharedInputs,
  stackedProgram,
  stackedShader,
} from "./stack.ts";
import { timeKernels, type Work } from "./timing.ts";

/** What an executable needs of its backend. */
export interface Host {
  readonly device: GPUDevice;
  readonly wait: OpenGpu["wait"];
  allocate(bytes: number): GpuBuffer;
  /** What holds so many buffers. */
  memory(bytes: number, parts: number): Memory;
  free(buffer: GpuBuffer): void;
  /** A program for several runs at a time. */
  stack(program: Program, shaders: readonly Shader[]): Promise<WebGpuExecutable>;
  /** Fills an array from the start of a buffer, after the work submitted so far. */
  read(buffer: GpuBuffer, into: StoredArray): Promise<void>;
  /** Submits reads that wait: they are of values before this run. */
  flush(): void;
  /** Throws what went wrong since the last call. */
  check(): void;
}

/** Bind groups kept for each kernel, and for all of a program together: a training step meets the same few sets of buffers again and again. */
const maxBindGroups = 16;

/** A kernel with its pipeline. */
interface Compiled {
  readonly shader: Shader;
  readonly pipeline: Pipeline;
}

/** A loop, whose body is a program. */
interface CompiledLoop {
  readonly loop: LoopKernel;
  readonly body: WebGpuExecutable;
}

interface Dispatch extends Compiled {
  readonly groups: Recent<string, GPUBindGroup>;
}

type Recorder = (pass: GPUComputePassEncoder) => void;

/** Times that runs meet before a program is made that does them at a time: short trainings do not wait for its kernels. */
const meetingsBefore = 8;

/** Kept for the numbers of runs, and for what they share, that are met. */
const maxStacks = 4;

/** How often runs have met, and a program for several of them, while it is made, once it is, and whether it gives the same bits. */
interface Stack {
  met: number;
  made?: Promise<void>;
  executable?: WebGpuExecutable;
  proven: boolean;
}

/** A loaded program: each run is one command encoder with one compute pass, and one submit. */
export class WebGpuExecutable implements Executable {
  readonly sources: readonly string[];
  readonly #host: Host;
  readonly #program: Program;
  #dispatches: readonly (Dispatch | CompiledLoop)[];
  readonly #held: Held<GpuBuffer>;
  readonly #numbers: HostNumbers;
  readonly #sets: Recent<string, readonly Recorder[]>;
  readonly #bytes: number;
  /** By which inputs are shared, and how many runs there are. */
  readonly #stacks = new Recent<string, Stack>(maxStacks, ({ executable }) => executable?.dispose());
  /** Its kernels, if they are all that it has. */
  readonly #shaders: readonly Shader[] | undefined;
  #disposed = false;

  /** @param runs How often it runs in one submit, as the body of a loop or for several at a time. */
  constructor(host: Host, program: Program, kernels: readonly (Compiled | CompiledLoop)[], runs: number) {
    this.#host = host;
    this.#program = program;
    const shaders = kernels.flatMap((kernel) => ("shader" in kernel ? [kernel.shader] : []));
    this.#shaders = shaders.length === kernels.length ? shaders : undefined;
    this.sources = kernels.map((kernel) =>
      "shader" in kernel ? kernel.shader.source : sourceOfLoop(kernel.loop, kernel.body.sources),
    );
    this.#held = hold(program, host.allocate, host.free);
    const bodies = kernels.flatMap((kernel) => ("loop" in kernel ? [kernel.body] : []));
    this.#bytes = [...this.#held.all, ...bodies].reduce((sum, { bytes }) => sum + bytes, 0);
    // The first step and the last one have other buffers than those between, which have two kinds of them.
    const most = maxBindGroups * runs;
    this.#sets = new Recent(most);
    this.#dispatches = kernels.map((kernel) =>
      "shader" in kernel ? { ...kernel, groups: new Recent(most) } : kernel,
    );
    this.#numbers = new HostNumbers(host.device, program, shaders, runs);
  }

  get bytes(): number {
    return [...this.#stacks.values()].reduce(
      (sum, { executable }) => sum + (executable?.bytes ?? 0),
      this.#bytes,
    );
  }

  run(args: RunArguments): void {
    this.#submit(this.#work([args]));
  }

  profile(args: RunArguments): Promise<KernelTimes> {
    return timeKernels(this.#host.device, this.#host.wait, this.#work([args]));
  }

  /**
   * Does runs of this program, at a time once there are kernels for that which were seen to give the same bits. They are made, and
   * tried, when runs have met often enough, which it gives to be awaited.
   */
  together(runs: readonly RunArguments[]): Promise<void>[] {
    const shared = runs.length > 1 ? sharedInputs(runs) : undefined;
    const stack = shared && this.#stackFor(shared, runs.length);
    if (shared && stack?.executable && stack.proven) {
      this.#runAtATime(stack.executable, runs, shared);
      return [];
    }
    const trial =
      shared && stack?.executable ? this.#trial(stack, stack.executable, runs, shared) : undefined;
    for (const run of runs) this.run(run);
    return [trial?.() ?? stack?.made ?? []].flat();
  }

  #stackFor(shared: ReadonlySet<number>, runs: number): Stack {
    const most = 2 ** Math.ceil(Math.log2(runs)); // not another one for each number
    const key = `${most} ${[...shared].join()}`;
    const stack = getOrInsert(this.#stacks, key, (): Stack => ({ met: 0, proven: false }));
    if (++stack.met === meetingsBefore) stack.made = this.#stack(stack, shared, most);
    return stack;
  }

  /** Makes what does several runs at a time, if that is possible. */
  async #stack(stack: Stack, shared: ReadonlySet<number>, runs: number): Promise<void> {
    const program = stackedProgram(this.#program, shared, runs, this.#host.device.limits);
    const shaders = this.#shaders?.map((shader) => stackedShader(shader, this.#program, shared, runs));
    if (!program || !shaders?.every((shader) => shader !== undefined)) return;
    try {
      const executable = await this.#host.stack(program, shaders);
      if ([...this.#stacks.values()].includes(stack)) stack.executable = executable;
      else executable.dispose();
    } catch (error) {
      debug("kernel", () => `runs go one by one: ${messageOf(error)}`);
    } finally {
      delete stack.made;
    }
  }

  #runAtATime(
    stack: WebGpuExecutable,
    unordered: readonly RunArguments[],
    shared: ReadonlySet<number>,
  ): void {
    const host = this.#host;
    host.check();
    host.flush();
    const runs = inOrder(unordered, shared);
    const common = [...shared].map((i) => gpuBuffer(runs[0]!.inputs[i]!));
    this.#move([...movesApart(common, host.memory), ...movesTogether(runs, shared, host.memory)]);
    stack.#submit(stack.#work(runs));
  }

  /**
   * Does the runs at a time on copies of what they have of their own. What it gives compares the results with those of the runs one
   * by one: drivers may round otherwise where code is another, and then there is no doing them at a time.
   */
  #trial(
    stack: Stack,
    executable: WebGpuExecutable,
    runs: readonly RunArguments[],
    shared: ReadonlySet<number>,
  ): () => Promise<void> {
    const host = this.#host;
    const copies = new Map<DeviceBuffer, GpuBuffer>();
    const encoder = host.device.createCommandEncoder();
    host.flush();
    const twin = (buffer: DeviceBuffer) =>
      getOrInsert(copies, buffer, () => {
        const copy = host.allocate(buffer.bytes);
        copyBuffer(encoder, gpuBuffer(buffer), copy.memory, 0);
        return copy;
      });
    const twins = runs.map((run) => ({
      ...run,
      inputs: run.inputs.map((buffer, i) => (shared.has(i) ? buffer : twin(buffer))),
      outputs: run.outputs.map(twin),
    }));
    host.device.queue.submit([encoder.finish()]);
    this.#runAtATime(executable, twins, shared);
    return async () => {
      const bitsOf = async (buffer: DeviceBuffer) => {
        const words = new Uint32Array(Math.ceil(buffer.bytes / 4));
        await host.read(gpuBuffer(buffer), words);
        return new Uint8Array(words.buffer, 0, buffer.bytes);
      };
      const pairs = runs.flatMap(({ outputs }) =>
        outputs.map((buffer) => [buffer, copies.get(buffer)!] as const),
      );
      const read = await Promise.all(pairs.map((pair) => Promise.all(pair.map(bitsOf))));
      for (const copy of copies.values()) host.free(copy);
      stack.proven = read.every(([one, other]) => one!.every((byte, i) => byte === other![i]));
      if (stack.proven) return;
      debug("kernel", () => "runs go one by one: at a time they have other bits");
      executable.dispose();
      delete stack.executable;
    };
  }

  #submit({ before, kernels }: Work): void {
    const { device } = this.#host;
    const encoder = device.createCommandEncoder();
    before(encoder);
    if (kernels.length > 0) {
      const pass = encoder.beginComputePass();
      for (const kernel of kernels) kernel(pass);
      pass.end();
    }
    device.queue.submit([encoder.finish()]);
  }

  /** Moves buffers before anything is recorded that binds them. */
  #move(moves: Parameters<typeof move>[1]): void {
    if (moves.length === 0) return;
    const { device } = this.#host;
    const encoder = device.createCommandEncoder();
    const moved = move(encoder, moves);
    device.queue.submit([encoder.finish()]);
    moved();
  }

  /** What a run does, or several of which the first has the first parts of all memories. */
  #work(runs: readonly RunArguments[]): Work {
    if (this.#disposed) throw new DisposedError("webgpu: the program was disposed and cannot run.");
    this.#host.check();
    this.#host.flush();
    const kept: (readonly [from: GpuBuffer, to: GpuBuffer])[] = [];
    for (const { inputs, outputs } of runs)
      this.#program.replaces.forEach((input, output) => {
        if (input === undefined || inputs[input] === outputs[output]) return;
        // The plan lets the output take over this input, the caller keeps it: it gets a copy to overwrite.
        kept.push([gpuBuffer(inputs[input]!), gpuBuffer(outputs[output]!)]);
      });
    this.#numbers.write(runs.map(({ scalars }) => scalars));
    const [{ inputs, outputs, scalars }] = runs as [RunArguments, ...RunArguments[]];
    const [ins, outs] = [inputs.map(gpuBuffer), outputs.map(gpuBuffer)];
    if (runs.length === 1) this.#move(movesApart([...ins, ...outs], this.#host.memory));
    return {
      before: (encoder) => {
        for (const [from, to] of kept) copyBuffer(encoder, from, to.memory, to.offset);
      },
      kernels: this.#recorders(ins, outs, scalars, 0, runs.length),
    };
  }

  /** What records all runs of the body of a loop. */
  steps(runs: readonly RunArguments[]): Recorder[] {
    this.#numbers.write(runs.map(({ scalars }) => scalars));
    return runs.flatMap(({ inputs, outputs, scalars }, run) =>
      this.#recorders(inputs.map(gpuBuffer), outputs.map(gpuBuffer), scalars, run),
    );
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const dispatch of this.#dispatches) if ("loop" in dispatch) dispatch.body.dispose();
    for (const { executable } of this.#stacks.values()) executable?.dispose();
    this.#stacks.clear();
    // Whoever still holds the program for its text holds no pipelines.
    this.#dispatches = [];
    this.#sets.clear();
    for (const buffer of this.#held.all) this.#host.free(buffer);
    this.#numbers.dispose();
  }

  /** Where a place is for these inputs and outputs. */
  #bufferAt({ kind, index }: Place, ins: readonly GpuBuffer[], outs: readonly GpuBuffer[]): GpuBuffer {
    const all = { slot: this.#held.slots, input: ins, output: outs }[kind];
    return all[index] ?? internal(`no buffer for ${kind} ${index}`);
  }

  /** What records each kernel for one set of inputs and outputs, which a loop of steps meets again. */
  #recorders(
    ins: readonly GpuBuffer[],
    outs: readonly GpuBuffer[],
    scalars: readonly number[],
    run: number,
    count = 1,
  ): readonly Recorder[] {
    const key = `${run} ${count} ${[...ins, ...outs].map(({ memory }) => memory.id).join()}`;
    const known = this.#sets.get(key);
    if (known) return known;
    let lasting = true;
    const recorders = this.#dispatches.map((dispatch): Recorder => {
      if ("loop" in dispatch) {
        lasting = false; // its numbers may be others
        const at = (value: ValueId) => this.#bufferAt(physicalPlace(this.#program, value), ins, outs);
        const kernels = dispatch.body.steps(
          stepsOf(dispatch.loop, at, this.#held.spare.get(dispatch.loop)!, scalars),
        );
        return (pass) => {
          for (const kernel of kernels) kernel(pass);
        };
      }
      const { pipeline, shader } = dispatch;
      const buffers = shader.bindings.map(({ place }) => this.#bufferAt(place, ins, outs));
      const group = this.#bindGroup(dispatch, buffers, count > 1 ? "all" : run);
      return (pass) => {
        pass.setPipeline(pipeline.pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...shader.workgroups, count);
      };
    });
    if (lasting) this.#sets.set(key, recorders);
    return recorders;
  }

  #bindGroup(
    { shader, pipeline, groups }: Dispatch,
    buffers: readonly GpuBuffer[],
    run: number | "all",
  ): GPUBindGroup {
    const numbers = this.#numbers.bindingOf(shader, run);
    const key = `${numbers.length > 0 ? run : ""} ${buffers.map(({ memory }) => memory.id).join()}`;
    return getOrInsert(groups, key, () => {
      const resources: GPUBufferBinding[] = [
        ...buffers.map(({ memory: { buffer } }, i) => ({ buffer, ...shader.bindings[i]!.range })),
        ...numbers,
      ];
      return this.#host.device.createBindGroup({
        layout: pipeline.layout,
        entries: resources.map((resource, binding) => ({ binding, resource })),
      });
    });
  }
}
