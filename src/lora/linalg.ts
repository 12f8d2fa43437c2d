import { evaluateNodes } from "../runtime/evaluate.ts";
import { hostDevice } from "../runtime/init.ts";
import { tensor } from "../tensor/creation.ts";
import * as linalg from "../tensor/linalg.ts";

// Decompositions of small matrices on the host, in float64: what initialisations and combinations of adapters
// need once, before or after training. Nothing of a training step comes here.

/** A matrix as its columns, all of one length. */
export type Columns = readonly Float64Array[];

/** The columns of a matrix whose values lie row by row. */
export function columnsOf(values: ArrayLike<number>, rows: number, cols: number): Columns {
  return Array.from({ length: cols }, (_, j) =>
    Float64Array.from({ length: rows }, (_, i) => values[i * cols + j]!),
  );
}

/** The values of a matrix row by row. */
export function rowMajor(a: Columns): Float64Array {
  const [rows, cols] = [a[0]?.length ?? 0, a.length];
  return Float64Array.from({ length: rows * cols }, (_, at) => a[at % cols]![Math.floor(at / cols)]!);
}

export function transpose(a: Columns): Columns {
  return columnsOf(
    a.flatMap((column) => [...column]),
    a.length,
    a[0]?.length ?? 0,
  );
}

/** A B, `[m, k]` times `[k, n]`. */
export function multiply(a: Columns, b: Columns): Columns {
  return b.map((factors) => {
    const sum = new Float64Array(a[0]?.length ?? 0);
    a.forEach((column, k) => {
      addMultiple(sum, factors[k]!, column);
    });
    return sum;
  });
}

/** The matrix with each column times a factor of its own. */
export function scaleColumns(a: Columns, factors: ArrayLike<number>): Columns {
  return a.map((column, j) => column.map((x) => x * factors[j]!));
}

/**
 * The first `count` columns of Q and rows of R in A = Q R, by Householder reflections (Golub and Van Loan,
 * Matrix Computations, 5.2). A is `[m, n]`, `count <= min(m, n)` and that by default; with it A = Q R. Signs are
 * LAPACK's: each diagonal entry of R has the sign opposite to the entry it came from.
 *
 * Costs about 4 m n count operations.
 */
export function qr(
  a: Columns,
  count = Math.min(a.length, a[0]?.length ?? 0),
): { readonly q: Columns; readonly r: Columns } {
  const rows = a[0]?.length ?? 0;
  const work = a.map((column) => column.slice());
  const reflections: { readonly v: Float64Array; readonly factor: number }[] = [];
  for (let k = 0; k < count; k++) {
    const v = work[k]!.slice();
    v.fill(0, 0, k);
    const length = norm(v);
    if (length === 0) continue; // nothing to reflect
    // Of length 1, so that no square underflows; adding the sign makes the square of the length 2 (1 + |v_k|).
    v.forEach((x, i) => {
      v[i] = x / length;
    });
    v[k]! += v[k]! < 0 ? -1 : 1;
    const factor = 2 / dot(v, v);
    reflections.push({ v, factor });
    for (const column of work.slice(k)) addMultiple(column, -factor * dot(v, column), v);
  }
  const q = Array.from({ length: count }, (_, j) => {
    const column = new Float64Array(rows);
    column[j] = 1;
    for (const { v, factor } of reflections.toReversed()) addMultiple(column, -factor * dot(v, column), v);
    return column;
  });
  // Below the diagonal stand rounding errors of zeros.
  const r = work.map((column, j) => column.slice(0, count).map((x, i) => (i > j ? 0 : x)));
  return { q, r };
}

/** A = U diag(s) V^T: `u` `[m, k]`, `s` descending, `v` `[n, k]` with k = min(m, n). */
export interface Svd {
  readonly u: Columns;
  readonly s: Float64Array;
  readonly v: Columns;
}

/** The singular value decomposition, `linalg.svd` in float64, wherever the model is. */
export async function svd(a: Columns): Promise<Svd> {
  const [rows, cols] = [a[0]?.length ?? 0, a.length];
  const parts = linalg.svd(tensor(rowMajor(a), { shape: [rows, cols], dtype: "float64" }));
  const all = [parts.u, parts.s, parts.v];
  await evaluateNodes(
    all.map(({ node }) => node),
    await hostDevice(),
  );
  const [u, s, v] = await Promise.all(all.map((part) => part.data()));
  const k = Math.min(rows, cols);
  return { u: columnsOf(u!, rows, k), s: Float64Array.from(s!), v: columnsOf(v!, cols, k) };
}

/**
 * The singular value decomposition of B A without forming it, from QR decompositions of both and one of their
 * core: `b` is `[m, r]`, `a` `[r, n]`, and there are min(m, n, r) singular values.
 */
export async function svdOfProduct(b: Columns, a: Columns): Promise<Svd> {
  const [left, right] = [qr(b), qr(transpose(a))];
  const core = await svd(multiply(left.r, transpose(right.r)));
  return { u: multiply(left.q, core.u), s: core.s, v: multiply(right.q, core.v) };
}

function norm(x: Float64Array): number {
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return 0;
  let sum = 0;
  for (const value of x) sum += (value / largest) ** 2;
  return largest * Math.sqrt(sum);
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

function addMultiple(x: Float64Array, factor: number, y: Float64Array): void {
  for (let i = 0; i < x.length; i++) x[i]! += factor * y[i]!;
}
