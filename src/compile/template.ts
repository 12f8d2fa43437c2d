import { isFloat } from "../base/dtype.ts";
import type { Procedure } from "../graph/procedure.ts";
import type { Expr } from "./expr.ts";
import { type Axis, product, type Store } from "./nest.ts";

// Kernels whose loops are written by hand, with holes for expressions. A further one is a type here, a row of the table
// below, and a case of the printer of each backend (webgpu/print.ts, wasm/kernel.ts): see docs/adding-a-kernel.md.

/** Accumulator 0 is the sum of a * b over `inner`; a knows (batch, row, inner), b (batch, inner, column). */
export interface MatmulKernel {
  readonly kind: "matmul";
  readonly dtype: "float32" | "float64";
  readonly batch: Axis;
  readonly row: Axis;
  readonly column: Axis;
  readonly inner: Axis;
  readonly a: Expr;
  readonly b: Expr;
  readonly stores: readonly Store[];
}

/** In each fiber of an array, what lies along one axis, copies `initial`, then runs a program on it: accumulator 0. */
export interface ProcedureKernel {
  readonly kind: "procedure";
  readonly dtype: "float32" | "float64" | "int32";
  readonly procedure: Procedure;
  readonly fiber: Axis;
  readonly position: Axis;
  readonly initial: Expr;
  /** The one result, each row of it contiguous. */
  readonly stores: readonly [Store];
}

export type TemplateKernel = MatmulKernel | ProcedureKernel;

/** An expression of a template, and the loops in which it is computed. */
export interface Hole {
  readonly expr: Expr;
  readonly over: readonly Axis[];
}

/** What everybody but its printers must know of a template. */
export interface TemplateRow<K> {
  holes(kernel: K): readonly Hole[];
  /** The loops at each point of which results are stored. */
  grid(kernel: K): readonly Axis[];
  /** Operations on floats that its own loops do. */
  flops(kernel: K): number;
  /** For people. */
  describe(kernel: K): string;
}

type Table = { readonly [K in TemplateKernel as K["kind"]]: TemplateRow<K> };

const table: Table = {
  matmul: {
    // Operands are computed once while they are packed.
    holes: ({ a, b, batch, row, column, inner }) => [
      { expr: a, over: [batch, row, inner] },
      { expr: b, over: [batch, inner, column] },
    ],
    grid: ({ batch, row, column }) => [batch, row, column],
    flops: ({ batch, row, column, inner }) => 2 * product([batch, row, column, inner]),
    describe: ({ batch, row, column, inner }) =>
      `matmul ${batch.extent > 1 ? `${batch.extent} of ` : ""}${row.extent} x ${column.extent} over ${inner.extent}`,
  },
  procedure: {
    holes: ({ initial, fiber, position }) => [{ expr: initial, over: [fiber, position] }],
    grid: ({ fiber, position }) => [fiber, position],
    flops: ({ dtype, fiber, procedure }) => (isFloat(dtype) ? fiber.extent * procedure.work : 0),
    describe: ({ procedure, fiber }) => `${procedure.text} in ${fiber.extent} fibers`,
  },
};

/** The row of a kernel's template. */
export function templateOf<K extends TemplateKernel>(kernel: K): TemplateRow<K> {
  return table[kernel.kind] as unknown as TemplateRow<K>; // by its kind, which TypeScript does not relate
}
