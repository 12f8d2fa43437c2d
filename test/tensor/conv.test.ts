import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  compile,
  type Device,
  grad,
  init,
  jvp,
  ones,
  random,
  stack,
  type Tensor,
  tensor,
  vmap,
  windows,
} from "../../src/index.ts";
import { functional } from "../../src/nn/index.ts";
import { products, type Shape4, type Windows } from "../cross-correlation.ts";
import { describeBackends } from "../devices.ts";
import { runs } from "../thorough.ts";

// Reference values are the oracle's (`ops_conv.json`); these are other shapes against plain loops, and what is promised.

const { conv1d, conv2d, convTranspose2d, maxPool2d, avgPool1d, avgPool2d, unfold } = functional;

const close = (got: ArrayLike<number>, expected: Float64Array, within: number) => {
  expect(got.length).toBe(expected.length);
  let most = 0;
  expected.forEach((value, i) => {
    const off = Math.abs(got[i]! - value);
    most = Number.isNaN(off) ? Infinity : Math.max(most, off);
  });
  expect(most).toBeLessThan(within);
};

describeBackends("convolution", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test.each<{ xs: Shape4; ws: Shape4; options: Windows }>([
    { xs: [2, 6, 9, 8], ws: [12, 6, 3, 2], options: { stride: 1, padding: 1, dilation: 1, groups: 1 } },
    { xs: [2, 6, 9, 8], ws: [12, 3, 3, 2], options: { stride: 2, padding: 0, dilation: 2, groups: 2 } },
    { xs: [2, 6, 9, 8], ws: [12, 1, 3, 2], options: { stride: 3, padding: 2, dilation: 1, groups: 6 } },
    { xs: [1, 2, 8, 9], ws: [3, 2, 1, 2], options: { stride: 3, padding: 1, dilation: 1, groups: 1 } },
    { xs: [1, 2, 11, 9], ws: [2, 2, 2, 3], options: { stride: 1, padding: 4, dilation: 2, groups: 1 } },
    // So large that blocks of the product pack their own windows, in runs: whole rows, rows that end within one, every second one.
    { xs: [16, 16, 24, 24], ws: [9, 16, 3, 3], options: { stride: 1, padding: 1, dilation: 1, groups: 1 } },
    { xs: [16, 16, 23, 25], ws: [9, 16, 3, 3], options: { stride: 1, padding: 0, dilation: 1, groups: 1 } },
    { xs: [16, 16, 44, 42], ws: [6, 16, 3, 3], options: { stride: 2, padding: 1, dilation: 1, groups: 1 } },
  ])("is what loops give, with its gradients: $xs, $ws, $options", async ({ xs, ws, options }) => {
    const [x, w] = [random.normal(random.key(1), xs), random.normal(random.key(2), ws)];
    const conv = (x: Tensor, w: Tensor) => conv2d(x, w, undefined, options);
    const y = await conv(x, w).data();
    const g = random.normal(random.key(3), conv(x, w).shape);
    const slopes = grad((x: Tensor, w: Tensor) => conv(x, w).mul(g).sum(), { argnums: [0, 1] })(x, w);
    const [xd, wd, gd] = await Promise.all([x, w, g].map((t) => t.data() as Promise<Float32Array>));
    const expected = [y.length, xd!.length, wd!.length].map((length) => new Float64Array(length));
    const [ofY, ofX, ofW] = expected as [Float64Array, Float64Array, Float64Array];
    products(xs, ws, options, (to, at, by) => {
      ofY[to]! += xd![at]! * wd![by]!;
      ofX[at]! += gd![to]! * wd![by]!;
      ofW[by]! += gd![to]! * xd![at]!;
    });
    close(y, ofY, 1e-4);
    close(await slopes[0].data(), ofX, 1e-4);
    close(await slopes[1].data(), ofW, 1e-3);
  });

  test("copies no windows: one kernel, and no intermediate values", async () => {
    const step = compile((x: Tensor, w: Tensor) => conv2d(x, w, undefined, { padding: 1 }), { device });
    await step(random.normal(random.key(0), [2, 8, 12, 12]), random.normal(random.key(1), [8, 8, 3, 3]));
    expect(step.inspect().kernels).toBe(1);
    expect(step.inspect().bytes).toBe(0);
  });

  test("the transposed one is the adjoint", async () => {
    const [x, y] = [random.normal(random.key(0), [1, 2, 5, 6]), random.normal(random.key(1), [1, 4, 3, 3])];
    const w = random.normal(random.key(2), [4, 2, 2, 3]);
    const options = { stride: 2, padding: 1 };
    const left = conv2d(x, w, undefined, options).mul(y).sum();
    const right = convTranspose2d(y, w, undefined, { ...options, outputPadding: [1, 1] })
      .mul(x)
      .sum();
    expect(convTranspose2d(y, w, undefined, { ...options, outputPadding: [1, 1] }).shape).toEqual([
      1, 2, 5, 6,
    ]);
    expect(Math.abs((await left.item()) - (await right.item()))).toBeLessThan(1e-4);
  });

  test("gradients of gradients, tangents and vmap go through both, with strides and dilation", async () => {
    const options = { stride: [2, 1], padding: 1, dilation: [1, 2] };
    const conv = (x: Tensor, w: Tensor) => conv2d(x, w, undefined, options);
    const normal = (i: number, shape: readonly number[]) => random.normal(random.key(i), shape) as Tensor;
    const [x, u, w] = [normal(0, [2, 3, 6, 7]), normal(1, [2, 3, 6, 7]), normal(2, [4, 3, 3, 2])];
    const y = normal(3, conv(x, w).shape);
    const same = async (got: Tensor, expected: Tensor) =>
      close((await got.data()) as Float32Array, Float64Array.from(await expected.data()), 2e-5);
    const slope = (x: Tensor, w: Tensor) => grad((x: Tensor) => conv(x, w).mul(y).sum())(x);
    // The slope by x is linear in w, and its product with u has the slope by w that conv(u, w) has.
    await same(
      grad((w: Tensor) => slope(x, w).mul(u).sum())(w),
      grad((w: Tensor) => conv(u, w).mul(y).sum())(w),
    );
    await same(jvp((x: Tensor) => conv(x, w), x, u)[1], conv(u, w));
    const rows = stack([x, u]);
    await same(vmap((x: Tensor) => slope(x, w))(rows), stack([slope(x, w), slope(u, w)]));
    const back = (y: Tensor) => convTranspose2d(y, w, undefined, { ...options, outputPadding: [1, 0] });
    await same(grad((y: Tensor) => back(y).mul(x).sum())(y), conv(x, w));
  });

  test("windows overlap, their gradient is counted at each place, and they map", async () => {
    const x = tensor([1, 2, 3, 4]);
    expect(await windows(x, 0, 2).toArray()).toEqual([
      [1, 2],
      [2, 3],
      [3, 4],
    ]);
    expect(await grad((x: Tensor) => windows(x, 0, 3).sum())(x).toArray()).toEqual([1, 2, 2, 1]);
    const rows = vmap((row: Tensor) => windows(row, 0, 2, { step: 2 }).sum(1))(
      tensor([
        [1, 2, 3, 4],
        [5, 6, 7, 8],
      ]),
    );
    expect(await rows.toArray()).toEqual([
      [3, 7],
      [11, 15],
    ]);
  });

  test("their gradient is what loops count, for any step, dilation and axis", async () => {
    const cases = fc.record({
      outer: fc.integer({ min: 1, max: 3 }),
      inner: fc.integer({ min: 1, max: 3 }),
      count: fc.integer({ min: 1, max: 5 }),
      size: fc.integer({ min: 1, max: 5 }),
      step: fc.integer({ min: 1, max: 4 }),
      dilation: fc.integer({ min: 1, max: 3 }),
      rest: fc.nat({ max: 3 }),
    });
    const check = fc.asyncProperty(cases, async ({ outer, inner, count, size, step, dilation, rest }) => {
      const length = (count - 1) * step + (size - 1) * dilation + 1 + Math.min(rest, step - 1);
      const weights = random.randint(random.key(1), [outer, count, size, inner], { min: -9, max: 10 });
      const loss = (x: Tensor) =>
        windows(x, 1, size, { step, dilation }).mul(weights.astype("float32")).sum();
      const slope = (await grad(loss)(ones([outer, length, inner])).data()) as Float32Array;
      const expected = new Float32Array(outer * length * inner);
      (await weights.data()).forEach((w, i) => {
        const [b, o, k, j] = [
          Math.floor(i / (count * size * inner)),
          Math.floor(i / (size * inner)) % count,
          Math.floor(i / inner) % size,
          i % inner,
        ];
        expected[(b * length + o * step + k * dilation) * inner + j]! += w;
      });
      expect(slope.map((value) => value + 0)).toEqual(expected);
    });
    await fc.assert(check, { numRuns: backend === "cpu" ? runs(150) : runs(12) });
  });

  test("sums of neighbours beside padding are what loops give", async () => {
    const sides = fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 21 }));
    const check = fc.asyncProperty(sides, async ([rows, columns]) => {
      const x = random
        .randint(random.key(2), [rows, columns], { min: -9, max: 10 })
        .astype("float32") as Tensor;
      const around = compile((x: Tensor) => {
        const [high, wide] = x.shape as [number, number];
        const padded = x.pad(
          [
            [1, 1],
            [1, 1],
          ],
          3,
        );
        const at = (i: number, j: number) => padded.slice([i, j], [i + high, j + wide]);
        return at(0, 1).add(at(2, 1)).add(at(1, 0)).add(at(1, 2)).sub(x.mul(4));
      });
      const data = await x.data();
      const value = (i: number, j: number) =>
        i < 0 || j < 0 || i >= rows || j >= columns ? 3 : data[i * columns + j]!;
      const expected = Float32Array.from(data, (own, at) => {
        const [i, j] = [Math.floor(at / columns), at % columns];
        return value(i - 1, j) + value(i + 1, j) + value(i, j - 1) + value(i, j + 1) - 4 * own;
      });
      expect((await (await around(x)).data()).map((each) => each + 0)).toEqual(
        expected.map((each) => each + 0),
      );
    });
    await fc.assert(check, { numRuns: backend === "cpu" ? runs(60) : runs(9) });
  });

  test("what is padded may stand beside sums of columns and rows", async () => {
    const [x, u, v] = [
      random.randint(random.key(1), [48, 32], { min: -9, max: 10 }).astype("float32") as Tensor,
      ones([30]),
      ones([27]).mul(2),
    ];
    const f = compile((x: Tensor, u: Tensor, v: Tensor) => {
      const beside = u.pad([[1, 1]], 5).mul(v.pad([[2, 3]], 7));
      return [x.sum(0).add(beside), x.sub(x.mean(1, { keepdim: true })).add(beside)] as const;
    });
    const [columns, rows] = await f(x, u, v);
    const data = await x.data();
    const beside = (j: number) => (j < 1 || j > 30 ? 5 : 1) * (j < 2 || j > 28 ? 7 : 2);
    const all = Array.from({ length: 48 }, (_, i) => data.subarray(32 * i, 32 * i + 32));
    const sum = (values: Iterable<number>) => [...values].reduce((total, value) => total + value, 0);
    expect([...(await columns.data())]).toEqual(
      Array.from({ length: 32 }, (_, j) => sum(all.map((row) => row[j]!)) + beside(j)),
    );
    const left = all.flatMap((row) => [...row].map((value, j) => value - sum(row) / 32 + beside(j)));
    close(await rows.data(), Float64Array.from(left), 1e-5);
  });

  test("a maximum of windows is one kernel, and its gradient goes where it is first, with ties, padding and dilation", async () => {
    // A few values, so that many tie.
    const x = random.randint(random.key(3), [2, 2, 7, 8], { min: -2, max: 3 }).astype("float32") as Tensor;
    const options = { stride: [2, 1], padding: 1, dilation: [1, 2] };
    const pool = compile((x: Tensor) => maxPool2d(x, 3, options), { device });
    const picked = (x: Tensor) => {
      const whole = x.pad(
        [
          [0, 0],
          [0, 0],
          [1, 1],
          [1, 1],
        ],
        -Infinity,
      );
      const rows = windows(whole, 2, 3, { step: 2 });
      const all = windows(rows, 4, 3, { dilation: 2 }).permute([0, 1, 2, 4, 3, 5]);
      return all.reshape([...all.shape.slice(0, 4), 9]).max(-1).values;
    };
    const y = await pool(x);
    expect(await y.toArray()).toEqual(await picked(x).toArray());
    expect(pool.inspect().kernels).toBe(1);
    expect(pool.inspect().bytes).toBe(0);
    const weights = random.normal(random.key(4), y.shape) as Tensor;
    const slope = (f: (x: Tensor) => Tensor) => grad((x: Tensor) => f(x).mul(weights).sum())(x).toArray();
    expect(await slope((x) => maxPool2d(x, 3, options))).toEqual(await slope(picked));
  });

  test.each([2, 3, 4, 5])("a maximum of %i x %i knows NaN and infinities", async (size) => {
    const data = Array.from({ length: 81 }, (_, i) => ((i * 37) % 23) - 11);
    for (const [at, value] of [
      [0, Number.NaN],
      [40, Number.NaN],
      [44, Infinity],
      [80, Number.NaN],
    ] as const)
      data[at] = value;
    for (let i = 54; i < 63; i++) data[i] = -Infinity;
    const x = tensor(data, { shape: [1, 1, 9, 9] });
    for (const stride of [1, 2]) {
      const found = await compile((x: Tensor) => maxPool2d(x, size, { stride, padding: 1 }), { device })(x);
      const wanted = Array.from({ length: found.shape[2]! }, (_, i) =>
        Array.from({ length: found.shape[3]! }, (_, j) => {
          const inside = (from: number) =>
            Array.from({ length: size }, (_, k) => from * stride - 1 + k).filter((p) => p >= 0 && p < 9);
          return Math.max(...inside(i).flatMap((p) => inside(j).map((q) => data[9 * p + q]!)));
        }),
      );
      expect(await found.toArray()).toEqual([[wanted]]);
    }
  });

  test.each([
    [8, 16],
    [9, 27],
    [16, 57],
    [7, 55],
  ])("what lies beside images of %i x %i in memory is in no window", async (height, width) => {
    // Values before and after it are not numbers: what is read beyond an image is not used.
    const [before, data, after] = [Number.NaN, undefined, Number.NaN].map((value) =>
      Array.from({ length: 2 * height * width }, (_, i) => value ?? ((i * 37) % 101) - 50),
    ) as [number[], number[], number[]];
    const beside = [tensor(before), tensor(after)];
    const x = tensor(data, { shape: [1, 2, height, width] });
    await Promise.all([beside[0]!.data(), x.data(), beside[1]!.data()]);
    for (const size of [2, 3, 5])
      for (const stride of [1, 2, 3]) {
        const options = { stride, padding: 1 };
        const pools = { max: maxPool2d, mean: avgPool2d };
        const found = await compile(
          (x: Tensor) => [pools.max(x, size, options), pools.mean(x, size, options)],
          {
            device,
          },
        )(x);
        const [, , rows, columns] = found[0]!.shape as [number, number, number, number];
        const inside = (from: number, length: number) =>
          Array.from({ length: size }, (_, k) => from * stride - 1 + k).filter((p) => p >= 0 && p < length);
        const wanted = Array.from({ length: 2 * rows * columns }, (_, at) => {
          const [image, i, j] = [
            Math.floor(at / rows / columns),
            Math.floor(at / columns) % rows,
            at % columns,
          ];
          const all = inside(i, height).flatMap((p) =>
            inside(j, width).map((q) => data[(image * height + p) * width + q]!),
          );
          return [Math.max(...all), all.reduce((sum, value) => sum + value, 0) / size ** 2] as const;
        });
        expect([...(await found[0]!.data())]).toEqual(wanted.map(([most]) => most));
        close(
          await found[1]!.data(),
          Float64Array.from(wanted, ([, mean]) => mean),
          1e-6,
        );
      }
    for (const t of beside) t.dispose();
  });

  test("the first of tied elements gets the gradient of a maximum; a mean counts what is there", async () => {
    const x = tensor([
      [
        [
          [1, 1],
          [1, 0],
        ],
      ],
    ]);
    expect(await grad((x: Tensor) => maxPool2d(x, 2).sum())(x).toArray()).toEqual([
      [
        [
          [1, 0],
          [0, 0],
        ],
      ],
    ]);
    const means = avgPool1d(ones([1, 1, 4]), 3, { padding: 1, stride: 1, countIncludePad: false });
    expect(await means.toArray()).toEqual([[[1, 1, 1, 1]]]);
    expect(unfold(ones([1, 2, 4, 3]), 2).shape).toEqual([1, 8, 6]);
  });
});

test("errors name what was given", () => {
  const x = ones([1, 4, 5, 5]);
  expect(() => conv2d(x, ones([2, 3, 3, 3]))).toThrow(
    /has 4 channels and the weight .* takes 3 in each of 1 groups/,
  );
  expect(() => conv2d(x, ones([2, 4, 7, 7]))).toThrow(/spans 7 places of axis 0, and the input has 5/);
  expect(() => conv2d(x, ones([2, 4, 3, 3]), ones([3]))).toThrow(/bias is float32\[3\]; expected \[2\]/);
  expect(() => conv2d(x, ones([2, 4, 3, 3]), undefined, { stride: [1] })).toThrow(
    /stride has 1 numbers for 2 axes/,
  );
  expect(() => conv2d(x, ones([2, 4, 3, 3]), undefined, { strides: 1 } as never)).toThrow(/strides/);
  expect(() => conv1d(x, ones([2, 4, 3]))).toThrow(/with 1 axes behind the first two/);
  expect(() => maxPool2d(x, 2, { padding: 2 })).toThrow(/more than half/);
  expect(() => conv2d(x, ones([2, 4, 3, 3], { dtype: "float16" }))).toThrow(
    /conv2d: the input is float32\[.*\], the weight float16\[2,4,3,3\]; they are of one dtype/,
  );
  expect(() => convTranspose2d(x, ones([4, 2, 2, 2]), ones([2], { dtype: "int32" }))).toThrow(
    /convTranspose2d: .* the bias int32\[2\]; they are of one dtype/,
  );
  for (const pool of [maxPool2d, avgPool2d])
    expect(() => pool(ones([1, 1, 4, 4], { dtype: "int32" }), 2)).toThrow(
      /Pool2d: takes floats; given int32/,
    );
  expect(() => convTranspose2d(x, ones([4, 2, 2, 2]), undefined, { outputPadding: 1 })).toThrow(
    /outputPadding 1/,
  );
  expect(() => windows(x, 2, 6)).toThrow(/has length 5, and a window spans 6/);
});
