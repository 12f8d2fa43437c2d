import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import * as lorantz from "../../src/index.ts";
import { init, type Tensor, tensor } from "../../src/index.ts";

// The array API standard, 2024.12: its list of functions, and special values that its text names.

const standard =
  "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros zeros_like " +
  "astype broadcast_arrays broadcast_to can_cast finfo iinfo isdtype result_type " +
  "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_invert bitwise_or " +
  "bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater " +
  "greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not " +
  "logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow real reciprocal remainder round " +
  "sign signbit sin sinh square sqrt subtract tan tanh trunc " +
  "take take_along_axis argmax argmin count_nonzero nonzero searchsorted where " +
  "unique_all unique_counts unique_inverse unique_values argsort sort " +
  "matmul matrix_transpose tensordot vecdot cholesky cross det diagonal eigh eigvalsh inv matrix_norm matrix_power " +
  "matrix_rank outer pinv qr slogdet solve svd svdvals trace vector_norm " +
  "concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack " +
  "cumulative_prod cumulative_sum max mean min prod std sum var all any diff";

describe("the page of the array API", () => {
  const page = readFileSync(new URL("../../docs/array-api.md", import.meta.url), "utf8");
  const rows = [...page.matchAll(/^\| ([a-z][^|]*) \| (.*) \|$/gm)]
    .map(([, names, ours]) => ({ names: names!.split(", "), ours: ours! }))
    .filter(({ names }) => names[0] !== "standard");

  test("names each function of the standard once", () => {
    expect(rows.flatMap(({ names }) => names).sort()).toEqual(standard.split(" ").sort());
  });

  test("names what is there", () => {
    const names = rows.flatMap(({ ours }) =>
      [...ours.matchAll(/`(?:await )?([a-zA-Z0-9.]+)/g)].map(([, name]) => name!),
    );
    const missing = names.filter((name) => {
      const [first, second] = name.split(".") as [string, string?];
      if (second === undefined) return !(first in lorantz);
      if (first === "x") return !(second in lorantz.Tensor.prototype);
      return !(second in (Reflect.get(lorantz, first) as object));
    });
    expect(missing.filter((name) => name !== "x.dtype")).toEqual([]);
    expect(names.length).toBeGreaterThan(100);
  });
});

const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN];
const { PI } = Math;
type Unary = readonly [
  name: string,
  f: (x: Tensor) => Tensor,
  from: readonly number[],
  to: readonly number[],
];
type Binary = readonly [
  name: string,
  f: (x: Tensor, y: Tensor) => Tensor,
  x: readonly number[],
  y: readonly number[],
  to: readonly number[],
];

const unary: readonly Unary[] = [
  ["abs", (x) => x.abs(), [-0, -inf, nan], [0, inf, nan]],
  ["acos", lorantz.acos, [1, 1.5, -1.5, nan], [0, nan, nan, nan]],
  ["acosh", lorantz.acosh, [1, 0.5, inf, nan], [0, nan, inf, nan]],
  ["asin", lorantz.asin, [0, -0, 1.5, -1.5, nan], [0, -0, nan, nan, nan]],
  ["asinh", lorantz.asinh, [0, -0, inf, -inf, nan], [0, -0, inf, -inf, nan]],
  ["atan", lorantz.atan, [0, -0, inf, -inf, nan], [0, -0, PI / 2, -PI / 2, nan]],
  ["atanh", lorantz.atanh, [0, -0, 1, -1, 2, -2, nan], [0, -0, inf, -inf, nan, nan, nan]],
  ["ceil", (x) => x.ceil(), [-0, inf, -inf, nan, -0.5], [-0, inf, -inf, nan, -0]],
  ["cos", (x) => x.cos(), [0, -0, inf, -inf, nan], [1, 1, nan, nan, nan]],
  ["cosh", lorantz.cosh, [0, -0, inf, -inf, nan], [1, 1, inf, inf, nan]],
  ["exp", (x) => x.exp(), [0, -0, inf, -inf, nan], [1, 1, inf, 0, nan]],
  ["expm1", (x) => x.expm1(), [0, -0, inf, -inf, nan], [0, -0, inf, -1, nan]],
  ["floor", (x) => x.floor(), [-0, inf, -inf, nan], [-0, inf, -inf, nan]],
  ["isfinite", (x) => x.isFinite(), [0, inf, -inf, nan], [1, 0, 0, 0]],
  ["isinf", lorantz.isInf, [0, inf, -inf, nan], [0, 1, 1, 0]],
  ["isnan", (x) => x.isNaN(), [0, inf, -inf, nan], [0, 0, 0, 1]],
  ["log", (x) => x.log(), [-1, 0, -0, 1, inf, nan], [nan, -inf, -inf, 0, inf, nan]],
  ["log1p", (x) => x.log1p(), [-2, -1, 0, -0, inf, nan], [nan, -inf, 0, -0, inf, nan]],
  ["log2", (x) => x.log2(), [-1, 0, -0, 1, inf, nan], [nan, -inf, -inf, 0, inf, nan]],
  ["log10", lorantz.log10, [-1, 0, -0, 1, inf, nan], [nan, -inf, -inf, 0, inf, nan]],
  ["reciprocal", (x) => x.reciprocal(), [0, inf, -inf, nan], [inf, 0, -0, nan]],
  ["round", (x) => x.round(), [0.5, 1.5, 2.5, -0.5, -0, inf, nan], [0, 2, 2, -0, -0, inf, nan]],
  ["sign", (x) => x.sign(), [-3, 3, 0, nan], [-1, 1, 0, 0]], // of NaN as PyTorch; the standard says NaN
  ["sin", (x) => x.sin(), [0, -0, inf, -inf, nan], [0, -0, nan, nan, nan]],
  ["sinh", lorantz.sinh, [0, inf, -inf, nan], [0, inf, -inf, nan]],
  ["sqrt", (x) => x.sqrt(), [-1, 0, -0, inf, nan], [nan, 0, -0, inf, nan]],
  ["square", (x) => x.square(), [-inf, nan], [inf, nan]],
  ["tan", lorantz.tan, [0, -0, inf, -inf, nan], [0, -0, nan, nan, nan]],
  ["tanh", (x) => x.tanh(), [0, -0, inf, -inf, nan], [0, -0, 1, -1, nan]],
  ["trunc", lorantz.trunc, [0, -0, 0.5, -0.5, inf, -inf, nan], [0, -0, 0, -0, inf, -inf, nan]],
];

const binary: readonly Binary[] = [
  ["add", (x, y) => x.add(y), [inf, inf, -0, -0, nan], [-inf, inf, -0, 0, 1], [nan, inf, -0, 0, nan]],
  [
    "atan2",
    lorantz.atan2,
    [0, -0, 0, -0, 1, -1, inf, inf, -inf, -inf, 1, 1, nan],
    [1, 1, -1, -1, 0, 0, inf, -inf, inf, -inf, inf, -inf, 1],
    [0, -0, PI, -PI, PI / 2, -PI / 2, PI / 4, (3 * PI) / 4, -PI / 4, (-3 * PI) / 4, 0, PI, nan],
  ],
  [
    "divide",
    (x, y) => x.div(y),
    [0, 1, -1, inf, 1, -1],
    [0, 0, 0, inf, inf, inf],
    [nan, inf, -inf, nan, 0, -0],
  ],
  ["floor_divide", lorantz.floorDivide, [7, -7, 7, 0], [2, 2, -2, 0], [3, -4, -4, nan]],
  ["hypot", lorantz.hypot, [inf, nan, nan, 0, -3], [nan, -inf, 1, -0, 4], [inf, inf, nan, 0, 5]],
  [
    "logaddexp",
    lorantz.logaddexp,
    [nan, inf, -inf, inf, 0, 1000],
    [1, -inf, -inf, inf, 0, 1000],
    [nan, inf, -inf, inf, Math.LN2, 1000 + Math.LN2],
  ],
  ["maximum", (x, y) => x.maximum(y), [nan, 1, inf], [1, nan, 2], [nan, nan, inf]],
  ["minimum", (x, y) => x.minimum(y), [nan, 1, -inf], [1, nan, 2], [nan, nan, -inf]],
  ["multiply", (x, y) => x.mul(y), [inf, -inf, inf, -1], [0, 0, -2, 0], [nan, nan, -inf, -0]],
  [
    "pow",
    (x, y) => x.pow(y),
    [nan, 2, 0.5, -1, -1, 2, 0.5, 0, -0, -8, -2, inf, -inf, -inf, 1],
    [0, inf, inf, inf, -inf, -inf, -inf, -1, -1, 1 / 3, 3, -2, 3, 2, nan],
    [1, inf, 0, 1, 1, 0, inf, inf, -inf, nan, -8, 0, -inf, inf, 1],
  ],
  [
    "remainder",
    lorantz.remainder,
    [inf, 1, 5, 5, -5, 7, -7],
    [1, 0, inf, -inf, inf, -3, 3],
    [nan, nan, 5, -inf, inf, -2, 2],
  ],
  ["subtract", (x, y) => x.sub(y), [inf, -inf, 1], [inf, -inf, inf], [nan, nan, -inf]],
];

describe("special values", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
  });
  const close = (values: ArrayLike<number>, wanted: readonly number[]) => {
    expect(values.length).toBe(wanted.length);
    for (const [i, expected] of wanted.entries()) {
      const rounded = Math.fround(expected);
      if (Object.is(Math.fround(values[i]!), rounded)) continue;
      expect(Number.isFinite(rounded) && rounded !== 0, `number ${i}: ${values[i]} for ${rounded}`).toBe(
        true,
      );
      expect(Math.abs(values[i]! / rounded - 1)).toBeLessThan(1e-6);
    }
  };

  test.each(unary)("%s", async (_, f, from, to) => {
    close(Array.from(await f(tensor([...from])).data(), Number), to);
  });

  test.each(binary)("%s", async (_, f, x, y, to) => {
    close(Array.from(await f(tensor([...x]), tensor([...y])).data(), Number), to);
  });

  test("of nothing, and of what is no number", async () => {
    const none = lorantz.zeros([0]);
    expect(await none.sum().item()).toBe(0);
    expect(await none.prod().item()).toBe(1);
    expect(await none.mean().item()).toBeNaN();
    expect(await lorantz.any(none).item()).toBe(0);
    expect(await lorantz.all(none).item()).toBe(1);
    expect(() => none.amax()).toThrow();
    const some = tensor([1, nan, 3]);
    expect(await some.amax().item()).toBeNaN();
    expect(await some.amin().item()).toBeNaN();
    expect(await some.cumsum(0).toArray()).toEqual([1, nan, nan]);
    expect(await lorantz.countNonzero(tensor([0, -0, nan, 2])).item()).toBe(2);
  });
});

describe("functions of the standard that no other page has", () => {
  beforeAll(async () => {
    await init({ backend: "cpu" });
  });

  test("axes elsewhere, and parts along one", async () => {
    const x = lorantz.arange(24).reshape([2, 3, 4]);
    expect(lorantz.moveaxis(x, 0, -1).shape).toEqual([3, 4, 2]);
    expect(lorantz.moveaxis(x, [0, 1], [2, 0]).shape).toEqual([3, 4, 2]);
    expect(await lorantz.moveaxis(x, 2, 0).toArray()).toEqual(await x.permute([2, 0, 1]).toArray());
    expect(() => lorantz.moveaxis(x, [0, 0], [1, 2])).toThrow(/twice/);
    expect(() => lorantz.moveaxis(x, [0, 1], 2)).toThrow(/one for each/);
    const parts = lorantz.unstack(x, 1);
    expect(parts.map((part) => part.shape)).toEqual([
      [2, 4],
      [2, 4],
      [2, 4],
    ]);
    expect(await lorantz.stack(parts, 1).toArray()).toEqual(await x.toArray());
  });

  test("matrices", async () => {
    const { linalg } = lorantz;
    const a = tensor([
      [2, 1],
      [1, 3],
    ]);
    expect(await linalg.trace(a).item()).toBe(5);
    expect(await linalg.matrixPower(a, 5).toArray()).toEqual([
      [175, 275],
      [275, 450],
    ]);
    expect(await linalg.matrixPower(a, 0).toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    const inverse = (await linalg.matrixPower(a, -1).toArray()) as number[][];
    expect(inverse[0]![0]).toBeCloseTo(0.6, 6);
    expect(
      await linalg
        .matrixRank(
          tensor([
            [
              [1, 2],
              [2, 4],
            ],
            [
              [1, 0],
              [0, 1],
            ],
          ]),
        )
        .toArray(),
    ).toEqual([1, 2]);
    expect(await linalg.eigvalsh(a).toArray()).toEqual(await linalg.eigh(a).w.toArray());
    expect(await linalg.svdvals(a).toArray()).toEqual(await linalg.svd(a).s.toArray());
    expect(
      await linalg
        .cross(
          tensor([1, 0, 0]),
          tensor([
            [0, 1, 0],
            [0, 0, 1],
          ]),
        )
        .toArray(),
    ).toEqual([
      [0, 0, 1],
      [0, -1, 0],
    ]);
    expect(() => linalg.cross(a, a)).toThrow(/three/);
    expect(() => linalg.matrixPower(a, 0.5)).toThrow(/integer/);
  });

  test("the gradient of a sum of exponentials is the share of each", async () => {
    const g = lorantz.grad((x: Tensor) => lorantz.logaddexp(x, tensor([0, 0, 5])).sum())(tensor([0, 2, 5]));
    const [a, b, c] = (await g.toArray()) as number[];
    expect([a, c]).toEqual([0.5, 0.5]);
    expect(b).toBeCloseTo(1 / (1 + Math.exp(-2)), 6);
  });
});
