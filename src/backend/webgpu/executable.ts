import { DisposedError, internal } from "../../base/errors.ts";
import { Recent } from "../../base/recent.ts";
import type { Place, Program } from "../../compile/program.ts";
import type { DeviceBuffer, Executable, KernelTimes } from "../backend.ts";
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

interface Dispatch {
  readonly shader: Shader;
  readonly pipeline: Pipeline;
  readonly groups: Recent<string, GPUBindGroup>;
}

/** A loaded program: each run is one command encoder with one compute pass, and one submit. */
export class WebGpuExecutable implements Executable {
  readonly sources: readonly string[];
  readonly bytes: number;
  readonly #host: Host;
  readonly #program: Program;
  #dispatches: readonly Dispatch[];
  readonly #slots: readonly GpuBuffer[];
  readonly #numbers: HostNumbers;
  /** Outputs that hold the same value as an earlier one, or an input. */
  readonly #copies: readonly { readonly from: Place; readonly to: number }[];
  readonly #sets = new Recent<string, readonly GPUBindGroup[]>(maxBindGroups);
  #disposed = false;

  constructor(host: Host, program: Program, shaders: readonly Shader[], pipelines: readonly Pipeline[]) {
    this.#host = host;
    this.#program = program;
    this.sources = shaders.map(({ source }) => source);
    this.#dispatches = shaders.map((shader, i) => ({
      shader,
      pipeline: pipelines[i]!,
      groups: new Recent(maxBindGroups),
    }));
    this.#slots = allocateAll(host, program.slots);
    this.bytes = program.slots.reduce((sum, bytes) => sum + bytes, 0);
    this.#numbers = new HostNumbers(host.device, program, shaders);
    this.#copies = program.outputs.flatMap((value, to) => {
      const from = program.places[value]!;
      return program.values[value]!.size === 0 || (from.kind === "output" && from.index === to)
        ? []
        : [{ from, to }];
    });
  }

  run(inputs: readonly DeviceBuffer[], outputs: readonly DeviceBuffer[], scalars: readonly number[]): void {
    const { before, kernels, after } = this.#work(inputs, outputs, scalars);
    const { device } = this.#host;
    const encoder = device.createCommandEncoder();
    before(encoder);
    if (kernels.length > 0) {
      const pass = encoder.beginComputePass();
      for (const kernel of kernels) kernel(pass);
      pass.end();
    }
    after(encoder);
    device.queue.submit([encoder.finish()]);
  }

  profile(
    inputs: readonly DeviceBuffer[],
    outputs: readonly DeviceBuffer[],
    scalars: readonly number[],
  ): Promise<KernelTimes> {
    return timeKernels(this.#host.device, this.#host.wait, this.#work(inputs, outputs, scalars));
  }

  #work(inputs: readonly DeviceBuffer[], outputs: readonly DeviceBuffer[], scalars: readonly number[]): Work {
    if (this.#disposed) throw new DisposedError("webgpu: the program was disposed and cannot run.");
    this.#host.check();
    this.#host.flush();
    this.#numbers.write(scalars);
    const ins = inputs.map(gpuBuffer);
    const outs = outputs.map(gpuBuffer);
    const bufferAt = ({ kind, index }: Place) =>
      (kind === "input" ? ins : kind === "output" ? outs : this.#slots)[index] ??
      internal(`no buffer for ${kind} ${index}`);
    const key = [...ins, ...outs].map(({ id }) => id).join();
    const kept: (readonly [from: GpuBuffer, to: GpuBuffer])[] = [];
    this.#program.replaces.forEach((input, output) => {
      if (input === undefined || ins[input] === outs[output]) return;
      // The plan lets the output take over this input, the caller keeps it: it gets a copy to overwrite.
      kept.push([ins[input]!, outs[output]!]);
      ins[input] = outs[output]!;
    });
    const groups = this.#bindGroups(key, bufferAt);
    return {
      before: (encoder) => {
        for (const [from, to] of kept) copy(encoder, from, to);
      },
      kernels: this.#dispatches.map(({ pipeline, shader }, i) => (pass) => {
        pass.setPipeline(pipeline.pipeline);
        pass.setBindGroup(0, groups[i]!);
        pass.dispatchWorkgroups(...shader.workgroups);
      }),
      after: (encoder) => {
        for (const { from, to } of this.#copies) {
          const source = bufferAt(from);
          if (source !== outs[to]) copy(encoder, source, outs[to]!);
        }
      },
    };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    // Whoever still holds the program for its text holds no pipelines.
    this.#dispatches = [];
    this.#sets.clear();
    for (const slot of this.#slots) this.#host.free(slot);
    this.#numbers.dispose();
  }

  /** The bind groups of all kernels for one set of inputs and outputs, which a loop of steps meets again. */
  #bindGroups(key: string, bufferAt: (place: Place) => GpuBuffer): readonly GPUBindGroup[] {
    const known = this.#sets.get(key);
    if (known) return known;
    const groups = this.#dispatches.map((dispatch) =>
      this.#bindGroup(
        dispatch,
        dispatch.shader.bindings.map(({ place }) => bufferAt(place)),
      ),
    );
    this.#sets.set(key, groups);
    return groups;
  }

  #bindGroup({ shader, pipeline, groups }: Dispatch, buffers: readonly GpuBuffer[]): GPUBindGroup {
    const key = buffers.map(({ id }) => id).join();
    const known = groups.get(key);
    if (known) return known;
    const resources: GPUBufferBinding[] = [
      ...buffers.map(({ buffer }, i) => ({ buffer, ...shader.bindings[i]!.range })),
      ...this.#numbers.bindingOf(shader),
    ];
    const group = this.#host.device.createBindGroup({
      layout: pipeline.layout,
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    groups.set(key, group);
    return group;
  }
}

function copy(encoder: GPUCommandEncoder, from: GpuBuffer, to: GpuBuffer): void {
  encoder.copyBufferToBuffer(from.buffer, 0, to.buffer, 0, Math.min(from.buffer.size, to.buffer.size));
}

/** Buffers of these sizes, or none. */
function allocateAll(host: Host, sizes: readonly number[]): GpuBuffer[] {
  const made: GpuBuffer[] = [];
  try {
    for (const bytes of sizes) made.push(host.allocate(bytes));
    return made;
  } catch (error) {
    for (const buffer of made) host.free(buffer);
    throw error;
  }
}
