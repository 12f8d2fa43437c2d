import { expect, test } from "vitest";
import { schedule } from "../src/backend/cpu/wasm/heuristics.ts";
import { Expressions } from "../src/compile/expr.ts";
import type { Axis, Loop } from "../src/compile/kernel.ts";
import { nestOf } from "../src/compile/nest.ts";
import { showSteps } from "../src/compile/steps.ts";
import { type Tensor, tensor, tree } from "../src/index.ts";
import { gpu, wgslPrinter } from "./printer.ts";

// How loops are chosen to run, as the steps that inspect() shows.

const e = new Expressions();
const axis = (name: string, extent: number): Axis => ({ name, extent });
const at = (...terms: readonly (readonly [factor: number, axis: Axis])[]) =>
  e.combine(terms.map(([factor, { name, extent }]) => [factor, e.variable(name, extent)]));
const load = (index: ReturnType<typeof at>) => e.load(0, index, "float32");

const [i0, i1, k0] = [axis("i0", 2048), axis("i1", 2048), axis("k0", 4096)];
const sum = (
  grid: readonly Axis[],
  inner: readonly Axis[],
  index: ReturnType<typeof at>,
  to = at(),
): Loop => ({
  grid,
  inner,
  accumulators: [{ name: "sum", dtype: "float32", expr: load(index) }],
  stores: [{ value: 1, index: to, expr: e.accumulator(0, "float32") }],
});
const map = (grid: readonly Axis[], index: ReturnType<typeof at>, to: ReturnType<typeof at>): Loop => ({
  grid,
  inner: [],
  accumulators: [],
  stores: [{ value: 1, index: to, expr: load(index) }],
});

test.each([
  ["a chain", map([k0], at([1, k0]), at([1, k0])), "k0 by 4 as lanes"],
  [
    "a transpose: units of a line of the cache follow each other down the rows",
    map([i0, i1], at([2048, i1], [1, i0]), at([2048, i0], [1, i1])),
    "i1 by 4 as lanes, i1 by 16 as units, swap i1 and i0",
  ],
  [
    "sums of rows: partial sums in lanes, two vectors side by side",
    sum([i0], [k0], at([4096, i0], [1, k0]), at([1, i0])),
    "k0 by 4 as lanes, k0 by 2 as copies, i0 by 16 as units",
  ],
  [
    "sums down columns: some rows at a time for a block of columns",
    sum([i0], [k0], at([2048, k0], [1, i0]), at([1, i0])),
    "i0 by 4 as lanes, i0 by 4 as copies, i0 by 256 as units, k0 by 16 as blocks, swap i0 and k0",
  ],
  [
    "a sum over everything: parts that threads share",
    sum([], [axis("k0", 2 ** 22)], at([1, axis("k0", 2 ** 22)])),
    "k0 by 4 as lanes, k0 by 2 as copies, cut k0 into 256; then k0 by 4 as lanes, k0 by 2 as copies",
  ],
  [
    "what is strided along all axes: one element at a time",
    map([axis("i0", 64)], at([1, axis("i0", 64)]), at([3, axis("i0", 64)])),
    "",
  ],
])("on the CPU, %s", (_, loop, steps) => {
  const stages = schedule(nestOf(loop));
  expect(stages.map((stage) => showSteps(stage.steps)).join("; then ")).toBe(steps);
});

async function stepsOf(f: (x: Tensor) => Tensor, shape: readonly number[], busy: number, lanes?: number) {
  let sources: readonly string[] = [];
  const device = wgslPrinter({ ...gpu, busy, lanes }, undefined, {});
  const load = device.backend.load.bind(device.backend);
  device.backend.load = async (program) => {
    const executable = await load(program);
    sources = executable.sources;
    return executable;
  };
  await tree.evaluate([f(tensor(new Float32Array(shape[0]! * shape[1]!), { shape }))], device);
  return sources[sources.length - 1]!.split("\n")[1];
}

test.each([
  ["quads", (x: Tensor) => x.mul(2), [64, 64], 65536, undefined, "// i0 by 4 as lanes"],
  [
    "rows shared by workgroups",
    (x: Tensor) => x.softmax(1),
    [64, 256],
    65536,
    undefined,
    "// k0 by 64 as workgroup, k0 by 4 as lanes",
  ],
  [
    "rows shared by subgroups",
    (x: Tensor) => x.softmax(1),
    [64, 256],
    65536,
    32,
    "// k0 by 32 as subgroup, k0 by 4 as lanes",
  ],
  ["rows of their own", (x: Tensor) => x.softmax(1), [64, 256], 64, undefined, "// k0 by 4 as lanes"],
] as const)("on WebGPU, %s", async (_, f, shape, busy, lanes, steps) => {
  expect(await stepsOf(f, shape, busy, lanes)).toBe(steps);
});
