import { expressionsOf, type Kernel, type TemplateKernel } from "../../../compile/kernel.ts";
import { nestOf } from "../../../compile/nest.ts";
import { describeKernel } from "../../../compile/print.ts";
import type { Stage } from "../../../compile/steps.ts";
import { Arguments } from "./arguments.ts";
import { Module, type TableAt } from "./assemble.ts";
import { schedule } from "./heuristics.ts";
import { importRows } from "./imports.ts";
import { defineMatmul } from "./matmul/matmul.ts";
import { type Defined, defineStages } from "./nest.ts";
import { defineProcedure } from "./procedure.ts";
import { type NamedFunction, printFunctions } from "./text.ts";
import type { Phase } from "./units.ts";
import { scheduleWinograd } from "./winograd/schedule.ts";
import { defineWinograd } from "./winograd/winograd.ts";

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

/**
 * Functions take (begin, end, arguments, shared scratch, scratch of the thread).
 *
 * @param stages How a nest runs, if not as scheduled.
 */
export function emitKernel(
  kernel: Kernel,
  options: WasmOptions,
  stages: readonly Stage[] = kernel.kind === "nest" ? schedule(kernel) : [],
): WasmKernel {
  const module = new Module(options.tableAt);
  importRows(module, expressionsOf(kernel));
  const given = new Arguments(kernel);
  const {
    phases,
    scratch = 0,
    note = "",
  } = kernel.kind === "nest"
    ? defineStages(module, stages, given)
    : defineTemplate(module, kernel, given, options);
  const { imports, functions } = module;
  return { bytes: module.encode(options), given, phases, imports, scratch, note, functions };
}

type Definer<K> = (module: Module, kernel: K, given: Arguments, options: WasmOptions) => Defined;

const templates: { readonly [K in TemplateKernel as K["kind"]]: Definer<K> } = {
  matmul: (module, kernel, given, options) => {
    const convolution = scheduleWinograd(kernel, options.relaxed);
    if (convolution) return defineWinograd(module, kernel, given, convolution);
    if (kernel.inner.extent > 0) {
      const { packed: scratch, ...matmul } = defineMatmul(module, kernel, given, options);
      return { ...matmul, scratch };
    }
    // Sums of nothing.
    const { batch, row, column, inner, a, dtype, stores } = kernel;
    const accumulators = [{ name: "sum" as const, dtype, expr: a }];
    const nest = nestOf({ grid: [batch, row, column], inner: [inner], accumulators, stores });
    return defineStages(module, schedule(nest), given);
  },
  procedure: (module, kernel, given) => ({ phases: defineProcedure(module, kernel, given) }),
};

function defineTemplate<K extends TemplateKernel>(
  module: Module,
  kernel: K,
  given: Arguments,
  options: WasmOptions,
): Defined {
  const definer = templates[kernel.kind] as unknown as Definer<K>; // by its kind, which TypeScript does not relate
  return definer(module, kernel, given, options);
}
