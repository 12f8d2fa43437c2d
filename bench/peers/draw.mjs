// Random inputs, the same at each run.

/** A small generator (mulberry32), and normal numbers from it by Box and Muller. */
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return (std = 1) => std * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

export const normal = normals(2021);

/** @returns {{ shape: number[], data: Float32Array }} */
export const random = (shape, std = 1) => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((n, length) => n * length, 1) }, () => normal(std)),
});

/** Rows that are checked where all would take long. */
export const rowsOf = (n) => [...new Set([0, Math.floor(n / 3), Math.floor(n / 2), n - 1])];
