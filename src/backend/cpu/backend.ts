import { environment } from "../../base/debug.ts";
import { DeviceError, ValueError } from "../../base/errors.ts";
import type { Backend } from "../backend.ts";
import { JavaScriptBackend } from "./javascript.ts";
import { supportsVectors, WasmBackend } from "./wasm.ts";

export interface CpuOptions {
  /** How kernels are made; by default WebAssembly where it has vectors, else JavaScript. */
  readonly cpu?: "wasm" | "javascript" | undefined;
  /** Threads that run kernels. Default: one for each processor, at most 8; 1 starts no workers. */
  readonly threads?: number | undefined;
  /**
   * Fused multiply-add in matrix products, by relaxed SIMD: faster, and other last bits. Default: where the platform
   * has it (Node 22, current browsers). Without it, products are the same bits on every platform.
   */
  readonly relaxed?: boolean | undefined;
}

/** The CPU backend. `LORANTZ_CPU=javascript` in the environment chooses as the option does. */
export function openCpu({ cpu = fromEnvironment(), threads, relaxed }: CpuOptions = {}): Backend {
  if (cpu !== undefined && cpu !== "wasm" && cpu !== "javascript")
    throw new ValueError(`init: cpu is ${String(cpu)}; it is "wasm", "javascript" or left out.`);
  if (relaxed && (cpu === "javascript" || !supportsVectors("f32x4.relaxed_madd")))
    throw new DeviceError(
      "init: relaxed is true, and there is no relaxed SIMD here: it takes WebAssembly in Node 22 or a current browser (in Node 20, the option --experimental-wasm-relaxed-simd). Leave relaxed out.",
    );
  if (cpu === "javascript" || (cpu === undefined && !supportsVectors())) return new JavaScriptBackend();
  return new WasmBackend({ threads, relaxed });
}

function fromEnvironment(): CpuOptions["cpu"] {
  return environment("LORANTZ_CPU") as CpuOptions["cpu"]; // checked by the caller
}
