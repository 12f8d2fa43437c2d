import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compile, type Device, grad, init, random, remat, type Tensor, tensor } from "../../src/index.ts";
import { functional } from "../../src/nn/index.ts";
import { products, type Shape4 } from "../cross-correlation.ts";
import { runs } from "../thorough.ts";

// Convolutions of 3 x 3 on the CPU that are made of fewer products: which they are, and that they are what loops give, whatever
// the shapes, in the same bits by any number of threads.

const { avgPool2d, conv2d, maxPool2d } = functional;

let device: Device;
let alone: Device;
beforeAll(async () => {
  alone = await init({ backend: "cpu", threads: 1 });
  device = await init({ backend: "cpu", threads: 2 });
});
afterAll(() => {
  device.dispose();
  alone.dispose();
});

const normal = (i: number, shape: readonly number[]) => random.normal(random.key(i), shape) as Tensor;

/** How many kernels of a function are convolutions by fewer products. */
const kernelsOf = (compiled: { inspect(): { readonly sources: readonly string[] } }) =>
  compiled.inspect().sources.filter((text) => text.includes("Winograd")).length;

interface Case {
  readonly batch: number;
  readonly channels: number;
  readonly outputs: number;
  readonly height: number;
  readonly width: number;
  readonly padding: number;
}

/** The convolution, its gradient by the input and that by the weight, and the sums of what each element adds up, by plain loops. */
async function compare({ batch, channels, outputs, height, width, padding }: Case) {
  const shapes: readonly Shape4[] = [
    [batch, channels, height, width],
    [outputs, channels, 3, 3],
    [batch, outputs, height + 2 * padding - 2, width + 2 * padding - 2],
  ];
  const data = (await Promise.all(shapes.map((shape, i) => normal(i, shape).data()))) as Float32Array[];
  const on = async (device: Device) => {
    const conv = (x: Tensor, w: Tensor) => conv2d(x, w, undefined, { padding });
    const loss = (x: Tensor, w: Tensor, g: Tensor) => conv(x, w).mul(g).sum();
    const compiled = compile(
      (x: Tensor, w: Tensor, g: Tensor) => [conv(x, w), ...grad(loss, { argnums: [0, 1] })(x, w, g)],
      { device },
    );
    const [x, w, g] = data.map((values, i) => tensor(values, { shape: shapes[i]! })) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const results = await compiled(x, w, g);
    expect(kernelsOf(compiled)).toBe(3);
    return Promise.all(results.map((result) => result.data()));
  };
  const values = await on(device);
  expect(await on(alone)).toEqual(values);
  const expected = values.map(({ length }) => new Float64Array(length));
  const sizes = values.map(({ length }) => new Float64Array(length));
  const [x, w, g] = data as [Float32Array, Float32Array, Float32Array];
  const put = (which: number, at: number, value: number) => {
    expected[which]![at]! += value;
    sizes[which]![at]! += Math.abs(value);
  };
  products(shapes[0]!, shapes[1]!, { stride: 1, padding, dilation: 1, groups: 1 }, (y, at, by) => {
    put(0, y, x[at]! * w[by]!);
    put(1, at, g[y]! * w[by]!);
    put(2, by, g[y]! * x[at]!);
  });
  values.forEach((result, which) => {
    let most = 0;
    result.forEach((value, i) => {
      const size = sizes[which]![i]!;
      const off = size === 0 && value === 0 ? 0 : Math.abs(value - expected[which]![i]!) / size;
      most = Number.isNaN(off) ? Infinity : Math.max(most, off);
    });
    expect(most).toBeLessThan(bound);
  });
}

/** Of the sum of the absolute products that make a result; 6.6 units of 2^-24 are the most that was seen in 60 shapes. */
const bound = 12 * 2 ** -24;

test("they are what loops give, in the same bits by one thread and by two", async () => {
  const shapes = fc.record({
    batch: fc.integer({ min: 2, max: 3 }),
    channels: fc.integer({ min: 8, max: 13 }),
    outputs: fc.integer({ min: 8, max: 13 }),
    height: fc.integer({ min: 8, max: 11 }),
    width: fc.integer({ min: 11, max: 20 }),
    padding: fc.integer({ min: 0, max: 2 }),
  });
  await fc.assert(fc.asyncProperty(shapes, compare), { numRuns: runs(30) });
});

test.each<Case>([
  { batch: 1, channels: 130, outputs: 70, height: 9, width: 13, padding: 1 },
  { batch: 2, channels: 16, outputs: 16, height: 25, width: 37, padding: 1 },
  { batch: 3, channels: 70, outputs: 66, height: 7, width: 7, padding: 1 },
])("several blocks of channels, of rows and of tiles: %o", compare);

test("what follows is done to the results where they are made", async () => {
  const [x, w] = [normal(1, [2, 16, 9, 11]), normal(2, [18, 16, 3, 3])];
  const [bias, skip] = [normal(3, [18]), normal(4, [2, 18, 9, 11])];
  const f = (x: Tensor, w: Tensor, bias: Tensor, skip: Tensor) =>
    conv2d(x, w, bias, { padding: 1 }).add(skip).maximum(0);
  const compiled = compile(f, { device });
  const got = await compiled(x, w, bias, skip);
  expect(compiled.inspect().kernels).toBe(1);
  expect(kernelsOf(compiled)).toBe(1);
  const plain = await conv2d(x, w, undefined, { padding: 1 }).data();
  const [b, s] = [await bias.data(), await skip.data()];
  const wanted = plain.map((value, i) =>
    Math.max(0, Math.fround(Math.fround(value + b[Math.floor(i / 99) % 18]!) + s[i]!)),
  );
  expect(await got.data()).toEqual(wanted);
});

test("whole numbers come out exact, and powers of two go through", async () => {
  const whole = (i: number, shape: readonly number[]) =>
    random.randint(random.key(i), shape, { min: -8, max: 9 }).astype("float32") as Tensor;
  const [x, w] = [whole(1, [2, 16, 10, 10]), whole(2, [16, 16, 3, 3])];
  const values = await conv2d(x, w).data();
  expect(await conv2d(x.astype("float64"), w.astype("float64")).data()).toEqual(Float64Array.from(values));
  const [a, b] = [normal(3, [2, 16, 10, 10]), normal(4, [16, 16, 3, 3])];
  const scaled = await conv2d(a.mul(2 ** 20), b.mul(2 ** -20)).data();
  expect(scaled).toEqual(await conv2d(a, b).data());
});

test("what is not a number reaches no further than one place beyond its windows", async () => {
  const data = await normal(1, [1, 8, 12, 16]).data();
  data[5 * 16 + 6] = Number.NaN; // row 5, column 6 of the first channel
  const x = tensor(data as Float32Array, { shape: [1, 8, 12, 16] });
  const values = await conv2d(x, normal(2, [8, 8, 3, 3]), undefined, { padding: 1 }).data();
  values.forEach((value, i) => {
    const [down, across] = [Math.abs((Math.floor(i / 16) % 12) - 5), Math.abs((i % 16) - 6)];
    if (down <= 1 && across <= 1) expect(value).toBeNaN();
    else if (down > 2 || across > 2) expect(value).not.toBeNaN();
  });
});

const conv = (x: readonly number[], w: readonly number[], options: Parameters<typeof conv2d>[3] = {}) => ({
  x,
  w,
  options,
});
test.each([
  { runs: 1, ...conv([2, 8, 10, 10], [8, 8, 3, 3]) },
  { runs: 0, ...conv([1, 8, 6, 10], [8, 8, 3, 3]) },
  { runs: 0, ...conv([2, 7, 10, 10], [8, 7, 3, 3]) },
  { runs: 0, ...conv([2, 8, 10, 10], [7, 8, 3, 3]) },
  { runs: 0, ...conv([2, 8, 20, 20], [8, 8, 3, 3], { stride: 2 }) },
  { runs: 0, ...conv([2, 8, 20, 20], [8, 8, 3, 3], { dilation: 2 }) },
  { runs: 0, ...conv([2, 16, 10, 10], [16, 8, 3, 3], { groups: 2 }) },
  { runs: 0, ...conv([2, 8, 10, 10], [8, 8, 3, 2]) },
  { runs: 0, ...conv([2, 8, 10, 10], [8, 8, 5, 5]) },
])("$x by $w with $options: $runs", async ({ x, w, options, runs }) => {
  const compiled = compile((x: Tensor, w: Tensor) => conv2d(x, w, undefined, options), { device });
  await compiled(normal(1, x), normal(2, w));
  expect(kernelsOf(compiled)).toBe(runs);
});

test("so do gradients of what is pooled, though their cotangents are made of fewer bytes", async () => {
  const loss = (x: Tensor, w: Tensor) =>
    avgPool2d(conv2d(x, w, undefined, { padding: 1 }), 2)
      .square()
      .sum();
  const compiled = compile(grad(loss, { argnums: [0, 1] }), { device });
  await compiled(normal(1, [2, 16, 12, 12]), normal(2, [16, 16, 3, 3]));
  expect(kernelsOf(compiled)).toBe(3);
});

/** What a block is made of, each from channels of one number to as many. */
const layers = {
  conv: (h: Tensor, w: Tensor) => conv2d(h, w, undefined, { padding: 1 }),
  residual: (h: Tensor, w: Tensor) => h.add(conv2d(h, w, undefined, { padding: 1 }).maximum(0)),
  relu: (h: Tensor) => h.maximum(0),
  tanh: (h: Tensor) => h.tanh(),
  halves: (h: Tensor) => h.astype("bfloat16").astype("float32") as Tensor,
  norm: (h: Tensor) => h.sub(h.mean([2, 3], { keepdim: true })).mul(h.square().mean().add(1).pow(-0.5)),
  average: (h: Tensor) => (h.shape[2]! % 2 === 0 ? avgPool2d(h, 2) : h),
  most: (h: Tensor) => (h.shape[2]! % 2 === 0 ? maxPool2d(h, 2) : h),
  twice: (h: Tensor) => {
    const [b, c, rows, columns] = h.shape as Shape4;
    const apart = h.reshape([b, c, rows, 1, columns, 1]).expand([b, c, rows, 2, columns, 2]);
    return apart.reshape([b, c, 2 * rows, 2 * columns]);
  },
} satisfies { readonly [name: string]: (h: Tensor, w: Tensor) => Tensor };

test("in stacks of blocks they have the same bits compiled, uncompiled and recomputed", async () => {
  const block = fc.array(fc.constantFrom(...(Object.keys(layers) as (keyof typeof layers)[])), {
    minLength: 1,
    maxLength: 4,
  });
  const stacks = fc.record({
    blocks: fc.array(block, { minLength: 1, maxLength: 3 }),
    batch: fc.integer({ min: 1, max: 3 }),
    side: fc.constantFrom(8, 12),
    argnums: fc.constantFrom([0], [0, 1]),
  });
  const same = async ({
    blocks,
    batch,
    side,
    argnums,
  }: typeof stacks extends fc.Arbitrary<infer T> ? T : never) => {
    const w = normal(1, [8, 8, 3, 3]).mul(0.1);
    const lossOf = (again: boolean) => (w: Tensor, x: Tensor) =>
      blocks
        .reduce((h, names) => {
          const run = (h: Tensor, w: Tensor) =>
            names.reduce<Tensor>((inner, name) => layers[name](inner, w), h);
          return (again ? remat(run) : run)(h, w);
        }, x)
        .square()
        .mean();
    const kept = grad(lossOf(false), { argnums });
    const x = normal(2, [batch, 8, side, side]);
    const [plain, ...others] = await Promise.all(
      [compile(kept, { device }), kept, compile(grad(lossOf(true), { argnums }), { device })].map(async (f) =>
        Promise.all((await f(w, x)).map((result) => result.data())),
      ),
    );
    for (const other of others) expect(other).toEqual(plain);
  };
  await fc.assert(fc.asyncProperty(stacks, same), { numRuns: runs(24) });
});
