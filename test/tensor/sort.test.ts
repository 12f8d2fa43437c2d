import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { referenceValues } from "../../src/experiments/reference.ts";
import { type Procedure, written } from "../../src/graph/procedure.ts";
import { runProcedure, scatterAdd } from "../../src/graph/reduce.ts";
import {
  argsort,
  cat,
  compile,
  type Device,
  grad,
  hessian,
  init,
  median,
  quantile,
  random,
  sort,
  Tensor,
  tensor,
  topk,
  unique,
  vmap,
  zeros,
} from "../../src/index.ts";
import { describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";
import { cases, casesOn, runs } from "../thorough.ts";

/** The stable order of numbers, NaN as the largest. */
function orderOf(values: ArrayLike<number>, descending = false): number[] {
  const rank = (x: number, y: number) =>
    Number.isNaN(x) || Number.isNaN(y)
      ? Number(Number.isNaN(x)) - Number(Number.isNaN(y))
      : x < y
        ? -1
        : Number(x > y);
  return Array.from(values, (_, i) => i).sort(
    (i, j) => (descending ? -1 : 1) * rank(values[i]!, values[j]!) || i - j,
  );
}

describeBackends("sort", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test.each(casesOn(backend, [200, 4500], [3, 1, 2, 31, 33, 1000]))("rows of %i", async (length) => {
    const x = random.normal(random.key(length), [3, length]).mul(4).round(); // many ties, both zeros
    const special = tensor([Number.NaN, Infinity, -Infinity, -0, 0, Number.NaN, 3e38, -1e-30]).slice(
      [0],
      [Math.min(length, 8)],
    );
    const rows = x.at([0, 1], [0, Math.min(length, 8)]).set(special);
    const values = await rows.data();
    for (const descending of [false, true]) {
      const { values: sorted, indices } = sort(rows, { descending });
      const [got, at] = [await sorted.data(), await indices.data()];
      for (let row = 0; row < 3; row++) {
        const own = values.slice(row * length, (row + 1) * length);
        const wanted = orderOf(own, descending);
        expect([...at.slice(row * length, (row + 1) * length)]).toEqual(wanted);
        expect([...got.slice(row * length, (row + 1) * length)]).toEqual(wanted.map((i) => own[i]));
      }
      if (length <= 33) expect(at).toEqual(Int32Array.from((await referenceValues([indices]))[0]!));
    }
  });

  const arrays = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array };
  const specials = [
    Number.NaN,
    Infinity,
    -Infinity,
    -0,
    0,
    1e-40,
    255,
    256,
    -257,
    65_536,
    -(2 ** 31),
    2 ** 31 - 1,
  ];
  const longRows = [
    [2561, 16_385],
    [2560, 4096, 5000, 16_384, 20_001, 32_769],
  ] as const;
  test.each(cases<number>(...longRows))("columns of %i", async (length) => {
    const drawn = fc.record({
      dtype: fc.constantFrom("float32" as const, "int32" as const, "uint32" as const),
      descending: fc.boolean(),
      pool: fc.array(fc.constantFrom(...specials), { maxLength: 8 }),
    });
    const shape = [2, length, 2];
    const bits = (await random.bits(random.key(length), shape).data()) as Uint32Array;
    await fc.assert(
      fc.asyncProperty(drawn, async ({ dtype, descending, pool }) => {
        const chosen = Array.from(bits, (any) => pool[any % pool.length]!);
        const data = pool.length > 0 ? arrays[dtype].from(chosen) : new arrays[dtype](bits.slice().buffer);
        const x = tensor(data, { shape, dtype }) as Tensor;
        const { values, indices } = sort(x, { axis: 1, descending });
        const [held, got, places] = [await x.data(), await values.data(), await indices.data()];
        for (const [i, j] of [0, 1, 2, 3].map((n) => [n >> 1, n & 1] as const)) {
          const column = (of: ArrayLike<number>) =>
            Array.from({ length }, (_, p) => of[(i * length + p) * 2 + j]!);
          const own = column(held);
          const wanted = orderOf(own, descending);
          expect(column(places)).toEqual(wanted);
          expect(column(got)).toEqual(wanted.map((p) => own[p]));
        }
      }),
      { numRuns: runs(6), seed: 3 },
    );
  });

  test("of a long row the gradient goes where the elements came from", async () => {
    const x = random.normal(random.key(8), [2, 3000]).mul(20).round();
    const weights = random.normal(random.key(9), [2, 3000]);
    const g = await grad((x: Tensor) => sort(x).values.mul(weights).sum())(x).data();
    const [at, given] = [await argsort(x).data(), await weights.data()];
    const wanted = new Float32Array(6000);
    at.forEach((place, i) => {
      wanted[(i < 3000 ? 0 : 3000) + place] = given[i]!;
    });
    expect(g).toEqual(wanted);
  });

  test("elements are added side by side where indices are permutations", async () => {
    const order = argsort(random.normal(random.key(2), [3, 70, 5]), { axis: 1 });
    const [x, y] = [1, 2].map((key) => random.normal(random.key(key), [3, 70, 5]) as Tensor);
    const both = [true, false].map(
      (permutes) => new Tensor(scatterAdd(x!.node, order.node, y!.node, 1, permutes)) as Tensor,
    );
    const [beside, inOrder] = await Promise.all(both.map((sum) => sum.data()));
    expect(beside).toEqual(inOrder);
    expect(beside).toEqual(Float32Array.from((await referenceValues([both[0]!]))[0]!));
    const mapped = vmap(
      (x: Tensor, order: Tensor<"int32">, y: Tensor) =>
        new Tensor(scatterAdd(x.node, order.node, y.node, 0, true)),
    )(x!, order as never, y!) as Tensor;
    expect(await mapped.data()).toEqual(beside);
  });

  test("other dtypes and axes", async () => {
    const whole = random.bits(random.key(3), [50, 2]);
    for (const x of [
      whole,
      whole.astype("int32"),
      whole.astype("float16"),
      whole.gt(2 ** 31),
      whole.astype("float32").div(2 ** 16),
    ]) {
      const [values, at] = [await x.data(), await argsort(x as Tensor, { axis: 0 }).data()];
      for (const column of [0, 1]) {
        const own = Array.from({ length: 50 }, (_, i) => Number(values[2 * i + column]));
        expect(Array.from({ length: 50 }, (_, i) => at[2 * i + column])).toEqual(orderOf(own));
      }
    }
    expect(await sort(zeros([2, 0])).indices.toArray()).toEqual([[], []]);
    if (backend === "cpu") {
      const wide = tensor([1, 1 + 2 ** -40, Number.NaN, -Infinity, Infinity, 1, -0, 0], { dtype: "float64" });
      expect(await argsort(wide).toArray()).toEqual([3, 6, 7, 0, 5, 1, 4, 2]);
      expect(await argsort(wide, { descending: true }).toArray()).toEqual([2, 4, 1, 0, 5, 6, 7, 3]);
    }
  });

  longOn(backend)("gradients of every order, and vmap", async () => {
    const x = tensor([3, -1, 2, 0.5]);
    const weights = tensor([1, 10, 100, 1000]);
    const f = (x: Tensor) => sort(x).values.mul(weights).mul(x).sum();
    expect(await grad((x: Tensor) => sort(x).values.mul(weights).sum())(x).toArray()).toEqual([
      1000, 1, 100, 10,
    ]);
    // The permutation is constant: the second derivative of sum w_i x_p(i) x_i.
    const H = (await hessian(f)(x).toArray()) as number[][];
    const p = [1, 3, 2, 0];
    const w = [1, 10, 100, 1000];
    for (let i = 0; i < 4; i++)
      for (let j = 0; j < 4; j++) expect(H[i]![j]).toBe((p[i] === j ? w[i]! : 0) + (p[j] === i ? w[j]! : 0));
    const rows = random.normal(random.key(1), [3, 4]);
    const each = vmap(grad(f))(rows);
    for (let i = 0; i < 3; i++)
      expect(await each.at(i).get().toArray()).toEqual(await grad(f)(rows.at(i).get()).toArray());
  });

  longOn(backend)("the first of long rows are those of the sorted row", async () => {
    const x = random.normal(random.key(5), [2, 5000]).mul(100).round();
    for (const largest of [true, false]) {
      const { values, indices } = topk(x, 7, 1, { largest });
      const whole = sort(x, { descending: largest });
      expect(await indices.toArray()).toEqual(await whole.indices.slice([0, 0], [2, 7]).toArray());
      expect(await values.toArray()).toEqual(await whole.values.slice([0, 0], [2, 7]).toArray());
    }
  });

  test("a program finds the first below a bound", async () => {
    const [length, from, count] = [100, 3, 90];
    const places = [0, 2, 3, 4, 18, 19, 66, 67, 82, 83, 92, 93, 99];
    const rows = places.map((place) => Array.from({ length }, (_, i) => (i === place || i === 97 ? -7 : 3)));
    const procedure: Procedure = {
      text: "first below, tested",
      work: length,
      code: () =>
        written("int", (w) => w.store(length, w.firstBelow(from, w.int(count), w.let(w.load(length))))),
    };
    const x = cat([tensor(rows, { dtype: "int32" }), zeros([places.length, 1], { dtype: "int32" })], 1);
    const found = new Tensor(runProcedure(procedure, x.node)).slice([0, length], [null, null]);
    const inside = (place: number) => place >= from && place < from + count;
    const wanted = places.map((place) => (inside(place) ? place - from : count));
    expect([...(await found.data())]).toEqual(wanted);
    expect([...(await referenceValues([found]))[0]!]).toEqual(wanted);
    const run = compile((x: Tensor<"int32">) => new Tensor(runProcedure(procedure, x.node)));
    await run(x);
    expect((await run.inspect()).sources.join()).toContain("firstBelow(");
  });

  test("what all of a program have read is written after it", async () => {
    const length = 300;
    const procedure: Procedure = {
      text: "read before written, tested",
      work: length,
      code: () =>
        written("int", (w) => {
          w.for(0, 3, (w) => {
            const first = w.let(w.load(0));
            w.each(length, (w, i) => w.store(i, w.load(i).plus(first))); // also where it was read
          });
          const last = w.let(w.load(length - 1));
          w.store(length - 1, last.plus(1));
        }),
    };
    const run = compile((x: Tensor<"int32">) => new Tensor(runProcedure(procedure, x.node)));
    const x = tensor(
      Array.from({ length }, (_, i) => i + 1),
      { dtype: "int32" },
    ).unsqueeze(0);
    const wanted = Array.from({ length }, (_, i) => i + 8 + Number(i === length - 1)); // 1, 2 and 4 were added
    expect([...(await (await run(x)).data())]).toEqual(wanted);
    expect([...(await referenceValues([new Tensor(runProcedure(procedure, x.node))]))[0]!]).toEqual(wanted);
    if (backend === "webgpu") {
      const lines = run.inspect().sources.join().split(/\n\s*/);
      const next = (from: number, what: RegExp) => lines.findIndex((line, i) => i > from && what.test(line));
      const reads = lines.flatMap((line, i) => (/^v\d+ = out0/.test(line) ? [i] : []));
      expect(reads.length).toBe(2);
      for (const read of reads)
        expect(next(read, /storageBarrier/)).toBeLessThan(next(read, /^(for \(.* own|if \(own)/));
    }
  });

  longOn(backend)("shares of the elements", async () => {
    const x = tensor([
      [4, 1, 3, 2],
      [8, Number.NaN, 0, 1],
    ]);
    expect(await quantile(x, [0, 0.5, 1], { axis: 1 }).toArray()).toEqual([
      [1, Number.NaN],
      [2.5, Number.NaN],
      [4, Number.NaN],
    ]);
    expect(await median(x.slice([0], [1])).item()).toBe(2.5);
    expect(await quantile(x.at(0).get(), 0.5, { interpolation: "lower" }).item()).toBe(2);
    expect(() => quantile(x, 2)).toThrow(/^quantile: q is 2; it is numbers from 0 to 1/);
    const { values, inverse, counts } = await unique(
      tensor([
        [2, Number.NaN],
        [-1, 2],
        [Number.NaN, 2],
      ]),
    );
    expect(await values.toArray()).toEqual([-1, 2, Number.NaN]);
    expect(await inverse.toArray()).toEqual([
      [1, 2],
      [0, 1],
      [2, 1],
    ]);
    expect(await counts.toArray()).toEqual([1, 3, 2]);
  });
});
