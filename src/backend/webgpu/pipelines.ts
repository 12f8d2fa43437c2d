import { debug } from "../../base/debug.ts";
import { DeviceError } from "../../base/errors.ts";
import { getOrInsert } from "../../base/group.ts";
import { Recent } from "../../base/recent.ts";
import type { Shader } from "./shader.ts";

export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines kept for programs to come, of half a megabyte each on software drivers; those in use live on in their programs. */
const maxPipelines = 256;

/** Pipelines by source: equal kernels are compiled once for each device. */
export class Pipelines {
  readonly #device: GPUDevice;
  readonly #made = new Recent<string, Promise<Pipeline>>(maxPipelines);
  readonly #layouts = new Map<string, GPUBindGroupLayout>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** @throws DeviceError with the compiler's messages and the numbered source when the kernel is not valid. */
  get(shader: Shader): Promise<Pipeline> {
    const { source } = shader;
    return getOrInsert(this.#made, source, () => {
      debug("kernel", () => `\n${source}`);
      const made = this.#make(shader);
      made.catch(() => this.#made.delete(source));
      return made;
    });
  }

  async #make(shader: Shader): Promise<Pipeline> {
    const device = this.#device;
    const label = shader.source.slice(3, shader.source.indexOf("\n"));
    // Everything between push and pop is synchronous: programs may load at the same time.
    device.pushErrorScope("validation");
    const layout = this.#layout(shader);
    const module = device.createShaderModule({ code: shader.source, label });
    const compiled = device.createComputePipelineAsync({
      label,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: "main" },
    });
    const [error, pipeline] = await Promise.all([
      device.popErrorScope(),
      compiled.catch((reason: unknown) => reason),
    ]);
    if (pipeline instanceof Error || error)
      throw await compileError(module, shader.source, error ?? pipeline);
    return { pipeline: pipeline as GPUComputePipeline, layout }; // no error, so it is one
  }

  /** Lets go of all pipelines. */
  clear(): void {
    this.#made.clear();
    this.#layouts.clear();
  }

  #layout({ bindings, scalars }: Shader): GPUBindGroupLayout {
    const types: GPUBufferBindingType[] = bindings.map(({ write }) =>
      write ? "storage" : "read-only-storage",
    );
    if (scalars.length > 0) types.push("uniform");
    return getOrInsert(this.#layouts, types.join(), () =>
      this.#device.createBindGroupLayout({
        entries: types.map((type, binding) => ({
          binding,
          visibility: GPUShaderStage.COMPUTE,
          buffer: { type },
        })),
      }),
    );
  }
}

async function compileError(module: GPUShaderModule, source: string, error: unknown): Promise<DeviceError> {
  const { messages } = await module.getCompilationInfo();
  const found = messages
    .filter(({ type }) => type === "error")
    .map(({ message, lineNum, linePos }) => `line ${lineNum}:${linePos}: ${message}`);
  const text =
    found.length > 0
      ? found.join("\n")
      : error instanceof Error || error instanceof GPUError
        ? error.message
        : String(error);
  const numbered = source.split("\n").map((line, i) => `${String(i + 1).padStart(4)}  ${line}`);
  return new DeviceError(
    `webgpu: internal: a kernel does not compile. Please report this.\n${text}\n${numbered.join("\n")}`,
  );
}
