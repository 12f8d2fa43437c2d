import { describe, expect, test } from "vitest";
import { target as cpu } from "../src/backend/cpu/wasm/heuristics.ts";
import { Expressions } from "../src/compile/expr.ts";
import type { Kernel, Store } from "../src/compile/kernel.ts";
import { nestOf } from "../src/compile/nest.ts";
import type { Program } from "../src/compile/program.ts";
import { verifyKernel } from "../src/compile/verify.ts";
import { add } from "../src/graph/elementwise.ts";
import { tensor, tree } from "../src/index.ts";
import type { Tensor } from "../src/tensor/tensor.ts";
import { canonicalGraphs } from "./graphs.ts";
import { experiment, models, stepOf } from "./models.ts";
import { wgslPrinter } from "./printer.ts";

// Every kernel after all passes: what it uses is there, of the right dtype, and within its value.

function verifyAll({ kernels, values }: Program): void {
  for (const kernel of kernels) verifyKernel(kernel, values);
}

describe.each([
  ["webgpu", {}],
  ["cpu", cpu],
])("kernels for %s", (_, target) => {
  test.each(canonicalGraphs)("of $name", async ({ run }) => {
    let programs = 0;
    const device = wgslPrinter(
      undefined,
      (program) => {
        verifyAll(program);
        programs++;
      },
      { ...target, name: "webgpu" },
    );
    await run(device);
    expect(programs).toBeGreaterThan(0);
  });
});

test.each([...Object.keys(models), "experiment"])("kernels of a step of %s", async (name) => {
  const program = await stepOf(models[name]?.(2) ?? experiment(), { examples: 3, clip: true });
  expect(program.kernels.length).toBeGreaterThan(3);
  verifyAll(program);
});

test("kernels of scans, scatters, parts and what is empty", async () => {
  const device = wgslPrinter(undefined, verifyAll);
  const x = tensor(Float32Array.from({ length: 60 }, (_, i) => i)).reshape([5, 12]) as Tensor;
  const at = tensor([[1, 0, 4, 2, 2, 3, 0, 1, 1, 1, 4, 4]], { dtype: "int32" }).add(0);
  await tree.evaluate(
    [
      x.cumsum(1),
      x.cumsum(0).exp(),
      x.scatterAdd(0, at, x.slice([0, 0], [1, 12])),
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
      accumulators: [{ name: "sum", dtype: "float32", expr }],
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
      accumulators: [{ name: "sum", dtype: "float32", expr: load() }],
      stores: [store(e.apply(add.row, [expr, e.accumulator(0, "float32")], "float32"))],
    });
  }

  function ownResult(): Kernel {
    return sum(e.apply(add.row, [load(), e.accumulator(0, "float32")], "float32"));
  }
});
