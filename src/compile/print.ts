import { type Kernel, reads, writesOf } from "./kernel.ts";
import type { Place, Program } from "./program.ts";

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
  switch (kernel.kind) {
    case "loop": {
      const stores = kernel.stores.length > 1 ? `, ${kernel.stores.length} results` : "";
      if (kernel.accumulators.length === 0) return `map ${lengths(kernel.grid)}${stores}`;
      return `reduce ${kernel.accumulators.map(({ name }) => name).join(", ")} over ${lengths(kernel.inner)} for ${lengths(kernel.grid)}${stores}`;
    }
    case "row": {
      const names = kernel.passes
        .map(({ accumulators }) => accumulators.map(({ name }) => name).join(", "))
        .join(", then ");
      const stores = kernel.stores.length > 0 ? `, ${kernel.stores.length} results a row` : "";
      const elements = kernel.elements.length > 0 ? `, ${kernel.elements.length} an element` : "";
      return `rows ${lengths(kernel.grid)} of ${lengths(kernel.inner)}: ${names}${stores}${elements}`;
    }
    case "matmul":
      return `matmul ${kernel.batch.extent > 1 ? `${kernel.batch.extent} of ` : ""}${kernel.row.extent} x ${kernel.column.extent} over ${kernel.inner.extent}`;
    case "scan":
      return `scan ${kernel.position.extent} in ${kernel.lane.extent} lanes`;
    case "scatter":
      return `scatter ${kernel.source.extent} into ${kernel.position.extent} in ${kernel.lane.extent} lanes`;
    default:
      return kernel satisfies never;
  }
}
