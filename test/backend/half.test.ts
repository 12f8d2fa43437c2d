import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { floatRange } from "../../src/base/dtype.ts";
import { generator } from "../../src/base/generator.ts";
import { narrowFloat } from "../../src/base/narrow.ts";
import { referenceValues } from "../../src/experiments/reference.ts";

import {
  compile,
  type Device,
  type FloatDType,
  full,
  init,
  ones,
  random,
  scalar,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { Device as DeviceOf } from "../../src/runtime/device.ts";
import { backends } from "../devices.ts";
import { longOn } from "../long.ts";
import { expectProducts, expectReadAsStored, uniformValues } from "../narrow.ts";
import { cases, casesOn } from "../thorough.ts";

const { load: fromHalfBits, store: halfBits, round: roundToHalf } = narrowFloat(floatRange("float16"));

// float16: its numbers on the host, and what backends make of it: storage of 16 bits, arithmetic in float32.

const all = Array.from({ length: 65536 }, (_, bits) => bits);
const finite = all.filter((bits) => (bits & 0x7c00) !== 0x7c00);

describe("on the host", () => {
  test("bits become the number and the number the bits", () => {
    const wrong = all.filter((bits) => {
      const value = fromHalfBits(bits);
      return halfBits(value) !== (Number.isNaN(value) ? 0x7e00 : bits);
    });
    expect(wrong).toEqual([]);
    expect([0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x7c00].map(fromHalfBits)).toEqual([
      1,
      -2,
      65504,
      2 ** -14,
      2 ** -24,
      Infinity,
    ]);
  });

  test("rounds to the nearest, ties to even", () => {
    const positive = finite.filter((bits) => bits < 0x8000);
    const wrong = positive.filter((bits) => {
      const [low, high] = [fromHalfBits(bits), bits === 0x7bff ? 65536 : fromHalfBits(bits + 1)];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? low : bits === 0x7bff ? Infinity : high;
      const above = bits === 0x7bff ? Infinity : high;
      return [1, -1].some(
        (sign) =>
          !Object.is(roundToHalf(sign * middle), sign * even) ||
          !Object.is(roundToHalf(sign * middle * (1 - 2 ** -50)), sign * low) ||
          !Object.is(roundToHalf(sign * middle * (1 + 2 ** -50)), sign * above),
      );
    });
    expect(wrong).toEqual([]);
    expect([2049, 2051, 65519.9, 65520, -1e30, 2 ** -25, 2 ** -24 * 1.5].map(roundToHalf)).toEqual([
      2048,
      2052,
      65504,
      Infinity,
      -Infinity,
      0,
      2 ** -23,
    ]);
    expect(Object.is(roundToHalf(-0), -0)).toBe(true);
    expect(roundToHalf(Number.NaN)).toBeNaN();
  });
});

const devices = [
  { name: "cpu" as const, open: () => init({ backend: "cpu" }) },
  ...((await backends()).includes("webgpu")
    ? [{ name: "webgpu" as const, open: () => init({ backend: "webgpu" }) }]
    : []),
];

const values = (shape: readonly number[], dtype: FloatDType = "float16", seed = 1) =>
  uniformValues(shape, dtype, seed);

describe.each(devices)("on $name", ({ name, open }) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });
  afterAll(() => device.dispose());

  test("holds every number, in two bytes each", async () => {
    const before = device.liveBytes;
    const x = tensor(all.map(fromHalfBits), { dtype: "float16" });
    const wide = await x.astype("float32").data();
    // WGSL promises no NaN.
    const certain = all.filter((bits) => name !== "webgpu" || (bits & 0x7fff) <= 0x7c00);
    expect(certain.filter((bits) => !Object.is(wide[bits], fromHalfBits(bits)))).toEqual([]);
    expect(await x.reshape([256, 256]).transpose().transpose().data()).toEqual(await x.data());
    expect(device.liveBytes - before).toBeLessThan(65536 * (2 + 4 + 2) + 4096);
  });

  test("rounds float32 to the nearest, ties to even", async () => {
    const between = finite.flatMap((bits) => {
      const middle = (fromHalfBits(bits) + fromHalfBits(bits + 1)) / 2;
      return [middle, Math.fround(middle * (1 + 2 ** -20)), Math.fround(middle * (1 - 2 ** -20))];
    });
    const found = await tensor(between).astype("float16").data();
    expect(between.filter((x, i) => !Object.is(found[i], roundToHalf(x)))).toEqual([]);
    // Around every number, the middle to its neighbour, and every power of two.
    const [float, word] = [new Float32Array(1), new Uint32Array(1)];
    const view = new Uint32Array(float.buffer);
    const around = (bits: number) =>
      [-1, 0, 1].map((step) => {
        word[0] = bits + step;
        view[0] = word[0]!;
        return float[0]!;
      });
    const bitsOf = (x: number) => {
      float[0] = x;
      return view[0]!;
    };
    const close = [
      ...all.flatMap((bits) => around(bitsOf(fromHalfBits(bits)))),
      ...between.flatMap((x) => around(bitsOf(x))),
      ...Array.from({ length: 512 }, (_, i) => around(i << 23)).flat(),
    ];
    // WGSL promises no NaN and no subnormal float32.
    const certain = close.filter(
      (x) => name !== "webgpu" || (Number.isFinite(x) && Math.abs(x) >= 2 ** -126),
    );
    for (const dtype of ["float16", "float32"] as const) {
      const some = await tensor(certain).astype("float16").astype(dtype).data();
      const wrong = certain.filter((x, i) => !Object.is(some[i], roundToHalf(x)));
      expect(wrong.slice(0, 5)).toEqual([]);
    }
    const edges = [65519.9, 65520, -1e9, Infinity, NaN, -0, 2 ** -25, 1.5 * 2 ** -24, -(2 ** -14), 3e-8];
    expect([...(await tensor(edges).astype("float16").data())]).toEqual(
      edges.map((x) => roundToHalf(Math.fround(x))),
    );
  });

  test.each(casesOn(name, [1025], [1, 3, 2, 4, 5, 7, 33, 1023, 5000]))(
    "vectors of %d, as they lie and across",
    async (n) => {
      const x = values([3, n]);
      const across = values([n, 3], "float16", 2);
      const results = [
        x.mul(2).add(1),
        x.add(across.transpose()),
        x.transpose().reshape([n * 3]),
        x.sum(1),
        x.flip(1),
      ];
      const expected = await referenceValues(results);
      await tree.evaluate(results, device);
      for (const [i, result] of results.entries()) {
        expect(result.dtype).toBe("float16");
        const found = await result.data();
        expected[i]!.forEach((value, j) => {
          // The inputs are exact in float32, and so is the sum of two; sums of many are rounded twice.
          const slack = i === 3 ? 1 + 2 ** -12 : 1;
          expect(Math.abs(found[j]! - value)).toBeLessThanOrEqual(
            slack * Math.max(2 ** -11 * Math.abs(value), 2 ** -25),
          );
        });
      }
    },
  );

  const products = casesOn<readonly [m: number, k: number, n: number]>(
    name,
    [[40, 257, 72]],
    [
      [1, 64, 64],
      [17, 33, 9],
      [64, 64, 64],
      [128, 96, 130],
    ],
  );
  test.each(products)("products of %d x %d by %d, in all transposes", async (m, k, n) => {
    const [a, b] = [values([m, k]), values([k, n], "float16", 2)];
    const [at, bt] = [values([k, m], "float16", 3), values([n, k], "float16", 4)];
    const results = [
      a.matmul(b),
      at.transpose().matmul(b),
      a.matmul(bt.transpose()),
      at.transpose().matmul(bt.transpose()).add(1).astype("float32"),
    ];
    const expected = await referenceValues(results);
    await tree.evaluate(results, device);
    await expectProducts(results, expected, k, () => 2 ** -11 * (1 + 2 ** -8));
  });

  test("does not overflow in between, and rounds the operands of products", async () => {
    const large = tensor(new Float32Array(4000).fill(1000), { dtype: "float16" });
    expect(await large.mean().item()).toBe(1000);
    expect(await large.mul(large).sqrt().sum().div(4000).item()).toBe(1000);
    expect((await large.reshape([2, 2000]).softmax(1).data())[0]).toBe(roundToHalf(1 / 2000));
    expect(await large.mul(large).amax().item()).toBe(Infinity);
    // 1 + 2^-11 is no float16.
    const one = ones([1, 1], { dtype: "float16" });
    const off = one.add(2 ** -11);
    expect(
      await off
        .mul(2 ** 11)
        .sub(2 ** 11)
        .item(),
    ).toBe(1);
    expect(
      await off
        .matmul(one.mul(2 ** 11))
        .sub(2 ** 11)
        .item(),
    ).toBe(0);
    expect(await off.astype("float32").item()).toBe(1);
  });

  test("keeps the precision of host numbers", async () => {
    const x = ones([3], { dtype: "float16" });
    const f = (y: Tensor) => y.mul(scalar(1e-6)).mul(1e6).add(0.1).sub(0.1);
    expect((await f(x).data())[0]).toBe(1);
    expect((await (await compile(f)(x)).data())[0]).toBe(1);
    expect(await full([], 0.1, { dtype: "float16" }).item()).toBe(roundToHalf(0.1));
  });

  test("a frozen weight is read in 16 bits, and no copy of it is made", () => expectReadAsStored("float16"));
});

test("an adapter without shader-f16 is named", async () => {
  const opened = (await backends()).includes("webgpu") ? await openDevice() : { reason: "none" };
  if ("reason" in opened) return;
  const adapter = { ...opened.adapter, features: [] };
  using device = new DeviceOf(new WebGpuBackend({ ...opened, adapter }, { tune: false }), 2 ** 30);
  await expect(tree.evaluate([values([4]).add(1)], device)).rejects.toThrow(
    "lacks the feature shader-f16. Use float32",
  );
});

// Factors that are stored in float16 train bit for bit under powers of two as long as they stay in its normal range.
describe.each(cases(devices.slice(0, 1), devices.slice(1)))(
  "LoRA with factors in float16 on $name",
  ({ name, open }) => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(() => device.dispose());

    const [batch, inner, outer, r, alpha] = [8, 12, 20, 4, 6];

    async function train(k: number): Promise<{ losses: number[]; B: ArrayLike<number> }> {
      const x = values([batch, inner], "float32", 1);
      const target = values([batch, outer], "float32", 2);
      const w0 = values([outer, inner], "float16", 3);
      const sgd = optim.sgd({ lr: 0.5 / (k * k) });
      const loss = ({ B }: { B: Tensor }, A: Tensor) => {
        const up = x.matmul(A.astype("float32").transpose()).matmul(B.astype("float32").transpose());
        const y = x.matmul(w0.astype("float32").transpose()).add(up.mul((k * alpha) / r));
        return y.sub(target).square().mean();
      };
      const A = values([r, inner], "float16", 4);
      let params = {
        B: values([outer, r], "float32", 5)
          .div(16 * k)
          .astype("float16") as Tensor,
      };
      let state = sgd.init(params);
      const losses: number[] = [];
      for (let i = 0; i < 12; i++) {
        const [value, gradients] = valueAndGrad(loss)(params, A);
        const [updates, next] = sgd.update(gradients, state, params);
        params = optim.applyUpdates(params, updates);
        state = next;
        losses.push(await value.item());
      }
      return { losses, B: await params.B.data() };
    }

    longOn(name)("is bitwise where factors stay in range, and is not beyond", async () => {
      const reference = await train(1);
      expect(reference.losses[11]).toBeLessThan(reference.losses[0]! * 0.9);
      for (const k of [16, 1 / 8]) {
        const other = await train(k);
        expect(other.losses).toEqual(reference.losses);
        expect(Array.from(other.B, (b) => b * k)).toEqual(Array.from(reference.B));
      }
      const far = await train(2 ** 14);
      expect(far.losses[11]).not.toBe(reference.losses[11]);
    });
  },
);

test("layers of nn and lora take float16", async () => {
  using _ = await init({ backend: "cpu" });
  const base = nn.linear(6, 10, { dtype: "float16" });
  const model = lora.inject(base, { r: 2, alpha: 6, targetModules: "all-linear" });
  const params = model.init(random.key(1), base.init(random.key(2)));
  const y = model.apply(params, values([3, 6]));
  expect(y.dtype).toBe("float16");
  const [expected] = await referenceValues([y]);
  const found = await y.data();
  expected!.forEach((value, i) => {
    expect(found[i]).toBeCloseTo(value, 2);
  });
});

test("an average of float16 parameters is float32, and moves", async () => {
  using _ = await init({ backend: "cpu" });
  const average = optim.ema({ decay: 0.999 });
  const params = { w: tensor([2], { dtype: "float16" }) };
  let shadow = average.init({ w: tensor([1], { dtype: "float16" }) });
  for (let i = 0; i < 100; i++) shadow = average.update(shadow, params);
  expect(shadow.w.dtype).toBe("float32");
  expect(await shadow.w.item()).toBeCloseTo(2 - 0.999 ** 100, 5);
});

test("rotary angles of float16 are float32", async () => {
  using _ = await init({ backend: "cpu" });
  const positions = [0, 1857, 65535, 131071];
  const x = values([positions.length, 64]);
  const turned = nn.functional.rope(x, { positions });
  expect(turned.dtype).toBe("float16");
  const [given, found] = [await x.data(), await turned.data()];
  positions.forEach((position, row) => {
    for (let i = 0; i < 32; i++) {
      const angle = position * 10000 ** ((-2 * i) / 64);
      const [a, b] = [given[64 * row + i]!, given[64 * row + i + 32]!];
      // A unit of float32 in the angle, half a unit of float16 in the result.
      const allowed = 4 * 2 ** -24 * position + 2 ** -10;
      expect(Math.abs(found[64 * row + i]! - (a * Math.cos(angle) - b * Math.sin(angle)))).toBeLessThan(
        allowed * 2,
      );
    }
  });
});

describe("a float64 is rounded to float16 once", () => {
  // Halfway between two float16 in float32, and not in float64.
  const tie = (bits: number, side: number) => {
    const [low, high] = [fromHalfBits(bits), fromHalfBits(bits + 1)];
    return ((low + high) / 2) * (1 + side * 2 ** -40);
  };
  const draw = generator(9);
  const cases = [
    1 + 2 ** -11 + 2 ** -30,
    1 + 2 ** -11 - 2 ** -30,
    -(1 + 2 ** -11 + 2 ** -30),
    65519.99999999,
    65520.00000001,
    1e300,
    -1e-300,
    -0,
    Infinity,
    Number.NaN,
    ...Array.from(
      { length: 2000 },
      (_, i) => tie(Math.floor(draw() * 0x7bff), (i % 3) - 1) * (i % 2 ? 1 : -1),
    ),
    ...Array.from({ length: 2000 }, () => (draw() - 0.5) * 2 ** Math.floor(draw() * 60 - 35)),
  ];

  test("as a cast", async () => {
    using _ = await init({ backend: "cpu" });
    const x = tensor(Float64Array.from(cases), { dtype: "float64" });
    const found = [...(await x.astype("float16").data())];
    expect(found).toEqual(cases.map(roundToHalf));
    const cast = compile((y: Tensor) => y.astype("float16").reshape([2, -1]));
    expect([...(await (await cast(x)).data())]).toEqual(found);
    expect(await x.slice([0], [1]).astype("float16").item()).toBe(1.0009765625);
  });

  test("as a number of the host, lifted or written into code, on every backend", async () => {
    for (const backend of await backends()) {
      using _ = await init({ backend });
      const dtype = "float16";
      for (const value of cases.slice(0, 4)) {
        const expected = roundToHalf(value);
        const made = [
          full([3], value, { dtype }),
          tensor([value, 0], { dtype }),
          full([2, 2], value, { dtype }).permute([1, 0]).reshape([4]),
        ];
        for (const x of made) expect((await x.data())[0], `${backend} ${value}`).toBe(expected);
        const compiled = compile((y: Tensor) => [
          full([3], value, { dtype }),
          y.mul(0).add(full([], value, { dtype })),
        ]);
        const [whole] = (await compiled(ones([3], { dtype }))) as [Tensor, Tensor];
        expect((await whole.data())[0], `${backend} ${value}`).toBe(expected);
      }
    }
  });
});
