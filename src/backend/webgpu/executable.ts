import { coerce } from "../../base/dtype.ts";
import { DisposedError, internal } from "../../base/errors.ts";
import type { Place, Program } from "../../compile/program.ts";
import type { DeviceBuffer, Executable, KernelTimes } from "../backend.ts";
import { type GpuBuffer, gpuBuffer } from "./buffer.ts";
import type { OpenGpu } from "./gpu-web.ts";
import type { Pipeline } from "./pipelines.ts";
import { type Shader, scalarVectors } from "./shader.ts";
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
  readonly groups: Map<string, GPUBindGroup>;
}

/** A loaded program: each run is one command encoder with one compute pass, and one submit. */
export class WebGpuExecutable implements Executable {
  readonly sources: readonly string[];
  readonly bytes: number;
  readonly #host: Host;
  readonly #program: Program;
  readonly #dispatches: readonly Dispatch[];
  readonly #slots: readonly GpuBuffer[];
  readonly #words: Uint32Array<ArrayBuffer> | undefined;
  readonly #scalars: GPUBuffer | undefined;
  /** Outputs that hold the same value as an earlier one, or an input. */
  readonly #copies: readonly { readonly from: Place; readonly to: number }[];
  readonly #sets = new Map<string, readonly GPUBindGroup[]>();
  #scalarsWritten = false;
  #disposed = false;

  constructor(host: Host, program: Program, shaders: readonly Shader[], pipelines: readonly Pipeline[]) {
    this.#host = host;
    this.#program = program;
    this.sources = shaders.map(({ source }) => source);
    this.#dispatches = shaders.map((shader, i) => ({ shader, pipeline: pipelines[i]!, groups: new Map() }));
    this.#slots = program.slots.map((bytes) => host.allocate(bytes));
    this.bytes = program.slots.reduce((sum, bytes) => sum + bytes, 0);
    if (program.scalars.length > 0) {
      this.#words = new Uint32Array(4 * scalarVectors(program.scalars.length));
      this.#scalars = host.device.createBuffer({
        size: this.#words.byteLength,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
        label: "host numbers",
      });
    }
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
    this.#writeScalars(scalars);
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
    for (const { groups } of this.#dispatches) groups.clear();
    this.#sets.clear();
    for (const slot of this.#slots) this.#host.free(slot);
    this.#scalars?.destroy();
  }

  /** Rounds the host numbers to their dtypes, and writes them if they are new. */
  #writeScalars(scalars: readonly number[]): void {
    const words = this.#words;
    if (!words || !this.#scalars) return;
    let changed = !this.#scalarsWritten;
    this.#program.scalars.forEach(({ source, dtype }, i) => {
      const word = bitsOf(coerce(scalars[source]!, dtype), dtype === "float32");
      if (words[i] !== word) changed = true;
      words[i] = word;
    });
    if (changed) this.#host.device.queue.writeBuffer(this.#scalars, 0, words);
    this.#scalarsWritten = true;
  }

  /** The bind groups of all kernels for one set of inputs and outputs, which a loop of steps meets again. */
  #bindGroups(key: string, bufferAt: (place: Place) => GpuBuffer): readonly GPUBindGroup[] {
    let groups = this.#sets.get(key);
    if (groups) {
      // Most recently used last.
      this.#sets.delete(key);
    } else {
      groups = this.#dispatches.map((dispatch) =>
        this.#bindGroup(
          dispatch,
          dispatch.shader.bindings.map(({ place }) => bufferAt(place)),
        ),
      );
      if (this.#sets.size >= maxBindGroups) this.#sets.delete(this.#sets.keys().next().value!);
    }
    this.#sets.set(key, groups);
    return groups;
  }

  #bindGroup({ shader, pipeline, groups }: Dispatch, buffers: readonly GpuBuffer[]): GPUBindGroup {
    const key = buffers.map(({ id }) => id).join();
    let group = groups.get(key);
    if (group) {
      // Most recently used last.
      groups.delete(key);
    } else {
      const resources = buffers.map(({ buffer }) => buffer);
      if (shader.scalars)
        resources.push(this.#scalars ?? internal("a kernel reads host numbers of a program without"));
      group = this.#host.device.createBindGroup({
        layout: pipeline.layout,
        entries: resources.map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      if (groups.size >= maxBindGroups) groups.delete(groups.keys().next().value!);
    }
    groups.set(key, group);
    return group;
  }
}

function copy(encoder: GPUCommandEncoder, from: GpuBuffer, to: GpuBuffer): void {
  encoder.copyBufferToBuffer(from.buffer, 0, to.buffer, 0, Math.min(from.buffer.size, to.buffer.size));
}

const floatView = new Float32Array(1);
const wordView = new Uint32Array(floatView.buffer);

function bitsOf(value: number, float: boolean): number {
  if (!float) return value >>> 0;
  floatView[0] = value;
  return wordView[0]!;
}
