import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  cat,
  type Device,
  eye,
  grad,
  init,
  linalg,
  matrixNorm,
  random,
  roll,
  type Tensor,
  tensor,
  vmap,
  zeros,
} from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { longOn } from "../long.ts";
import { cases, everyNth } from "../thorough.ts";

// Factors multiply to what was given, and have the form that they should; derivatives against differences in float64.
// Reference values are the oracle's (ops_linalg).

const T = (x: Tensor) => x.transpose();
const draw = (name: string, ...shape: number[]) => random.normal(random.key(3).fold(name), shape) as Tensor;
const positive = (name: string, ...shape: number[]) => {
  const x = draw(name, ...shape);
  const n = shape.at(-1)!;
  return x
    .matmul(T(x))
    .div(n)
    .add(eye(n) as Tensor);
};
/** The largest difference, beside the largest size. */
async function distance(x: Tensor, y: Tensor): Promise<number> {
  expect(x.shape).toEqual(y.shape);
  return (await x.sub(y).abs().amax().item()) / Math.max(1e-30, await y.abs().amax().item());
}

describeComposed("linear algebra", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const one = (n: number) => eye(n) as Tensor;

  // 100 and more are made of blocks.
  test.each(cases([1, 7], [2, 100]))("triangles and systems of side %i", async (n) => {
    const a = positive("a", 2, n, n);
    const l = linalg.cholesky(a);
    expect(await distance(l.matmul(T(l)), a)).toBeLessThan(1e-5);
    expect(await l.triu(1).abs().sum().item()).toBe(0);
    const b = draw("b", 2, n, 3);
    expect(await distance(l.matmul(linalg.triangularSolve(l, b)), b)).toBeLessThan(5e-5);
    const back = linalg.triangularSolve(T(l), b, { upper: true });
    expect(await distance(T(l).matmul(back), b)).toBeLessThan(5e-5);
    expect(await distance(back, linalg.triangularSolve(l, b, { transposed: true }))).toBeLessThan(5e-5);
    const c = draw("c", 2, n, n).add(one(n).mul(2 * Math.sqrt(n)));
    expect(await distance(c.matmul(linalg.solve(c, b)), b)).toBeLessThan(5e-5);
    expect(await distance(c.matmul(linalg.inv(c)), one(n).expand([2, n, n]))).toBeLessThan(1e-4);
    const { sign, logabsdet: log } = linalg.slogdet(a);
    expect(await sign.toArray()).toEqual([1, 1]);
    const diagonal = l.mul(one(n)).sum(-1);
    expect(await log.sub(diagonal.square().log().sum(-1)).abs().amax().item()).toBeLessThan(1e-4 * n);
  });

  test.each([
    [1, 1],
    [5, 3],
    [3, 5],
    [40, 40],
    [70, 9],
    [70, 68], // beyond 64 columns the rotations begin with the vectors of A^T A
  ])("factors of %i x %i", async (m, n) => {
    const a = draw("factors", 2, m, n);
    const k = Math.min(m, n);
    const orthonormal = async (x: Tensor) =>
      expect(await distance(T(x).matmul(x), one(k).expand([2, k, k]))).toBeLessThan(5e-5);
    const { q, r } = linalg.qr(a);
    expect(await distance(q.matmul(r), a)).toBeLessThan(5e-5);
    await orthonormal(q);
    expect(await r.tril(-1).abs().sum().item()).toBe(0);
    const { u, s, v } = linalg.svd(a);
    expect(await distance(u.mul(s.unsqueeze(-2)).matmul(T(v)), a)).toBeLessThan(5e-5);
    await orthonormal(u);
    await orthonormal(v);
    const values = [...(await s.slice([0], [1]).data())];
    expect(values).toEqual(values.toSorted((x, y) => y - x));
    expect(await distance(a.matmul(linalg.pinv(a)).matmul(a), a)).toBeLessThan(5e-5);
    expect(await distance(matrixNorm(a, "nuc"), s.sum(-1))).toBeLessThan(1e-5);
  });

  longOn(backend)(
    "columns in panels: rows change places in all of them, and what depends on others is none",
    async () => {
      const [m, n] = [190, 150]; // panels of 128 and 22
      const c = draw("panels", 2, n, n);
      const b = draw("panels b", 2, n, 3);
      expect(await distance(c.matmul(linalg.solve(c, b)), b)).toBeLessThan(2e-3); // its condition is in the thousands
      // A permutation, by which elimination moves every row, and its sign.
      const order = [...(await random.permutation(random.key(1), n).data())];
      const swapped = one(n).gather(0, tensor(order, { dtype: "int32" }).unsqueeze(1).expand([n, n]));
      let odd = 0;
      for (const [i, p] of order.entries()) for (const q of order.slice(i + 1)) odd += Number(q < p);
      expect(await linalg.det(swapped as Tensor).item()).toBe(odd % 2 === 0 ? 1 : -1);
      const a = draw("tall", 2, m, n);
      const { q, r } = linalg.qr(a);
      expect(await distance(q.matmul(r), a)).toBeLessThan(5e-5);
      expect(await distance(T(q).matmul(q), one(n).expand([2, n, n]))).toBeLessThan(5e-5);
      expect(await r.tril(-1).abs().sum().item()).toBe(0);
      expect(await r.mul(one(n)).sum(-1).amin().item()).toBeGreaterThan(0);
      // The last 30 columns are sums of earlier ones, most of which lie in the first panel.
      const first = a.slice([], [null, null, 120]);
      const dependent = cat([first, first.matmul(draw("mix", 120, 30))], -1);
      const less = linalg.qr(dependent);
      expect(await distance(less.q.matmul(less.r), dependent)).toBeLessThan(5e-5);
      expect(await less.q.square().sum(-2).sum(-1).toArray()).toEqual([
        expect.closeTo(120, 2),
        expect.closeTo(120, 2),
      ]);
    },
  );

  test.each(cases([24], [1, 5, 70]))("eigenvalues of both signs, of side %i", async (n) => {
    const x = draw("symmetric", 3, n, n);
    const a = x.add(T(x));
    const { w, v } = linalg.eigh(a);
    expect(await distance(v.mul(w.unsqueeze(-2)).matmul(T(v)), a)).toBeLessThan(5e-5);
    expect(await distance(T(v).matmul(v), one(n).expand([3, n, n]))).toBeLessThan(5e-5);
    const trace = a.mul(one(n)).sum([-2, -1]);
    expect(await w.sum(-1).sub(trace).div(w.abs().sum(-1)).abs().amax().item()).toBeLessThan(5e-5);
  });

  // Of equal eigenvalues, of none, and of what lies far apart.
  test("eigenvalues that are known", async () => {
    const of = async (a: Tensor) => [...(await linalg.eigh(a).w.data())];
    expect(await of(one(5).mul(3) as Tensor)).toEqual([3, 3, 3, 3, 3]);
    expect(await of(zeros([4, 4]) as Tensor)).toEqual([0, 0, 0, 0]);
    const swap = tensor([
      [0, 1e20],
      [1e20, 0],
    ]) as Tensor;
    for (const [i, w] of (await of(swap)).entries()) expect(w / [-1e20, 1e20][i]!).toBeCloseTo(1, 6);
    // The second difference of n = 66: 2 - 2 cos(pi k / 67).
    const n = 66;
    const beside = roll(one(n), 1, 0).tril(-1) as Tensor;
    const found = await of(one(n).mul(2).sub(beside).sub(T(beside)) as Tensor);
    for (const [k, w] of found.entries())
      expect(w).toBeCloseTo(2 - 2 * Math.cos((Math.PI * (k + 1)) / (n + 1)), 5);
    expect(await of(tensor([[Number.NaN]]) as Tensor)).toEqual([Number.NaN]);
  });

  test("a row each, nothing, and what is singular", async () => {
    const rows = positive("rows", 3, 4, 4);
    const each = vmap(grad((a: Tensor) => linalg.slogdet(a).logabsdet))(rows);
    expect(await distance(each, T(linalg.inv(rows)))).toBeLessThan(1e-4);
    expect(await linalg.det(zeros([0, 0])).item()).toBe(1);
    expect(linalg.inv(zeros([0, 0])).shape).toEqual([0, 0]);
    const singular = tensor([
      [1, 2],
      [2, 4],
    ]);
    expect(await linalg.det(singular).abs().item()).toBe(0);
    expect(await grad((a: Tensor) => linalg.det(a))(singular as Tensor).toArray()).toEqual([
      [4, -2],
      [-2, 1],
    ]);
    expect(
      [
        ...(await linalg
          .cholesky(
            tensor([
              [-1, 0],
              [0, 1],
            ]),
          )
          .data()),
      ][0],
    ).toBeNaN();
    // Singular values that are rounding errors of a narrow dtype are none: they are found in float32.
    const narrow = linalg.pinv(
      tensor([1, 2, 3], { dtype: "bfloat16" }).outer(tensor([1, 1, 7], { dtype: "bfloat16" })),
    );
    const [r, c] = [tensor([1, 2, 3]).div(14), tensor([1, 1, 7]).div(51)];
    expect(await distance(narrow.astype("float32") as Tensor, c.outer(r) as Tensor)).toBeLessThan(2 ** -8);
    expect(
      await distance(linalg.lstsq(singular as Tensor, tensor([5, 10]) as Tensor), tensor([1, 2]) as Tensor),
    ).toBeLessThan(1e-5);
  });
});

test.each(["float16", "bfloat16"] as const)("results in %s are %s", (dtype) => {
  const a = tensor(
    [
      [4, 1],
      [1, 3],
    ],
    { dtype },
  );
  const { cholesky, det, eigh, inv, lstsq, matrixPower, pinv, qr, slogdet, solve, svd } = linalg;
  const results = [
    ...[cholesky(a), det(a), inv(a), lstsq(a, a), matrixPower(a, 2), pinv(a), solve(a, a)],
    ...[svd(a), eigh(a), qr(a), slogdet(a)].flatMap((parts) => Object.values(parts)),
  ];
  for (const result of results) expect((result as Tensor).dtype).toBe(dtype);
});

test("refuse what has no matrices, and other numbers of rows", () => {
  expect(() => linalg.cholesky(zeros([2, 3]))).toThrow(
    /^cholesky: takes square matrices, the last two axes; given/,
  );
  expect(() => linalg.solve(zeros([2, 2]), zeros([3]))).toThrow(
    /^solve: a is float32\[2,2\] and b float32\[3\]; b has 2 rows/,
  );
  expect(() => linalg.svd(zeros([3]))).toThrow(/^svd: takes matrices/);
  expect(() => linalg.inv(zeros([2, 2], { dtype: "int32" }))).toThrow(/^inv: takes floats/);
});

describe("derivatives in float64", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  const wide = (x: Tensor) => x.astype("float64") as unknown as Tensor;
  /** Of what depends on no signs. */
  const functions: Record<string, readonly [f: (a: Tensor) => Tensor, m: number, n: number]> = {
    cholesky: [(a) => linalg.cholesky(a.matmul(T(a)).add(wide(eye(3)))), 3, 3],
    triangularSolve: [(a) => linalg.triangularSolve(a.add(wide(eye(3)).mul(3)), a), 3, 3],
    solve: [(a) => linalg.solve(a.add(wide(eye(3)).mul(3)), a.square()), 3, 3],
    det: [(a) => linalg.det(a), 3, 3],
    slogdet: [(a) => linalg.slogdet(a).logabsdet, 3, 3],
    qr: [(a) => linalg.qr(a).q.mul(linalg.qr(a).r.sum()), 4, 3],
    svd: [
      (a) => {
        const { u, s, v } = linalg.svd(a);
        return u.mul(s.sqrt().unsqueeze(-2)).matmul(T(v));
      },
      4,
      3,
    ],
    eigh: [
      (a) => {
        const { w, v } = linalg.eigh(a);
        return v.mul(w.sin().unsqueeze(-2)).matmul(T(v));
      },
      3,
      3,
    ],
    pinv: [(a) => linalg.pinv(a), 3, 4],
  };

  const h = 1e-5;
  /** Slopes of both orders of a function along a direction of each matrix, against differences. */
  async function check(f: (a: Tensor) => Tensor, a: Tensor, name: string): Promise<void> {
    const [u, v] = ["u", "v"].map((part) => wide(draw(`${name} ${part}`, ...a.shape))) as [Tensor, Tensor];
    const size = f(a).size;
    const weights = wide(draw(`${name} w`, 200)).slice([0], [size]);
    const value = (a: Tensor) => f(a).reshape([-1]).mul(weights).sum();
    const slope = (a: Tensor) => grad(value)(a).mul(u).sum();
    const difference = async (g: (a: Tensor) => Tensor, along: Tensor) =>
      ((await g(a.add(along.mul(h))).item()) - (await g(a.sub(along.mul(h))).item())) / (2 * h);
    const near = async (got: Tensor, wanted: number) => {
      const value = await got.item();
      expect(Math.abs(value - wanted) / Math.max(1, Math.abs(wanted))).toBeLessThan(1e-5);
    };
    await near(slope(a), await difference(value, u));
    await near(grad(slope)(a).mul(v).sum(), await difference(slope, v));
  }

  test.each(everyNth(3, Object.keys(functions)))("of %s", async (name) => {
    const [f, m, n] = functions[name]!;
    await check(f, wide(draw(`${name} a`, m, n)), name);
  });

  /** A matrix of such singular values. */
  const withValues = (s: readonly number[], m: number, n: number, name: string): Tensor => {
    const orthonormal = (rows: number) => linalg.qr(wide(draw(`${name} ${rows}`, 2, rows, s.length))).q;
    return orthonormal(m)
      .mul(wide(tensor([...s])))
      .matmul(T(orthonormal(n)));
  };
  const spectra: Record<string, readonly number[]> = {
    equal: [2, 2, 2],
    "two equal": [3, 1, 1],
    small: [1, 1, 0.05],
    "two equal and zero": [2, 2, 0],
    "rank one": [3],
  };
  const functionsOfSpectra: Record<string, (a: Tensor) => Tensor> = {
    pinv: (a) => linalg.pinv(a),
    "pinv of pinv": (a) => linalg.pinv(linalg.pinv(a)),
    lstsq: (a) => linalg.lstsq(a, a.square().sum(-1, { keepdim: true })),
    "the nuclear norm": (a) => matrixNorm(a, "nuc"),
    "the norm of 2": (a) => matrixNorm(a, 2),
  };

  const places = cases(["two equal and zero"], ["two equal", "equal", "small", "rank one"]);
  describe.each(places)("singular values: %s", (spectrum) => {
    test.each(Object.keys(functionsOfSpectra))("%s", async (name) => {
      const s = spectra[spectrum]!;
      const f = functionsOfSpectra[name]!;
      const shapes = [
        [3, 4],
        [5, 3],
        [3, 3],
      ] as const;
      for (const [m, n] of cases(shapes.slice(0, 1), shapes.slice(1))) {
        const a = withValues(s, m, n, spectrum);
        const isFull = Math.min(...s) > 0 && s.length === 3;
        // Where the largest values are equal, or one is 0, norms bend.
        if (name === "the norm of 2" && s[0] === s[1]) continue;
        if (name === "the nuclear norm" && !isFull) continue;
        const on = `${name} ${m} ${n}`;
        if (isFull) await check(f, a, on);
        // Among the matrices of its rank.
        const around = (x: Tensor) =>
          f(
            wide(eye(m))
              .add(x)
              .matmul(a)
              .add(a.matmul(T(a)).matmul(x).matmul(a)),
          );
        await check(around, wide(zeros([2, m, m]) as Tensor), on);
      }
    });
  });
});
