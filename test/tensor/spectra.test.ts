import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, init, linalg, random, type Tensor, tensor, zeros } from "../../src/index.ts";
import { floatBackends } from "../devices.ts";
import { casesOn } from "../thorough.ts";

// Singular values and eigenvalues of what is hard to decompose: factors multiply to the matrix and are orthonormal, and values
// are those found in float64 by another way.

type Rows = number[][];

const draw = (m: number, n: number, seed = 0): Rows => {
  let state = 12345 + seed;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state / 2 ** 30 - 1;
  };
  return Array.from({ length: m }, () => Array.from({ length: n }, next));
};
const diagonal = (values: readonly number[]): Rows =>
  values.map((x, i) => values.map((_, j) => (i === j ? x : 0)));
const product = (a: Rows, b: Rows): Rows =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, k) => sum + x * b[k]![j]!, 0)));
const scaled = (a: Rows, by: (j: number) => number): Rows => a.map((row) => row.map((x, j) => x * by(j)));
const transposed = (a: Rows): Rows => a[0]!.map((_, j) => a.map((row) => row[j]!));

/** Columns made orthogonal by rotations (M. R. Hestenes 1958), and their lengths, falling. */
function orthogonal(a: Rows): { readonly columns: Rows; readonly values: number[] } {
  const columns = transposed(a);
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  for (let sweep = 0; sweep < 30; sweep++)
    for (let p = 0; p < columns.length; p++)
      for (let q = p + 1; q < columns.length; q++) {
        const [x, y] = [columns[p]!, columns[q]!];
        const angle = Math.atan2(2 * dot(x, y), dot(x, x) - dot(y, y)) / 2;
        const [c, s] = [Math.cos(angle), Math.sin(angle)];
        columns[p] = x.map((value, i) => c * value + s * y[i]!);
        columns[q] = y.map((value, i) => c * value - s * x[i]!);
      }
  const values = columns.map((x) => Math.sqrt(dot(x, x)));
  return { columns, values: values.toSorted((x, y) => y - x) };
}

/** A matrix of such singular values. */
const withValues = (values: readonly number[]): Rows => {
  const turn = (seed: number) => {
    const { columns } = orthogonal(draw(values.length, values.length, seed));
    return columns.map((x) => x.map((value) => value / Math.hypot(...x)));
  };
  return product(product(turn(1), diagonal(values)), turn(2));
};

const matrices: Record<string, Rows> = {
  tall: draw(19, 6),
  wide: draw(5, 23),
  square: draw(12, 12),
  "one element": [[-3]],
  "one column": draw(7, 1),
  "one row": draw(1, 7),
  "rank two": product(draw(10, 2), draw(2, 9)),
  "all equal": Array.from({ length: 20 }, () => Array(20).fill(1)),
  "equal values": withValues([3, 3, 3, 2, 2, 2, 1, 1]),
  "values close to each other": withValues([1, 1 + 2 ** -20, 1 - 2 ** -20, 1 + 2 ** -22, 1, 0.5]),
  identity: diagonal([1, 1, 1, 1, 1]),
  nothing: diagonal([0, 0, 0, 0]),
  "a shift": draw(9, 9).map((row, i) => row.map((_, j) => (j === i + 1 ? 1 : 0))),
  "noise beyond its rank": product(
    product(draw(7, 2), draw(2, 7)),
    diagonal([1e-17, 1, 1e-18, 1, 1e-18, 1e-19, 1]),
  ),
  "zeros on the diagonal": draw(6, 6).map((row, i) =>
    row.map((x, j) => (i === j && i % 2 === 0 ? 0 : j >= i ? x : 0)),
  ),
  "a diagonal far apart": diagonal([1e-30, 1, 1e-12, 1e-3, -1e-20]),
  "columns that fall": scaled(draw(15, 15), (j) => 10 ** -j),
  "columns that rise": scaled(draw(15, 15), (j) => 10 ** (j - 14)),
  small: scaled(draw(9, 8), () => 1e-18),
  large: scaled(draw(8, 9), () => 1e18),
};

describe.each(await floatBackends())("spectra in $dtype on $backend", ({ backend, dtype }) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const T = (x: Tensor) => x.transpose(-2, -1);
  const rowsOf = async (x: Tensor) => (await x.toArray()) as unknown as Rows; // of rank 2
  const bound = dtype === "float32" ? 3e-6 : 1e-14;
  const matrix = (a: Rows) => tensor(a, { dtype }) as Tensor;

  /** The largest element of what should be 0, beside the size that elements have. */
  const expectNear = (x: Rows, y: Rows, size: number) => {
    let most = 0;
    for (const [i, row] of x.entries())
      for (const [j, value] of row.entries()) most = Math.max(most, Math.abs(value - y[i]![j]!));
    expect(most / size).toBeLessThan(bound);
  };
  const expectOrthonormal = (columns: Rows) => {
    const n = columns[0]!.length;
    expectNear(product(transposed(columns), columns), diagonal(Array(n).fill(1)), 1);
  };

  const names = Object.keys(matrices);
  const few = ["wide", "rank two", "a shift", "nothing", "small"];
  test.each(
    casesOn(
      backend,
      few,
      names.filter((name) => !few.includes(name)),
    ),
  )("singular values of %s", async (name) => {
    const a = matrices[name]!;
    const { values } = orthogonal(a);
    const size = values[0]! || 1;
    const { u, s, v } = linalg.svd(matrix(a));
    const [left, found, right] = [await rowsOf(u), [...(await s.data())], await rowsOf(v)];
    expectOrthonormal(left);
    expectOrthonormal(right);
    expectNear(
      product(
        scaled(left, (j) => found[j]! / size),
        transposed(right),
      ),
      scaled(a, () => 1 / size),
      1,
    );
    expect(found).toEqual(found.toSorted((x, y) => y - x));
    expect(found.every((x) => x >= 0)).toBe(true);
    for (const [i, value] of found.entries()) expect(Math.abs(value - values[i]!) / size).toBeLessThan(bound);
  });

  const squares = names.filter((name) => matrices[name]!.length === matrices[name]![0]!.length);
  test.each(
    casesOn(
      backend,
      ["equal values"],
      squares.filter((name) => name !== "equal values"),
    ),
  )("eigenvalues of %s", async (name) => {
    const given = matrices[name]!;
    const a = given.map((row, i) => row.map((x, j) => (x + given[j]![i]!) / 2));
    const size = orthogonal(a).values[0]! || 1;
    const { w, v } = linalg.eigh(matrix(a));
    const [found, vectors] = [[...(await w.data())], await rowsOf(v)];
    expectOrthonormal(vectors);
    expectNear(
      product(
        scaled(vectors, (j) => found[j]! / size),
        transposed(vectors),
      ),
      scaled(a, () => 1 / size),
      1,
    );
    expect(found).toEqual(found.toSorted((x, y) => x - y));
  });

  test("many matrices at a time, each as by itself", async () => {
    const a = random.normal(random.key(4), [70, 6, 5]).astype(dtype) as Tensor; // enough for an invocation each
    const { u, s, v } = linalg.svd(a);
    const last = linalg.svd(a.slice([69], [70]).squeeze(0));
    const near = async (x: Tensor, y: Tensor) =>
      expect(await x.sub(y).abs().amax().item()).toBeLessThan(bound);
    await near(s.slice([69], [70]).squeeze(0), last.s);
    await near(u.mul(s.unsqueeze(-2)).matmul(T(v)).div(4), a.div(4));
    const symmetric = a.matmul(T(a)).div(20);
    const { w, v: vectors } = linalg.eigh(symmetric);
    await near(vectors.mul(w.unsqueeze(-2)).matmul(T(vectors)), symmetric);
  });

  test("nothing, and NaN", async () => {
    for (const [m, n] of [
      [0, 3],
      [3, 0],
      [0, 0],
    ] as const) {
      const { u, s, v } = linalg.svd(zeros([2, m, n]));
      expect([u.shape, s.shape, v.shape]).toEqual([[2, m, 0], [2, 0], [2, n, 0]]); // biome-ignore format: in a line
    }
    const unknown = [...(await linalg.svdvals(tensor([[1, 2], [Number.NaN, 3]]) as Tensor).data())]; // biome-ignore format: likewise
    if (backend === "cpu") expect(unknown).toEqual([Number.NaN, Number.NaN]);
  });
});
