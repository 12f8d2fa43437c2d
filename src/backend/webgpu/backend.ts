import { bytesPerElement, type DeviceDType, type StoredArray } from "../../base/dtype.ts";
import { DeviceError, DisposedError, DTypeError, messageOf } from "../../base/errors.ts";
import { addTo, getOrInsert } from "../../base/group.ts";
import { kernelsOf, type Program, valuesOf } from "../../compile/program.ts";
import type { Target } from "../../compile/target.ts";
import type { Backend, DeviceBuffer, Executable, RunArguments, Submission } from "../backend.ts";
import { createBuffer, GpuBuffer, gpuBuffer, Memory, wholeQuads } from "./buffer.ts";
import type { AdapterDescription, OpenDevice } from "./device.ts";
import { wgslType } from "./dtypes.ts";
import { type Host, WebGpuExecutable } from "./executable.ts";
import { optionsOf, targetOf } from "./heuristics.ts";
import { tiledPrecision } from "./matmul.ts";
import { Pipelines } from "./pipelines.ts";
import { printerOf } from "./print.ts";
import type { ShaderOptions } from "./shader.ts";
import { mostRuns } from "./stack.ts";
import { Staging } from "./staging.ts";
import type { Precision } from "./tiles.ts";
import { chooseMatmul, matmulChoices, squareMatmul, type TuneOptions, tuneOptions } from "./tune.ts";

/** Kernels as WGSL on a GPU, through WebGPU. */
export class WebGpuBackend implements Backend {
  readonly name = "webgpu";
  readonly description: string;
  readonly adapter: AdapterDescription;
  readonly target: Target;
  readonly lost: Promise<string>;
  readonly #device: GPUDevice;
  readonly #wait: OpenDevice["wait"];
  readonly #pipelines: Pipelines;
  readonly #staging: Staging;
  readonly #host: Host;
  readonly #tuning: TuneOptions;
  #options: ShaderOptions;
  readonly #tuned = new Map<Precision, Promise<void>>();
  #failure: DeviceError | undefined;
  #lostBy: string | undefined;
  #disposed = false;

  constructor({ device, adapter, wait }: OpenDevice, tuning: TuneOptions = tuneOptions()) {
    const { software } = adapter;
    this.#device = device;
    this.#wait = wait;
    this.adapter = adapter;
    const { description, device: model, vendor, architecture } = adapter; // browsers keep the first two to themselves
    const name = description || model || [vendor, architecture].filter(Boolean).join(" ");
    this.description = `${name}${software ? ", a software driver: the CPU backend is faster" : ""}`;
    this.target = targetOf(adapter);
    this.#options = optionsOf(adapter, {
      float16: matmulChoices(adapter, "float16", tuning.matmul)[0]!,
      float32: matmulChoices(adapter, "float32", tuning.matmul)[0]!,
    });
    this.#tuning = tuning;
    this.#pipelines = new Pipelines(device);
    this.#staging = new Staging(device, wait);
    this.#host = {
      device,
      wait,
      allocate: (bytes) => this.allocate(bytes),
      memory: (bytes, parts) => this.#memory(bytes, parts),
      free: (slot) => this.free(slot),
      stack: async (program, shaders) => {
        const kernels = shaders.map(async (shader) => ({
          shader,
          pipeline: await this.#pipelines.get(shader),
        }));
        return new WebGpuExecutable(this.#host, program, await Promise.all(kernels), mostRuns);
      },
      read: (buffer, into) => this.#staging.read(buffer, into),
      flush: () => this.#staging.flush(),
      check: () => this.check(),
    };
    this.lost = device.lost.then(({ message, reason }) => {
      this.#lostBy = message || reason;
      return this.#lostBy;
    });
    device.addEventListener("uncapturederror", ({ error }) => {
      this.#fail(
        error instanceof GPUOutOfMemoryError
          ? outOfMemory(error.message)
          : new DeviceError(`webgpu: internal: ${error.message}. Please report this.`),
      );
    });
  }

  allocate(bytes: number): GpuBuffer {
    return new GpuBuffer(bytes, this.#memory(bytes));
  }

  #memory(bytes: number, parts = 1): Memory {
    this.check();
    const size = wholeQuads(bytes);
    for (const limit of ["maxBufferSize", "maxStorageBufferBindingSize"] as const) {
      const most = this.adapter.limits[limit];
      if (size > most) {
        throw new DeviceError(
          `webgpu: a tensor of ${bytes} bytes is larger than this adapter's ${limit} of ${most}. Split it, use a smaller batch, or init({ backend: "cpu" }).`,
        );
      }
    }
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    this.#device.pushErrorScope("out-of-memory");
    const buffer = createBuffer(this.#device, { size, usage });
    this.#device.popErrorScope().then(
      (error) => error && this.#fail(outOfMemory(`for a tensor of ${bytes} bytes`)),
      () => {}, // lost: the next call says so
    );
    return new Memory(buffer, parts);
  }

  free(buffer: DeviceBuffer): void {
    this.#staging.flush();
    gpuBuffer(buffer).free();
  }

  write(buffer: DeviceBuffer, data: StoredArray, at = 0): void {
    this.check();
    if (data instanceof Float64Array)
      throw new DTypeError(
        `webgpu: a tensor is float64, which no GPU has. Use float32, or init({ backend: "cpu" }).`,
      );
    this.#staging.flush();
    // Writes are of whole words; buffers are padded.
    const odd = data.byteLength % 4 !== 0;
    const words = odd ? new Uint16Array(Math.ceil(data.length / 2) * 2) : data;
    if (odd) words.set(data);
    const { memory, offset } = gpuBuffer(buffer);
    this.#device.queue.writeBuffer(
      memory.buffer,
      offset + at,
      words.buffer,
      words.byteOffset,
      words.byteLength,
    );
  }

  async read(buffer: DeviceBuffer, into: StoredArray): Promise<void> {
    this.check();
    try {
      await this.#staging.read(gpuBuffer(buffer), into);
    } catch (error) {
      this.check();
      throw new DeviceError(`webgpu: reading ${into.byteLength} bytes back failed: ${messageOf(error)}`);
    }
    this.check();
  }

  async load(program: Program): Promise<Executable> {
    this.check();
    for (const { dtype } of valuesOf(program)) this.#checkDType(dtype);
    for (const precision of new Set(kernelsOf(program).map(tiledPrecision)))
      if (precision) await getOrInsert(this.#tuned, precision, () => this.#tune(precision));
    return this.#load(program, printerOf(this.#options));
  }

  #checkDType(dtype: DeviceDType): void {
    const { needs } = wgslType(dtype);
    if (needs && !this.adapter.features.includes(needs.feature))
      throw new DTypeError(
        `webgpu: a program holds ${dtype}, for which this adapter lacks the feature ${needs.feature}. Use float32, or init({ backend: "cpu" }).`,
      );
  }

  /** @param runs How often it runs in one submit. */
  async #load(program: Program, print: ReturnType<typeof printerOf>, runs = 1): Promise<WebGpuExecutable> {
    const kernels = await Promise.all(
      program.kernels.map(async (kernel) => {
        if (kernel.kind === "loop")
          return { loop: kernel, body: await this.#load(kernel.body, print, kernel.steps) };
        const shader = print(kernel, program);
        return { shader, pipeline: await this.#pipelines.get(shader) };
      }),
    );
    this.check();
    return new WebGpuExecutable(this.#host, program, kernels, runs);
  }

  together(submissions: readonly Submission[]): Promise<unknown> | undefined {
    const programs = new Map<Executable, RunArguments[]>();
    for (const { executable, args } of submissions) addTo(programs, executable, args);
    const made: Promise<void>[] = [];
    for (const [executable, runs] of programs) {
      const size = Math.ceil(runs.length / Math.ceil(runs.length / mostRuns));
      for (let at = 0; at < runs.length; at += size)
        made.push(...(executable as WebGpuExecutable).together(runs.slice(at, at + size))); // of this backend
    }
    return made.length > 0 ? Promise.all(made) : undefined;
  }

  /** Settles on a family of matmul kernels, before the first product that is worth one. */
  async #tune(precision: Precision): Promise<void> {
    const { matmul } = this.#options;
    const choice = await chooseMatmul(this.adapter, precision, this.#tuning, async (tried, size) => {
      const program = squareMatmul(size, precision, this.target);
      const buffers = program.values.map(({ dtype }) => this.allocate(bytesPerElement(dtype) * size * size));
      const [a, b, c] = buffers as [GpuBuffer, GpuBuffer, GpuBuffer]; // as many as values
      const options = { ...this.#options, matmul: { ...matmul, [precision]: tried } };
      const executable = await this.#load(program, printerOf(options));
      let least = Infinity;
      // The first run compiles.
      for (let round = 0; round < 4; round++) {
        const start = performance.now();
        for (let i = 0; i < 4; i++) executable.run({ inputs: [a, b], outputs: [c], scalars: [] });
        await this.finish();
        if (round > 0) least = Math.min(least, (performance.now() - start) / 4);
      }
      executable.dispose();
      for (const buffer of buffers) this.free(buffer);
      return least;
    });
    this.#options = { ...this.#options, matmul: { ...this.#options.matmul, [precision]: choice } };
  }

  async finish(): Promise<void> {
    this.check();
    this.#staging.flush();
    await this.#wait(this.#device.queue.onSubmittedWorkDone());
    this.check();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#staging.dispose();
    this.#pipelines.clear();
    this.#device.destroy();
  }

  /** Throws what the device reported since the last call; each report once. */
  check(): void {
    if (this.#disposed)
      throw new DisposedError("webgpu: the device was disposed. Call init() for a new one.");
    if (this.#lostBy !== undefined)
      throw new DeviceError(
        `webgpu: the device was lost: ${this.#lostBy}. Call init() again; tensors on it are gone.`,
      );
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) throw failure;
  }

  /** The first report counts: later ones follow from it. */
  #fail(failure: DeviceError): void {
    this.#failure ??= failure;
  }
}

function outOfMemory(detail: string): DeviceError {
  return new DeviceError(
    `webgpu: the device is out of memory: ${detail}. Dispose of large tensors, or use a smaller batch.`,
  );
}
