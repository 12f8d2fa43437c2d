import { internal } from "../../../base/errors.ts";
import { expressionsOf, type Kernel } from "../../../compile/kernel.ts";
import { nestOf } from "../../../compile/nest.ts";
import { describeKernel } from "../../../compile/print.ts";
import type { Stage } from "../../../compile/steps.ts";
import { Arguments } from "./arguments.ts";
import { Module, type TableAt } from "./assemble.ts";
import { schedule } from "./heuristics.ts";
import { importRows } from "./imports.ts";
import { defineMatmul } from "./matmul/matmul.ts";
import { type Defined, defineStages } from "./nest.ts";
import { type NamedFunction, printFunctions } from "./text.ts";
import type { Phase } from "./units.ts";

export interface WasmOptions {
  readonly shared: boolean;
  /** Pages that the memory may have. */
  readonly maximum: number;
  /** Fused multiply-add in matrix products. */
  readonly relaxed: boolean;
  /** Where tables lie that kernels look up. */
  readonly tableAt: TableAt;
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
  return `// ${describeKernel(kernel)}\n// WebAssembly: ${note || "one element at a time"}\n${printFunctions(functions)}`;
}

/** Printers that few programs need. They are fetched before the first kernel of theirs is emitted, so that pages load less. */
const fetched: {
  procedure?: typeof import("./procedure.ts");
  convolution?: typeof import("./winograd/winograd.ts");
} = {};

/** Windows of 3 x 3 may be an operand of the product. */
const mayHaveWindows = (kernel: Kernel) =>
  kernel.kind === "matmul" &&
  kernel.dtype === "float32" &&
  (kernel.inner.extent % 9 === 0 || kernel.column.extent % 9 === 0);

/** Fetches the printers of some kernels, which is to be awaited before they are emitted; undefined where all are there. */
export function fetchPrinters(kernels: readonly Kernel[]): Promise<unknown> | undefined {
  const missing: Promise<unknown>[] = [];
  if (!fetched.procedure && kernels.some(({ kind }) => kind === "procedure"))
    missing.push(
      import("./procedure.ts").then((printer) => {
        fetched.procedure = printer;
      }),
    );
  if (!fetched.convolution && kernels.some(mayHaveWindows))
    missing.push(
      import("./winograd/winograd.ts").then((printer) => {
        fetched.convolution = printer;
      }),
    );
  return missing.length > 0 ? Promise.all(missing) : undefined;
}

function printerOf<K extends keyof typeof fetched>(name: K): NonNullable<(typeof fetched)[K]> {
  return fetched[name] ?? internal(`the printer of a ${name} was not fetched`);
}

/**
 * Functions take (begin, end, arguments, shared scratch, scratch of the thread).
 *
 * @param stages How a nest runs, if not as scheduled.
 */
export function emitKernel(kernel: Kernel, options: WasmOptions, stages?: readonly Stage[]): WasmKernel {
  const module = new Module(options.tableAt);
  importRows(module, expressionsOf(kernel));
  const given = new Arguments(kernel);
  const { phases, scratch = 0, note = "" } = define(module, kernel, given, options, stages);
  const { imports, functions } = module;
  return { bytes: module.encode(options), given, phases, imports, scratch, note, functions };
}

function define(
  module: Module,
  kernel: Kernel,
  given: Arguments,
  options: WasmOptions,
  stages?: readonly Stage[],
): Defined {
  switch (kernel.kind) {
    case "nest":
      return defineStages(module, stages ?? schedule(kernel), given);
    case "matmul": {
      const convolution =
        mayHaveWindows(kernel) &&
        printerOf("convolution").defineConvolution(module, kernel, given, options.relaxed);
      if (convolution) return convolution;
      const { batch, row, column, inner, a, dtype, stores } = kernel;
      if (inner.extent > 0) return defineMatmul(module, kernel, given, options);
      // Sums of nothing.
      const accumulators = [{ index: 0, name: "sum" as const, dtype, expr: a }];
      const nest = nestOf({ grid: [batch, row, column], inner: [inner], accumulators, stores });
      return defineStages(module, schedule(nest), given);
    }
    case "procedure":
      return { phases: printerOf("procedure").defineProcedure(module, kernel, given) };
    default:
      return kernel satisfies never;
  }
}
