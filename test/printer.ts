import type { Backend, Executable } from "../src/backend/backend.ts";
import { printKernel } from "../src/backend/webgpu/print.ts";
import type { ShaderOptions } from "../src/backend/webgpu/shader.ts";
import type { Program } from "../src/compile/program.ts";
import type { Target } from "../src/compile/target.ts";
import { Device } from "../src/runtime/device.ts";

/** A GPU of fixed limits. */
export const gpu: ShaderOptions = {
  maxWorkgroups: 65535,
  busy: 65536,
  leastWorkgroup: 64,
  hideLengths: false,
  matmul: {
    float16: { family: "shared", threads: 256, quads: 2 },
    float32: { family: "shared", threads: 256, quads: 2 },
  },
};

/** The code of all kernels, those of loops too. */
function sourcesOf(program: Program, options: ShaderOptions): string[] {
  return program.kernels.flatMap((kernel) =>
    kernel.kind === "loop" ? sourcesOf(kernel.body, options) : [printKernel(kernel, program, options).source],
  );
}

/**
 * A device that prints the WGSL of its programs for a GPU of fixed limits, and computes nothing.
 *
 * @param seen Is handed each program that is loaded.
 * @param target What is another than for that GPU.
 */
export function wgslPrinter(
  options: ShaderOptions = gpu,
  seen: (program: Program) => void = () => {},
  target: Partial<Target> = {},
): Device {
  const print = (program: Program): Executable => ({
    sources: sourcesOf(program, options),
    bytes: 0,
    run: () => {},
    profile: async () => ({ clock: "host", spans: [] }),
    dispose: () => {},
  });
  const backend: Backend = {
    name: "webgpu",
    description: "prints WGSL",
    target: {
      name: "webgpu",
      floats: ["float16", "float32"],
      maxBindings: 10,
      maxBuffer: Infinity,
      longReduction: 4096,
      fewThreads: 256,
      busyResults: 32768,
      sumsVectorProducts: false,
      sharesRows: true,
      maxRow: 16384,
      reach: 0,
      ...target,
    },
    lost: new Promise(() => {}),
    allocate: (bytes) => ({ bytes }),
    free: () => {},
    write: () => {},
    read: async () => {},
    load: async (program) => {
      seen(program);
      return print(program);
    },
    finish: async () => {},
    dispose: () => {},
  };
  return new Device(backend, 2 ** 30);
}
