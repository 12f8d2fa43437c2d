/** Rows and columns that the microkernel computes at once. */
export const tile = { rows: 4, columns: 4 } as const;

/** Fills a packed panel: rows (or columns) from `start`, at `offset` of `into`. */
export type Pack = (into: Float64Array, offset: number, start: number, batch: number) => void;

/** Stores rows `start` to `end` from a panel of sums with `stride` columns. */
export type Epilogue = (
  panel: Float64Array,
  start: number,
  end: number,
  stride: number,
  batch: number,
) => void;

export interface MatmulShape {
  readonly batch: number;
  readonly rows: number;
  readonly columns: number;
  readonly inner: number;
}

/**
 * Packed matmul. Both operands are copied into panels of four as float64, so that the inner loop reads forwards
 * and converts nothing; sums are float64 and rounded once.
 */
export function matmul(
  { batch, rows, columns, inner }: MatmulShape,
  packA: Pack,
  packB: Pack,
  epilogue: Epilogue,
): void {
  const panels = Math.ceil(columns / tile.columns);
  const stride = panels * tile.columns;
  const b = new Float64Array(inner * stride);
  const a = new Float64Array(inner * tile.rows);
  const sums = new Float64Array(tile.rows * stride);
  for (let i = 0; i < batch; i++) {
    for (let panel = 0; panel < panels; panel++)
      packB(b, panel * tile.columns * inner, panel * tile.columns, i);
    for (let row = 0; row < rows; row += tile.rows) {
      packA(a, 0, row, i);
      for (let panel = 0; panel < panels; panel++)
        microkernel(a, b, panel * tile.columns * inner, inner, sums, panel * tile.columns, stride);
      epilogue(sums, row, Math.min(row + tile.rows, rows), stride, i);
    }
  }
}

/** Sixteen running sums over `inner`, for 4 rows of a and 4 columns of b. */
function microkernel(
  a: Float64Array,
  b: Float64Array,
  offset: number,
  inner: number,
  sums: Float64Array,
  column: number,
  stride: number,
): void {
  let c00 = 0,
    c01 = 0,
    c02 = 0,
    c03 = 0;
  let c10 = 0,
    c11 = 0,
    c12 = 0,
    c13 = 0;
  let c20 = 0,
    c21 = 0,
    c22 = 0,
    c23 = 0;
  let c30 = 0,
    c31 = 0,
    c32 = 0,
    c33 = 0;
  for (let k = 0, i = 0, j = offset; k < inner; k++, i += 4, j += 4) {
    const b0 = b[j]!;
    const b1 = b[j + 1]!;
    const b2 = b[j + 2]!;
    const b3 = b[j + 3]!;
    const a0 = a[i]!;
    c00 += a0 * b0;
    c01 += a0 * b1;
    c02 += a0 * b2;
    c03 += a0 * b3;
    const a1 = a[i + 1]!;
    c10 += a1 * b0;
    c11 += a1 * b1;
    c12 += a1 * b2;
    c13 += a1 * b3;
    const a2 = a[i + 2]!;
    c20 += a2 * b0;
    c21 += a2 * b1;
    c22 += a2 * b2;
    c23 += a2 * b3;
    const a3 = a[i + 3]!;
    c30 += a3 * b0;
    c31 += a3 * b1;
    c32 += a3 * b2;
    c33 += a3 * b3;
  }
  sums.set([c00, c01, c02, c03], column);
  sums.set([c10, c11, c12, c13], column + stride);
  sums.set([c20, c21, c22, c23], column + 2 * stride);
  sums.set([c30, c31, c32, c33], column + 3 * stride);
}
