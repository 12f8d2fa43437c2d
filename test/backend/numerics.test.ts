import { afterAll, beforeAll, expect, test } from "vitest";
import { generator } from "../../src/base/generator.ts";
import { compare } from "../../src/experiments/oracle/compare.ts";

import { type Device, full, grad, init, random, type Tensor, tensor } from "../../src/index.ts";
import * as nn from "../../src/nn/index.ts";
import { describeBackends } from "../devices.ts";

// Right values where simple formulas lose their digits, on every backend.

const largest = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => Math.max(a, b));
const smallest = (values: ArrayLike<number>) => Array.from(values).reduce((a, b) => Math.min(a, b));

describeBackends("numerics", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test("equal numbers have no deviation, and its gradient is 0, as in PyTorch", async () => {
    for (const value of [0, 0.1, -7, 123456.7, 1e-30, 3e18]) {
      const x = full([2, 5], value);
      for (const correction of [0, 1]) {
        const f = (y: Tensor) => y.std(-1, { correction }).sum() as Tensor;
        expect(await f(x).item()).toBe(0);
        expect([...(await grad(f)(x).data())]).toEqual(Array(10).fill(0));
        expect([...(await grad((y: Tensor) => y.var(null, { correction }))(x).data())]).toEqual(
          Array(10).fill(0),
        );
      }
    }
    // Beside a row that does vary: (x - mean) / (n - 1) / std.
    const mixed = tensor([
      [5, 5, 5],
      [1, 2, 4],
    ]);
    const slopes = await grad((y: Tensor) => y.std(1).sum() as Tensor)(mixed).data();
    const std = Math.sqrt(7 / 3);
    [0, 0, 0, -4 / 6 / std, -1 / 6 / std, 5 / 6 / std].forEach((slope, i) => {
      expect(slopes[i]).toBeCloseTo(slope, 6);
    });
    expect(await tensor([1, Number.NaN]).std().item()).toBeNaN();
  });

  test("layer norm of equal numbers is 0, and far from 0 it keeps the digits of the differences", async () => {
    for (const value of [123456.7, 0.1, -3e10]) {
      const y = await nn.functional.layerNorm(full([2, 768], value), [768]).data();
      expect(new Set(Array.from(y, Math.abs))).toEqual(new Set([0]));
    }
    // 4096 + i / 64 is exact in float32.
    const values = Array.from({ length: 512 }, (_, i) => ((i * 37) % 512) / 64);
    const mean = values.reduce((a, b) => a + b) / 512;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 512;
    const y = await nn.functional.layerNorm(tensor(values.map((x) => x + 4096)), [512]).data();
    values.forEach((x, i) => {
      expect(Math.abs(y[i]! - (x - mean) / Math.sqrt(variance + 1e-5))).toBeLessThan(1e-6);
    });
    // One number far from all others, at any place: errors are of the order of a unit of the largest result, 22.6.
    for (const place of [0, 7, 128, 384, 511]) {
      const far = values.map((x, i) => (i === place ? 1e5 : x));
      const middle = far.reduce((a, b) => a + b) / 512;
      const deviation = Math.sqrt(far.reduce((sum, x) => sum + (x - middle) ** 2, 0) / 512);
      const normal = await nn.functional.layerNorm(tensor(far), [512]).data();
      far.forEach((x, i) => {
        expect(Math.abs(normal[i]! - (x - middle) / deviation)).toBeLessThan(4e-6);
      });
    }
    const moved = tensor(values.map((x) => x + 4096));
    expect(await moved.var(null, { correction: 0 }).item()).toBeCloseTo(variance, 5);
  });

  test("sine and cosine of every size", async () => {
    const next = generator(5);
    const bits = new Uint32Array(20_000);
    const values = new Float32Array(bits.buffer);
    for (let i = 0; i < bits.length; i++)
      do bits[i] = Math.floor(next() * 2 ** 32);
      while (!Number.isFinite(values[i]!) || Math.abs(values[i]!) < 1e-3);
    // The float32 nearest to a multiple of pi/2 for its size, the largest, and both sides of where branches lie.
    values.set([
      16367173 * 2 ** 72,
      1e10,
      3.4028234663852886e38,
      1e6,
      999999.9375,
      2 ** 56,
      2 ** 88,
      2 ** 120,
    ]);
    const x = tensor(values);
    for (const [actual, exact] of [
      [await x.sin().data(), Math.sin],
      [await x.cos().data(), Math.cos],
    ] as const)
      values.forEach((value, i) => {
        const error = Math.abs(actual[i]! - exact(value));
        expect(error, String(value)).toBeLessThanOrEqual(2 ** -21 * Math.abs(exact(value)));
      });
    expect(await full([], 1e10).sin().item()).toBeCloseTo(-0.4875060250875107, 7);
    for (const value of [Infinity, -Infinity, Number.NaN]) {
      expect(await full([], value).sin().item()).toBeNaN();
      expect(await full([], value).cos().item()).toBeNaN();
    }
  });

  test("running sums keep their digits over a million terms", async () => {
    const sums = await full([1_000_000], 0.1).cumsum(0).data();
    const term = Math.fround(0.1);
    let worst = 0;
    sums.forEach((sum, i) => {
      worst = Math.max(worst, Math.abs(sum / (term * (i + 1)) - 1));
    });
    expect(worst).toBeLessThan(1e-6);
    for (const length of [1, 31, 32, 33, 1023, 1024, 1025, 32769]) {
      const counts = await full([2, length], 1).cumsum(1).data();
      expect(counts.every((count, i) => count === (i % length) + 1)).toBe(true);
    }
  });

  test("uniform numbers stay below their upper end and not below the lower one", async () => {
    for (const [min, max] of [
      [1e6, 1e6 + 1],
      [0.1, 0.3],
      [-0.7, -0.1],
      [-1, 0],
      [16777215, 16777217],
      [0.7, 0.7 + 1e-7],
      [-1e38, 2e38],
    ] as const) {
      const values = await random.uniform(random.key(0), [65536], { min, max }).data();
      expect(largest(values)).toBeLessThan(max);
      expect(smallest(values)).toBeGreaterThanOrEqual(min);
    }
    const spread = await random.uniform(random.key(1), [4096], { min: 16777216, max: 16777218 }).data();
    expect(new Set(spread)).toEqual(new Set([16777216]));
    for (const [min, max] of [
      [1, 1],
      [2, 1],
      [0, Infinity],
      [-3e38, 3e38],
      [16777216.2, 16777216.6],
    ] as const)
      expect(() => random.uniform(random.key(0), [2], { min, max })).toThrow(/random\.uniform: m(in|ax) is/);
  });

  test("large values do not overflow where the result does not", async () => {
    const x = tensor([1e4, 1e4 + 1, -1e4, 88]);
    expect(await x.logsumexp().item()).toBeCloseTo(10001.3133, 3);
    expect((await x.softmax(0).data())[1]).toBeCloseTo(1 / (1 + Math.exp(-1)), 6);
    expect((await x.logSoftmax(0).data())[0]).toBeCloseTo(-1.3132617, 5);
    const rms = await nn.functional.rmsNorm(full([768], 1e15)).data();
    expect(new Set(Array.from(rms, (value) => Math.fround(value).toFixed(5)))).toEqual(new Set(["1.00000"]));
  });
});

test("an oracle's zeros are compared absolutely", () => {
  const like = { shape: [2], dtype: "float32" } as const;
  const expected = (a: number, b: number) => ({
    shape: [2],
    dtype: "float" as const,
    data: Float64Array.of(a, b),
  });
  const bound = { relative: 1e-5, floor: 1e-3 };
  expect(compare(Float32Array.of(2 ** -17, 0), like, expected(0, 0), bound)).toEqual({ error: 2 ** -17 });
  expect(compare(Float32Array.of(0.5, 0), like, expected(0, -0), bound).problem).toMatch(
    /differs by 5\.0e-1/,
  );
  expect(compare(Float32Array.of(2 ** -17, 0), like, expected(2 ** -40, 0), bound).problem).toMatch(
    /differs/,
  );
});
