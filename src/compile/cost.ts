import { bytesPerElement, isFloat } from "../base/dtype.ts";
import { type Expr, parts, walk } from "./expr.ts";
import { type Axis, type Kernel, writesOf } from "./kernel.ts";
import type { Program } from "./program.ts";
import type { Value, ValueId } from "./value.ts";
import { additionsOf } from "./work.ts";

/** What a kernel must do at least, however it is written. */
export interface Cost {
  /**
   * Operations on floats: one for each arithmetic operation and each addend of a reduction, two for each
   * multiply-add of a matmul, `cost` of the op table's row for functions such as exp. Index arithmetic,
   * comparisons, selections and casts do not count.
   */
  readonly flops: number;
  /** Bytes loaded if each element that is needed is loaded once. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** The cost of one kernel, from its expressions. */
export function kernelCost(kernel: Kernel, values: readonly Value[]): Cost {
  const counter = new Counter(values, new Set(writesOf(kernel)));
  switch (kernel.kind) {
    case "loop": {
      const { grid, inner, accumulators, stores } = kernel;
      counter.evaluate(
        accumulators.map(({ expr }) => expr),
        [...grid, ...inner],
      );
      const points = extent(grid) * extent(inner);
      for (const { dtype } of accumulators) if (isFloat(dtype)) counter.flops += points;
      counter.evaluate(
        stores.map(({ expr }) => expr),
        grid,
      );
      for (const { value } of stores) counter.write(value, extent(grid));
      break;
    }
    case "row": {
      const { grid, inner, passes, stores, elements } = kernel;
      const axes = [...grid, ...inner];
      for (const { before, accumulators } of passes) {
        counter.evaluate(
          [...before, ...accumulators].map(({ expr }) => expr),
          axes,
        );
        for (const { dtype } of accumulators) if (isFloat(dtype)) counter.flops += extent(axes);
      }
      counter.evaluate(
        stores.map(({ expr }) => expr),
        grid,
      );
      counter.evaluate(
        elements.map(({ expr }) => expr),
        axes,
      );
      for (const { value } of stores) counter.write(value, extent(grid));
      for (const { value } of elements) counter.write(value, extent(axes));
      break;
    }
    case "matmul": {
      const { batch, row, column, inner, stores } = kernel;
      const grid = [batch, row, column];
      counter.flops += 2 * extent(grid) * inner.extent;
      // Operands are computed once while they are packed.
      counter.evaluate([kernel.a], [batch, row, inner]);
      counter.evaluate([kernel.b], [batch, inner, column]);
      counter.evaluate(
        stores.map(({ expr }) => expr),
        grid,
      );
      for (const { value } of stores) counter.write(value, extent(grid));
      break;
    }
    case "scan": {
      const axes = [kernel.lane, kernel.position];
      counter.evaluate([kernel.expr], axes);
      if (isFloat(kernel.dtype)) counter.flops += extent(axes);
      counter.write(kernel.value, extent(axes));
      break;
    }
    case "scatter": {
      const [target, source] = [
        [kernel.lane, kernel.position],
        [kernel.lane, kernel.source],
      ];
      counter.evaluate([kernel.initial], target);
      counter.evaluate([kernel.target, kernel.addend], source);
      if (isFloat(kernel.dtype)) counter.flops += extent(source);
      counter.write(kernel.value, extent(target));
      break;
    }
    default:
      return kernel satisfies never;
  }
  return counter.cost();
}

/** The cost of all kernels of a program together. */
export function programCost({ kernels, values }: Program): Cost {
  const total = { flops: 0, bytesRead: 0, bytesWritten: 0 };
  for (const kernel of kernels) {
    const cost = kernelCost(kernel, values);
    total.flops += cost.flops;
    total.bytesRead += cost.bytesRead;
    total.bytesWritten += cost.bytesWritten;
  }
  return total;
}

/** Floating-point operations for each byte moved. */
export function intensity({ flops, bytesRead, bytesWritten }: Cost): number {
  return flops / Math.max(bytesRead + bytesWritten, 1);
}

function extent(axes: readonly Axis[]): number {
  return axes.reduce((product, axis) => product * axis.extent, 1);
}

class Counter {
  flops = 0;
  #written = 0;
  readonly #values: readonly Value[];
  /** What the kernel loads of its own results is in the cache. */
  readonly #made: ReadonlySet<ValueId>;
  readonly #loaded = new Map<ValueId, number>();
  /** An expression that several results share is computed once. */
  readonly #seen = new Set<Expr>();
  /** Names of the loop variables that each expression depends on. */
  readonly #variables = new Map<Expr, ReadonlySet<string>>();

  constructor(values: readonly Value[], made: ReadonlySet<ValueId>) {
    this.#values = values;
    this.#made = made;
  }

  /** Counts what it takes to compute the expressions at every point of a loop nest, outer axes first. */
  evaluate(roots: readonly Expr[], axes: readonly Axis[]): void {
    walk(
      roots,
      (e) => {
        const names = this.#variablesOf(e, axes);
        this.#variables.set(e, names);
        if (e.kind === "apply") this.flops += flopsOf(e) * extent(upTo(axes, names));
        else if (e.kind === "load" && !this.#made.has(e.value)) {
          const points = extent(axes.filter(({ name }) => names.has(name)));
          this.#loaded.set(e.value, (this.#loaded.get(e.value) ?? 0) + points);
        }
      },
      this.#seen,
    );
  }

  write(value: ValueId, elements: number): void {
    this.#written += elements * this.#bytes(value);
  }

  cost(): Cost {
    let bytesRead = 0;
    // No more elements can be needed than there are.
    for (const [value, elements] of this.#loaded)
      bytesRead += Math.min(elements, this.#values[value]!.size) * this.#bytes(value);
    return { flops: this.flops, bytesRead, bytesWritten: this.#written };
  }

  /** After those of its parts. */
  #variablesOf(e: Expr, axes: readonly Axis[]): ReadonlySet<string> {
    if (e.kind === "variable") return new Set([e.name]);
    if (e.kind === "accumulator") return new Set(axes.map(({ name }) => name));
    return new Set(parts(e).flatMap((part) => [...this.#variables.get(part)!]));
  }

  #bytes(value: ValueId): number {
    return bytesPerElement(this.#values[value]!.dtype);
  }
}

/** The axes down to the innermost that an expression depends on: it is computed once for each of their points. */
function upTo(axes: readonly Axis[], names: ReadonlySet<string>): readonly Axis[] {
  return axes.slice(0, axes.findLastIndex(({ name }) => names.has(name)) + 1);
}

function flopsOf(e: Extract<Expr, { kind: "apply" }>): number {
  const counts = isFloat(e.dtype) && (e.row.types === "float" || e.row.types === "numeric");
  return counts ? additionsOf(e.row) : 0;
}
