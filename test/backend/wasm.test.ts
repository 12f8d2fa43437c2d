import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WasmBackend } from "../../src/backend/cpu/wasm.ts";
import { numel } from "../../src/base/shape.ts";
import { referenceValues } from "../../src/experiments/reference.ts";
import { scalarOps } from "../../src/graph/scalar.ts";
import {
  compile,
  type Device,
  type DeviceDType,
  init,
  type Packed,
  pack,
  random,
  sigmoid,
  Tensor,
  tensor,
  tree,
  unpack,
  where,
} from "../../src/index.ts";
import { everyNth, cases as few } from "../thorough.ts";

// The CPU backend against the evaluator, on the shapes where vectors, tiles and blocks end.

type Make = (shape: number[], seed: number, dtype?: DeviceDType) => Tensor;

/** Values that are the same on every backend, of so few bits that float32 has sums and products of two of them exactly. */
const drawn = new Map<string, number[]>();

function values(count: number, seed: number): number[] {
  const key = `${count},${seed}`;
  let list = drawn.get(key);
  if (!list) {
    let state = (seed * 2654435761) >>> 0;
    list = Array.from({ length: count }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * 4096) / 1024 - 2;
    });
    drawn.set(key, list);
  }
  return list;
}

const make: Make = (shape, seed, dtype = "float32") => {
  const count = numel(shape);
  const list = values(count, seed);
  const whole = dtype === "int32" || dtype === "uint32";
  const data = list.map((x) =>
    whole ? Math.floor((x + 2) * 50) - (dtype === "int32" ? 100 : 0) : dtype === "bool" ? Number(x > 0) : x,
  );
  return tensor(data, { shape, dtype });
};

/** Name, what is computed, and the largest relative error. */
type Case = readonly [name: string, compute: (make: Make) => Tensor | Tensor[], tolerance?: number];

const sizes = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64, 100, 1000];

const cases: Case[] = [
  ...sizes.map(
    (n): Case => [
      `elementwise ${n}`,
      (t) =>
        t([n], 1)
          .mul(t([n], 2))
          .add(t([n], 3))
          .sub(0.5),
      0,
    ],
  ),
  ...sizes.map((n): Case => [`sum of ${n}`, (t) => t([n], 1).sum()]),
  ...sizes.map(
    (n): Case => [
      `rows of ${n}`,
      (t) => [t([6, n], 1).sum(1), t([6, n], 1).amax(1), t([6, n], 2).mean(1).exp()],
    ],
  ),
  ...sizes.map(
    (n): Case => [
      `columns of ${n}`,
      (t) => [
        t([5, n], 1).sum(0),
        t([5, n], 1).amin(0),
        t([37, n], 1)
          .mul(t([1, n], 2))
          .sum(0),
      ],
    ],
  ),
  ...sizes.map((n): Case => [`middle axis, ${n} last`, (t) => t([3, 7, n], 1).sum(1)]),
  ...sizes.map(
    (n): Case => [
      `two reduced axes, ${n} last`,
      (t) => [t([3, 7, n], 1).sum([0, 2]), t([3, 7, n], 1).sum([1, 2])],
    ],
  ),
  [
    "broadcast rows and columns",
    (t) =>
      t([13, 1], 1)
        .mul(t([1, 9], 2))
        .add(t([13, 9], 3)),
    0,
  ],
  ["transpose", (t) => t([13, 9], 1).transpose().add(1), 0],
  [
    "transpose of an even shape",
    (t) =>
      t([16, 8], 1)
        .transpose()
        .mul(t([8, 16], 2)),
    0,
  ],
  ["flip", (t) => [t([17], 1).flip(0), t([5, 8], 1).flip(1).mul(2), t([5, 8], 1).flip(0).mul(2)], 0],
  ...sizes.map(
    (n): Case => [
      `every second of ${n}, with padding`,
      (t) =>
        (["float32", "int32", "bool", "float16"] as const).flatMap((dtype) => {
          const x = dtype === "float16" ? t([5, n], 1).astype(dtype) : t([5, n], 1, dtype);
          const all = x.astype(dtype === "bool" ? "int32" : dtype) as Tensor;
          const padded = all.pad(
            [
              [1, 0],
              [3, 4],
            ],
            2,
          );
          return [1, 2, 3].flatMap((step) =>
            [0, 2, 3].map((from) => padded.slice([0, from], [6, n + 7], [1, step]).mul(2)),
          );
        }),
      0,
    ],
  ),
  ["slice with steps", (t) => t([40, 12], 1).slice([1], [40], [3]).add(1), 0],
  ["slice of the last axis", (t) => t([6, 40], 1).slice([0, 3], [6, 39], [1, 4]).add(1), 0],
  [
    "pad",
    (t) => [
      t([5, 6], 1)
        .pad([
          [1, 2],
          [3, 1],
        ])
        .add(1),
      t([9], 1)
        .pad([[4, 4]], 2)
        .mul(3),
    ],
    0,
  ],
  [
    "reshape across axes",
    (t) =>
      t([6, 10], 1)
        .reshape([4, 15])
        .add(t([4, 15], 2)),
    0,
  ],
  [
    "permute three axes",
    (t) =>
      t([3, 4, 5], 1)
        .permute([2, 0, 1])
        .add(t([5, 3, 4], 2)),
    0,
  ],
  [
    "int32",
    (t) =>
      t([19], 1, "int32")
        .mul(3)
        .add(t([19], 2, "int32"))
        .sub(7),
    0,
  ],
  [
    "int32 sums and extremes",
    (t) => [t([9, 19], 1, "int32").sum(1), t([9, 19], 1, "int32").amax(0), t([9, 19], 1, "int32").amin()],
    0,
  ],
  ["uint32", (t) => [t([19], 1, "uint32").mul(7).add(1), t([5, 19], 1, "uint32").amax(1)], 0],
  ["comparisons and where", (t) => where(t([19], 1).lt(t([19], 2)), t([19], 1), t([19], 3)), 0],
  [
    "bool results",
    (t) => [t([19], 1).lt(0), t([19], 1, "bool").logicalNot(), t([19], 1, "bool").astype("float32").sum()],
    0,
  ],
  [
    "casts",
    (t) => [
      t([19], 1).mul(30).astype("int32"),
      t([19], 1, "int32").astype("float32"),
      t([19], 1).astype("bool"),
      t([19], 1).astype("float64"),
    ],
    0,
  ],
  [
    "float64",
    (t) => [
      t([19], 1, "float64")
        .mul(t([19], 2, "float64"))
        .exp(),
      t([7, 19], 1, "float64").sum(1),
      t([19], 1, "float64").erf(),
    ],
    1e-15,
  ],
  [
    "functions",
    (t) => [
      t([37], 1).exp(),
      t([37], 1).expm1(),
      t([37], 1).sin(),
      t([37], 1).cos(),
      t([37], 1).tanh(),
      sigmoid(t([37], 1)),
      t([37], 1).erf(),
    ],
    5e-7,
  ],
  [
    "functions of positive numbers",
    (t) => [
      t([37], 1).abs().log(),
      t([37], 1).abs().log1p(),
      t([37], 1).abs().sqrt(),
      t([37], 1)
        .abs()
        .pow(t([37], 2)),
    ],
    5e-7,
  ],
  [
    "rounding",
    (t) => [
      t([37], 1).mul(5).round(),
      t([37], 1).mul(5).floor(),
      t([37], 1).mul(5).ceil(),
      t([37], 1).sign(),
      t([37], 1).abs(),
      t([37], 1).neg(),
    ],
    0,
  ],
  // Long enough to be swept, a few rows at a time.
  ...[
    [64, 128],
    [65, 130],
    [100, 1029],
    [70, 1424],
  ].map(
    ([m, n]): Case => [
      `columns of ${m}x${n}`,
      (t) => [
        t([m!, n!], 1).sum(0),
        t([m!, n!], 1).mul(0.1).add(1).prod(0),
        t([m!, n!], 1)
          .amax(0)
          .sub(t([n!], 2)),
        t([m!, n!], 1).var(0),
        t([3, m!, n!], 1).sum(1),
        t([m!, n!], 1, "int32").sum(0),
        t([m!, n!], 1, "int32").amin(0),
        t([m!, n!], 1, "float64").sum(0),
        t([1, m!], 1).matmul(t([m!, n!], 2)),
        t([n!, m!], 1).matmul(t([m!, 1], 2)),
        t([3, 1, m!], 1)
          .matmul(t([3, m!, n!], 2))
          .add(1),
      ],
    ],
  ),
  // Long enough to be cut into parts, over everything and with few results.
  ...[[65536], [65543], [130000], [5, 40000], [40003, 5], [9, 81, 97]].map(
    (shape): Case => [
      `long sums of ${shape.join("x")}`,
      (t) => {
        const x = t(shape, 1);
        return [
          x.sum(),
          x.square().mean().add(1).sqrt(),
          x
            .add(t(shape.slice(-1), 2))
            .exp()
            .sum(),
          x
            .mul(2 ** -13)
            .add(1)
            .prod(), // factors that float32 has exactly
          x.amax().sub(x.amin()),
          t(shape, 1, "int32").sum(),
          t(shape, 1, "uint32").amin(),
          t(shape, 1, "float64").square().sum(),
        ];
      },
    ],
  ),
  ...[
    [9000, 12],
    [70000, 3],
    [5000, 64],
    [2, 5000, 33],
  ].map(
    (shape): Case => [
      `long columns of ${shape.join("x")}`,
      (t) => {
        const x = t(shape, 1);
        const axis = shape.length - 2;
        return [
          x.sum(axis),
          x.amax(axis).sub(t(shape.slice(-1), 2)),
          x.var(axis),
          x.transpose().sum(axis + 1),
          t(shape, 1, "int32").amin(axis),
          t(shape, 1, "float64").sum(axis),
        ];
      },
    ],
  ),
  ["softmax", (t) => [t([9, 33], 1).softmax(1), t([9, 33], 1).softmax(0)]],
  // Rows abreast, where the number of rows is even and they are short.
  ...[
    [64, 16],
    [130, 5],
    [6, 128],
    [7, 16],
  ].map(
    (shape): Case => [
      `rows of ${shape.join("x")}`,
      (t) => {
        const x = t(shape, 1);
        const centred = x.sub(x.mean(1, { keepdim: true }));
        return [
          x.softmax(1),
          x.softmax(1).sum(1),
          x.logSoftmax(1),
          centred.div(centred.square().mean(1, { keepdim: true }).sqrt()),
        ];
      },
    ],
  ),
  ["cumsum", (t) => [t([9, 33], 1).cumsum(1), t([9, 33], 1).cumsum(0)]],
  [
    "gather and scatter",
    (t) => {
      const at = tensor([0, 4, 2, 4, 1, 3], { dtype: "int32" });
      const x = t([5, 8], 1);
      const wide = at.reshape([6, 1]).expand([6, 8]);
      const tall = at.reshape([1, 6]).expand([5, 6]);
      return [
        x.indexSelect(0, at),
        x.indexSelect(1, at).mul(2),
        x.scatterAdd(0, wide, t([6, 8], 2)),
        x.scatterAdd(1, tall, t([5, 6], 2)),
      ];
    },
    0,
  ],
  ["random normal", () => random.normal(random.key(1), [101]), 2e-6],
  ...[
    [1, 1, 1],
    [1, 7, 1],
    [3, 5, 2],
    [4, 8, 8],
    [5, 8, 9],
    [8, 256, 64],
    [13, 17, 19],
    [64, 64, 64],
    [65, 70, 300],
    [6, 1100, 9],
    [130, 9, 8],
    [2, 3, 520],
  ].flatMap(([m, k, n]): Case[] => [
    [`matmul ${m}x${k}x${n}`, (t) => t([m!, k!], 1).matmul(t([k!, n!], 2))],
    [
      `matmul ${m}x${k}x${n}, transposed`,
      (t) => [
        t([k!, m!], 1)
          .transpose()
          .matmul(t([k!, n!], 2)),
        t([m!, k!], 1).matmul(t([n!, k!], 2).transpose()),
        t([k!, m!], 1)
          .transpose()
          .matmul(t([n!, k!], 2).transpose()),
      ],
    ],
    [
      `matmul ${m}x${k}x${n}, epilogue`,
      (t) =>
        t([m!, k!], 1)
          .matmul(t([k!, n!], 2))
          .add(t([n!], 3))
          .mul(t([m!, n!], 4))
          .maximum(0.1),
    ],
    [
      `matmul ${m}x${k}x${n}, float64`,
      (t) =>
        t([m!, k!], 1, "float64")
          .matmul(t([k!, n!], 2, "float64"))
          .add(1),
      1e-13,
    ],
    [`matmul ${m}x${k}x${n}, batched`, (t) => t([3, m!, k!], 1).matmul(t([3, k!, n!], 2).mul(1))],
  ]),
  [
    "matmul of views",
    (t) =>
      t([40, 30], 1)
        .slice([1, 2], [39, 30], [2, 1])
        .matmul(t([28, 24], 2).flip(0)),
  ],
  [
    "matmul over nothing",
    (t) =>
      t([3, 2], 1)
        .slice([0, 2])
        .matmul(t([2, 4], 2).slice([2]))
        .add(1),
    0,
  ],
  [
    "attention heads",
    (t) =>
      t([2, 9, 4, 8], 1)
        .permute([0, 2, 1, 3])
        .matmul(t([2, 9, 4, 8], 2).permute([0, 2, 3, 1])),
  ],
];

describe("WebAssembly against the evaluator", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  test.each(everyNth(2, cases).map((one) => [one[0], one] as const))(
    "%s",
    async (_, [, compute, tolerance = 2e-6]) => {
      const result = compute(make);
      const tensors = Array.isArray(result) ? result : [result];
      const expected = await referenceValues(tensors);
      for (const [output, tensor] of tensors.entries()) {
        const found = await tensor.data();
        const wanted = [...expected[output]!];
        const size = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-30);
        expect(found.length).toBe(wanted.length);
        found.forEach((x, at) => {
          const y = wanted[at]!;
          if (Object.is(x, y) || x === y || (tolerance > 0 && Math.abs(x - y) <= tolerance * size)) return;
          expect.fail(`output ${output}, element ${at}: ${x}, the evaluator gives ${y}`);
        });
      }
    },
  );
});

const packedInRounds = few<
  readonly [name: string, batch: number, rows: number, inner: number, columns: number]
>(
  [],
  [
    ["several matrices", 5, 10, 1500, 2300],
    ["several pieces of a matrix", 1, 12, 4000, 4301],
    ["a panel that is more than a round holds", 1, 9, 2200000, 12],
  ],
);
test.each(packedInRounds)(
  "packed in rounds, %s: the bits of parts, in little memory",
  async (_, batch, rows, inner, columns) => {
    const filled = (shape: number[], seed: number) => {
      const data = new Float32Array(numel(shape));
      for (let i = 0; i < data.length; i++) data[i] = (((i + seed) * 7919) % 4093) / 4093 - 0.5;
      return tensor(data, { shape });
    };
    const device = await init({ backend: "cpu", threads: 3 });
    const [a, b] = [filled([batch, rows, inner], 1), filled([batch, inner, columns], 2)];
    const { backend } = device;
    if (!(backend instanceof WasmBackend)) throw new Error("no WebAssembly");
    const before = backend.memory.live;
    const product = await a.matmul(b).data();
    const scratch = backend.memory.live - before - 4 * (a.size + b.size + product.length);
    expect(scratch).toBeLessThan(Math.max(2 ** 25, 32 * inner) + 2 ** 16); // one panel at least
    // So narrow that each part is packed at once.
    const width = Math.max(8, Math.floor(2 ** 22 / (batch * inner) / 8) * 8);
    for (let from = 0; from < columns; from += width) {
      const to = Math.min(columns, from + width);
      const part = await a.matmul(b.slice([0, 0, from], [batch, inner, to])).data();
      for (let i = 0; i < batch * rows; i++)
        expect(part.subarray(i * (to - from), (i + 1) * (to - from))).toEqual(
          product.subarray(i * columns + from, i * columns + to),
        );
    }
    device.dispose();
  },
);

test("extremes know NaN and the signs of zeros wherever they stand in a row", async () => {
  using _device = await init({ backend: "cpu" });
  const lengths = [4, 7, 16, 21];
  for (const n of lengths) {
    const row = (at: number, value: number, other: number) =>
      Array.from({ length: n }, (_, i) => (i === at ? value : other));
    const places = Array.from({ length: n }, (_, i) => i);
    const rows = places.flatMap((i) => [row(i, Number.NaN, 1), row(i, 0, -0), row(i, -0, 0), row(i, 2, -1)]);
    const x = tensor(rows.flat(), { shape: [rows.length, n] });
    for (const given of [x, x.transpose().mul(1).transpose()]) {
      const [most, least] = [await given.amax(1).data(), await given.amin(1).data()];
      rows.forEach((numbers, i) => {
        expect(most[i], `amax of ${numbers}`).toBe(Math.max(...numbers));
        expect(least[i], `amin of ${numbers}`).toBe(Math.min(...numbers));
      });
    }
  }
});

test("extremes of many elements know NaN and the signs of zeros too", async () => {
  using _device = await init({ backend: "cpu" });
  const n = 70_001;
  for (const at of [0, 35_000, n - 1]) {
    for (const [value, other] of [
      [Number.NaN, 1],
      [0, -0],
      [-0, 0],
    ] as const) {
      const x = tensor(
        Array.from({ length: n }, (_, i) => (i === at ? value : other)),
        { shape: [n] },
      );
      expect(await x.amax().item()).toBe(Math.max(value, other));
      expect(await x.amin().item()).toBe(Math.min(value, other));
    }
  }
});

test("the larger and the smaller of a number and a constant", async () => {
  using device = await init({ backend: "cpu" });
  const numbers = [0, -0, 1, -1, Number.NaN, Infinity, -Infinity, 2 ** -149, -(2 ** -149), 2, 3];
  for (const bound of [0, -0, 1, -1, Number.NaN, Infinity, -Infinity]) {
    const both = compile((x: Tensor) => [x.maximum(bound), x.minimum(bound)] as const, { device });
    const [most, least] = await Promise.all((await both(tensor(numbers))).map((x) => x.data()));
    expect([...most!], `maximum with ${bound}`).toEqual(numbers.map((x) => Math.max(x, bound)));
    expect([...least!], `minimum with ${bound}`).toEqual(numbers.map((x) => Math.min(x, bound)));
  }
});

test.each([...scalarOps.values()].filter(({ row }) => row.table).map((op) => [op.row.name, op] as const))(
  "%s is looked up by the lowest bits of a code, four at once, one by one, and by the bytes of words",
  async (_, op) => {
    using device = await init({ backend: "cpu" });
    const table = Float32Array.from(op.row.table!);
    const bits = Math.log2(table.length);
    const codes = Array.from({ length: 1003 }, (_, i) => (i * 7919) % 2 ** 20);
    const look = compile((x: Tensor) => new Tensor(op(x.node)), { device });
    const wide = compile((x: Tensor) => new Tensor(op(x.node)).astype("float64"), { device });
    const expected = codes.map((code) => table[code % table.length]);
    for (const f of [look, wide])
      expect([...(await (await f(tensor(codes, { dtype: "uint32" }))).data())]).toEqual(expected);
    const words = tensor(
      codes.map((code) => Math.imul(code, 40503) >>> 0),
      { dtype: "uint32" },
    );
    const places = Array.from({ length: 32 / bits }, (_, i) => i);
    const shifts = tensor(
      places.map((i) => bits * i),
      { dtype: "uint32" },
    );
    const unpacked = compile(
      (x: Tensor<"uint32">) =>
        new Tensor(
          op(
            x
              .unsqueeze(-1)
              .rightShift(shifts)
              .bitwiseAnd(table.length - 1).node,
          ),
        ),
      { device },
    );
    const bytes = await words.data();
    expect([...(await (await unpacked(words)).data())]).toEqual(
      [...bytes].flatMap((word) => places.map((i) => table[(word >>> (bits * i)) % table.length])),
    );
  },
);

test.each(few(["nf4"] as const, ["bfloat16", "int8", "dynamic8"] as const))(
  "a row times a matrix in %s adds up in float32 no longer than it may",
  async (format) => {
    using device = await init({ backend: "cpu" });
    const product = compile((x: Tensor, w: Packed) => x.matmul(unpack(w).transpose()), { device });
    for (const inner of [30, 64, 1003, 4800]) {
      const packed = await tree.evaluate(pack(make([160, inner], 1).mul(1.1), { format }), device);
      // Where this is added up, a one is lost until what is near is added in float64.
      const first = tensor([2 ** 24]).pad([[0, inner - 1]]);
      const dense = await unpack(packed).data();
      for (const row of [make([inner], 2).mul(1.1), first.add(1)]) {
        const x = await row.data();
        const found = await (await product(row.reshape([1, inner]), packed)).data();
        for (let i = 0; i < 160; i += 7) {
          const terms = Array.from(x, (value, k) => value * dense[i * inner + k]!);
          const [sum, size] = [terms, terms.map(Math.abs)].map((list) => list.reduce((a, b) => a + b, 0));
          expect(Math.abs(found[i]! - sum!), `${inner}, ${i}`).toBeLessThanOrEqual(258 * 2 ** -24 * size!);
        }
      }
    }
    // Codes leave their word together, not lane by lane.
    const one = compile((x: Tensor, w: Packed) => x.matmul(unpack(w).transpose()), { device });
    await one(make([1, 576], 2), await tree.evaluate(pack(make([160, 576], 1), { format }), device));
    expect(one.inspect().sources.at(-1)).not.toContain("replace_lane");
  },
);

test.each([...scalarOps.keys()])("%s is computed four elements at once, and by no call", async (name) => {
  using device = await init({ backend: "cpu", threads: 1 });
  const op = scalarOps.get(name)!;
  const dtype = ["bits", "integer", "code"].includes(op.row.types) ? "uint32" : "float32";
  const args = Array.from({ length: op.row.arity }, (_, i) =>
    make([7, 64], i, op.row.types === "select" && i === 0 ? "bool" : dtype),
  );
  const f = compile((...x: Tensor[]) => new Tensor(op(...x.map(({ node }) => node))), { device });
  await f(...args);
  const { sources } = f.inspect();
  expect(sources).toHaveLength(1);
  expect(sources[0]).toMatch(/^\/\/ WebAssembly: .* by 4 as lanes/m);
  expect(sources[0]).not.toMatch(new RegExp(`(?<![.\\w])${name}\\(`));
  if (dtype !== "float32" || op.row.types !== "float") return;
  // As the epilogue of a product, and in the elements that are no four.
  const fused = compile((x: Tensor, y: Tensor) => new Tensor(op(...args.map(() => x.matmul(y).node))), {
    device,
  });
  await fused(make([9, 5], 1), make([5, 12], 2));
  expect(fused.inspect().sources).toHaveLength(1);
  expect(fused.inspect().sources[0]).toMatch(/v128\.store\(.*\n(?:[^{}\n]*\n)*? *column = column \+ 4\n/);
  expect(fused.inspect().sources[0]).not.toMatch(new RegExp(`(?<![.\\w])${name}\\(`));
});

describe("functions of float32", () => {
  const special = [
    0,
    -0,
    1,
    -1,
    Infinity,
    -Infinity,
    Number.NaN,
    1e-45,
    -1e-45,
    3.4e38,
    -3.4e38,
    88.7,
    88.8,
    -87,
    -103.9,
  ];
  const magnitudes = Array.from({ length: 20_000 }, (_, i) => {
    const size = 2 ** (-40 + 60 * ((i * 0.6180339887) % 1));
    return i % 2 === 0 ? size : -size;
  });
  const near = Array.from({ length: 20_000 }, (_, i) => (i - 10_000) / 900);
  const all = new Float32Array([...special, ...magnitudes, ...near]);

  /** Distance in units in the last place of the exact result. */
  function distance(actual: number, exact: number): number {
    if (Object.is(actual, Math.fround(exact))) return 0;
    if (!Number.isFinite(exact) || Number.isNaN(actual)) return Infinity;
    const size = Math.max(Math.abs(exact), 2 ** -126);
    return Math.abs(actual - exact) / 2 ** (Math.floor(Math.log2(size)) - 23);
  }

  test.each([
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tanh",
    "sigmoid",
    "erf",
    "erfinv",
    "asin",
    "acos",
  ])("%s", async (name) => {
    await init({ backend: "cpu", threads: 1 });
    const { row } = scalarOps.get(name)!;
    const x = tensor(all);
    const actual = await new Tensor(scalarOps.get(name)!(x.node)).data();
    let worst = 0;
    all.forEach((value, i) => {
      const error = distance(actual[i]!, row.evaluate(value, 0, 0, "float64"));
      if (error > worst) worst = error;
      if (error > row.ulp)
        expect.fail(
          `${name}(${value}) = ${actual[i]}, ${error} ulp from ${row.evaluate(value, 0, 0, "float64")}`,
        );
    });
    if (process.env.LORANTZ_ULP) console.log(name, worst);
  });

  test("pow", async () => {
    await init({ backend: "cpu", threads: 1 });
    const bases = [...special, ...magnitudes.slice(0, 300)];
    const exponents = [0, -0, 1, -1, 2, 3, -3, 0.5, -0.5, 10.5, 31, Infinity, -Infinity, Number.NaN, 1e10];
    const pairs = bases.flatMap((x) => exponents.map((y) => [Math.fround(x), Math.fround(y)] as const));
    const { row } = scalarOps.get("pow")!;
    const actual = await tensor(pairs.map(([x]) => x))
      .pow(tensor(pairs.map(([, y]) => y)))
      .data();
    let worst = 0;
    pairs.forEach(([x, y], i) => {
      if (x === -1 && Math.abs(y) === Infinity) return; // 1 by C99, NaN by JavaScript
      const exact = row.evaluate(x, y, 0, "float64");
      const error = distance(actual[i]!, exact);
      if (error > worst) worst = error;
      if (error > row.ulp) expect.fail(`${x} ** ${y} = ${actual[i]}, ${error} ulp from ${exact}`);
    });
    if (process.env.LORANTZ_ULP) console.log("pow", worst);
  });
});
