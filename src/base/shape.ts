import { ShapeError } from "./errors.ts";

export type Shape = readonly number[];

/** Number of elements; 1 for a scalar. */
export function numel(shape: Shape): number {
  let product = 1;
  for (const length of shape) product *= length;
  return product;
}

/** Row-major strides, in elements. */
export function strides(shape: Shape): number[] {
  const result = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    result[axis] = stride;
    stride *= shape[axis]!;
  }
  return result;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}

/** `float32[8,16]`, as shapes are written in messages and printed graphs. */
export function describe(value: { readonly dtype: string; readonly shape: Shape }): string {
  return `${value.dtype}[${value.shape.join(",")}]`;
}

/** Checks that every length is a non-negative integer. */
export function checkShape(operation: string, shape: Shape): void {
  for (const length of shape) {
    if (!Number.isInteger(length) || length < 0) {
      throw new ShapeError(
        `${operation}: shape [${shape.join(",")}] has the length ${length}; lengths are integers >= 0.`,
      );
    }
  }
}

/** An axis in `[0, rank)`; negative axes count from the end. */
export function normalizeAxis(operation: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank) {
    const range = rank === 0 ? "a scalar has no axes" : `axes of rank ${rank} are ${-rank} to ${rank - 1}`;
    throw new ShapeError(`${operation}: axis ${axis} does not exist; ${range}.`);
  }
  return axis < 0 ? axis + rank : axis;
}

/** Sorted, distinct axes; `undefined` and `null` mean all of them. */
export function normalizeAxes(
  operation: string,
  axes: number | readonly number[] | null | undefined,
  rank: number,
): number[] {
  if (axes === undefined || axes === null) return Array.from({ length: rank }, (_, axis) => axis);
  const list = typeof axes === "number" ? [axes] : axes;
  const normalized = list.map((axis) => normalizeAxis(operation, axis, rank));
  if (new Set(normalized).size !== normalized.length) {
    throw new ShapeError(`${operation}: axes [${list.join(",")}] name an axis twice. Name each axis once.`);
  }
  return normalized.sort((a, b) => a - b);
}

/** The shape that both broadcast to, as in NumPy: trailing axes are aligned, length 1 stretches. */
export function broadcastShapes(operation: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  const result = new Array<number>(rank);
  for (let i = 1; i <= rank; i++) {
    const left = a[a.length - i] ?? 1;
    const right = b[b.length - i] ?? 1;
    if (left !== right && left !== 1 && right !== 1) {
      throw new ShapeError(
        `${operation}: shapes [${a.join(",")}] and [${b.join(",")}] do not broadcast: ` +
          `axis ${-i} has lengths ${left} and ${right}. Lengths must be equal or 1; reshape or unsqueeze one of them.`,
      );
    }
    result[rank - i] = left === 1 ? right : left;
  }
  return result;
}
