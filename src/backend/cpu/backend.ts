import { environment } from "../../base/debug.ts";
import { ValueError } from "../../base/errors.ts";
import type { Backend } from "../backend.ts";
import { JavaScriptBackend } from "./javascript.ts";
import { supportsVectors, WasmBackend } from "./wasm.ts";

export interface CpuOptions {
  /** How kernels are made; by default WebAssembly where it has vectors, else JavaScript. */
  readonly cpu?: "wasm" | "javascript" | undefined;
  /** Threads that run kernels. Default: one for each processor, at most 8; 1 starts no workers. */
  readonly threads?: number | undefined;
}

/** The CPU backend. `LORANTZ_CPU=javascript` in the environment chooses as the option does. */
export function openCpu({ cpu = fromEnvironment(), threads }: CpuOptions = {}): Backend {
  if (cpu !== undefined && cpu !== "wasm" && cpu !== "javascript")
    throw new ValueError(`init: cpu is ${String(cpu)}; it is "wasm", "javascript" or left out.`);
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64))
    throw new ValueError(`init: threads is ${threads}; it is a whole number from 1 to 64.`);
  if (cpu === "javascript" || (cpu === undefined && !supportsVectors())) return new JavaScriptBackend();
  return new WasmBackend({ threads });
}

function fromEnvironment(): CpuOptions["cpu"] {
  return environment("LORANTZ_CPU") as CpuOptions["cpu"]; // checked by the caller
}
