import { ShapeError } from "../base/errors.ts";
import { describe, numel, type Shape, sameShape } from "../base/shape.ts";
import { onDevice } from "./cast.ts";
import { constant, makeNode, type Node } from "./node.ts";

// Constructors of movement nodes. Arguments are already normalised (axes in range, lengths known).

export function reshape(x: Node, shape: Shape): Node {
  if (sameShape(x.shape, shape)) return x;
  if (numel(x.shape) !== numel(shape)) {
    throw new ShapeError(
      `reshape: ${describe(x)} has ${numel(x.shape)} elements, [${shape.join(",")}] has ${numel(shape)}. The counts must be equal.`,
    );
  }
  const source = onDevice(x.operation.kind === "reshape" ? x.inputs[0]! : x);
  return makeNode({ kind: "reshape" }, [source], shape, source.dtype);
}

/** Stretches lengths 1, after adding leading axes of length 1. */
export function expand(x: Node, shape: Shape, operation = "expand"): Node {
  if (sameShape(x.shape, shape)) return x;
  const missing = shape.length - x.shape.length;
  const aligned = [...new Array<number>(Math.max(missing, 0)).fill(1), ...x.shape];
  if (missing < 0 || aligned.some((length, axis) => length !== 1 && length !== shape[axis])) {
    throw new ShapeError(
      `${operation}: ${describe(x)} does not expand to [${shape.join(",")}]; only lengths 1 stretch.`,
    );
  }
  const padded = reshape(x, aligned);
  return sameShape(aligned, shape) ? padded : makeNode({ kind: "expand" }, [padded], shape, padded.dtype);
}

export function zeros({ shape, dtype }: Pick<Node, "shape" | "dtype">): Node {
  return expand(constant(0, dtype), shape);
}

export function permute(x: Node, axes: readonly number[]): Node {
  if (axes.every((axis, i) => axis === i)) return x;
  const { operation } = x;
  if (operation.kind === "permute")
    return permute(
      x.inputs[0]!,
      axes.map((axis) => operation.axes[axis]!),
    );
  const shape = axes.map((axis) => x.shape[axis]!);
  return makeNode({ kind: "permute", axes }, [x], shape, x.dtype);
}

/** Swaps two axes. */
export function transpose(x: Node, axis0: number, axis1: number): Node {
  const axes = x.shape.map((_, axis) => axis);
  return permute(x, axes.with(axis0, axis1).with(axis1, axis0));
}

export function flip(x: Node, axes: readonly number[]): Node {
  return axes.length === 0 ? x : makeNode({ kind: "flip", axes }, [x], x.shape, x.dtype);
}

/** Elements `start, start + step, ...`, as many as `shape` says. */
export function slice(
  x: Node,
  start: readonly number[],
  shape: Shape,
  step: readonly number[] = x.shape.map(() => 1),
): Node {
  if (sameShape(shape, x.shape) && start.every((s) => s === 0) && step.every((s) => s === 1)) return x;
  return makeNode({ kind: "slice", start, step }, [x], shape, x.dtype);
}

/** So many elements along one axis. */
export function sliceAlong(x: Node, axis: number, start: number, count: number): Node {
  return slice(x, x.shape.map(() => 0).with(axis, start), x.shape.with(axis, count));
}

/**
 * Windows of `size` places that are `dilation` apart, as many as fit, each starting `step` behind the last: the axis
 * becomes two, [count, size]. Windows may overlap; nothing is copied.
 */
export function windows(x: Node, axis: number, size: number, step: number, dilation: number): Node {
  const count = Math.floor((x.shape[axis]! - dilation * (size - 1) - 1) / step) + 1;
  const shape = [...x.shape.slice(0, axis), count, size, ...x.shape.slice(axis + 1)];
  return makeNode({ kind: "windows", axis, step, dilation }, [x], shape, x.dtype);
}

export function pad(x: Node, before: readonly number[], after: readonly number[], value = 0): Node {
  if (before.every((n) => n === 0) && after.every((n) => n === 0)) return x;
  const shape = x.shape.map((length, axis) => length + before[axis]! + after[axis]!);
  return makeNode({ kind: "pad", before, value }, [x], shape, x.dtype);
}

/** The same along one axis. */
export function padAlong(x: Node, axis: number, before: number, after: number, value = 0): Node {
  const none = x.shape.map(() => 0);
  return pad(x, none.with(axis, before), none.with(axis, after), value);
}
