import { debug, debugging } from "../../../base/debug.ts";
import { expressionsOf, type Kernel, type TemplateKernel } from "../../../compile/kernel.ts";
import { asLoop, nestOf } from "../../../compile/nest.ts";
import { describeKernel } from "../../../compile/print.ts";
import { type Stage, showSteps } from "../../../compile/steps.ts";
import { Arguments } from "./arguments.ts";
import { Module } from "./assemble.ts";
import type { Phase } from "./grid.ts";
import { schedule } from "./heuristics.ts";
import { importRows } from "./imports.ts";
import { defineLoop } from "./loop.ts";
import { defineMatmul } from "./matmul/matmul.ts";
import { asPart, definePart } from "./parts.ts";
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
    ? defineNest(module, schedule(kernel), given)
    : defineTemplate(module, kernel, given, options);
}

/** A nest, in stages. */
export function defineNest(module: Module, stages: readonly Stage[], given: Arguments): Defined {
  const defined = stages.map((stage, i) => {
    const name = i === 0 ? "run" : `run${i}`;
    const { nest, steps } = stage;
    const loop = asLoop(nest);
    if (loop) return defineLoop(module, name, loop, steps, given);
    const part = asPart(nest);
    return part ? definePart(module, name, part, steps, given) : defineRows(module, name, stage, given);
  });
  return {
    phases: defined.map(({ phase }) => phase),
    scratch: Math.max(...defined.map(({ scratch }) => scratch)),
    note: stages.flatMap(({ steps }) => showSteps(steps) || []).join("; then "),
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
    const nest = nestOf({ grid: [batch, row, column], inner: [inner], accumulators, stores });
    return defineNest(module, schedule(nest), given);
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
