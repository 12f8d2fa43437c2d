import type { DType } from "../base/dtype.ts";
import { DTypeError } from "../base/errors.ts";
import { describe, numel, type Shape } from "../base/shape.ts";
import { expand, reshape } from "./movement.ts";
import { makeNode, type Node, type ReduceName } from "./node.ts";
import type { Procedure } from "./procedure.ts";

// Constructors of nodes that make one element from many, or are indexed by data.

/** The value that a reduction of nothing gives. */
export function neutral(name: ReduceName, dtype: DType): number {
  switch (name) {
    case "sum":
      return 0;
    case "prod":
      return 1;
    case "max":
      return dtype === "int32" ? -(2 ** 31) : dtype === "uint32" ? 0 : -Infinity;
    case "min":
      return dtype === "int32" ? 2 ** 31 - 1 : dtype === "uint32" ? 2 ** 32 - 1 : Infinity;
    default:
      return name satisfies never;
  }
}

function checkNumbers(operation: string, x: Node): void {
  if (x.dtype === "bool")
    throw new DTypeError(`${operation}: takes numbers; given ${describe(x)}. Cast with .astype("int32").`);
}

/** Reduces sorted `axes` away. */
export function reduce(name: ReduceName, x: Node, axes: readonly number[]): Node {
  checkNumbers(name, x);
  if (axes.length === 0) return x;
  // Kernels count in int32.
  const [first, ...others] = axes;
  if (others.length > 0 && numel(axes.map((axis) => x.shape[axis]!)) > 2 ** 30)
    return reduce(name, reduce(name, x, others), [first!]);
  const shape = x.shape.filter((_, axis) => !axes.includes(axis));
  return makeNode({ kind: "reduce", name, axes }, [x], shape, x.dtype);
}

/** Restores axes that were reduced away, and stretches them. */
export function spread(x: Node, axes: readonly number[], shape: Shape): Node {
  const kept = shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
  return expand(reshape(x, kept), shape);
}

/** `[...batch, m, k] x [...batch, k, n]`: batch shapes and dtypes are equal. */
export function matmul(a: Node, b: Node): Node {
  const shape = [...a.shape.slice(0, -1), b.shape[b.shape.length - 1]!];
  return makeNode({ kind: "matmul" }, [a, b], shape, a.dtype);
}

/** Running sums along `axis`. */
export function cumsum(x: Node, axis: number): Node {
  checkNumbers("cumsum", x);
  return makeNode({ kind: "cumsum", axis }, [x], x.shape, x.dtype);
}

/** `out[i.., j, k..] = x[i.., index[i.., j, k..], k..]`; other axes of both have equal lengths. */
export function gather(x: Node, index: Node, axis: number): Node {
  return makeNode({ kind: "gather", axis }, [x, index], index.shape, x.dtype);
}

/** What a program makes of each row of the last axis; `apart` is the same, in shorter rows. */
export function runProcedure(procedure: Procedure, x: Node, apart?: (rows: Node) => Node): Node {
  return makeNode({ kind: "procedure", procedure, apart }, [x], x.shape, x.dtype);
}

/**
 * x with `source` added at `index` along `axis`, in the order of the source; other axes have equal lengths.
 *
 * @param permutes Whether it is sure that all indices along the axis are a permutation: then all are added side by side.
 */
export function scatterAdd(x: Node, index: Node, source: Node, axis: number, permutes = false): Node {
  checkNumbers("scatterAdd", x);
  return makeNode({ kind: "scatterAdd", axis, permutes }, [x, index, source], x.shape, x.dtype);
}
