import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { referenceValues } from "../../src/experiments/reference.ts";
import { threefry } from "../../src/graph/threefry.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { compile } from "../../src/tensor/compile.ts";
import { scalar, tensor } from "../../src/tensor/creation.ts";
import {
  bernoulli,
  bits,
  choice,
  gumbel,
  type Key,
  key,
  normal,
  randint,
  uniform,
} from "../../src/tensor/random.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { backends } from "../devices.ts";

const available = await backends();

test("Threefry-2x32-20 gives the known answers", async () => {
  // Salmon et al. 2011, Random123's kat_vectors: key, counter, result.
  const vectors = [
    [
      [0, 0],
      [0, 0],
      [0x6b200159, 0x99ba4efe],
    ],
    [
      [0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x1cb996fc, 0xbb002be7],
    ],
    [
      [0x13198a2e, 0x03707344],
      [0x243f6a88, 0x85a308d3],
      [0xc4923a9c, 0x483df7a0],
    ],
  ] as const;
  const word = (value: number) => tensor([value], { dtype: "uint32" }).node;
  for (const [keyWords, counter, expected] of vectors) {
    const result = threefry([word(keyWords[0]), word(keyWords[1])], [word(counter[0]), word(counter[1])]);
    const values = await referenceValues(result.map((node) => new Tensor(node)));
    expect(values.map(([value]) => value)).toEqual([...expected]);
  }
});

describe.each(available)("on %s", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: name });
  });
  afterAll(() => device.dispose());

  const root = key(42).fold("test");
  const shape = [40, 25];
  const draws: Readonly<Record<string, () => Tensor>> = {
    bits: () => bits(root, shape),
    uniform: () => uniform(root, shape),
    "uniform on a range": () => uniform(root, shape, { min: -0.25, max: 0.25 }),
    normal: () => normal(root, shape),
    gumbel: () => gumbel(root, shape),
    bernoulli: () => bernoulli(root, 0.25, shape),
    "bits of a numbered step": () => bits(root.fold(scalar(7)), shape),
  };
  test.each(Object.keys(draws))("%s are the evaluator's, bit for bit", async (draw) => {
    const x = draws[draw]!();
    const [expected] = await referenceValues([x]);
    expect([...(await x.data())]).toEqual(
      [...expected!].map(Math.fround).map((v, i) => (x.dtype === "uint32" ? expected![i]! : v)),
    );
  });

  test("a step that is a number of the host draws what a literal draws", async () => {
    const [a, b] = await tree.evaluate([bits(root.fold(7), [8]), bits(root.fold(scalar(7)), [8])]);
    expect([...(await a!.data())]).toEqual([...(await b!.data())]);
  });

  test("keys are arguments of compiled functions, and draw what they draw outside", async () => {
    const f = (first: Key, { of: [second] }: { readonly of: readonly [Key] }, x: Tensor) =>
      normal(first.fold("noise"), [4])
        .add(uniform(second, [4]))
        .mul(x);
    const step = compile(f, { donate: [0, 1] });
    const place = tensor(5, { dtype: "int32" });
    const pairs = [
      [key(0), key(1).fold(7)],
      [key(2 ** 32 - 1).fold("a"), key(0)],
      [key(3).fold(place), key(4)],
      [key(5).fold(place), key(6)],
    ] as const;
    for (const [first, second] of pairs) {
      const args = [first, { of: [second] }, tensor([1])] as const;
      const inside = await step(...args);
      expect(await inside.toArray()).toEqual(await f(...args).toArray());
    }
    expect(step.traces).toBe(2); // what the host knows, and what it does not
  });

  test("other seeds, names and steps draw other numbers", async () => {
    const keys = [
      key(1),
      key(2),
      key(1).fold("a"),
      key(1).fold("b"),
      key(1).fold(0),
      key(1).fold(1),
      key(1).fold("1"),
      key(1).fold("a").fold("b"),
      key(1).fold("b").fold("a"),
    ];
    const drawn = await tree.evaluate(keys.map((one) => bits(one, [4])));
    const texts = await Promise.all(drawn.map(async (x) => (await x.data()).join()));
    expect(new Set(texts).size).toBe(keys.length);
  });

  test("an element depends on its place alone, not on the shape", async () => {
    const [short, long] = await tree.evaluate([normal(root, [10]), normal(root, [5, 20])]);
    expect([...(await short!.data())]).toEqual([...(await long!.data())].slice(0, 10));
  });

  test("gumbel numbers are within their bound of -log(-log u)", async () => {
    const [drawn, words] = await tree.evaluate([gumbel(root, [4000]), bits(root, [4000])]);
    const [values, random] = [await drawn!.data(), await words!.data()];
    values.forEach((g, i) => {
      // The lower 31 bits are the tail probability, the highest says which tail.
      const p = ((random[i]! % 2 ** 31) + 0.5) / 2 ** 32;
      const u = random[i]! < 2 ** 31 ? 1 - p : p;
      expect(Math.abs(g - -Math.log(-Math.log(u)))).toBeLessThan(1e-5 + 2e-6 * Math.abs(g));
    });
  });

  test("bits are balanced, and streams of neighbouring keys are independent", async () => {
    const n = 20_000;
    const [a, b] = await tree.evaluate([
      bits(key(1).fold("x").fold(0), [n]),
      bits(key(1).fold("x").fold(1), [n]),
    ]);
    const [x, y] = [await a!.data(), await b!.data()];
    for (let bit = 0; bit < 32; bit++) {
      let [set, agree] = [0, 0];
      for (let i = 0; i < n; i++) {
        set += (x[i]! >>> bit) & 1;
        agree += (((x[i]! ^ y[i]!) >>> bit) & 1) === 0 ? 1 : 0;
      }
      // Five standard deviations of a fair coin.
      expect(Math.abs(set - n / 2)).toBeLessThan(5 * Math.sqrt(n / 4));
      expect(Math.abs(agree - n / 2)).toBeLessThan(5 * Math.sqrt(n / 4));
    }
  });

  test("normal numbers have the moments and quantiles of the normal distribution", async () => {
    const n = 200_000;
    const values = Float64Array.from(await normal(key(3).fold("moments"), [n]).data()).sort();
    const moment = (power: number) => values.reduce((sum, z) => sum + z ** power, 0) / n;
    // Five standard errors: the variances of z, z^2, z^3, z^4 are 1, 2, 15, 96.
    const within = (value: number, expected: number, variance: number) =>
      expect(Math.abs(value - expected)).toBeLessThan(5 * Math.sqrt(variance / n));
    within(moment(1), 0, 1);
    within(moment(2), 1, 2);
    within(moment(3), 0, 15);
    within(moment(4), 3, 96);
    const quantiles = [
      [0.5, 0],
      [0.8413447460685429, 1],
      [0.15865525393145707, -1],
      [0.9772498680518208, 2],
      [0.9986501019683699, 3],
    ] as const;
    for (const [p, z] of quantiles) {
      const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
      within(values[Math.floor(p * n)]!, z, (p * (1 - p)) / density ** 2);
    }
    expect(Math.abs(values[0]!)).toBeGreaterThan(4);
    expect(Math.abs(values[0]!)).toBeLessThan(6.3);
  });

  test("mean, std and probability are honoured", async () => {
    const n = 50_000;
    const [z, coin] = await tree.evaluate([
      normal(root, [n], { mean: 3, std: 0.5 }).mean(),
      bernoulli(root, 0.1, [n]).astype("float32").mean(),
    ]);
    expect(Math.abs((await z!.item()) - 3)).toBeLessThan((5 * 0.5) / Math.sqrt(n));
    expect(Math.abs((await coin!.item()) - 0.1)).toBeLessThan(5 * Math.sqrt(0.09 / n));
  });

  test("uniform numbers stay inside their range", async () => {
    const x = await uniform(root, [10_000], { min: -2, max: 3 }).data();
    expect(Math.min(...x)).toBeGreaterThanOrEqual(-2);
    expect(Math.max(...x)).toBeLessThan(3);
  });
});

test("draws of a shape that is none say so", () => {
  const draws: readonly ((shape: never) => unknown)[] = [
    (shape) => bits(key(0), shape),
    (shape) => bernoulli(key(0), 0.5, shape),
    (shape) => normal(key(0), shape),
    (shape) => choice(key(0), 3, shape),
    (shape) => choice(key(0), tensor([1, 2]), shape, { replace: false }),
    (shape) => randint(key(0), shape, { max: 3 }),
  ];
  for (const shape of [null, undefined, 2, "2", [1.5], [-1], {}])
    for (const draw of draws) expect(() => draw(shape as never)).toThrow(/^random\.\w+: (the )?shape/);
});

test("bad seeds, names and probabilities say so", () => {
  expect(() => key(-1)).toThrow(/^random.key: seed -1 is not an integer/);
  expect(() => key(0.5)).toThrow(/^random.key: seed 0.5/);
  expect(() => key(0).fold(-1)).toThrow(/^fold: -1 is not an integer/);
  expect(() => bernoulli(key(0), 1.5, [2])).toThrow(/^random.bernoulli: p is 1.5/);
});
