import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { numel } from "../../src/base/shape.ts";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { programCost } from "../../src/compile/cost.ts";
import { makeNode } from "../../src/graph/node.ts";
import {
  cat,
  compile,
  grad,
  type Index,
  init,
  scalar,
  stack,
  Tensor,
  tensor,
  vmap,
  zeros,
} from "../../src/index.ts";
import { describeBackends } from "../devices.ts";
import { target } from "../target.ts";

// Parts of tensors: read and replaced by NumPy's basic rules, and written where they lie when nobody needs what was there.

type Plain = number | readonly (number | null)[] | "..." | null;

/** Positions that indices pick, by NumPy's rules in plain words, with the shape of what is picked. */
function picked(shape: readonly number[], index: readonly Plain[]) {
  const named = index.filter((item) => item !== null && item !== "...").length;
  const dots = index.indexOf("...");
  const at = dots < 0 ? index.length : dots;
  const rest = Array.from({ length: shape.length - named }, (): Plain => []);
  const items = [...index.slice(0, at), ...rest, ...index.slice(at + 1)];
  let positions = [0];
  const picks: number[] = [];
  let axis = 0;
  for (const item of items) {
    if (item === null || item === "...") {
      picks.push(1);
      continue;
    }
    const length = shape[axis++]!;
    const all = Array.from({ length }, (_, i) => i);
    const chosen = typeof item === "number" ? [all.at(item)!] : sliced(all, item);
    if (typeof item !== "number") picks.push(chosen.length);
    positions = positions.flatMap((position) => chosen.map((i) => position * length + i));
  }
  return { positions, shape: picks };
}

/** list[start:stop:step] of Python. */
function sliced(all: readonly number[], [start = null, stop = null, by = null]: readonly (number | null)[]) {
  const step = by ?? 1;
  const n = all.length;
  const bound = (value: number | null, otherwise: number) => {
    if (value === null) return otherwise;
    const from = value < 0 ? value + n : value;
    return step > 0 ? Math.min(Math.max(from, 0), n) : Math.min(Math.max(from, -1), n - 1);
  };
  const result: number[] = [];
  const [from, to] = step > 0 ? [bound(start, 0), bound(stop, n)] : [bound(start, n - 1), bound(stop, -1)];
  for (let i = from; step > 0 ? i < to : i > to; i += step) result.push(all[i]!);
  return result;
}

const bound = (length: number) => fc.option(fc.integer({ min: -length - 2, max: length + 2 }));
const anIndex = (length: number): fc.Arbitrary<Plain> =>
  fc.oneof(
    ...(length > 0 ? [fc.integer({ min: -length, max: length - 1 })] : []),
    fc.tuple(bound(length), bound(length), fc.constantFrom(null, 1, 2, 3, -1, -2)),
    fc.constant([] as (number | null)[]),
  );
const someIndex = (shape: readonly number[]) =>
  fc
    .tuple(
      fc.tuple(...shape.map(anIndex)),
      fc.nat(shape.length),
      fc.boolean(),
      fc.option(fc.nat(shape.length)),
    )
    .map(([each, count, dots, fresh]): Plain[] => {
      const index: Plain[] = dots
        ? [...each.slice(0, count), "...", ...each.slice(count + 1)]
        : each.slice(0, count);
      if (fresh !== null) index.splice(fresh, 0, null);
      return index;
    });

const cases = fc
  .array(fc.constantFrom<number[]>(0, 1, 2, 3, 5, 8), { minLength: 1, maxLength: 3 })
  .chain((shape) => fc.tuple(fc.constant(shape), someIndex(shape)));

const operations = [
  ["set", (_: number, v: number) => v],
  ["add", (x: number, v: number) => x + v],
  ["mul", (x: number, v: number) => x * v],
  ["min", Math.min],
  ["max", Math.max],
] as const;

describeBackends("parts of a tensor", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  test("are NumPy's", async () => {
    let run = 0;
    await fc.assert(
      fc.asyncProperty(cases, async ([shape, index]) => {
        const size = numel(shape);
        const data = Float32Array.from({ length: size }, (_, i) => ((i * 7) % 11) - 5);
        const x: Tensor = tensor(data, { shape });
        const { positions, shape: wanted } = picked(shape, index);
        const read = x.at(...(index as Index[])).get();
        expect(read.shape).toEqual(wanted);
        const values = await x.data();
        expect([...(await read.data())]).toEqual(positions.map((at) => values[at]));
        const [name, f] = operations[run++ % operations.length]!;
        const v = Float32Array.from(positions, (_, i) => i - 2);
        const slope = grad((y: Tensor) =>
          y
            .at(...(index as Index[]))
            .get()
            .mul(tensor(v, { shape: wanted }))
            .sum(),
        )(x);
        const slopes = new Float32Array(size);
        positions.forEach((at, i) => {
          slopes[at]! += v[i]!;
        });
        expect(await slope.data()).toEqual(slopes);
        const written = x.at(...(index as Index[]))[name](tensor(v, { shape: wanted }));
        const expected = [...values];
        positions.forEach((at, i) => {
          expected[at] = f(values[at]!, v[i]!);
        });
        expect([...(await written.data())].map((y) => y + 0)).toEqual(expected.map((y) => y + 0));
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  test("a number and a smaller shape broadcast, and take the dtype", async () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { dtype: "int32" },
    );
    expect(await x.at("...", 0).set(9).toArray()).toEqual([
      [9, 2, 3],
      [9, 5, 6],
    ]);
    expect(
      await x
        .at([], [1])
        .add(tensor([10, 20], { dtype: "int32" }))
        .toArray(),
    ).toEqual([
      [1, 12, 23],
      [4, 15, 26],
    ]);
    expect(await x.astype("bool").at(0).set(0).toArray()).toEqual([
      [false, false, false],
      [true, true, true],
    ]);
    const half = x.astype("float16").at(1, 1).set(0.1);
    expect((await half.data())[4]).toBe(0.0999755859375);
  });

  test("gradients are of the tensor and of the value, of every order", async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const v = tensor([7, 8]);
    const f = ({ x, v }: { x: Tensor; v: Tensor }) => x.at([], 1).set(v.square()).pow(3).sum();
    const first = grad(f)({ x, v });
    expect(await first.x.toArray()).toEqual([
      [3, 0, 27],
      [48, 0, 108],
    ]);
    // (v^2)^3 has the slope 6 v^5.
    expect(await first.v.toArray()).toEqual([6 * 7 ** 5, 6 * 8 ** 5]);
    const second = grad((both: { x: Tensor; v: Tensor }) => {
      const g = grad(f)(both);
      return g.x.sum().add(g.v.sum());
    })({ x, v });
    expect(await second.x.toArray()).toEqual([
      [6, 0, 18],
      [24, 0, 36],
    ]);
    expect(await second.v.toArray()).toEqual([30 * 7 ** 4, 30 * 8 ** 4]);
    const moving = grad((y: Tensor) =>
      y
        .at(scalar(1), { start: tensor(1, { dtype: "int32" }) as Tensor<"int32">, length: 2 })
        .mul(y.at(0, [1]).get())
        .sum(),
    );
    expect(await moving(x).toArray()).toEqual([
      [1, 6, 7],
      [1, 2, 3],
    ]);
  });

  test("vmap maps over tensors, parts and places", async () => {
    const x = tensor(Float32Array.from({ length: 24 }, (_, i) => i)).reshape([2, 3, 4]);
    const parts = tensor([
      [1, 2],
      [3, 4],
    ]).mul(100);
    const places = tensor([1, 0], { dtype: "int32" }) as Tensor<"int32">;
    const one = (t: Tensor, part: Tensor, at: Tensor<"int32">) =>
      cat([t.at(at, { start: at.add(1), length: 2 }).set(part), t.at([0, 1]).get()]);
    const each = [0, 1].map((i) => one(x.at(i).get(), parts.at(i).get(), places.at(i).get()));
    expect(await vmap(one)(x, parts, places).data()).toEqual(await stack(each).data());
    const still = vmap((part: Tensor) => x.at(0, 1, [1, 3]).set(part))(parts);
    expect(await still.at([], 0, 1).get().toArray()).toEqual([
      [4, 100, 200, 7],
      [4, 300, 400, 7],
    ]);
  });

  test("a row of a cache is written where it lies, at places that are passed", async () => {
    const write = compile(
      (cache: Tensor, row: Tensor, at: Tensor<"number">) => {
        const next = cache.at("...", at, []).set(row);
        return { next, seen: next.sum([0, 2]) };
      },
      { donate: [0] },
    );
    await write.warmup(zeros([2, 5, 4]), zeros([2, 4]), 0);
    let cache: Tensor = zeros([2, 5, 4]);
    const rows: number[] = [];
    for (const place of [3, 0, -1]) {
      const row = tensor(
        Float32Array.from({ length: 8 }, (_, i) => i + place),
        { shape: [2, 4] },
      );
      const { next, seen } = await write(cache, row, place);
      cache = next;
      rows[place < 0 ? place + 5 : place] = 28 + 8 * place;
      expect([...(await seen.data())]).toEqual([0, 1, 2, 3, 4].map((i) => rows[i] ?? 0));
    }
    expect(write.traces).toBe(1);
    await expect(write(cache, zeros([2, 4]), 5)).rejects.toThrow(
      "at: index 5 is out of range: the axis has length 5, so they are -5 to 4.",
    );
    await expect(write(cache, zeros([2, 4]), 0.5)).rejects.toThrow("does not hold the number 0.5");
    expect((await cache.data()).length).toBe(40); // refused before anything was given away
    const move = compile(
      (x: Tensor, part: Tensor, at: Tensor<"int32">) => x.at({ start: at.mul(3), length: 2 }).set(part),
      {
        donate: [0],
      },
    );
    let x: Tensor = zeros([6]);
    for (const place of [0, 1, 3])
      x = await move(x, tensor([place + 1, 2]), tensor(place, { dtype: "int32" }) as Tensor<"int32">);
    expect(await x.toArray()).toEqual([1, 2, 0, 2, 4, 2]); // the device moves what does not fit
  });

  test.each([1030, 1029, 1028])("a part of %i elements leaves its neighbours as they are", async (length) => {
    const set = compile((x: Tensor, part: Tensor) => x.at({ start: 8, length }).set(part.mul(2)), {
      donate: [0],
    });
    const values = [...(await (await set(zeros([4096]).add(5), zeros([length]).add(1))).data())];
    expect(values.map((v, i) => (v === 2) === (i >= 8 && i < 8 + length)).indexOf(false)).toBe(-1);
  });

  test("what is needed later is copied before", async () => {
    const x = () => tensor(Float32Array.from({ length: 2048 }, (_, i) => i)).reshape([4, 512]);
    const expected = (rows: readonly (readonly [number, number])[]) =>
      Array.from({ length: 4 }, (_, row) => rows.find(([at]) => at === row)?.[1] ?? row * 512);
    const firsts = async (t: Tensor) => [...(await t.slice([0, 0], [4, 1]).data())];
    // Rows from other rows: the second is read before the first is written, in whatever order they are stored.
    const shift = compile((t: Tensor) => t.at([0, 3]).set(t.at([1, 4]).get()), { donate: [0] });
    expect(await firsts(await shift(x().add(0)))).toEqual([512, 1024, 1536, 1536]);
    const both = compile(
      (t: Tensor) => ({ next: t.at(1).set(7), sums: t.at(1).get().sum(), old: t.mul(1) }),
      { donate: [0] },
    );
    const { next, sums, old } = await both(x().add(0));
    expect(await firsts(next)).toEqual(expected([[1, 7]]));
    expect(await sums.item()).toBe((512 * (512 + 1023)) / 2);
    expect(await firsts(old)).toEqual(expected([]));
    // What was promised of a donated tensor keeps its values.
    const given = x().add(0);
    const promised = given.mul(2);
    const taken = await compile((t: Tensor) => t.at(0, 0).set(-1), { donate: [0] })(given);
    expect(await firsts(taken)).toEqual(expected([[0, -1]]));
    expect(await firsts(promised)).toEqual(expected([]).map((v) => 2 * v));
    // Several over each other, and two of one base.
    const twice = compile((t: Tensor) => {
      const once = t.mul(1).matmul(t.transpose());
      return [once.at(0).set(1).at(1).set(2).sum(), once.at(0, 0).set(0), once.at(0, 0).set(1)];
    });
    const [sum, zero, one] = await twice(x().mul(1 / 512));
    const product = await x()
      .mul(1 / 512)
      .matmul(
        x()
          .mul(1 / 512)
          .transpose(),
      )
      .data();
    expect(await sum!.item()).toBeCloseTo(
      [...product.slice(8)].reduce((a, b) => a + b, 12),
      -1,
    );
    expect([(await zero!.data())[0], (await one!.data())[0]]).toEqual([0, 1]);
    expect((await zero!.data())[5]).toBe(product[5]);
  });

  test("a computed mask takes one value for all that it picks", async () => {
    const x = tensor([
      [1, -2, 3],
      [-4, 5, -6],
    ]);
    const rows = () => x.sum(1).gt(0);
    const behind = tensor([10, 20, 30]);
    const made = {
      set: x.at(x.lt(0)).set(0),
      add: x.at(x.lt(0)).add(tensor(100)),
      mul: x.at(rows(), "...").mul(behind),
      columns: x.at([], x.sum(0).lt(0)).max(7),
      step: compile((x: Tensor) => x.at(x.gt(2)).min(2))(x),
      mapped: vmap((row: Tensor) => row.at(row.lt(0)).set(-1))(x),
      gradient: grad((x: Tensor) => x.at(x.lt(0)).mul(5).square().sum())(x),
    };
    const found = Object.entries(made).map(async ([name, y]) => [name, await (await y).toArray()] as const);
    expect(Object.fromEntries(await Promise.all(found))).toEqual({
      set: [
        [1, 0, 3],
        [0, 5, 0],
      ],
      add: [
        [1, 98, 3],
        [96, 5, 94],
      ],
      mul: [
        [10, -40, 90],
        [-4, 5, -6],
      ],
      columns: [
        [7, -2, 7],
        [7, 5, 7],
      ],
      step: [
        [1, -2, 2],
        [-4, 2, -6],
      ],
      mapped: [
        [1, -1, 3],
        [-1, 5, -1],
      ],
      gradient: [
        [2, -100, 6],
        [-200, 10, -300],
      ],
    });
  });

  test("wrong indices are refused", () => {
    const x = zeros([2, 3]);
    expect(() => x.at(2)).toThrow("at: index 2 is out of range: axis 0 of float32[2,3] has length 2.");
    expect(() => x.at(0, 0, 0)).toThrow("at: float32[2,3] has 2 axes; given indices for 3.");
    expect(() => x.at("...", "...")).toThrow("it can be given once");
    expect(() => x.at(0.5)).toThrow("at: takes integers, ranges");
    expect(() => x.at([0, 1, 0])).toThrow("the step of a range is 0");
    expect(() => x.at({ start: 1, length: 2 })).toThrow("at: 2 elements from 1 on do not fit");
    expect(() => x.at({ start: scalar(2), length: 2 })).toThrow("2 elements are taken, so they are -2 to 0");
    expect(() => x.at(tensor([0, 1]) as never)).toThrow(/^at: an index must be int32; given float32\[2\]/);
    expect(() => x.at(tensor([0, 9], { dtype: "int32" }))).toThrow(/^at: index 9 is out of range/);
    expect(() => x.at(tensor([true]))).toThrow(/^at: the mask bool\[1\] stands for axes 0 and on of/);
    expect(() => x.at(x.gt(0)).get()).toThrow(/^at: how many elements the mask/);
    expect(() => x.at(x.gt(0)).set(zeros([3]))).toThrow(/^at: how many elements the mask/);
    expect(() => x.at(x.gt(0), 0)).toThrow(); // more axes than there are
    expect(() => x.at(x.sum(1).gt(0), 0).set(0)).toThrow(/^at: how many elements the mask/);
    expect(() => x.at(0).set(zeros([2]))).toThrow("does not expand to [3]");
    expect(() => x.at(0).set(zeros([3]).astype("int32") as never)).toThrow("takes values of its dtype");
  });
});

describe("a program", () => {
  const inputs = (shapes: readonly (readonly number[])[]) =>
    shapes.map((shape, index) => new Tensor(makeNode({ kind: "input", index }, [], shape, "float32")));
  const make = (
    f: (xs: Tensor[]) => Tensor[],
    shapes: readonly (readonly number[])[],
    donated: readonly number[],
  ) => {
    const canonical = canonicalise(
      f(inputs(shapes)).map(({ node }) => node),
      false,
    );
    const program = compileGraph(canonical.build(), {
      target: target(8),
      inputs: canonical.leaves,
      donated: new Set(
        canonical.leaves.flatMap(({ operation }, i) =>
          operation.kind === "input" && donated.includes(operation.index) ? [i] : [],
        ),
      ),
    });
    const { bytesWritten } = programCost(program);
    return {
      kernels: program.kernels.length,
      written: bytesWritten / 4,
      slots: program.slots,
      replaces: program.replaces,
    };
  };

  test("writes only the row of a donated cache, and reads it after", () => {
    const step = ([cache, row, q]: Tensor[]) => {
      const next = cache!.at(5).set(row!.mul(2));
      return [next, q!.matmul(next.transpose()).softmax(-1).matmul(next)];
    };
    const made = make(step, [[1024, 64], [64], [8, 64]], [0]);
    expect(made.replaces[0]).toBeDefined();
    expect(made.written).toBe(64 + 2 * 8 * 1024 + 8 * 64);
    // Not donated, the cache is copied once.
    expect(make(step, [[1024, 64], [64], [8, 64]], []).written).toBe(made.written + 1024 * 64);
  });

  test("reads what others need before it replaces it", () => {
    const made = make(
      ([x, y]) => [x!.at(0).set(1), x!.matmul(y!)],
      [
        [256, 64],
        [64, 64],
      ],
      [0],
    );
    expect(made.written).toBe(64 + 256 * 64);
  });

  test("updates what it made without a copy, however often", () => {
    const made = make(
      ([x, y]) => {
        let sum = x!.matmul(y!);
        for (let i = 0; i < 5; i++) sum = sum.at(i).add(y!.at(i).get());
        return [sum];
      },
      [
        [256, 256],
        [256, 256],
      ],
      [],
    );
    expect(made.written).toBe(256 * 256 + 5 * 256);
    expect(made.slots).toEqual([]);
  });

  test("lets products write parts themselves", () => {
    const made = make(
      ([x, y, z]) => [x!.at([0, 128]).set(y!.matmul(z!))],
      [
        [256, 128],
        [128, 64],
        [64, 128],
      ],
      [0],
    );
    expect([made.kernels, made.written, made.slots]).toEqual([1, 128 * 128, []]);
  });
});
