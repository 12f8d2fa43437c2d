import { indent } from "../../compile/indent.ts";
import { expressionsOf, type Kernel } from "../../compile/kernel.ts";
import { describeKernel } from "../../compile/print.ts";
import type { Program } from "../../compile/program.ts";
import { sizeOf } from "../../compile/work.ts";
import type { Body } from "./grid.ts";
import { helpersOf } from "./helpers.ts";
import { printLoop } from "./loop.ts";
import { printMatmul } from "./matmul.ts";
import { printScan, printScatter } from "./ordered.ts";
import { printRow } from "./row.ts";
import { Bindings, type Shader, type ShaderOptions } from "./shader.ts";

/** A kernel as WGSL: its buffers, the helper functions it calls, then its code. */
export function printKernel(kernel: Kernel, program: Program, options: ShaderOptions): Shader {
  const bindings = new Bindings(kernel, program);
  const { enable = [], declarations = [], body, workgroups } = printBody(kernel, bindings, options);
  const code = indent([...bindings.declarations(), ...declarations, "", ...body]);
  const helpers = helpersOf(code);
  const halves = sizeOf(expressionsOf(kernel), ({ dtype }) => dtype === "float16") > 0;
  const extensions = [...enable, ...(halves ? ["f16"] : [])];
  const directive = extensions.length > 0 ? `enable ${extensions.join(", ")};\n\n` : "";
  const source = `// ${describeKernel(kernel)}\n\n${directive}${helpers === "" ? "" : `${helpers}\n`}${code}\n`;
  return { source, bindings: bindings.list, scalars: bindings.scalars, workgroups };
}

function printBody(kernel: Kernel, bindings: Bindings, options: ShaderOptions): Body {
  switch (kernel.kind) {
    case "loop":
      return printLoop(kernel, bindings, options);
    case "row":
      return printRow(kernel, bindings, options);
    case "scan":
      return printScan(kernel, bindings, options);
    case "scatter":
      return printScatter(kernel, bindings, options);
    case "matmul":
      return printMatmul(kernel, bindings, options);
    default:
      return kernel satisfies never;
  }
}
