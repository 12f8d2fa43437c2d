import { describe, expect, test } from "vitest";
import { schedule } from "../../src/backend/cpu/wasm/heuristics.ts";
import { emitKernel, printKernel } from "../../src/backend/cpu/wasm/kernel.ts";
import type { ShaderOptions } from "../../src/backend/webgpu/shader.ts";
import { type Expr, Expressions } from "../../src/compile/expr.ts";
import type { Axis, Loop, Nest } from "../../src/compile/kernel.ts";
import { accumulate, cutLoop, loopOver, nestOf, write } from "../../src/compile/nest.ts";
import { type Stage, type Step, showSteps } from "../../src/compile/steps.ts";
import { mul, sub } from "../../src/graph/elementwise.ts";
import { type Tensor, tensor, tree } from "../../src/index.ts";
import { verifyStages } from "../verify.ts";
import "../wasm-printers.ts";
import { gpu, wgslPrinter } from "../printer.ts";

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
  accumulators: [{ index: 0, name: "sum", dtype: "float32", expr: load(index) }],
  stores: [{ value: 1, index: to, expr: e.accumulator(0, "float32") }],
});
const map = (grid: readonly Axis[], index: ReturnType<typeof at>, to: ReturnType<typeof at>): Loop => ({
  grid,
  inner: [],
  accumulators: [],
  stores: [{ value: 1, index: to, expr: load(index) }],
});

test("on the CPU, passes with many sums have no copies", () => {
  const over = [axis("k0", 64)];
  const pass = (...indices: number[]) =>
    loopOver(
      over,
      accumulate(
        indices.map((index) => {
          const expr = load(at([64, i0], [1, over[0]!]));
          return { index, name: "sum" as const, dtype: "float32" as const, expr };
        }),
      ),
    );
  const stores = [0, 1, 2, 3].map((index) => ({
    value: 1 + index,
    index: at([1, i0]),
    expr: e.accumulator(index, "float32"),
  }));
  const rows = (...passes: number[][]): Nest => ({
    kind: "nest",
    grid: [i0],
    body: [...passes.map((indices) => pass(...indices)), write(stores)],
  });
  const steps = (nest: Nest) =>
    showSteps(schedule(nest)[0]!.steps.filter((step) => "split" in step && step.as !== "units"));
  const values = [2048 * 64, 2048, 2048, 2048, 2048].map((size, id) => ({
    id,
    dtype: "float32" as const,
    size,
  }));
  const mixed = rows([0], [1, 2, 3]);
  expect(steps(mixed)).toBe("k0 by 4 as lanes, k0 by 2 as copies for results 0, i0 by 2 as copies");
  expect(steps(rows([0, 1], [2, 3]))).toBe("k0 by 4 as lanes, k0 by 2 as copies, i0 by 2 as copies");
  verifyStages(mixed, schedule(mixed), values);
  const wrong: Step = { split: "k0", by: 2, as: "copies", results: [4] };
  expect(() => verifyStages(mixed, [{ nest: mixed, steps: [wrong] }], values)).toThrow(
    /results that are not there/,
  );
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

/** Runs a nest on the CPU in the given stages: value 0 is read, value 1 written; scratch of threads and of all lies behind. */
function runStages(nest: Nest, stages: readonly Stage[], x: Float32Array, results: number): Float32Array {
  verifyStages(nest, stages, [
    { id: 0, dtype: "float32", size: x.length },
    { id: 1, dtype: "float32", size: results },
  ]);
  const { bytes, given, phases, scratch } = emitKernel(
    nest,
    { shared: false, maximum: 64, relaxed: false, tableAt: () => 4096 },
    stages,
  );
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64 });
  const place = [1024, 1024 + 4 * x.length];
  const [shared, own] = [place[1]! + 4 * results + 1024, 2 ** 21];
  new Float32Array(memory.buffer, place[0], x.length).set(x);
  new Int32Array(memory.buffer).set(given.values.map((value) => place[value]!));
  expect(shared + scratch).toBeLessThan(own);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {
    env: { memory },
    evaluators: {},
  });
  for (const { name, units } of phases) {
    const run = exports[name] as (...args: number[]) => void; // all exports are such functions
    // In two turns, as two threads would.
    const half = units >> 1;
    if (half > 0) run(0, half, 0, shared, own);
    run(half, units, 0, shared, own);
  }
  return new Float32Array(memory.buffer, place[1], results).slice();
}

describe("one kernel by several lists of steps", () => {
  const [i, k] = [axis("i0", 128), axis("k0", 96)];
  const lanes = (name: string, copies = 1): Step[] => [
    { split: name, by: 4, as: "lanes" },
    ...(copies > 1 ? [{ split: name, by: copies, as: "copies" } as const] : []),
  ];
  const units = (by: number): Step => ({ split: "i0", by, as: "units" });
  const down = sum([i], [k], at([128, k], [1, i]), at([1, i]));
  const floats = Float32Array.from({ length: 128 * 96 }, (_, n) => Math.sin(n) * 2 ** (n % 40));

  test("has the same bits where each sum keeps its order", () => {
    const lists: readonly (readonly Step[])[] = [
      [],
      [units(16)],
      lanes("i0"),
      [...lanes("i0", 2), units(64)],
      [...lanes("i0", 4), units(16)],
      [...lanes("i0", 4), units(128), { split: "k0", by: 16, as: "blocks" }, { swap: ["i0", "k0"] }],
      [...lanes("i0"), units(32), { split: "k0", by: 40, as: "blocks" }, { swap: ["i0", "k0"] }],
    ];
    const nest = nestOf(down);
    const results = lists.map((steps) => runStages(nest, [{ nest, steps }], floats, 128));
    const exact = Float32Array.from({ length: 128 }, (_, at) => {
      let total = 0;
      for (let row = 0; row < 96; row++) total += floats[128 * row + at]!;
      return total;
    });
    for (const result of results) expect(result).toEqual(exact);
    const texts = lists.map((steps) => {
      const stages = [{ nest, steps }];
      return printKernel(
        nest,
        emitKernel(nest, { shared: false, maximum: 1, relaxed: false, tableAt: () => 4096 }, stages),
      );
    });
    expect(new Set(texts).size).toBe(lists.length);
  });

  test("has the same bits by statements side by side, abreast and in order", () => {
    const index = at([128, k], [1, i]);
    const [mean, twice] = [e.accumulator(0, "float32"), e.accumulator(1, "float32")];
    const pass = (index: number, expr: Expr) =>
      loopOver([k], accumulate([{ index, name: "sum", dtype: "float32", expr }]));
    const far = e.apply(sub.row, [load(index), mean], "float32");
    const rows: Nest = {
      kind: "nest",
      grid: [i],
      body: [
        pass(0, load(index)),
        pass(1, e.apply(mul.row, [far, far], "float32")),
        write([{ value: 1, index: at([1, i]), expr: twice }]),
      ],
    };
    const each: Nest = {
      ...rows,
      body: [pass(0, load(index)), loopOver([k], write([{ value: 1, index, expr: far }]))],
    };
    const scan: Nest = {
      ...rows,
      body: [
        loopOver(
          [k],
          accumulate([{ index: 0, name: "sum", dtype: "float32", expr: load(index) }]),
          write([{ value: 1, index, expr: mean }]),
        ),
      ],
    };
    const lists: readonly (readonly Step[])[] = [
      [{ split: "i0", by: 2, as: "copies" }],
      lanes("i0"),
      [...lanes("i0"), units(32)],
      lanes("i0", 2),
      [...lanes("i0", 4), units(64)],
    ];
    for (const [nest, results] of [
      [rows, 128],
      [each, 128 * 96],
      [scan, 128 * 96],
    ] as const) {
      const plain = runStages(nest, [{ nest, steps: [] }], floats, results);
      expect(plain.some((x) => x !== 0 && Number.isFinite(x))).toBe(true);
      for (const steps of nest === scan ? lists.slice(0, 3) : lists)
        expect(runStages(nest, [{ nest, steps }], floats, results), showSteps(steps)).toEqual(plain);
    }
  });

  test("has the same sums in lanes and parts, where they are exact", () => {
    const whole = Float32Array.from({ length: 128 * 96 }, (_, n) => (n * 7919) % 1009);
    const along = sum([i], [k], at([96, i], [1, k]), at([1, i]));
    const nest = nestOf(along);
    const cut = (into: number, whole: number, ...steps: Step[]): Stage[] => {
      const [parts, results] = cutLoop(along, "k0", into, whole);
      return [
        { nest: parts, steps: [...steps, { cut: "k0", into }, units(32)] },
        { nest: results, steps },
      ];
    };
    const exact = runStages(nest, [{ nest, steps: [] }], whole, 128);
    const stages: readonly (readonly Stage[])[] = [
      [{ nest, steps: lanes("k0") }],
      [{ nest, steps: [...lanes("k0", 2), units(8)] }],
      cut(2, 1),
      cut(5, 1),
      cut(3, 4, ...lanes("k0")),
      cut(7, 8, ...lanes("k0", 2)),
    ];
    for (const list of stages) expect(runStages(nest, list, whole, 128)).toEqual(exact);
    expect(exact.some((x) => x > 0)).toBe(true);
  });
});

async function sourceOf(
  f: (x: Tensor) => Tensor,
  shape: readonly number[],
  options: Partial<ShaderOptions>,
): Promise<string> {
  let sources: readonly string[] = [];
  const device = wgslPrinter({ ...gpu, ...options }, undefined, {});
  const load = device.backend.load.bind(device.backend);
  device.backend.load = async (program) => {
    const executable = await load(program);
    sources = executable.sources;
    return executable;
  };
  await tree.evaluate([f(tensor(new Float32Array(shape[0]! * shape[1]!), { shape }))], device);
  return sources[sources.length - 1]!;
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
] as const)("on WebGPU, %s", async (_, f, shape, busy, subgroup, steps) => {
  expect((await sourceOf(f, shape, { busy, subgroup })).split("\n")[1]).toBe(steps);
});

test("on WebGPU, a driver that is not to know how long loops are is told of short ones only", async () => {
  const heads = async (hideLengths: boolean, length: number) => {
    const source = await sourceOf((x) => x.sum(1), [64, length], { busy: 1, hideLengths });
    return source.split("\n").flatMap((line) => /for \(.*\)|let zero_.*;/.exec(line) ?? []);
  };
  expect(await heads(false, 25)).toEqual(["for (var k0 = 0; k0 < 25; k0++)"]);
  expect(await heads(true, 25)).toEqual([
    "let zero_ = point >> 31u;",
    "for (var k0 = 0; k0 < 25 + zero_; k0++)",
  ]);
  expect(await heads(true, 3)).toEqual(["for (var k0 = 0; k0 < 3; k0++)"]);
});
