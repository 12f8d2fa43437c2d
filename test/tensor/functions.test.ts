import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  acos,
  acosh,
  all,
  any,
  asin,
  asinh,
  atan,
  atan2,
  atanh,
  bincount,
  cosh,
  cummax,
  cumprod,
  type Device,
  diag,
  diagonal,
  diff,
  einsum,
  exp2,
  flatten,
  floorDivide,
  fmod,
  grad,
  hypot,
  init,
  isClose,
  lerp,
  linspace,
  log10,
  logaddexp,
  logcumsumexp,
  logicalAnd,
  logicalOr,
  logicalXor,
  logSigmoid,
  matrixNorm,
  meshgrid,
  nanToNum,
  norm,
  ones,
  random,
  remainder,
  roll,
  searchsorted,
  sigmoid,
  sinh,
  softplus,
  stack,
  type Tensor,
  tan,
  tensor,
  tensordot,
  tile,
  vmap,
  zeros,
} from "../../src/index.ts";
import { describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";

// Composites. Reference values of all of them are the oracle's; these are examples, limits and errors.

describeBackends("functions", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test("division with a remainder", async () => {
    const [x, y] = [tensor([7, -7, 7, -7, 5.5]), tensor([3, 3, -3, -3, 0.5])];
    expect(await fmod(x, y).add(0).toArray()).toEqual([1, -1, 1, -1, 0]);
    expect(await remainder(x, y).add(0).toArray()).toEqual([1, 2, -2, -1, 0]);
    expect(await floorDivide(x, y).toArray()).toEqual([2, -3, -3, 2, 11]);
    // 1 / 0.1 rounds up to 10, ten times 0.1 in float32 is above 1: the quotient is 9.
    expect(await floorDivide(tensor([1]), Math.fround(0.1)).toArray()).toEqual([9]);
    // Exact, as in float64, up to quotients of 2^24.
    const [a, b] = [random.normal(random.key(5), [500]).mul(1000), random.normal(random.key(6), [500])];
    const [wide, narrow] = [await a.data(), await b.data()];
    expect(await fmod(a, b).data()).toEqual(Float32Array.from(wide, (x, i) => x % narrow[i]!));
    expect(await grad((y: Tensor) => remainder(x, y).sum())(y).toArray()).toEqual([-2, 3, 3, -2, -11]);
  });

  test("division of whole numbers, exact over all of int32", async () => {
    const drawn = await random.randint(random.key(7), [20], { min: -(2 ** 31), max: 2 ** 31 - 1 }).data();
    const known = [0, 1, 2, 3, 7, 97, 46341, 2 ** 24 + 1, 2 ** 30, 2 ** 31 - 1];
    const all = [...known, ...known.map((x) => -x || -(2 ** 31)), ...drawn];
    const pairs = all.flatMap((x) => all.map((y) => [x, y] as const));
    const whole = (values: readonly number[]) => tensor(Int32Array.from(values));
    const [x, y] = [whole(pairs.map(([x]) => x)), whole(pairs.map(([, y]) => y))];
    const expected = (f: (x: number, y: number) => number) =>
      Int32Array.from(pairs, ([x, y]) => (y === 0 ? 0 : f(x, y)));
    expect(await floorDivide(x, y).data()).toEqual(expected((x, y) => Math.floor(x / y)));
    expect(await remainder(x, y).data()).toEqual(expected((x, y) => x - y * Math.floor(x / y)));
    expect(await fmod(x, y).data()).toEqual(expected((x, y) => x % y));
    expect(await remainder(whole([7, -7]), 3).toArray()).toEqual([1, 2]);
    expect(() => floorDivide(whole([1]), 0.5)).toThrow(/0.5/);
    expect(() => remainder(tensor([1], { dtype: "uint32" }), 2)).toThrow(/remainder: takes floats and int32/);
  });

  test("angles", async () => {
    const [y, x] = [
      tensor([[0], [-0], [1], [-1e30], [Infinity], [3e-20]]),
      tensor([0, -0, 1, -1e30, -Infinity, 4e-20]),
    ];
    const [rows, columns] = [await y.data(), await x.data()];
    const values = await atan2(y, x).data();
    rows.forEach((y, i) => {
      columns.forEach((x, j) => {
        const wanted = Math.atan2(y, x);
        expect(values[i * columns.length + j], `${y}, ${x}`).toBeCloseTo(wanted, 5);
        expect(Object.is(values[i * columns.length + j], -0)).toBe(Object.is(wanted, -0));
      });
    });
    const nan = [Number.NaN, Number.NaN];
    expect([...(await atan2(tensor([Number.NaN, 1]), tensor([1, Number.NaN])).data())]).toEqual(nan);
    // No square in the slopes leaves the range.
    const slopes = grad((y: Tensor, x: Tensor) => atan2(y, x).sum(), { argnums: [0, 1] });
    const far = slopes(tensor([3e25, 3e-25]), tensor([4e25, -4e-25]));
    const near = (values: ArrayLike<number>, wanted: readonly number[]) =>
      wanted.forEach((w, i) => {
        expect(values[i]! / w).toBeCloseTo(1, 5);
      });
    near(await far[0]!.data(), [0.16e-25, -0.16e25]);
    near(await far[1]!.data(), [-0.12e-25, -0.12e25]);
    const inside = tensor([-1, -0.75, 0, 0.3, 1]);
    near(await asin(inside).add(acos(inside)).data(), new Array(5).fill(Math.PI / 2));
    near(await atan(tensor([1, 1e20])).data(), [Math.PI / 4, Math.PI / 2]);
    expect(await asin(tensor([1.5, -0])).data()).toEqual(Float32Array.of(Number.NaN, -0));
    expect(await acos(tensor([-2, Infinity])).data()).toEqual(Float32Array.of(Number.NaN, Number.NaN));
  });

  test("sums of products over named axes", async () => {
    const x = random.normal(random.key(0), [2, 3, 4]);
    const y = random.normal(random.key(1), [2, 4, 5]);
    const z = random.normal(random.key(2), [5, 3]);
    const close = async (a: Tensor, b: Tensor) => {
      expect(a.shape).toEqual(b.shape);
      expect(await all(isClose(a, b, { rtol: 1e-4, atol: 1e-5 })).item()).toBe(1);
    };
    await close(einsum("bij,bjk->bik", x, y), x.matmul(y));
    await close(einsum("bij,bjk,kl->bil", x, y, z), x.matmul(y).matmul(z));
    await close(einsum("...ij->...ji", x), x.transpose());
    await close(einsum("bij->", x), x.sum());
    await close(einsum("ij,kj->ik", z, z), z.matmul(z.transpose()));
    await close(einsum("b...,b...->b", x, x), x.square().sum([1, 2]));
    await close(einsum("ii", ones([3, 3])), tensor(3));
    await close(
      tensordot(x, y, [
        [2, 0],
        [1, 0],
      ]),
      einsum("bij,bjk->ik", x, y),
    );
  });

  longOn(backend)("running results", async () => {
    const x = tensor([2, 0, 3, 0.5]);
    expect(await cumprod(x, 0).toArray()).toEqual([2, 0, 0, 0]);
    expect(await grad((x: Tensor) => cumprod(x, 0).sum())(x).toArray()).toEqual([1, 11, 0, 0]);
    const { values, indices } = cummax(tensor([1, 3, 2, 3, -1]), 0);
    expect([await values.toArray(), await indices.toArray()]).toEqual([
      [1, 3, 3, 3, 3],
      [0, 1, 1, 3, 3],
    ]);
    // Each step of a scan sees the one before in two places: stored, or the code doubles with each.
    const long = random.normal(random.key(4), [backend === "cpu" ? 100 : 20]);
    const slopes = grad((x: Tensor) => logcumsumexp(x, 0).sum().add(cumprod(x, 0).sum()))(long);
    expect((await slopes.data()).length).toBe(long.size);
    const sums = (await logcumsumexp(tensor([1000, 1000, -1000]), 0).toArray()) as number[];
    expect(sums[1]).toBeCloseTo(1000 + Math.LN2, 3);
    expect(await searchsorted(tensor([1, 3, 3, 5]), tensor([0, 3, 4, 9])).toArray()).toEqual([0, 1, 3, 4]);
    expect(await searchsorted(tensor([1, 3, 3, 5]), tensor([3]), { side: "right" }).toArray()).toEqual([3]);
    const whole = tensor([2 ** 24, 2 ** 24 + 1, 2 ** 24], { dtype: "int32" }); // which float32 does not tell apart
    expect(await searchsorted(whole.slice([0], [2]), whole).toArray()).toEqual([0, 1, 0]);
    expect(await cummax(whole, 0).values.toArray()).toEqual([2 ** 24, 2 ** 24 + 1, 2 ** 24 + 1]);
    const index = tensor([0, 2, 2], { dtype: "int32" });
    expect(await bincount(index, { length: 3 }).toArray()).toEqual([1, 0, 2]);
    expect(await bincount(index, { length: 2 }).toArray()).toEqual([1, 0]);
  });
});

describe("functions on the CPU", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  test("exponentials are accurate to a few units where they neither overflow nor cancel", async () => {
    const points = Float64Array.from({ length: 400 }, (_, i) => (i - 200) / 2.3 + 1e-3);
    const small = points.map((x) => x / 1e6);
    const worst = async (f: (x: Tensor) => Tensor, g: (x: number) => number, xs: Float64Array) => {
      const rounded = Float32Array.from(xs);
      const got = await f(tensor(rounded)).data();
      let most = 0;
      rounded.forEach((x, i) => {
        const wanted = g(x);
        if (Math.fround(wanted) === got[i] || Number.isNaN(wanted)) return;
        most = Math.max(most, Math.abs(got[i]! - wanted) / (Math.abs(wanted) * 2 ** -23));
      });
      return most;
    };
    for (const [f, g, xs, within] of [
      [exp2, (x: number) => 2 ** x, points, 8],
      [log10, Math.log10, points.map((x) => 10 ** (x / 6)), 4],
      [tan, Math.tan, points.map((x) => x / 100), 6],
      [sinh, Math.sinh, points, 10],
      [sinh, Math.sinh, small, 4],
      [cosh, Math.cosh, points, 10],
      [asinh, Math.asinh, points.map((x) => x ** 3 * 1e5), 4],
      [asinh, Math.asinh, small, 4],
      [acosh, Math.acosh, points.map((x) => 1 + x * x * 1e9), 4],
      [atanh, Math.atanh, points.map((x) => x / 90), 6],
    ] as const)
      expect(await worst(f, g, xs as Float64Array), f.name).toBeLessThanOrEqual(within);
  });

  const wide = (x: number) => tensor(x, { dtype: "float64" });
  const pair = (x: Tensor, y: Tensor | number) => stack([x, x.mul(0).add(y)]);
  // What is written in several forms, or by sizes and the larger of two, but is smooth where they meet.
  test.each<[string, (x: Tensor) => Tensor]>([
    ["hypot on an axis", (x) => hypot(x, 1.5)],
    ["hypot of a number and x", (x) => hypot(wide(1.5), x)],
    ["hypot where both are as large", (x) => hypot(x.mul(2), x.add(1))],
    ["logaddexp", (x) => logaddexp(x, 1)],
    ["logaddexp of multiples", (x) => logaddexp(x.mul(2), x)],
    ["logsumexp", (x) => pair(x, 1).logsumexp(0)],
    ["logcumsumexp", (x) => logcumsumexp(pair(x, 1), 0).at(-1).get()],
    ["x^y at integers", (x) => x.add(3).pow(x.add(3))],
    ["x^y of two", (x) => x.add(3).pow(x.sub(x.detach()))],
    ["lerp", (x) => lerp(x, x.mul(2), x)],
    ["atan2", (x) => atan2(x, 1.5)],
    ["asin", (x) => asin(x.mul(0.4))],
    ["acos", (x) => acos(x.mul(0.4))],
    ["atan", atan],
    ["sinh", sinh],
    ["cosh", cosh],
    ["asinh", asinh],
    ["atanh", (x) => atanh(x.mul(0.4))],
    ["sigmoid", sigmoid],
    ["softplus", softplus],
    ["logSigmoid", logSigmoid],
    ["norm of order 2", (x) => norm(pair(x, 1))],
    ["norm of order 4", (x) => norm(pair(x, 1), { ord: 4 })],
    ["prod with a zero", (x) => stack([x, x.sub(1), x.add(2)]).prod()],
    ["prod with two", (x) => stack([x, x, x.add(2)]).prod()],
    [
      "cumprod with two",
      (x) =>
        cumprod(stack([x, x, x.add(2)]), 0)
          .at(-1)
          .get(),
    ],
  ])("%s has derivatives of every order where its forms meet", async (_, f) => {
    const [points, step] = [[0, 0.5, -0.5, 0.25, 1, -1, 1.5, -1.5, 2, -2], 1e-4];
    const x = tensor(Float64Array.from(points.flatMap((p) => [p - step, p, p + step])));
    let derivative = f;
    for (let order = 0; order <= 4; order++) {
      const values = await vmap(derivative)(x).data();
      points.forEach((p, i) => {
        const [before, at, after] = values.slice(3 * i, 3 * i + 3) as unknown as [number, number, number];
        const size = Math.max(1, Math.abs(at), Math.abs(before));
        expect(Math.abs((before + after) / 2 - at) / size, `order ${order} at ${p}`).toBeLessThan(1e-4);
      });
      const last = derivative;
      derivative = grad((x: Tensor) => last(x));
    }
  });

  test("logSigmoid keeps its digits on both sides of 0, and its slopes of every order at it", async () => {
    const points = [-Infinity, -700, -30, -20.5, -1, 0, 1, 20.5, 30, 700, Infinity];
    const x = tensor(points, { dtype: "float64" });
    const first = grad((x: Tensor<"float64">) => logSigmoid(x).sum());
    const second = grad((x: Tensor<"float64">) => first(x).sum());
    const [values, slopes, bends] = [
      await logSigmoid(x).data(),
      await first(x).data(),
      await second(x).data(),
    ];
    const near = (value: number | undefined, wanted: number) =>
      expect(Math.abs(value! - wanted) <= 4 * Number.EPSILON * Math.abs(wanted) || value === wanted).toBe(
        true,
      );
    points.forEach((x, i) => {
      near(values[i], x < 0 ? x - Math.log1p(Math.exp(x)) : -Math.log1p(Math.exp(-x)));
      near(slopes[i], 1 / (1 + Math.exp(x)));
      if (Number.isFinite(x)) near(bends[i], -1 / ((1 + Math.exp(x)) * (1 + Math.exp(-x))));
    });
  });

  test("pieces of given lengths lie where those before them end", async () => {
    const x = tensor([
      [0, 1, 2, 3, 4],
      [5, 6, 7, 8, 9],
    ]);
    const [first, none, last] = x.split([2, 0, 3], -1) as [Tensor, Tensor, Tensor];
    expect(await first.toArray()).toEqual([
      [0, 1],
      [5, 6],
    ]);
    expect(none.shape).toEqual([2, 0]);
    expect(await last.toArray()).toEqual([
      [2, 3, 4],
      [7, 8, 9],
    ]);
    const slope = grad((x: Tensor) =>
      x.split([2, 3], 1).reduce((sum, part, i) => sum.add(part.sum().mul(i)), zeros([])),
    );
    expect(await slope(x).toArray()).toEqual([
      [0, 0, 1, 1, 1],
      [0, 0, 1, 1, 1],
    ]);
    expect(() => x.split([2, 2], 1)).toThrow(
      /^split: axis 1 of float32\[2,5\].* does not split into \[2, 2\]\.$/,
    );
    expect(() => x.split([6, -1], 1)).toThrow(/does not split into \[6, -1\]/);
    expect(() => x.split(null as never)).toThrow(/^split: /);
  });

  test("elements elsewhere", async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await roll(x, 1, 1).toArray()).toEqual([
      [3, 1, 2],
      [6, 4, 5],
    ]);
    expect(await roll(x, -1).toArray()).toEqual([
      [2, 3, 4],
      [5, 6, 1],
    ]);
    expect(await tile(tensor([1, 2]), [2, 2]).toArray()).toEqual([
      [1, 2, 1, 2],
      [1, 2, 1, 2],
    ]);
    expect(flatten(ones([2, 3, 4]), 1).shape).toEqual([2, 12]);
    expect(await diff(tensor([1, 4, 9, 16]), { n: 2 }).toArray()).toEqual([2, 2]);
    expect(await linspace(0, 1, 5).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect(((await linspace(0.1, 0.7, 4).toArray()) as number[]).at(-1)).toBe(Math.fround(0.7));
    expect(await diag(tensor([1, 2]), 1).toArray()).toEqual([
      [0, 1, 0],
      [0, 0, 2],
      [0, 0, 0],
    ]);
    expect(await diagonal(x, { offset: 1 }).toArray()).toEqual([2, 6]);
    const [rows, columns] = meshgrid([tensor([1, 2]), tensor([3, 4, 5])]);
    expect(await rows!.toArray()).toEqual([
      [1, 1, 1],
      [2, 2, 2],
    ]);
    expect(await columns!.toArray()).toEqual([
      [3, 4, 5],
      [3, 4, 5],
    ]);
  });

  test("truth, closeness, replacement", async () => {
    const [x, y] = [tensor([0, 1, Number.NaN]), tensor([0, 0, 2])];
    expect(await logicalAnd(x, y).toArray()).toEqual([false, false, true]);
    expect(await logicalOr(x, y).toArray()).toEqual([false, true, true]);
    expect(await logicalXor(x, y).toArray()).toEqual([false, true, false]);
    expect([await any(ones([0])).item(), await all(ones([0])).item()]).toEqual([0, 1]);
    expect(await any(x, 0, { keepdim: true }).toArray()).toEqual([true]);
    expect(
      await isClose(tensor([1, Infinity, Number.NaN]), tensor([1.000001, Infinity, Number.NaN])).toArray(),
    ).toEqual([true, true, false]);
    expect(await nanToNum(tensor([Number.NaN, Infinity, -Infinity, 2])).toArray()).toEqual([
      0, 3.4028234663852886e38, -3.4028234663852886e38, 2,
    ]);
    expect(await lerp(tensor([0.1]), 0.7, 1).toArray()).toEqual([Math.fround(0.7)]);
    expect(await hypot(tensor([3e30, 0]), tensor([4e30, 0])).toArray()).toEqual([Math.fround(5e30), 0]);
    expect(await grad((x: Tensor) => hypot(x, 0).sum())(tensor([0, 2])).toArray()).toEqual([0, 1]);
  });

  test("norms", async () => {
    const x = tensor([
      [3, -4],
      [0, 0],
    ]);
    expect(await norm(x, { axis: 1 }).toArray()).toEqual([5, 0]);
    expect(await norm(x, { ord: 1 }).item()).toBe(7);
    expect(await norm(x, { ord: Infinity, axis: 1, keepdim: true }).toArray()).toEqual([[4], [0]]);
    expect(await norm(x, { ord: 0 }).item()).toBe(2);
    expect(await matrixNorm(x).item()).toBe(5);
    expect(await matrixNorm(x, 1).item()).toBe(4);
    expect(await matrixNorm(x, Infinity).item()).toBe(7);
    expect(await grad((x: Tensor) => norm(x, { axis: 1 }).sum())(x).toArray()).toEqual([
      [Math.fround(0.6), Math.fround(-0.8)],
      [0, 0],
    ]);
  });

  test("errors name what was given", () => {
    const x = ones([2, 3]);
    expect(() => einsum("ij,jk", x)).toThrow(/2 terms for 1 operands/);
    expect(() => einsum("ij,jk", x, x)).toThrow(/axis j has length 2 in operand 1/);
    expect(() => einsum("ijk", x)).toThrow(/ijk names 3 axes of operand 0/);
    expect(() => einsum("ij->ik", x)).toThrow(/axis k in the result, but in no operand/);
    expect(() => einsum("i.j", x)).toThrow(/not of the form/);
    expect(() => tensordot(x, x, 1)).toThrow(/axis 1 of x float32\[2,3\] has length 3, axis 0 of y/);
    expect(() => roll(x, [1], [0, 1])).toThrow(/1 shifts for 2 axes/);
    expect(() => diagonal(ones([3]))).toThrow(/takes matrices/);
    expect(() => (atan2 as unknown as () => void)()).toThrow(/atan2: x is undefined/);
    expect(() => flatten(ones([]), [] as never)).toThrow(/flatten: /);
    expect(() => flatten(ones([]), 1)).toThrow(/flatten: /);
    expect(() => matrixNorm(x, 3 as never)).toThrow(/"fro"/);
    expect(() => bincount(tensor([1], { dtype: "int32" }), {} as never)).toThrow(/length is missing/);
    expect(() => searchsorted(ones([2, 3]), ones([3, 3]))).toThrow(/leading axes/);
    expect(() => norm(x, { order: 1 } as never)).toThrow(/order/);
  });
});
