import { debug, debugging } from "../../../base/debug.ts";
import { expressionsOf, type Kernel } from "../../../compile/kernel.ts";
import { describeKernel } from "../../../compile/print.ts";
import { Arguments } from "./arguments.ts";
import { Module } from "./assemble.ts";
import type { Phase } from "./grid.ts";
import { importRows } from "./imports.ts";
import { defineScan, defineScatter } from "./lanes.ts";
import { defineLoop } from "./loop.ts";
import { defineMatmul } from "./matmul/matmul.ts";
import { defineRows } from "./rows.ts";
import { type NamedFunction, printFunctions } from "./text.ts";

export interface WasmOptions {
  readonly shared: boolean;
  /** Pages that the memory may have. */
  readonly maximum: number;
  /** Fused multiply-add in matrix products. */
  readonly relaxed: boolean;
}

/** A kernel as a module: phases one after the other, each of them shared by threads. */
export interface WasmKernel {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly given: Arguments;
  readonly phases: readonly Phase[];
  /** Rows that the module calls in JavaScript: it then runs in the main thread only. */
  readonly imports: readonly string[];
  /** Bytes of scratch memory that the threads share. */
  readonly scratch: number;
  /** How it is run, for people. */
  readonly note: string;
  readonly functions: readonly NamedFunction[];
}

/** A kernel as text for people. */
export function printKernel(kernel: Kernel, { note, functions }: WasmKernel): string {
  return `// ${describeKernel(kernel)}\n// WebAssembly: ${note}\n${printFunctions(functions)}`;
}

/** Functions take (begin, end, arguments, shared scratch, scratch of the thread). */
export function emitKernel(kernel: Kernel, options: WasmOptions): WasmKernel {
  const module = new Module();
  importRows(module, expressionsOf(kernel));
  const given = new Arguments(kernel);
  let phases: readonly Phase[];
  let scratch = 0;
  let note = "one element at a time";
  switch (kernel.kind) {
    case "loop": {
      const loop = defineLoop(module, "run", kernel, given);
      ({ phases, scratch } = loop);
      const axes = loop.along === "grid" ? kernel.grid : kernel.inner;
      if (loop.along !== "nothing") note = `four lanes along ${axes[axes.length - 1]!.name}`;
      break;
    }
    case "matmul": {
      if (kernel.inner.extent === 0) {
        // Sums of nothing.
        const { batch, row, column, inner, a, dtype, stores } = kernel;
        const accumulators = [{ name: "sum" as const, dtype, expr: a }];
        const grid = [batch, row, column];
        ({ phases } = defineLoop(module, "run", { grid, inner: [inner], accumulators, stores }, given));
        break;
      }
      const matmul = defineMatmul(module, kernel, given, options);
      phases = matmul.phases;
      scratch = matmul.packed;
      note = matmul.note;
      break;
    }
    case "row": {
      const rows = defineRows(module, "run", kernel, given);
      phases = [rows];
      const axes = rows.along === "grid" ? kernel.grid : kernel.inner;
      if (rows.along !== "nothing") note = `four lanes along ${axes[axes.length - 1]!.name}`;
      break;
    }
    case "scan":
      phases = [defineScan(module, kernel, given)];
      break;
    case "scatter":
      phases = defineScatter(module, kernel, given);
      break;
    default:
      return kernel satisfies never;
  }
  const { imports, functions } = module;
  const emitted = { bytes: module.encode(options), given, phases, imports, scratch, note, functions };
  if (debugging("kernel")) debug("kernel", () => `\n${printKernel(kernel, emitted)}`);
  return emitted;
}
