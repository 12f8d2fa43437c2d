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

/**
 * The singular value decomposition by one-sided Jacobi rotations (Hestenes 1958), after a QR decomposition for
 * tall matrices (Demmel and Veselic 1992 show its accuracy: small singular values keep their digits). Columns of
 * U that belong to a singular value of zero are zero; so are values below 2^-500 of the largest.
 *
 * With m >= n it costs 4 m n^2 operations for the QR and about 6 n^3 for each of some ten sweeps: on one core 0.1 s
 * for n = 128, 1 s for 256, 10 s for 512, and hours for 4096.
 */
export function svd(a: Columns): Svd {
  const [rows, cols] = [a[0]?.length ?? 0, a.length];
  if (rows < cols) {
    const { u, s, v } = svd(transpose(a));
    return { u: v, s, v: u };
  }
  if (rows > cols) {
    const { q, r } = qr(a);
    const inner = svd(r);
    return { ...inner, u: multiply(q, inner.u) };
  }
  // Scaled to numbers of about 1 by a power of two, so that squares neither overflow nor, where they count, underflow.
  const scale = 2 ** -Math.round(Math.log2(Math.max(2 ** -1000, ...a.map(norm))));
  const work = a.map((column) => column.map((x) => x * scale));
  const v = identity(cols);
  for (let sweep = 0; sweep < maxSweeps; sweep++) if (!rotateAll(work, v)) break;
  const lengths = work.map(norm).map((length) => (length < negligible ? 0 : length));
  const order = lengths.map((_, j) => j).sort((i, j) => lengths[j]! - lengths[i]!);
  return {
    u: order.map((j) => work[j]!.map((x) => (lengths[j] === 0 ? 0 : x / lengths[j]!))),
    s: Float64Array.from(order, (j) => lengths[j]! / scale),
    v: order.map((j) => v[j]!),
  };
}

/**
 * The singular value decomposition of B A without forming it, from QR decompositions of both and one of their
 * core: `b` is `[m, r]`, `a` `[r, n]`, and there are min(m, n, r) singular values.
 */
export function svdOfProduct(b: Columns, a: Columns): Svd {
  const [left, right] = [qr(b), qr(transpose(a))];
  const core = svd(multiply(left.r, transpose(right.r)));
  return { u: multiply(left.q, core.u), s: core.s, v: multiply(right.q, core.v) };
}

const maxSweeps = 60;

/** Columns of the scaled matrix below this length have squares that underflow: no angle between them is known. */
const negligible = 2 ** -500;

/** One sweep: makes each pair of columns orthogonal. False if all were. */
function rotateAll(work: readonly Float64Array[], v: readonly Float64Array[]): boolean {
  let rotated = false;
  for (let i = 0; i < work.length; i++) {
    for (let j = i + 1; j < work.length; j++) {
      const [p, q] = [work[i]!, work[j]!];
      const [alpha, beta, gamma] = [dot(p, p), dot(q, q), dot(p, q)];
      if (gamma === 0 || Math.abs(gamma) <= 2 ** -52 * Math.sqrt(alpha * beta)) continue;
      rotated = true;
      // The smaller root of t^2 + 2 zeta t - 1 = 0 is the tangent of the angle.
      const zeta = (beta - alpha) / (2 * gamma);
      const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
      const cosine = 1 / Math.hypot(1, t);
      rotate(p, q, cosine, cosine * t);
      rotate(v[i]!, v[j]!, cosine, cosine * t);
    }
  }
  return rotated;
}

function rotate(p: Float64Array, q: Float64Array, cosine: number, sine: number): void {
  for (let k = 0; k < p.length; k++) {
    const [x, y] = [p[k]!, q[k]!];
    p[k] = cosine * x - sine * y;
    q[k] = sine * x + cosine * y;
  }
}

function identity(n: number): Float64Array[] {
  return Array.from({ length: n }, (_, j) => Float64Array.from({ length: n }, (_, i) => (i === j ? 1 : 0)));
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
