import { beforeAll, expect, test } from "vitest";
import { evaluate } from "../../src/graph/evaluate.ts";
import {
  compile,
  type Device,
  init,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
} from "../../src/index.ts";
import * as nn from "../../src/nn/index.ts";
import { storageOf, type TensorStorage } from "../../src/runtime/storage.ts";
import { describeBackends } from "../devices.ts";
import { everyNth } from "../thorough.ts";

// What works on the same rows is one kernel; values are the evaluator's.

interface Case {
  readonly name: string;
  readonly f: (x: Tensor) => unknown;
  /** Row kernels in the schedule, and kernels in all. */
  readonly rows: number;
  readonly kernels: number;
}

const gradient = (f: (x: Tensor) => Tensor) => (x: Tensor) =>
  valueAndGrad((p: Tensor) => f(p).square().sum())(x)[1];

const cases: readonly Case[] = [
  { name: "softmax", f: (x) => x.softmax(-1), rows: 1, kernels: 1 },
  { name: "softmax and its largest", f: (x) => ({ y: x.softmax(-1), top: x.amax(-1) }), rows: 1, kernels: 1 },
  { name: "softmax gradient", f: gradient((x) => x.softmax(-1)), rows: 1, kernels: 1 },
  { name: "logSoftmax gradient", f: gradient((x) => x.logSoftmax(-1)), rows: 1, kernels: 1 },
  { name: "layer norm", f: (x) => nn.functional.layerNorm(x, [x.shape.at(-1)!]), rows: 1, kernels: 1 },
  {
    name: "layer norm gradient",
    f: gradient((x) => nn.functional.layerNorm(x, [x.shape.at(-1)!])),
    rows: 1,
    kernels: 1,
  },
  {
    name: "rows that end in numbers",
    f: (x) =>
      x
        .sub(x.mean(-1, { keepdim: true }))
        .square()
        .mean(-1)
        .sqrt(),
    rows: 1,
    kernels: 1,
  },
  {
    name: "two axes to a row",
    f: (x) =>
      x
        .sub(x.amax([1, 2], { keepdim: true }))
        .exp()
        .sum([1, 2]),
    rows: 1,
    kernels: 1,
  },
  { name: "columns", f: (x) => x.sub(x.mean(0, { keepdim: true })), rows: 0, kernels: 2 },
  { name: "a row that others read", f: (x) => x.softmax(-1).matmul(x.transpose()), rows: 1, kernels: 2 },
];

const shapes = [
  [9, 1, 5],
  [4, 3, 300],
  [20, 2, 64],
];

async function reference(result: unknown): Promise<Float64Array[]> {
  const leaves = tree.leaves(result).map((leaf) => leaf.node);
  const values = new Map<unknown, ArrayLike<number>>();
  const collect = async (node: (typeof leaves)[number]): Promise<void> => {
    if (node.operation.kind === "buffer") values.set(node.operation.storage, await storageOf(node).read());
    for (const input of node.inputs) await collect(input);
  };
  for (const leaf of leaves) await collect(leaf);
  return evaluate(leaves, {
    buffer: (storage) => values.get(storage as TensorStorage)!,
    input: () => [],
  });
}

describeBackends("rows", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });

  test.each(backend === "cpu" ? cases : everyNth(2, cases))("$name", async ({ f, rows, kernels }) => {
    for (const shape of shapes) {
      const data = await random.normal(random.key(3), shape).data();
      const run = compile(f, { device });
      const result = await run(tensor(data, { shape }));
      const expected = await reference(f(tensor(data, { shape })));
      const found = tree.leaves(result);
      for (const [i, leaf] of found.entries()) {
        const values = await leaf.data();
        const scale = Math.max(1, ...expected[i]!.map(Math.abs));
        const errors = Array.from(values, (value, j) => Math.abs(value - expected[i]![j]!) / scale);
        const worst = Math.max(...errors);
        expect(worst).toBeLessThan(2e-6);
      }
      const { schedule, kernels: count } = run.inspect();
      if (shape[1] === 1) continue; // rows of one element along an axis are simpler still
      expect([schedule.match(/: rows /g)?.length ?? 0, count]).toEqual([rows, kernels]);
    }
  });

  test("NaN and infinities stay where they are", async () => {
    const x = tensor([
      [1, Number.NaN, 2],
      [Number.NEGATIVE_INFINITY, 0, 0],
      [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
    ]);
    expect(await x.softmax(1).toArray()).toEqual([
      [Number.NaN, Number.NaN, Number.NaN],
      [0, 0.5, 0.5],
      [Number.NaN, Number.NaN, Number.NaN],
    ]);
  });
});
