import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { helpersOf } from "../../src/backend/webgpu/helpers.ts";
import { generator } from "../../src/base/generator.ts";

import { erf } from "../../src/graph/special.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { tensor } from "../../src/tensor/creation.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { backends } from "../devices.ts";

// The functions of shaders/scalar.wgsl on the adapter, against float64: over all magnitudes, and at the edges.

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
const smallest = 2 ** -149;
const normal = 2 ** -126;
const largest = (2 - 2 ** -23) * 2 ** 127;

/** Distance in units in the last place of the float32 nearest to `expected`; subnormals count as one place each. */
function ulps(value: number, expected: number): number {
  const rounded = Math.fround(expected);
  if (Number.isNaN(expected) || Number.isNaN(value))
    return Number.isNaN(expected) && Number.isNaN(value) ? 0 : inf;
  if (!Number.isFinite(rounded) || !Number.isFinite(value)) {
    // Within a place of the overflow either side is right.
    return rounded === value || Math.min(Math.abs(value), Math.abs(rounded)) === largest ? 0 : inf;
  }
  const exponent = Math.floor(Math.log2(Math.max(Math.abs(rounded), normal)));
  return Math.abs(value - expected) / 2 ** (exponent - 23);
}

/** Numbers of every magnitude and both signs, where `keep` lets them through. */
function everywhere(count: number, keep: (x: number) => boolean, seed = 1): Float32Array {
  const random = generator(seed);
  const bits = new Uint32Array(count);
  const values = new Float32Array(bits.buffer);
  for (let i = 0; i < count; i++) {
    do bits[i] = Math.floor(random() * 2 ** 32);
    while (!Number.isFinite(values[i]!) || !keep(values[i]!));
  }
  return values;
}

function between(count: number, min: number, max: number, seed = 2): Float32Array {
  const random = generator(seed);
  return Float32Array.from({ length: count }, () => min + random() * (max - min));
}

interface Case {
  readonly name: string;
  readonly on: (x: Tensor<"float32">) => Tensor<"float32">;
  readonly reference: (x: number) => number;
  /** Largest error in units in the last place. */
  readonly ulp: number;
  readonly keep?: (x: number) => boolean;
  readonly ranges: readonly (readonly [min: number, max: number])[];
}

const cases: readonly Case[] = [
  {
    name: "exp",
    on: (x) => x.exp(),
    reference: Math.exp,
    ulp: 2,
    ranges: [
      [-110, 90],
      [-1, 1],
    ],
  },
  {
    name: "expm1",
    on: (x) => x.expm1(),
    reference: Math.expm1,
    ulp: 3,
    ranges: [
      [-20, 90],
      [-1, 1],
      [-1e-3, 1e-3],
    ],
  },
  {
    name: "log",
    on: (x) => x.log(),
    reference: Math.log,
    ulp: 2,
    ranges: [
      [0, 10],
      [0.5, 2],
      [0.99, 1.01],
    ],
  },
  {
    name: "log1p",
    on: (x) => x.log1p(),
    reference: Math.log1p,
    ulp: 3,
    ranges: [
      [-1, 10],
      [-0.5, 0.5],
      [-1e-3, 1e-3],
    ],
  },
  {
    name: "sin",
    on: (x) => x.sin(),
    reference: Math.sin,
    ulp: 3,
    ranges: [
      [-7, 7],
      [-110, 110],
      [-1e5, 1e5],
    ],
  },
  {
    name: "cos",
    on: (x) => x.cos(),
    reference: Math.cos,
    ulp: 3,
    ranges: [
      [-7, 7],
      [-110, 110],
      [-1e5, 1e5],
    ],
  },
  {
    name: "tanh",
    on: (x) => x.tanh(),
    reference: Math.tanh,
    ulp: 3,
    ranges: [
      [-10, 10],
      [-1, 1],
    ],
  },
  {
    name: "erf",
    on: (x) => x.erf(),
    reference: erf,
    ulp: 8,
    ranges: [
      [-6, 6],
      [-1, 1],
    ],
  },
  { name: "sqrt", on: (x) => x.sqrt(), reference: Math.sqrt, ulp: 0.5, ranges: [[0, 10]] },
];

const edges = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  inf,
  -inf,
  nan,
  smallest,
  -smallest,
  normal,
  -normal,
  largest,
  -largest,
];
const more = [
  2 ** 24,
  2 ** 24 + 2,
  -(2 ** 31),
  88.72284,
  88.7229,
  -87.3366,
  -103.9,
  -104,
  Math.fround(Math.PI),
  Math.fround(Math.PI / 2),
  Math.fround(12867.12),
  1e38,
];

const webgpu = (await backends()).includes("webgpu");

describe.runIf(webgpu)("on the adapter", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "webgpu" });
  });
  afterAll(() => device.dispose());

  test.each(cases)(
    "$name: every magnitude, and the edges",
    async ({ name, on, reference, ulp, keep = () => true, ranges }) => {
      const inputs = [
        everywhere(20_000, keep),
        ...ranges.map(([min, max]) => between(20_000, min, max)),
        Float32Array.of(...edges, ...more),
      ];
      const x = Float32Array.from(inputs.flatMap((part) => [...part]));
      const y = await on(tensor([...x])).data();
      let worst = { error: 0, x: 0, value: 0, expected: 0 };
      x.forEach((at, i) => {
        const expected = reference(at);
        const error = ulps(y[i]!, expected);
        if (!(error <= worst.error)) worst = { error, x: at, value: y[i]!, expected };
      });
      expect(worst.error, `${name}: ${JSON.stringify(worst)}`).toBeLessThanOrEqual(ulp);
    },
  );

  test.each([
    ["exp", (x: Tensor<"float32">) => x.exp(), Math.exp],
    ["expm1", (x: Tensor<"float32">) => x.expm1(), Math.expm1],
    ["sin", (x: Tensor<"float32">) => x.sin(), Math.sin],
    ["tanh", (x: Tensor<"float32">) => x.tanh(), Math.tanh],
    ["erf", (x: Tensor<"float32">) => x.erf(), erf],
    ["log1p", (x: Tensor<"float32">) => x.log1p(), Math.log1p],
  ] as const)("%s keeps the sign of zero", async (_, on, reference) => {
    const y = await on(tensor([0, -0])).data();
    expect([...y]).toEqual([reference(0), reference(-0)]);
  });

  test("pow: over the range of results", async () => {
    const count = 40_000;
    const bases = [...everywhere(count, (x) => x > 0), ...between(count, 0, 4)];
    const random = generator(5);
    // Exponents that keep the result within float32.
    const exponents = bases.map((x) =>
      Math.fround(((random() * 2 - 1) * 126) / Math.max(Math.abs(Math.log2(x)), 1e-3)),
    );
    const y = await tensor(bases).pow(tensor(exponents)).data();
    let worst = { error: 0, x: 0, exponent: 0, value: 0 };
    y.forEach((value, i) => {
      const error = ulps(value, bases[i]! ** exponents[i]!);
      if (!(error <= worst.error)) worst = { error, x: bases[i]!, exponent: exponents[i]!, value };
    });
    expect(worst.error, JSON.stringify(worst)).toBeLessThanOrEqual(16);
  });

  test("pow: small powers", async () => {
    const bases = [...between(5000, -100, 100)];
    for (const exponent of [1, 2, 3, -1, -2]) {
      const y = await tensor(bases)
        .pow(tensor(bases.map(() => exponent)))
        .data();
      const worst = Math.max(...bases.map((x, i) => ulps(y[i]!, x ** exponent)));
      expect(worst, `exponent ${exponent}`).toBeLessThanOrEqual(4);
    }
  });

  test("pow: the edges are JavaScript's, and 1 to any power is 1", async () => {
    const bases = edges.flatMap((x) => [...edges, 2, 3, -3, 2.5, -2].map(() => x));
    const exponents = edges.flatMap(() => [...edges, 2, 3, -3, 2.5, -2]);
    const y = await tensor(bases).pow(tensor(exponents)).data();
    y.forEach((value, i) => {
      const [x, exponent] = [bases[i]!, exponents[i]!];
      const expected = x === 1 || exponent === 0 ? 1 : x ** exponent;
      expect(ulps(value, expected), `${x} ** ${exponent} is ${value}`).toBeLessThanOrEqual(4);
      if (expected === 0) expect(value, `${x} ** ${exponent}`).toBe(expected);
    });
  });

  test("maximum, minimum: NaN from either side, and zeros by sign", async () => {
    const pairs = edges.flatMap((x) => edges.map((y) => [x, y] as const));
    const x = tensor(pairs.map(([a]) => a));
    const y = tensor(pairs.map(([, b]) => b));
    expect([...(await x.maximum(y).data())]).toEqual(pairs.map(([a, b]) => Math.max(a, b)));
    expect([...(await x.minimum(y).data())]).toEqual(pairs.map(([a, b]) => Math.min(a, b)));
  });

  test("isNaN, isFinite, and comparisons with NaN", async () => {
    const x = tensor(edges);
    const flags = async (of: Tensor) => [...(await of.data())].map(Boolean);
    expect(await flags(x.isNaN())).toEqual(edges.map(Number.isNaN));
    expect(await flags(x.isFinite())).toEqual(edges.map(Number.isFinite));
    expect(await flags(x.ne(x))).toEqual(edges.map(Number.isNaN));
    expect(await flags(x.ne(1))).toEqual(edges.map((value) => value !== 1));
    expect(await flags(x.astype("bool"))).toEqual(edges.map((value) => value !== 0));
  });

  test("literals of every kind reach the kernel as they are", async () => {
    const x = tensor([0]);
    for (const value of [...edges, ...more, 0.1, 1 / 3, 1e-45, 3e-39, 123456789, 16777217]) {
      const [bits] = new Uint32Array(Float32Array.of((await x.maskedFill(x.eq(0), value).data())[0]!).buffer);
      expect(bits, String(value)).toBe(new Uint32Array(Float32Array.of(value).buffer)[0]);
    }
    const whole = tensor([5], { dtype: "int32" });
    for (const value of [-(2 ** 31), 2 ** 31 - 1, -1])
      expect(await whole.minimum(value).maximum(value).data()).toEqual(Int32Array.of(value));
    const unsigned = tensor([5], { dtype: "uint32" });
    expect(await unsigned.maximum(2 ** 32 - 1).data()).toEqual(Uint32Array.of(2 ** 32 - 1));
  });

  test("products with a literal zero and quotients by one keep NaN and infinities", async () => {
    const x = tensor(edges);
    expect([...(await x.mul(0).data())]).toEqual(edges.map((value) => value * 0));
    expect([...(await x.mul(-0).data())]).toEqual(edges.map((value) => value * -0));
    expect([...(await x.div(0).data())]).toEqual(edges.map((value) => value / 0));
  });

  test("casts to integers truncate and saturate", async () => {
    const x = tensor([0, 0.9, -0.9, 1.5, -1.5, 16777216, -3, 1e10, -1e10, NaN]);
    const [most, least] = [2 ** 31 - 1, -(2 ** 31)];
    expect(await x.astype("int32").data()).toEqual(
      Int32Array.of(0, 0, 0, 1, -1, 16777216, -3, most, least, 0),
    );
    expect(await x.astype("uint32").data()).toEqual(
      Uint32Array.of(0, 0, 0, 1, 0, 16777216, 0, 2 ** 32 - 1, 0, 0),
    );
  });
});

test("a kernel contains the helpers it uses, and theirs", () => {
  expect(helpersOf(["let x = y;"])).toEqual([]);
  const namesIn = (code: string) => helpersOf([code]).flatMap((line) => /^fn (\w+)/.exec(line)?.[1] ?? []);
  expect(namesIn("lorantz_tanh(x)")).toEqual(["lorantz_isNaN", "lorantz_scale", "lorantz_tanh"]);
  // Those of the file, then operations that are made of others.
  expect(namesIn("lorantz_erfinv(x)")).toEqual([
    "lorantz_float",
    "lorantz_isNaN",
    "lorantz_erfinv",
    "lorantz_log",
  ]);
  expect(() => helpersOf(["lorantz_nonsense(x)"])).toThrow(
    "internal: there is no function lorantz_nonsense in WGSL",
  );
});
