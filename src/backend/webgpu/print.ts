import type { DeviceDType } from "../../base/dtype.ts";
import { walk } from "../../compile/expr.ts";
import { formOf } from "../../compile/form.ts";
import { expressionsOf, type Kernel } from "../../compile/kernel.ts";
import { describeKernel } from "../../compile/print.ts";
import type { Program } from "../../compile/program.ts";
import { showSteps } from "../../compile/steps.ts";
import type { Body } from "./dispatch.ts";
import { wgslType } from "./dtypes.ts";
import { helpersOf } from "./helpers.ts";
import { printMatmul } from "./matmul.ts";
import { printNest } from "./nest.ts";
import { printProcedure } from "./procedure.ts";
import { Bindings, type Shader, type ShaderOptions } from "./shader.ts";

/** Prints kernels, those of one form once: a program has many. */
export function printerOf(options: ShaderOptions): (kernel: Kernel, program: Program) => Shader {
  const printed = new Map<string, { readonly shader: Shader; readonly hostNumbers: readonly number[] }>();
  return (kernel, program) => {
    const { text, hostNumbers } = formOf(kernel);
    const bindings = new Bindings(kernel, program);
    const form = `${text}\n${bindings.form}`;
    const known = printed.get(form);
    if (known) {
      const scalars = known.shader.scalars.map((index) => hostNumbers[known.hostNumbers.indexOf(index)]!);
      return { ...known.shader, bindings: bindings.list, scalars };
    }
    const shader = print(kernel, bindings, options);
    printed.set(form, { shader, hostNumbers });
    return shader;
  };
}

/** A kernel as WGSL: its buffers, the helper functions it calls, then its code. */
export function printKernel(kernel: Kernel, program: Program, options: ShaderOptions): Shader {
  return print(kernel, new Bindings(kernel, program), options);
}

function print(kernel: Kernel, bindings: Bindings, options: ShaderOptions): Shader {
  const {
    steps = [],
    enable = [],
    declarations = [],
    body,
    workgroups,
  } = printBody(kernel, bindings, options);
  const code = [...bindings.declarations(), ...declarations, "", ...body];
  const used = new Set<DeviceDType>();
  walk(expressionsOf(kernel), ({ dtype }) => used.add(dtype));
  const extensions = [...enable, ...[...used].flatMap((dtype) => wgslType(dtype).needs?.extension ?? [])];
  const directive = extensions.length > 0 ? `enable ${extensions.join(", ")};\n\n` : "";
  const chosen = steps.length > 0 ? `// ${showSteps(steps)}\n` : "";
  const source = `// ${describeKernel(kernel)}\n${chosen}\n${directive}${indent([...helpersOf(code), ...code])}\n`;
  return { source, bindings: bindings.list, scalars: bindings.scalars, workgroups };
}

function printBody(kernel: Kernel, bindings: Bindings, options: ShaderOptions): Body {
  switch (kernel.kind) {
    case "nest":
      return printNest(kernel, bindings, options);
    case "matmul":
      return printMatmul(kernel, bindings, options);
    case "procedure":
      return printProcedure(kernel, bindings, options);
    default:
      return kernel satisfies never;
  }
}

/** Lines as text, indented by what they open and close. */
function indent(lines: readonly string[]): string {
  let depth = 0;
  return lines
    .map((line) => {
      if (/^[})]/.test(line)) depth--;
      const text = line === "" ? "" : "  ".repeat(Math.max(depth, 0)) + line;
      if (/[{(]$/.test(line)) depth++;
      return text;
    })
    .join("\n");
}
