// Plain loops in float64, by which answers are judged.

/** [m, k] x [k, n], or with the second operand transposed, in float64. */
export function product(a, b, m, k, n, transposed = false) {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      if (transposed) for (let p = 0; p < k; p++) sum += a[i * k + p] * b[j * k + p];
      else for (let p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
      out[i * n + j] = sum;
    }
  }
  return out;
}

export function transpose(a, m, n) {
  const out = new Float64Array(m * n);
  for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) out[j * m + i] = a[i * n + j];
  return out;
}

/** Largest error over largest magnitude, over everything or some rows. */
export function relativeError(expected, got, rows) {
  let [error, magnitude] = [0, 0];
  const length = rows ? expected.length / rows.length : expected.length;
  for (let i = 0; i < expected.length; i++) {
    const value = got[rows ? rows[Math.floor(i / length)] * length + (i % length) : i];
    const distance = Math.abs(expected[i] - value);
    error = Math.max(error, Number.isNaN(distance) ? Infinity : distance);
    magnitude = Math.max(magnitude, Math.abs(expected[i]));
  }
  return error / magnitude;
}

/** Sums down the columns of [rows, columns]. */
export function columnSums(m, columns) {
  const sums = new Float64Array(columns);
  m.forEach((value, i) => {
    sums[i % columns] += value;
  });
  return sums;
}

export function softmaxRow(row) {
  const largest = Math.max(...row);
  const powers = Array.from(row, (value) => Math.exp(value - largest));
  const sum = powers.reduce((total, value) => total + value);
  return powers.map((value) => value / sum);
}

export function layerNormRow(row) {
  const mean = row.reduce((total, value) => total + value, 0) / row.length;
  const variance = row.reduce((total, value) => total + (value - mean) ** 2, 0) / row.length;
  return Array.from(row, (value) => (value - mean) / Math.sqrt(variance + 1e-5));
}

/** The error function: its series, which converges for every argument that is met here. */
export function erf(x) {
  let [term, sum] = [x, x];
  for (let n = 1; n < 400 && Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
