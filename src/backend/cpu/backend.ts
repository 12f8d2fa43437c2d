import { DeviceError } from "../../base/errors.ts";
import type { Backend } from "../backend.ts";
import { supportsVectors } from "./modules.ts";
import { WasmBackend } from "./wasm.ts";

export interface CpuOptions {
  /** Threads that run kernels. Default: one for each processor, at most 8; 1 starts no workers. */
  readonly threads?: number | undefined;
  /**
   * Fused multiply-add in matrix products, by relaxed SIMD: faster, and other last bits. Default: where the platform
   * has it (Node 22, current browsers). Without it, products are the same bits on every platform.
   */
  readonly relaxed?: boolean | undefined;
}

/** The CPU backend. */
export function openCpu({ threads, relaxed }: CpuOptions = {}): Backend {
  if (!supportsVectors())
    throw new DeviceError(
      "init: the CPU backend takes WebAssembly with SIMD, and there is none here. Every browser and runtime has had it since " +
        "2023: take a newer one, start this one without options that switch it off (Node's --jitless does), or use WebGPU.",
    );
  if (relaxed && !supportsVectors("f32x4.relaxed_madd"))
    throw new DeviceError(
      "init: relaxed is true, and there is no relaxed SIMD here: it takes WebAssembly in Node 22 or a current browser (in Node 20, the option --experimental-wasm-relaxed-simd). Leave relaxed out.",
    );
  return new WasmBackend({ threads, relaxed });
}
