import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type FloatDType, floatRange, isNarrow } from "../../src/base/dtype.ts";
import { type FloatRange, narrowFloat } from "../../src/base/narrow.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import { cat, type Device, init, tensor, tree } from "../../src/index.ts";
import { fromFile, toFile } from "../../src/io/stored.ts";
import { describeBackends } from "../devices.ts";
import { expectProducts, uniformValues } from "../narrow.ts";

// A dtype is a row: rows of floats that the package does not have, with other fields in other places, work on every
// backend by their rows alone.

const ranges = {
  fp8e5m2: { digits: 3, least: -14, most: 15 },
  fp8e4m3: { digits: 4, least: -6, most: 7 },
  fp14e5m8: { digits: 9, least: -14, most: 15 },
  fp14e8m5: { digits: 6, least: -126, most: 127 },
  fp16e7m8: { digits: 9, least: -62, most: 63 },
} as const;

vi.mock("../../src/base/dtype-rows.ts", async (original) => {
  const { rows } = await original<typeof import("../../src/base/dtype-rows.ts")>();
  const { narrowFloat } = await import("../../src/base/narrow.ts");
  const added = Object.entries({
    fp8e5m2: { digits: 3, least: -14, most: 15 },
    fp8e4m3: { digits: 4, least: -6, most: 7 },
    fp14e5m8: { digits: 9, least: -14, most: 15 },
    fp14e8m5: { digits: 6, least: -126, most: 127 },
    fp16e7m8: { digits: 9, least: -62, most: 63 },
  }).map(([name, range]) => [
    name,
    {
      ...rows.float16,
      range,
      ...narrowFloat(range),
      letter: "f",
      file: name === "fp8e5m2" ? "F8_E5M2" : name.toUpperCase(),
    },
  ]);
  return { rows: { ...rows, ...Object.fromEntries(added) } };
});

const widths = { fp8e5m2: 8, fp8e4m3: 8, fp14e5m8: 14, fp14e8m5: 14, fp16e7m8: 16 };
const names = Object.keys(ranges) as (keyof typeof ranges)[];

/** All numbers of a format but NaN, by the definition of its bits. */
function numbersOf({ digits, least, most }: FloatRange, width: number): number[] {
  const half = 2 ** (width - 1);
  return Array.from({ length: 2 * half }, (_, bits) => {
    const [size, sign] = [bits % half, bits < half ? 1 : -1];
    const [exponent, fraction] = [
      Math.floor(size / 2 ** (digits - 1)),
      (size % 2 ** (digits - 1)) * 2 ** (1 - digits),
    ];
    if (exponent > most - least + 1) return fraction > 0 ? Number.NaN : sign * Infinity;
    return sign * (exponent > 0 ? (1 + fraction) * 2 ** (exponent - 1 + least) : fraction * 2 ** least);
  });
}

/** Numbers, those halfway between neighbours, and those just beside these; beyond the largest too. */
function between(numbers: readonly number[], { most }: FloatRange): number[] {
  const finite = numbers.filter((x) => Number.isFinite(x) && x >= 0);
  const ends = [...finite.slice(1), 2 ** (most + 1)];
  const middles = finite.map((x, i) => (x + ends[i]!) / 2);
  const near = middles.flatMap((x) => [x * (1 - 2 ** -22), x, x * (1 + 2 ** -22)].map(Math.fround));
  return [...finite, ...near, Math.fround(2 ** Math.min(most + 2, 127)), Infinity].flatMap((x) => [x, -x]);
}

describe.each(names)("%s on the host", (name) => {
  const { round, store, storeAll, load } = narrowFloat(ranges[name]);
  const numbers = numbersOf(ranges[name], widths[name]);

  test("many numbers have the bits that each has", () => {
    const all = [
      ...numbers,
      ...between(numbers, ranges[name]),
      Number.NaN,
      -Number.NaN,
      2 ** -149,
      -(2 ** -149),
    ];
    const floats = Float32Array.from([...all, ...all.map((x) => x * (1 + 2 ** -23))]);
    new Uint32Array(floats.buffer)[0] = 0xffc12345; // a NaN with a sign and bits of its own
    for (const values of [floats, Float64Array.from(floats)])
      expect([...storeAll(values)]).toEqual(Array.from(floats, store));
  });

  test("bits are the number and the number the bits", () => {
    expect(numbers.filter((x, bits) => !Object.is(load(bits), x))).toEqual([]);
    const back = numbers.map((x, bits) => (Number.isNaN(x) ? store(Number.NaN) : bits));
    expect(numbers.map(store)).toEqual(back);
    expect(load(store(Number.NaN))).toBeNaN();
  });

  test("rounds to the nearest, ties to even", () => {
    const sorted = numbers.filter((x) => Number.isFinite(x) && !Object.is(x, -0) && x >= 0);
    const after = [...sorted.slice(1), 2 ** (ranges[name].most + 1)];
    const wrong = sorted.filter((low, i) => {
      const high = after[i]!;
      const last = i === sorted.length - 1;
      const even = i % 2 === 0 ? low : last ? Infinity : high;
      const middle = (low + high) / 2;
      return round(middle) !== even || round(-middle) !== -even || round(middle * (1 - 2 ** -30)) !== low;
    });
    expect(wrong).toEqual([]);
  });
});

test("a float of eight bits is a byte in a file", () => {
  const dtype = "fp8e5m2" as FloatDType;
  const bits = Uint16Array.from({ length: 256 }, (_, bits) => bits).filter((bits) => (bits & 127) <= 124); // no NaN
  const bytes = toFile("F8_E5M2", bits, dtype);
  expect([...bytes]).toEqual([...bits]);
  expect(fromFile("x", "F8_E5M2", bytes, [bits.length], dtype)).toEqual(bits);
  const { load } = narrowFloat(ranges.fp8e5m2);
  expect([...fromFile("x", "F8_E5M2", bytes, [bits.length], "float32")]).toEqual(Array.from(bits, load));
});

test("a range that no layout of 16 bits has is refused", () => {
  for (const range of [
    { digits: 9, least: -126, most: 127 }, // 17 bits
    { digits: 4, least: -6, most: 8 }, // without infinity, as fp8 e4m3fn
    { digits: 1, least: -6, most: 7 }, // no room for NaN
  ])
    expect(() => narrowFloat(range)).toThrow("cannot be stored");
});

describeBackends("other narrow floats", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  describe.each(names)("%s", (name) => {
    const dtype = name as unknown as FloatDType; // of the rows that are added above
    const { round } = narrowFloat(ranges[name]);
    const numbers = numbersOf(ranges[name], widths[name]);
    // WGSL promises no subnormal float32.
    const isCertain = (x: number) => backend === "cpu" || x === 0 || Math.abs(x) >= 2 ** -126;
    const values = (shape: readonly number[], seed = 1) => uniformValues(shape, dtype, seed);

    test("is a row", () => {
      expect(isNarrow(dtype)).toBe(true);
      expect(floatRange(dtype)).toEqual(ranges[name]);
    });

    test("every number goes there and back, and is widened", async () => {
      const sure = numbers.filter((x) => !Number.isNaN(x) && isCertain(x));
      const x = tensor(sure, { dtype });
      const results = [x.flip(0), x.astype("float32"), x.slice([1]).astype("float32")];
      await tree.evaluate(results, device);
      const [moved, wide, odd] = await Promise.all(results.map((result) => result.data()));
      expect(sure.filter((value, i) => !Object.is(moved![sure.length - 1 - i], value))).toEqual([]);
      expect(sure.filter((value, i) => !Object.is(wide![i], value))).toEqual([]);
      expect(sure.filter((value, i) => i > 0 && !Object.is(odd![i - 1], value))).toEqual([]);
    });

    test("float32 is rounded to the nearest, ties to even", async () => {
      const given = between(numbers, ranges[name]).filter(isCertain);
      for (const to of [dtype, "float32"] as const) {
        const found = await tensor(given).astype(dtype).astype(to).data();
        const wrong = given.filter((x, i) => isCertain(round(x)) && !Object.is(found[i], round(x)));
        expect(wrong.slice(0, 5)).toEqual([]);
      }
      const [nan] = await tensor([Number.NaN, 1]).astype(dtype).astype("float32").data();
      if (backend === "cpu") expect(nan).toBeNaN();
    });

    test("what shares a word is not disturbed, and products are those of float32", async () => {
      const x = values([3, 7]);
      const moved = [
        x.mul(2),
        x.transpose().add(values([7, 3], 2)),
        x.at(1, 0).set(0.5),
        cat([x, values([1, 7], 3)], 0),
      ];
      const expected = await referenceValues(moved);
      await tree.evaluate(moved, device);
      for (const [i, result] of moved.entries()) {
        expect(result.dtype).toBe(dtype);
        expect([...(await result.data())]).toEqual(Array.from(expected[i]!, round));
      }
      const [a, b] = [values([8, 64]), values([64, 16], 2)];
      const products = [
        a.astype("float32").matmul(b.astype("float32")),
        values([1, 64], 3).astype("float32").matmul(b.astype("float32")),
      ];
      const exact = await referenceValues(products);
      await expectProducts(products, exact, 64, () => 0);
    });
  });
});
