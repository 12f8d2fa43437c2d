import { LawError } from "./law.ts";
import { type Matrix, map, shapeOf } from "./matrix.ts";

export interface CloseOptions {
  /** Largest error as a share of `size`. */
  readonly tolerance: number;
  /** What rounding errors are in proportion to. Default: the largest expected entry. */
  readonly size?: number;
  /** What may be wrong, from an entry that was found and the one expected. */
  readonly hint?: (found: number, expected: number) => string;
}

/** Throws unless two matrices agree up to rounding, naming the entry that differs most. */
export function close(
  what: string,
  found: Matrix,
  expected: Matrix,
  { tolerance, size = largest(expected), hint }: CloseOptions,
): void {
  checkShape(what, found, expected);
  const [i, j, error] = worst(found, expected);
  if (error <= tolerance * size) return;
  const [one, other] = [found[i]![j]!, expected[i]![j]!];
  throw new LawError(
    `${what} is ${one} at [${i},${j}], expected ${other}; they differ by ${error}, more than ${tolerance} times ${size}.${hint ? hint(one, other) : ""}`,
  );
}

/** Throws unless two matrices are equal bit for bit; zeros of either sign are equal, and NaN is itself. */
export function identical(what: string, found: Matrix, expected: Matrix): void {
  checkShape(what, found, expected);
  found.forEach((row, i) => {
    row.forEach((value, j) => {
      const other = expected[i]![j]!;
      if (value === other || (Number.isNaN(value) && Number.isNaN(other))) return;
      throw new LawError(`${what} is ${value} at [${i},${j}], expected ${other} to the last bit.`);
    });
  });
}

/** The largest size of an entry. */
export function largest(x: Matrix): number {
  return Math.max(0, ...map(x, Math.abs).flat());
}

function checkShape(what: string, found: Matrix, expected: Matrix): void {
  const rows = new Set(found.map((row) => row.length));
  if (rows.size > 1 || shapeOf(found) !== shapeOf(expected))
    throw new LawError(`${what} has the shape ${shapeOf(found)}, expected ${shapeOf(expected)}.`);
}

function worst(found: Matrix, expected: Matrix): [row: number, column: number, error: number] {
  let at: [number, number, number] = [0, 0, 0];
  found.forEach((row, i) => {
    row.forEach((value, j) => {
      const error = Math.abs(value - expected[i]![j]!);
      // NaN is the worst of all.
      if (!(error <= at[2])) at = [i, j, Number.isNaN(error) ? Infinity : error];
    });
  });
  return at;
}

/**
 * Throws unless `act` leaves the values as they were.
 *
 * @param what Names for messages, with the values: plain data, made of arrays, typed arrays and objects.
 */
export async function untouched<T>(
  what: Readonly<Record<string, unknown>>,
  act: () => T | Promise<T>,
): Promise<T> {
  const before = Object.entries(what).map(([name, value]) => [name, value, structuredClone(value)] as const);
  const result = await act();
  for (const [name, value, copy] of before) {
    const path = difference(value, copy);
    if (path !== undefined) throw new LawError(`${name}${path} was changed: the caller's own value.`);
  }
  return result;
}

/** The path of the first difference of two plain values, or undefined. Numbers agree to the last bit. */
export function difference(x: unknown, y: unknown): string | undefined {
  if (Object.is(x, y) || (x === 0 && y === 0)) return undefined;
  if (typeof x !== "object" || typeof y !== "object" || x === null || y === null) return "";
  const [a, b] = [x as Record<string, unknown>, y as Record<string, unknown>]; // arrays have keys too
  for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
    const inner = difference(a[key], b[key]);
    if (inner !== undefined) return `.${key}${inner}`;
  }
  return undefined;
}
