import { debug, debugging } from "../../../base/debug.ts";
import { expressionsOf, type Kernel, type Nest, type TemplateKernel } from "../../../compile/kernel.ts";
import { asLoop, rowAxes } from "../../../compile/nest.ts";
import { describeKernel } from "../../../compile/print.ts";
import { showSteps } from "../../../compile/steps.ts";
import { Arguments } from "./arguments.ts";
import { Module } from "./assemble.ts";
import type { Phase } from "./grid.ts";
import { type Stage, scheduleOrdered, scheduleRow } from "./heuristics.ts";
import { importRows } from "./imports.ts";
import { defineLoop } from "./loop.ts";
import { defineMatmul } from "./matmul/matmul.ts";
import { defineProcedure } from "./procedure.ts";
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
  return `// ${describeKernel(kernel)}\n// WebAssembly: ${note || "one element at a time"}\n${printFunctions(functions)}`;
}

/** Functions take (begin, end, arguments, shared scratch, scratch of the thread). */
export function emitKernel(kernel: Kernel, options: WasmOptions): WasmKernel {
  const module = new Module();
  importRows(module, expressionsOf(kernel));
  const given = new Arguments(kernel);
  const { phases, scratch = 0, note = "" } = define(module, kernel, given, options);
  const { imports, functions } = module;
  const emitted = { bytes: module.encode(options), given, phases, imports, scratch, note, functions };
  if (debugging("kernel")) debug("kernel", () => `\n${printKernel(kernel, emitted)}`);
  return emitted;
}

/** What the functions of a kernel are, and how they run. */
interface Defined {
  readonly phases: readonly Phase[];
  readonly scratch?: number;
  readonly note?: string;
}

function define(module: Module, kernel: Kernel, given: Arguments, options: WasmOptions): Defined {
  return kernel.kind === "nest"
    ? defineNest(module, kernel, given)
    : defineTemplate(module, kernel, given, options);
}

/** A nest, in stages. */
function defineNest(module: Module, nest: Nest, given: Arguments): Defined {
  const loop = asLoop(nest);
  if (loop) {
    const { steps, ...defined } = defineLoop(module, "run", loop, given);
    return { ...defined, note: showSteps(steps) };
  }
  const inner = rowAxes(nest);
  const stages: readonly Stage[] = inner
    ? [{ nest, steps: scheduleRow(nest, inner) }]
    : scheduleOrdered(nest);
  const phases = stages.flatMap((stage, i) => {
    const name = i === 0 ? "run" : `run${i}`;
    const own = asLoop(stage.nest);
    return own ? defineLoop(module, name, own, given).phases : [defineRows(module, name, stage, given)];
  });
  return {
    phases,
    note: stages
      .map(({ steps }) => showSteps(steps))
      .filter((text) => text !== "")
      .join("; then "),
  };
}

type Definer<K> = (module: Module, kernel: K, given: Arguments, options: WasmOptions) => Defined;

const templates: { readonly [K in TemplateKernel as K["kind"]]: Definer<K> } = {
  matmul: (module, kernel, given, options) => {
    if (kernel.inner.extent > 0) {
      const { packed: scratch, ...matmul } = defineMatmul(module, kernel, given, options);
      return { ...matmul, scratch };
    }
    // Sums of nothing.
    const { batch, row, column, inner, a, dtype, stores } = kernel;
    const accumulators = [{ name: "sum" as const, dtype, expr: a }];
    const { phases } = defineLoop(
      module,
      "run",
      { grid: [batch, row, column], inner: [inner], accumulators, stores },
      given,
    );
    return { phases };
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
