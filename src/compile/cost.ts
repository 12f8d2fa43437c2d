import { bytesPerElement, isFloat } from "../base/dtype.ts";
import { type Expr, walk } from "./expr.ts";
import { type Axis, type Kernel, type Store, writesOf } from "./kernel.ts";
import { exprsOf, product, visitNest } from "./nest.ts";
import type { LoopKernel, Program } from "./program.ts";
import { templateOf } from "./template.ts";
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
export function kernelCost(kernel: Kernel | LoopKernel, values: readonly Value[]): Cost {
  if (kernel.kind === "loop") return times(kernel.steps, programCost(kernel.body));
  const counter = new Counter(values, new Set(writesOf(kernel)));
  const store = (list: readonly Store[], axes: readonly Axis[]) => {
    counter.evaluate(exprsOf(list), axes);
    for (const { value } of list) counter.write(value, product(axes));
  };
  if (kernel.kind === "nest") {
    visitNest(kernel, (s, axes) => {
      if (s.kind === "accumulate") {
        counter.evaluate(exprsOf(s.accumulators), axes);
        for (const { dtype } of s.accumulators) if (isFloat(dtype)) counter.flops += product(axes);
      } else if (s.kind === "write") store(s.stores, axes);
      else if (s.kind === "at") counter.place(s.axis, s.index, axes);
    });
  } else {
    const template = templateOf(kernel);
    counter.flops += template.flops(kernel);
    for (const { expr, over } of template.holes(kernel)) counter.evaluate([expr], over);
    store(kernel.stores, template.grid(kernel));
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

function times(count: number, { flops, bytesRead, bytesWritten }: Cost): Cost {
  return { flops: count * flops, bytesRead: count * bytesRead, bytesWritten: count * bytesWritten };
}

/** Floating-point operations for each byte moved. */
export function intensity({ flops, bytesRead, bytesWritten }: Cost): number {
  return flops / Math.max(bytesRead + bytesWritten, 1);
}

class Counter {
  flops = 0;
  readonly #written = new Map<ValueId, number>();
  readonly #values: readonly Value[];
  /** What the kernel loads of its own results is in the cache. */
  readonly #made: ReadonlySet<ValueId>;
  readonly #loaded = new Map<ValueId, number>();
  /** An expression that several results share is computed once. */
  readonly #seen = new Set<Expr>();
  /** Names of the loop variables that each expression depends on. */
  readonly #variables = new Map<Expr, ReadonlySet<string>>();
  /** The same of axes that have no loop. */
  readonly #placed = new Map<string, ReadonlySet<string>>();

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
        if (e.kind === "apply") this.flops += flopsOf(e) * product(upTo(axes, names));
        else if (e.kind === "load" && !this.#made.has(e.value)) {
          const points = product(axes.filter(({ name }) => names.has(name)));
          this.#loaded.set(e.value, (this.#loaded.get(e.value) ?? 0) + points);
        }
      },
      this.#seen,
    );
  }

  /** What is stored over later in the kernel stays in the cache. */
  write(value: ValueId, elements: number): void {
    this.#written.set(value, Math.max(this.#written.get(value) ?? 0, elements));
  }

  /** An axis is where an index is. */
  place(axis: Axis, index: Expr, axes: readonly Axis[]): void {
    this.evaluate([index], axes);
    this.#placed.set(axis.name, this.#variables.get(index)!);
  }

  cost(): Cost {
    return {
      flops: this.flops,
      bytesRead: this.#bytesOf(this.#loaded),
      bytesWritten: this.#bytesOf(this.#written),
    };
  }

  /** No more elements can be needed than there are. */
  #bytesOf(counts: ReadonlyMap<ValueId, number>): number {
    let bytes = 0;
    for (const [value, elements] of counts) {
      const { dtype, size } = this.#values[value]!;
      bytes += Math.min(elements, size) * bytesPerElement(dtype);
    }
    return bytes;
  }

  /** After those of its parts. */
  #variablesOf(e: Expr, axes: readonly Axis[]): ReadonlySet<string> {
    if (e.kind === "variable") return this.#placed.get(e.name) ?? new Set([e.name]);
    if (e.kind === "accumulator") return new Set(axes.map(({ name }) => name));
    return new Set(e.operands.flatMap((part) => [...this.#variables.get(part)!]));
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
