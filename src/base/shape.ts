import { isIntegerIn, show } from "./arguments.ts";
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

const mostLength = 2 ** 31 - 1;

/** Checks that a shape is a list of integers >= 0, and that its elements can be counted. */
export function checkShape(operation: string, shape: Shape): void {
  if (!Array.isArray(shape))
    throw new ShapeError(
      `${operation}: the shape is ${show(shape)}; it is a list of lengths such as [2, 3].`,
    );
  for (const length of shape) {
    if (!isIntegerIn(length, 0, mostLength)) {
      const expected = isIntegerIn(length, 0)
        ? "the most is 2^31 - 1, as indices are int32"
        : "lengths are integers >= 0";
      throw new ShapeError(`${operation}: shape ${show(shape)} has the length ${show(length)}; ${expected}.`);
    }
  }
  checkCountable(operation, shape);
}

/** Checks that the elements of a shape can be counted: beyond 2^53, numbers skip integers. */
export function checkCountable(operation: string, shape: Shape): void {
  if (numel(shape) <= Number.MAX_SAFE_INTEGER) return;
  throw new ShapeError(
    `${operation}: shape [${shape.join(",")}] has ${numel(shape)} elements; the most there can be are 2^53 - 1.`,
  );
}

/** Checks a list of integers >= `least`, or null where that is allowed. */
export function checkIntegers(
  operation: string,
  what: string,
  list: readonly (number | null)[],
  { least = -Infinity, orNull = false }: { readonly least?: number; readonly orNull?: boolean } = {},
): void {
  const fits = (value: unknown) =>
    isIntegerIn(value, least) || (orNull && (value === null || value === undefined));
  if (Array.isArray(list) && [...list].every(fits)) return;
  const range = least === -Infinity ? "" : ` >= ${least}`;
  throw new ShapeError(
    `${operation}: ${what} is ${show(list)}; it is a list of integers${range}${orNull ? " or null" : ""} such as [0, 1].`,
  );
}

/** An axis in `[0, rank)`; negative axes count from the end. */
export function normalizeAxis(operation: string, axis: number, rank: number): number {
  if (!isIntegerIn(axis, -rank, rank - 1)) {
    const range = rank === 0 ? "a scalar has no axes" : `axes of rank ${rank} are ${-rank} to ${rank - 1}`;
    throw new ShapeError(`${operation}: axis ${show(axis)} does not exist; ${range}.`);
  }
  return axis < 0 ? axis + rank : axis + 0; // no -0
}

/** Sorted, distinct axes; `undefined` and `null` mean all of them. */
export function normalizeAxes(
  operation: string,
  axes: number | readonly number[] | null | undefined,
  rank: number,
): number[] {
  if (axes === undefined || axes === null) return Array.from({ length: rank }, (_, axis) => axis);
  const list = Array.isArray(axes) ? axes : [axes as number]; // whatever is no axis is refused next
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
