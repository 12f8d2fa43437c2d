import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { referenceValues } from "../../src/experiments/reference.ts";
import {
  compile,
  type DeviceDType,
  grad,
  init,
  random,
  type Tensor,
  tensor,
  topk,
  vmap,
} from "../../src/index.ts";
import { describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";
import { runs } from "../thorough.ts";

// The largest values and where they are; draws from distributions given by logits.

/** Positions in falling order of values, NaN first, equal ones as they stand. */
function sorted(values: readonly number[]): number[] {
  const before = (a: number, b: number) => (Number.isNaN(a) ? !Number.isNaN(b) : a > b);
  const places = values.map((_, i) => i);
  return places.sort((i, j) =>
    before(values[i]!, values[j]!) ? -1 : before(values[j]!, values[i]!) ? 1 : i - j,
  );
}

describeBackends("topk", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  const specials = [0, -0, Number.NaN, Infinity, -Infinity, 1, 1, -1, 0.5, 3, -2.5];
  const dtypes: readonly DeviceDType[] = [
    "float32",
    "int32",
    "uint32",
    "bool",
    ...(backend === "cpu" ? (["float16", "float64"] as const) : []),
  ];

  test.each(dtypes)("of %s is that of sorting, ties and specials in order", async (dtype) => {
    const element = fc.constantFrom(...specials, -(2 ** 31), 2 ** 31 - 1);
    const drawn = fc.record({
      rows: fc.integer({ min: 1, max: 3 }),
      length: fc.constantFrom(1, 2, 5, 130, 200, 257),
      k: fc.nat(8),
      pool: fc.array(element, { minLength: 1, maxLength: 12 }),
    });
    await fc.assert(
      fc.asyncProperty(drawn, async ({ rows, length, k, pool }) => {
        const count = Math.min(k, length);
        const data = Float64Array.from(
          { length: rows * length },
          (_, i) => pool[(i * i + 3 * i) % pool.length]!,
        );
        const x = (
          tensor(data, { shape: [rows, length], dtype: backend === "cpu" ? "float64" : "float32" }) as Tensor
        ).astype(dtype) as Tensor;
        const held = [...(await x.data())];
        const { values, indices } = topk(x, count);
        const expected = Array.from({ length: rows }, (_, r) =>
          sorted(held.slice(r * length, (r + 1) * length)).slice(0, count),
        );
        expect([...(await indices.data())]).toEqual(expected.flat());
        expect([...(await values.data())]).toEqual(
          expected.flatMap((places, r) => places.map((at) => held[r * length + at])),
        );
      }),
      { numRuns: runs(backend === "cpu" ? 25 : 6), seed: 2 },
    );
  });

  longOn(backend)("along any axis, with a gradient, and mapped", async () => {
    const x = random.normal(random.key(0), [4, 150, 3]);
    const { values, indices } = topk(x, 5, 1);
    expect([values.shape, indices.shape]).toEqual([
      [4, 5, 3],
      [4, 5, 3],
    ]);
    const turned = topk(x.transpose(1, 2), 5);
    expect(await values.data()).toEqual(await turned.values.transpose(1, 2).data());
    const g = await grad((x: Tensor) => topk(x, 5, 1).values.square().sum())(x).data();
    const [kept, all] = [new Set(await values.data()), await x.data()];
    expect([...g]).toEqual([...all].map((v) => (kept.has(v) ? 2 * v : 0)));
    const mapped = vmap((x: Tensor) => topk(x, 5, 0).indices)(x);
    expect(await mapped.data()).toEqual(await indices.data());
  });

  test.each([1000, 4321])("of rows of %i in any order, as the evaluator has it", async (length) => {
    const rows: readonly ((i: number) => number)[] = [
      (i) => i,
      (i) => -i,
      () => 1,
      (i) => i % 3,
      (i) => (i * 389) % length,
      (i) => (i % 2 === 0 ? 2 ** 127 : -(2 ** 127)) * (i / length),
      (i) => (i % 100 === 7 ? Number.NaN : -(i % 10)),
    ];
    const data = rows.map((row) => Array.from({ length }, (_, i) => row(i)));
    for (const largest of [true, false])
      for (const k of length > 1000 ? [50, 256] : [1, 2, 50, 62, 63, 1000]) {
        const { indices } = topk(tensor(data), k, 1, { largest });
        const rank = (row: readonly number[]) =>
          largest ? row : row.map((v) => (Number.isNaN(v) ? -Infinity : -v));
        const wanted = data.flatMap((row) => sorted(rank(row)).slice(0, k));
        expect([...(await indices.data())]).toEqual(wanted);
        if (k === 50) expect([...(await referenceValues([indices]))[0]!]).toEqual(wanted);
      }
  });

  test("of a vocabulary", async () => {
    const x = random.normal(random.key(1), [2, 50_000]);
    const found = await compile((x: Tensor) => topk(x, 64))(x);
    const all = await x.data();
    for (const row of [0, 1]) {
      const own = sorted([...all.slice(row * 50_000, (row + 1) * 50_000)]).slice(0, 64);
      expect([...(await found.indices.data())].slice(row * 64, (row + 1) * 64)).toEqual(own);
    }
  });

  test("draws follow the softmax of their logits", async () => {
    const p = [0.5, 0.25, 0.125, 0.125, 0];
    const n = 40_000;
    const logits = tensor(p.map(Math.log)).expand([n, 5]);
    const draws = await random.categorical(random.key(3), logits).data();
    const counts = p.map((_, i) => draws.filter((d) => d === i).length);
    p.forEach((share, i) => {
      expect(Math.abs(counts[i]! - n * share)).toBeLessThanOrEqual(5 * Math.sqrt(n * share * (1 - share)));
    });
    // Gumbel: mean is Euler's constant, variance pi^2 / 6.
    const g = await random.gumbel(random.key(4), [n]).data();
    const mean = g.reduce((sum, v) => sum + v, 0) / n;
    expect(Math.abs(mean - 0.5772156649)).toBeLessThan(5 * Math.sqrt(Math.PI ** 2 / 6 / n));
    const variance = g.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    expect(Math.abs(variance - Math.PI ** 2 / 6)).toBeLessThan(0.1);
  });

  test("wrong arguments are refused", () => {
    expect(() => topk(tensor([1, 2]), 3)).toThrow("topk: k is 3; it is an integer from 0 to 2.");
    expect(() => topk(tensor([1, 2]), 1.5)).toThrow("topk: k is 1.5");
    expect(() => random.categorical(random.key(0), tensor([1], { dtype: "int32" }))).toThrow(
      "they are floats",
    );
    expect(() => random.categorical(random.key(0), tensor(1))).toThrow("classes along their last axis");
  });
});
