import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { target as cpu, schedule as onCpu } from "../../src/backend/cpu/wasm/heuristics.ts";
import { emitKernel, printKernel as printWasm } from "../../src/backend/cpu/wasm/kernel.ts";
import { schedule as onGpu } from "../../src/backend/webgpu/heuristics.ts";
import { printKernel as printWgsl } from "../../src/backend/webgpu/print.ts";
import { Bindings } from "../../src/backend/webgpu/shader.ts";
import { Expressions } from "../../src/compile/expr.ts";
import { type Kernel, type Nest, reads, type Store, writesOf } from "../../src/compile/kernel.ts";
import { accumulate, cutLoop, loopOver, nestOf, write } from "../../src/compile/nest.ts";
import type { Program } from "../../src/compile/program.ts";
import type { Step } from "../../src/compile/steps.ts";
import { add } from "../../src/graph/elementwise.ts";
import { argsort, grad, sort, tensor, tree, where } from "../../src/index.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { undeclaredInWgsl, unsetInWasm } from "../declared.ts";
import { canonicalGraphs } from "../graphs.ts";
import { models, stepOf } from "../models.ts";
import "../wasm-printers.ts";
import { gpu, wgslPrinter } from "../printer.ts";
import { everyNth } from "../thorough.ts";
import { verifyKernel, verifyStages } from "../verify.ts";

// Every kernel after all passes: what it uses is there, of the right dtype, and within its value; its loops run so that sums
// keep their order; and printed code names nothing that is not there yet.

const options = { shared: false, maximum: 1, relaxed: false, tableAt: () => 4096 };

/** Kernels, how they run on both backends, and the code that is printed of them. */
function verifyAll(program: Program, reach = 0): void {
  const { kernels, values } = program;
  for (const kernel of kernels) {
    if (kernel.kind === "loop") {
      verifyAll(kernel.body, reach);
      continue;
    }
    verifyKernel(kernel, values, reach);
    expect(unsetInWasm(printWasm(kernel, emitKernel(kernel, options)))).toEqual([]);
    const wide = [...reads(kernel), ...writesOf(kernel)].some((value) => values[value]!.dtype === "float64");
    if (!wide) expect(undeclaredInWgsl(printWgsl(kernel, program, gpu).source)).toEqual([]);
    if (kernel.kind !== "nest") continue;
    verifyStages(kernel, onCpu(kernel), values, reach);
    const { steps } = onGpu(kernel, new Bindings(kernel, program), gpu);
    verifyStages(kernel, [{ nest: kernel, steps }], values, reach);
  }
}

describe.each([
  ["webgpu", { reach: 0 }],
  ["cpu", cpu],
])("kernels for %s", (_, target) => {
  test.each(everyNth(2, canonicalGraphs))("of $name", async ({ run }) => {
    let programs = 0;
    const device = wgslPrinter(
      undefined,
      (program) => {
        verifyAll(program, target.reach);
        programs++;
      },
      { ...target, name: "webgpu" },
    );
    await run(device);
    expect(programs).toBeGreaterThan(0);
  });
});

test.each(everyNth(2, Object.keys(models)))("kernels of a step of %s", async (name) => {
  const program = await stepOf(models[name]!(2), { examples: 3, clip: true });
  expect(program.kernels.length).toBeGreaterThan(3);
  verifyAll(program);
});

test("kernels of scans, scatters, parts and what is empty", async () => {
  const device = wgslPrinter(undefined, (program) => verifyAll(program));
  const x = tensor(Float32Array.from({ length: 60 }, (_, i) => i)).reshape([5, 12]) as Tensor;
  const at = tensor([[1, 0, 4, 2, 2, 3, 0, 1, 1, 1, 4, 4]], { dtype: "int32" }).add(0);
  await tree.evaluate(
    [
      x.cumsum(1),
      x.cumsum(0).exp(),
      x.scatterAdd(0, at, x.slice([0, 0], [1, 12])),
      grad((x: Tensor) => sort(x, { axis: 0 }).values.square().sum())(x),
      argsort(x.expand([300, 5, 12]).reshape([3, 6000])),
      x.gather(0, at),
      x.argmax(1),
      x.slice([2, 0], [2, 12]).sum(0),
      x
        .pad([
          [1, 2],
          [0, 3],
        ])
        .flip(1),
      x.matmul(x.transpose()).softmax(0),
    ],
    device,
  );
});

test("kernels of random graphs", async () => {
  const step = fc.record({ op: fc.nat(10), of: fc.nat(), and: fc.nat() });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 2, maxLength: 14 }),
      fc.constantFrom([7, 5], [64, 128], [2048, 4]),
      async (steps, shape) => {
        const [rows, columns] = shape as [number, number];
        const at = tensor([[1], [0], [4], [2], [2], [3], [0]], { dtype: "int32" });
        const made = [1, 2].map((n) => tensor(new Float32Array(rows * columns).fill(n), { shape }) as Tensor);
        for (const { op, of, and } of steps) {
          const [x, y] = [made[of % made.length]!, made[and % made.length]!];
          const index = at.slice([0, 0], [Math.min(7, rows), 1]).expand([Math.min(7, rows), columns]);
          const from = y.slice([0, 0], [Math.min(7, rows), columns]);
          made.push(
            [
              () => x.add(y),
              () => x.mul(y).exp(),
              () => x.sub(x.mean(1, { keepdim: true })),
              () => x.softmax(1),
              () => x.sum(0, { keepdim: true }).add(y),
              () => x.cumsum(and % 2),
              () => x.scatterAdd(0, index.minimum(rows - 1), from),
              () => x.reshape([columns, rows]).transpose().flip(1),
              () => x.matmul(y.transpose()).matmul(y),
              () => where(x.gt(y), x, 0.5),
              () =>
                x
                  .sum()
                  .add(y.amax(1, { keepdim: true }))
                  .mul(x),
            ][op]!(),
          );
        }
        await tree.evaluate(
          made.slice(-3),
          wgslPrinter(undefined, (program) => verifyAll(program)),
        );
      },
    ),
    { numRuns: 20 },
  );
});

describe("steps are refused", () => {
  const e = new Expressions();
  const [i, k] = [
    { name: "i0", extent: 8 },
    { name: "k0", extent: 64 },
  ];
  const values = [
    { id: 0, dtype: "float32", size: 512 },
    { id: 1, dtype: "float32", size: 512 },
  ] as const;
  const index = e.combine([
    [64, e.variable("i0", 8)],
    [1, e.variable("k0", 64)],
  ]);
  const expr = e.load(0, index, "float32");
  const accumulators = [{ index: 0, name: "sum", dtype: "float32", expr }] as const;
  const result = e.accumulator(0, "float32");
  const loop = {
    grid: [i],
    inner: [k],
    accumulators,
    stores: [{ value: 1, index: e.variable("i0", 8), expr: result }],
  };
  const sum = nestOf(loop);
  const down = e.combine([
    [8, e.variable("k0", 64)],
    [1, e.variable("i0", 8)],
  ]);
  const scan: Nest = {
    kind: "nest",
    grid: [i],
    body: [loopOver([k], accumulate(accumulators), write([{ value: 1, index: down, expr: result }]))],
  };
  const check = (nest: Nest, ...steps: readonly Step[]) => verifyStages(nest, [{ nest, steps }], values);

  test("unless sums keep their order", () => {
    check(sum, { split: "k0", by: 4, as: "lanes" }, { split: "i0", by: 2, as: "units" });
    check(scan, { split: "i0", by: 4, as: "lanes" });
    for (const stages of [onCpu(sum), onCpu(scan)])
      expect(() => verifyStages(sum, stages, values)).not.toThrow();
  });

  test.each([
    [
      "a loop that is not there",
      () => check(sum, { split: "k1", by: 4, as: "lanes" }),
      /k1 by 4 as lanes is of a loop/,
    ],
    ["threads that share a sum", () => check(sum, { split: "k0", by: 4, as: "units" }), /depend on threads/],
    [
      "lanes along what runs up",
      () => check(scan, { split: "k0", by: 4, as: "lanes" }),
      /takes apart what is done in order/,
    ],
    [
      "lanes and copies of what is done in order",
      () => check(scan, { split: "i0", by: 4, as: "lanes" }, { split: "i0", by: 2, as: "copies" }),
      /takes apart what is done in order/,
    ],
    ["copies beyond the end", () => check(sum, { split: "i0", by: 3, as: "copies" }), /runs beyond the end/],
    [
      "lanes that are stored apart",
      () => {
        const apart = {
          ...loop,
          stores: [{ value: 1, index: e.combine([[2, e.variable("i0", 8)]]), expr: result }],
        };
        check(nestOf(apart), { split: "i0", by: 4, as: "lanes" });
      },
      /does not lie side by side/,
    ],
    ["a cut without parts", () => check(sum, { cut: "k0", into: 4 }), /parts that are not kept/],
    [
      "float32 for a number of elements that no mask has",
      () => check(sum, { near: 1000 }),
      /is no power of two/,
    ],
    ["a shared grid", () => check(sum, { split: "i0", by: 64, as: "workgroup" }), /one point's own/],
    [
      "parts that nobody combines",
      () => verifyStages(sum, [{ nest: cutLoop(loop, "k0", 4)[0], steps: [] }], values),
      /write other values/,
    ],
    [
      "lanes over the end of a part",
      () => {
        const [parts, results] = cutLoop(loop, "k0", 3);
        const steps: Step[] = [{ split: "k0", by: 4, as: "lanes" }];
        verifyStages(
          sum,
          [
            { nest: parts, steps },
            { nest: results, steps: [] },
          ],
          values,
        );
      },
      /elements of two parts together/,
    ],
    [
      "parts that are longer than their loop",
      () => {
        const [{ body, ...parts }, results] = cutLoop(loop, "k0", 4);
        const long = body.map((s) => (s.kind === "for" ? { ...s, share: { ...s.share!, length: 17 } } : s));
        verifyStages(
          sum,
          [
            { nest: { ...parts, body: long }, steps: [] },
            { nest: results, steps: [] },
          ],
          values,
        );
      },
      /parts of 17 do not fit/,
    ],
    [
      "parts that are combined in another number",
      () =>
        verifyStages(
          sum,
          [
            { nest: cutLoop(loop, "k0", 4)[0], steps: [] },
            { nest: cutLoop(loop, "k0", 8)[1], steps: [] },
          ],
          values,
        ),
      /parts of part of 4 are combined by part of 8/,
    ],
  ])("for %s", (_, run, message) => {
    expect(run).toThrow(message);
  });
});

describe("code is refused", () => {
  test("in WGSL that uses what is declared elsewhere, or later", () => {
    const code = (line: string) =>
      `fn f(x: f32) -> f32 {\n  for (var k = 0; k < 4; k++) {\n    let y = x;\n  }\n  ${line}\n}`;
    expect(undeclaredInWgsl(code("return x;"))).toEqual([]);
    expect(undeclaredInWgsl(code("return y + x6;"))).toEqual(["y", "x6"]);
    expect(undeclaredInWgsl(code("return f32(k);"))).toEqual(["k"]);
  });

  test("but not of results of which one is a constant in another", () => {
    const e = new Expressions();
    const i = { name: "i0", extent: 8 };
    const at = e.variable("i0", 8);
    const half = e.constant(0.5, "float32");
    const sum = e.apply(add.row, [half, e.load(0, at, "float32")], "float32");
    const stores = [sum, half].map((expr, n): Store => ({ value: n + 1, index: at, expr }));
    const values = [0, 1, 2].map((id) => ({ id, dtype: "float32", size: 8 }) as const);
    verifyAll({
      kernels: [nestOf({ grid: [i], inner: [], accumulators: [], stores })],
      values,
      places: values.map(({ id }) => ({ kind: "slot", index: id, offset: 0 })),
      slots: values.map(() => 32),
      inputs: [],
      outputs: [],
      replaces: [],
      scalars: [],
    });
  });

  test("in WebAssembly that reads what was not set", () => {
    expect(unsetInWasm("function f(a, b) {\n  n0 = a + 1\n  n1 = n2 * n0\n}")).toEqual(["n2"]);
  });
});

describe("a kernel is refused", () => {
  const e = new Expressions();
  const i = { name: "i0", extent: 8 };
  const k = { name: "k0", extent: 4 };
  const at = e.variable("i0", 8);
  const values = [
    { id: 0, dtype: "float32", size: 8 },
    { id: 1, dtype: "float32", size: 8 },
  ] as const;
  const load = (index = at) => e.load(0, index, "float32");
  const store = (expr = load(), index = at): Store => ({ value: 1, index, expr });
  const map = (...stores: Store[]): Kernel => nestOf({ grid: [i], inner: [], accumulators: [], stores });
  const sum = (expr = load(), result = 0): Kernel =>
    nestOf({
      grid: [i],
      inner: [k],
      accumulators: [{ index: 0, name: "sum", dtype: "float32", expr }],
      stores: [store(e.accumulator(result, "float32"))],
    });

  test("unless all is right", () => {
    verifyKernel(map(store()), values);
    verifyKernel(sum(), values);
    const guarded = e.select(e.inRange(e.combine([[1, at]], -2), 6), e.combine([[1, at]], -2), e.index(0));
    verifyKernel(map(store(load(guarded))), values);
  });

  test.each([
    ["a variable without a loop", map(store(load(e.variable("k0", 4)))), /k0 of 4 has no loop/],
    ["another extent", map(store(load(e.variable("i0", 4)))), /i0 of 4 has no loop of that extent/],
    ["a loop variable after its loop", sumThen(load(e.variable("k0", 4))), /k0 of 4 has no loop/],
    ["a result that is not there", sum(load(), 1), /result 1 as float32 is not there/],
    [
      "a load beyond its value",
      map(store(load(e.combine([[1, at]], 1)))),
      /a load of value 0 may leave its 8/,
    ],
    [
      "a store before its value",
      map(store(load(), e.combine([[1, at]], -1))),
      /a store of value 1 may leave/,
    ],
    ["another dtype", map(store(e.cast(load(), "int32"))), /a store of value 1 is int32 where/],
    ["a value that does not exist", map({ ...store(), value: 7 }), /value 7 does not exist/],
    [
      "two loops of one name",
      nestOf({ grid: [i, i], inner: [], accumulators: [], stores: [store()] }),
      /two loops have one name/,
    ],
    ["a result before its pass", ownResult(), /result 0 as float32 is not there/],
  ])("for %s", (_, kernel, message) => {
    expect(() => verifyKernel(kernel, values)).toThrow(message);
  });

  function sumThen(expr: ReturnType<typeof load>): Kernel {
    return nestOf({
      grid: [i],
      inner: [k],
      accumulators: [{ index: 0, name: "sum", dtype: "float32", expr: load() }],
      stores: [store(e.apply(add.row, [expr, e.accumulator(0, "float32")], "float32"))],
    });
  }

  function ownResult(): Kernel {
    return sum(e.apply(add.row, [load(), e.accumulator(0, "float32")], "float32"));
  }
});
