// Matrices as rows of numbers, in float64: what laws compare an implementation with, in a form that any library
// can read and write.

/** Rows of numbers, all of one length. */
export type Matrix = readonly (readonly number[])[];

export function transpose(x: Matrix): Matrix {
  return (x[0] ?? []).map((_, j) => x.map((row) => row[j]!));
}

export function multiply(x: Matrix, y: Matrix): Matrix {
  const columns = transpose(y);
  return x.map((row) => columns.map((column) => row.reduce((sum, value, i) => sum + value * column[i]!, 0)));
}

export function times(factor: number, x: Matrix): Matrix {
  return map(x, (value) => factor * value);
}

export function plus(x: Matrix, y: Matrix): Matrix {
  return x.map((row, i) => row.map((value, j) => value + y[i]![j]!));
}

export function map(x: Matrix, f: (value: number) => number): Matrix {
  return x.map((row) => row.map(f));
}

export function zeros(rows: number, columns: number): Matrix {
  return Array.from({ length: rows }, () => Array<number>(columns).fill(0));
}

export function shapeOf(x: Matrix): string {
  return `[${x.length},${x[0]?.length ?? 0}]`;
}
