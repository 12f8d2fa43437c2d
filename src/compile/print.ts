import { type Kernel, reads, writesOf } from "./kernel.ts";
import { asLoop } from "./nest.ts";
import type { Place, Program } from "./program.ts";
import { templateOf } from "./template.ts";

/** A program as text: values with their places, and what each kernel reads and writes. */
export function printProgram(program: Program): string {
  const place = (p: Place) =>
    `${p.kind} ${p.index}${p.kind === "slot" && p.offset > 0 ? ` from ${p.offset}` : ""}`;
  const name = (value: number) => {
    const { dtype, size } = program.values[value]!;
    return `v${value}:${dtype}[${size}] (${place(program.places[value]!)})`;
  };
  return program.kernels
    .map(
      (kernel, i) =>
        `kernel ${i}: ${describeKernel(kernel)}\n  reads ${[...reads(kernel)].map(name).join(", ") || "nothing"}\n  writes ${writesOf(kernel).map(name).join(", ")}`,
    )
    .join("\n");
}

/** One line: `reduce sum 256 x 1024`, `matmul 256 x 8 x 1024`, `map 1048576`. */
export function describeKernel(kernel: Kernel): string {
  const lengths = (axes: readonly { readonly extent: number }[]) =>
    axes.map(({ extent }) => extent).join(" x ") || "1";
  if (kernel.kind !== "nest") return templateOf(kernel).describe(kernel);
  const { grid, inner, passes, stores, elements } = kernel;
  const names = passes
    .map(({ accumulators }) => accumulators.map(({ name }) => name).join(", "))
    .join(", then ");
  if (asLoop(kernel)) {
    const results = stores.length > 1 ? `, ${stores.length} results` : "";
    if (passes.length === 0) return `map ${lengths(grid)}${results}`;
    return `reduce ${names} over ${lengths(inner)} for ${lengths(grid)}${results}`;
  }
  const ofRow = stores.length > 0 ? `, ${stores.length} results a row` : "";
  const ofElement = elements.length > 0 ? `, ${elements.length} an element` : "";
  return `rows ${lengths(grid)} of ${lengths(inner)}: ${names}${ofRow}${ofElement}`;
}
