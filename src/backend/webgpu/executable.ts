import { DisposedError, internal } from "../../base/errors.ts";
import { getOrInsert } from "../../base/group.ts";
import { Recent } from "../../base/recent.ts";
import { type LoopKernel, type Place, type Program, physicalPlace } from "../../compile/program.ts";
import type { ValueId } from "../../compile/value.ts";
import type { Executable, KernelTimes, RunArguments } from "../backend.ts";
import { type Held, hold, sourceOfLoop, stepsOf } from "../loop.ts";
import { type GpuBuffer, gpuBuffer } from "./buffer.ts";
import type { OpenGpu } from "./gpu-web.ts";
import { HostNumbers } from "./numbers.ts";
import type { Pipeline } from "./pipelines.ts";
import type { Shader } from "./shader.ts";
import { timeKernels, type Work } from "./timing.ts";

/** What an executable needs of its backend. */
export interface Host {
  readonly device: GPUDevice;
  readonly wait: OpenGpu["wait"];
  allocate(bytes: number): GpuBuffer;
  free(buffer: GpuBuffer): void;
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

/** A loaded program: each run is one command encoder with one compute pass, and one submit. */
export class WebGpuExecutable implements Executable {
  readonly sources: readonly string[];
  readonly bytes: number;
  readonly #host: Host;
  readonly #program: Program;
  #dispatches: readonly (Dispatch | CompiledLoop)[];
  readonly #held: Held<GpuBuffer>;
  readonly #numbers: HostNumbers;
  readonly #sets: Recent<string, readonly Recorder[]>;
  #disposed = false;

  /** @param runs How often it runs in one submit, as the body of a loop. */
  constructor(host: Host, program: Program, kernels: readonly (Compiled | CompiledLoop)[], runs: number) {
    this.#host = host;
    this.#program = program;
    const shaders = kernels.flatMap((kernel) => ("shader" in kernel ? [kernel.shader] : []));
    this.sources = kernels.map((kernel) =>
      "shader" in kernel ? kernel.shader.source : sourceOfLoop(kernel.loop, kernel.body.sources),
    );
    this.#held = hold(program, host.allocate, host.free);
    const bodies = kernels.flatMap((kernel) => ("loop" in kernel ? [kernel.body] : []));
    this.bytes = [...this.#held.all, ...bodies].reduce((sum, { bytes }) => sum + bytes, 0);
    // The first step and the last one have other buffers than those between, which have two kinds of them.
    const most = maxBindGroups * runs;
    this.#sets = new Recent(most);
    this.#dispatches = kernels.map((kernel) =>
      "shader" in kernel ? { ...kernel, groups: new Recent(most) } : kernel,
    );
    this.#numbers = new HostNumbers(host.device, program, shaders, runs);
  }

  run(args: RunArguments): void {
    const { before, kernels } = this.#work(args);
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

  profile(args: RunArguments): Promise<KernelTimes> {
    return timeKernels(this.#host.device, this.#host.wait, this.#work(args));
  }

  #work({ inputs, outputs, scalars }: RunArguments): Work {
    if (this.#disposed) throw new DisposedError("webgpu: the program was disposed and cannot run.");
    this.#host.check();
    this.#host.flush();
    const ins = inputs.map(gpuBuffer);
    const outs = outputs.map(gpuBuffer);
    const kept: (readonly [from: GpuBuffer, to: GpuBuffer])[] = [];
    this.#program.replaces.forEach((input, output) => {
      if (input === undefined || ins[input] === outs[output]) return;
      // The plan lets the output take over this input, the caller keeps it: it gets a copy to overwrite.
      kept.push([ins[input]!, outs[output]!]);
    });
    this.#numbers.write([scalars]);
    return {
      before: (encoder) => {
        for (const [from, to] of kept) copy(encoder, from, to);
      },
      kernels: this.#recorders(ins, outs, scalars, 0),
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
  ): readonly Recorder[] {
    const key = `${run} ${[...ins, ...outs].map(({ id }) => id).join()}`;
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
      const group = this.#bindGroup(dispatch, buffers, run);
      return (pass) => {
        pass.setPipeline(pipeline.pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...shader.workgroups);
      };
    });
    if (lasting) this.#sets.set(key, recorders);
    return recorders;
  }

  #bindGroup(
    { shader, pipeline, groups }: Dispatch,
    buffers: readonly GpuBuffer[],
    run: number,
  ): GPUBindGroup {
    const numbers = this.#numbers.bindingOf(shader, run);
    const key = `${numbers.length > 0 ? run : ""} ${buffers.map(({ id }) => id).join()}`;
    return getOrInsert(groups, key, () => {
      const resources: GPUBufferBinding[] = [
        ...buffers.map(({ buffer }, i) => ({ buffer, ...shader.bindings[i]!.range })),
        ...numbers,
      ];
      return this.#host.device.createBindGroup({
        layout: pipeline.layout,
        entries: resources.map((resource, binding) => ({ binding, resource })),
      });
    });
  }
}

function copy(encoder: GPUCommandEncoder, from: GpuBuffer, to: GpuBuffer): void {
  encoder.copyBufferToBuffer(from.buffer, 0, to.buffer, 0, Math.min(from.buffer.size, to.buffer.size));
}
