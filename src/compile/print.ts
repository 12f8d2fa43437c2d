import { type Accumulator, type Kernel, type Nest, reads, writesOf } from "./kernel.ts";
import { asLoop, storesIn, storesOfNest, visitNest } from "./nest.ts";
import type { LoopKernel, Place, Program } from "./program.ts";
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
export function describeKernel(kernel: Kernel | LoopKernel): string {
  if (kernel.kind === "loop")
    return `${kernel.steps} times: ${kernel.body.kernels.map(describeKernel).join("; ")}`;
  return kernel.kind === "nest" ? describeNest(kernel) : templateOf(kernel).describe(kernel);
}

function describeNest(nest: Nest): string {
  const { grid, body } = nest;
  const loop = asLoop(nest);
  if (loop) {
    const { inner, accumulators, stores } = loop;
    const results = stores.length > 1 ? `, ${stores.length} results` : "";
    if (accumulators.length === 0) return `map ${lengths(grid)}${results}`;
    return `reduce ${names(accumulators)} over ${lengths(inner)} for ${lengths(grid)}${results}`;
  }
  let ordered: string | undefined;
  const passes: string[] = [];
  visitNest(nest, (s, axes) => {
    const over = axes.slice(grid.length);
    if (s.kind === "at")
      ordered = `scatter ${lengths(over)} into ${s.axis.extent} in ${lengths(grid)} fibers`;
    if (s.kind !== "for") return;
    const [first, next] = s.body;
    if (first?.kind === "accumulate" && next) ordered = `scan ${lengths(s.over)} in ${lengths(grid)} fibers`;
    for (const part of s.body) if (part.kind === "accumulate") passes.push(names(part.accumulators));
  });
  if (ordered) return ordered;
  const { once } = storesOfNest(nest);
  const last = body[body.length - 1]!;
  const elements = last.kind === "for" ? storesIn(last.body).length : 0;
  const inner = body.find((s) => s.kind === "for")?.over ?? [];
  const ofRow = once.length > 0 ? `, ${once.length} results a row` : "";
  const ofElement = elements > 0 ? `, ${elements} an element` : "";
  return `rows ${lengths(grid)} of ${lengths(inner)}: ${passes.join(", then ")}${ofRow}${ofElement}`;
}

const lengths = (axes: readonly { readonly extent: number }[]) =>
  axes.map(({ extent }) => extent).join(" x ") || "1";
const names = (accumulators: readonly Accumulator[]) => accumulators.map(({ name }) => name).join(", ");
