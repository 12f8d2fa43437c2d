import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { floatRange } from "../../src/base/dtype.ts";
import { narrowFloat } from "../../src/base/narrow.ts";
import { referenceValues } from "../../src/experiments/reference.ts";

import {
  cat,
  compile,
  type Device,
  type FloatDType,
  init,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
} from "../../src/index.ts";
import { load, saveBlob } from "../../src/io/index.ts";
import { describeBackends } from "../devices.ts";
import { expectProducts, expectReadAsStored, uniformValues } from "../narrow.ts";
import { casesOn } from "../thorough.ts";

// bfloat16: the upper half of a float32. What of it is like any narrow float is in half.test.ts; here is what it adds:
// its numbers, and that on a GPU two of them share a word, which different invocations may write.

const { load: fromBits, store: toBits, round } = narrowFloat(floatRange("bfloat16"));
const all = Array.from({ length: 65536 }, (_, bits) => bits);
const words = new Uint32Array(1);
const float = new Float32Array(words.buffer);
const ofWord = (bits: number): number => {
  words[0] = bits;
  return float[0]!;
};

const values = (shape: readonly number[], dtype: FloatDType = "bfloat16", seed = 1) =>
  uniformValues(shape, dtype, seed);

test("on the host, numbers are the upper halves of float32, and rounded to the nearest even", () => {
  for (const bits of all) {
    const value = ofWord(bits * 65536);
    if (!Object.is(fromBits(bits), value)) expect(fromBits(bits), String(bits)).toBe(value);
    const back = Number.isNaN(value) ? 0x7fc0 : bits;
    if (toBits(value) !== back) expect(toBits(value), String(bits)).toBe(back);
  }
  expect(
    [1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -40, 3.4e38, -(2 ** -134), 2 ** -134 * 1.01].map(round),
  ).toEqual([1, 1 + 2 ** -6, 1 + 2 ** -7, Infinity, -0, 2 ** -133]);
});

describeBackends("bfloat16", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test("every number goes to the device and back, and is moved as it is", async () => {
    const before = device.liveBytes;
    const x = tensor(all.map(fromBits), { dtype: "bfloat16" });
    const moved = x.reshape([256, 256]).transpose();
    await tree.evaluate([moved], device);
    expect(device.liveBytes - before).toBeLessThan(2 * 65536 * 2 + 4096);
    const [back, found] = [await moved.transpose().data(), await x.astype("float32").data()];
    // WGSL promises no NaN and no subnormal float32 where it computes.
    const certain = all.filter(
      (bits) => backend !== "webgpu" || ((bits & 0x7f80) !== 0 && (bits & 0x7fff) <= 0x7f80),
    );
    expect(certain.filter((bits) => !Object.is(back[bits], fromBits(bits)))).toEqual([]);
    expect(certain.filter((bits) => !Object.is(found[bits], fromBits(bits)))).toEqual([]);
  });

  test("float32 is rounded to the nearest, ties to even", async () => {
    const near = all
      .filter((bits) => (bits & 0x7f80) !== 0x7f80 && (bits & 0x7f80) !== 0)
      .flatMap((bits) => [-1, 0, 1].map((step) => ofWord(bits * 65536 + 0x8000 + step)));
    const given = [...near, Infinity, -Infinity, 0, -0, 2 ** -126];
    for (const dtype of ["bfloat16", "float32"] as const) {
      const found = await tensor(given).astype("bfloat16").astype(dtype).data();
      expect(given.filter((x, i) => !Object.is(found[i], round(x))).slice(0, 5)).toEqual([]);
    }
    const nan = await tensor([Number.NaN, 1]).astype("bfloat16").astype("float32").data();
    if (backend === "cpu") expect(nan[0]).toBeNaN();
  });

  test.each([1, 2, 3, 7, 64, 1025])("what shares a word is not disturbed: lengths of %d", async (n) => {
    const x = values([3, n]);
    const across = values([n, 3], "bfloat16", 2);
    const lane = values([n], "bfloat16", 3);
    const results = [
      x.mul(2),
      x.add(across.transpose()),
      x.transpose().reshape([n * 3]),
      x.flip(1),
      x.at(1).set(lane),
      x.at(1, 0).set(0.5),
      cat([x, lane.reshape([1, n]), x], 0),
      across.sum(1),
      across.sum(0),
    ];
    const expected = await referenceValues(results);
    await tree.evaluate(results, device);
    for (const [i, result] of results.entries()) {
      expect(result.dtype).toBe("bfloat16");
      const found = await result.data();
      // All are exact in float32, but for long sums.
      const slack = i === 8 ? 2 ** -8 : 0;
      expected[i]!.forEach((value, j) => {
        if (Math.abs(found[j]! - round(value)) > slack * Math.max(Math.abs(value), 1))
          expect(found[j], `${i}: ${j}`).toBe(round(value));
      });
    }
  });

  test.each([5, 8])("donated parameters of %d are updated in place", async (n) => {
    const step = compile((w: Tensor, g: Tensor) => [w.sub(g.mul(0.25)), w.at(1).set(2)] as const, {
      donate: [0],
    });
    const [w, g] = [values([n]), values([n], "bfloat16", 2)];
    const [old, by] = [await w.data(), await g.data()];
    const [moved, set] = await step(w, g);
    expect([...(await moved.data())]).toEqual(Array.from(old, (x, i) => round(x - by[i]! / 4)));
    expect([...(await set.data())]).toEqual(Array.from(old, (x, i) => (i === 1 ? 2 : x)));
  });

  const products = casesOn<readonly [m: number, k: number, n: number]>(
    backend,
    [
      [1, 64, 64],
      [17, 33, 9],
    ],
    [
      [40, 256, 72],
      [128, 96, 130],
    ],
  );
  test.each(products)("products of %d x %d by %d", async (m, k, n) => {
    const [a, b] = [values([m, k]), values([k, n], "bfloat16", 2)];
    const [at, bt] = [values([k, m], "bfloat16", 3), values([n, k], "bfloat16", 4)];
    const wide = values([m, k], "float32", 5);
    const results = [
      a.matmul(b),
      at.transpose().matmul(bt.transpose()).add(1),
      wide.matmul(bt.astype("float32").transpose()),
      a.astype("float16").matmul(b.astype("float16")),
    ].slice(0, device.backend.target.floats.includes("float16") ? 4 : 3);
    const expected = await referenceValues(results);
    await tree.evaluate(results, device);
    const half = [2 ** -8, 2 ** -8, 0, 2 ** -11];
    await expectProducts(results, expected, k, (i) => half[i]! * (1 + 2 ** -6));
  });

  test("a frozen weight is read in 16 bits, and no copy of it is made", () => expectReadAsStored("bfloat16"));

  test("is saved and loaded", async () => {
    const w = random.normal(random.key(1), [5]).astype("bfloat16");
    const again = ((await load(await saveBlob({ w }))) as { w: Tensor }).w;
    expect(again.dtype).toBe("bfloat16");
    expect(await again.data()).toEqual(await w.data());
  });
});

describe("powers of two", () => {
  // Factors in bfloat16 have the range of float32, so far more gauges are bitwise than of float16.
  test.each([16, 2 ** -20, 2 ** 30])("train the same LoRA model bit for bit: %d", async (k) => {
    using _ = await init({ backend: "cpu" });
    const run = async (factor: number) => {
      const [x, w0, a] = [
        values([8, 12], "float32"),
        values([20, 12], "bfloat16", 3),
        values([4, 12], "bfloat16", 4),
      ];
      const target = values([8, 20], "float32", 2);
      let b: Tensor = values([20, 4], "float32", 5)
        .div(16 * factor)
        .astype("bfloat16");
      const losses: number[] = [];
      const loss = (own: Tensor) => {
        const up = x.matmul(a.astype("float32").transpose()).matmul(own.astype("float32").transpose());
        return x
          .matmul(w0.astype("float32").transpose())
          .add(up.mul(1.5 * factor))
          .sub(target)
          .square()
          .mean();
      };
      for (let i = 0; i < 8; i++) {
        const [value, g] = valueAndGrad(loss)(b);
        b = b
          .astype("float32")
          .sub(g.astype("float32").mul(0.5 / factor ** 2))
          .astype("bfloat16");
        losses.push(await value.item());
      }
      return { losses, b: Array.from(await b.data(), (value) => value * factor) };
    };
    const reference = await run(1);
    expect(reference.losses[7]).toBeLessThan(reference.losses[0]!);
    expect(await run(k)).toEqual(reference);
  });
});
