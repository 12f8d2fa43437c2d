import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { openCpu } from "../../src/backend/cpu/backend.ts";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { generator } from "../../src/base/generator.ts";
import { numel } from "../../src/base/shape.ts";
import { referenceValues } from "../../src/experiments/reference.ts";

import * as gauge from "../../src/gauge/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { applyUpdates, type OptimizerState } from "../../src/optim/index.ts";
import { Device } from "../../src/runtime/device.ts";
import { compile } from "../../src/tensor/compile.ts";
import { tensor } from "../../src/tensor/creation.ts";
import { valueAndGrad } from "../../src/tensor/grad.ts";
import * as random from "../../src/tensor/random.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import * as tree from "../../src/tensor/tree.ts";
import { type BackendName, describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";
import { wgslPrinter } from "../printer.ts";
import { casesOn, runs, thorough } from "../thorough.ts";

// Products with few results and a long inner axis, split along it. Only GPUs want that: here backends are told to.

/** A device on which every product that can be split is. */
async function openSplitting(name: BackendName): Promise<Device> {
  const backend = name === "cpu" ? openCpu() : await openGpu();
  const target = { ...backend.target, busyResults: Infinity, sumsVectorProducts: false };
  return new Device(Object.defineProperty(backend, "target", { value: target }), 2 ** 32);
}

/** The adapter in the belief that it is a large GPU, whose tiles have slices. */
async function openGpu(): Promise<Backend> {
  const opened = await openDevice();
  if ("reason" in opened) throw new Error(opened.reason);
  const adapter = { ...opened.adapter, software: false };
  return new WebGpuBackend({ ...opened, adapter }, { matmul: "shared", tune: false });
}

function values(shape: readonly number[], seed: number): Tensor {
  const next = generator(seed);
  const length = numel(shape);
  return tensor(
    Float32Array.from({ length }, () => next() * 2 - 1),
    { shape },
  );
}

describeBackends("split products", (name) => {
  let device: Device;
  beforeAll(async () => {
    device = await openSplitting(name);
  });
  afterAll(() => device.dispose());

  /** Kernels that are products over a part, by the lines of the schedule. */
  const splitOf = ({ inspect }: { inspect(): { readonly schedule: string } }) =>
    inspect()
      .schedule.split("\n")
      .filter((line) => /: matmul \d+ of /.test(line));

  longOn(name)("the factors of LoRA: forwards and both gradients, with their epilogues", async () => {
    const [x, a, b] = [values([512, 640], 1), values([8, 640], 2), values([36, 8], 3)];
    const build = (x: Tensor, a: Tensor, b: Tensor) =>
      valueAndGrad((p: { a: Tensor; b: Tensor }) =>
        x.matmul(p.a.transpose()).matmul(p.b.transpose()).mul(0.25).tanh().sum(),
      )({ a, b })[1];
    const step = compile(
      (x: Tensor, a: Tensor, b: Tensor) => {
        const g = build(x, a, b);
        return { a: a.sub(g.a.mul(0.5)), b: b.sub(g.b.mul(0.5)) };
      },
      { device },
    );
    const found = await step(x, a, b);
    const g = build(x, a, b);
    const expected = await referenceValues([a.sub(g.a.mul(0.5)), b.sub(g.b.mul(0.5))]);
    for (const [i, result] of [found.a, found.b].entries()) {
      const size = Math.max(...expected[i]!.map(Math.abs));
      (await result.data()).forEach((value, at) => {
        expect(Math.abs(value - expected[i]![at]!) / size).toBeLessThan(2e-6);
      });
    }
    expect(splitOf(step)).toHaveLength(3);
    // The sum over the parts carries the update: nothing is stored in between.
    expect(step.inspect().schedule).toContain("reduce sum over 4 for 5120");
    expect(step.inspect().kernels).toBe(8);
  });

  const shape = fc.record({
    batch: fc.constantFrom([], [3], [2, 2]),
    rows: fc.integer({ min: 1, max: 9 }),
    columns: fc.integer({ min: 1, max: 9 }),
    inner: fc.integer({ min: 512, max: 1100 }),
    transposeA: fc.boolean(),
    transposeB: fc.boolean(),
    transposeResult: fc.boolean(),
    seed: fc.nat(),
  });
  test("any shape, batched or not, each operand and the result as it is or transposed", {
    timeout: 240_000,
  }, async () => {
    await fc.assert(
      fc.asyncProperty(shape, async ({ batch, rows, columns, inner, seed, ...transposed }) => {
        const [shapeA, shapeB] = [
          transposed.transposeA ? [inner, rows] : [rows, inner],
          transposed.transposeB ? [columns, inner] : [inner, columns],
        ];
        const [a, b] = [values([...batch, ...shapeA], seed), values([...batch, ...shapeB], seed + 1)];
        const build = (x: Tensor, y: Tensor): Tensor => {
          const z = (transposed.transposeA ? x.transpose() : x).matmul(
            transposed.transposeB ? y.transpose() : y,
          );
          return (transposed.transposeResult ? z.transpose() : z).add(1);
        };
        const f = compile(build, { device });
        const found = await (await f(a, b)).data();
        expect(splitOf(f)).toHaveLength(1);
        const [expected] = await referenceValues([build(a, b)]);
        const error = Math.max(...found.map((value, i) => Math.abs(value - expected![i]!)));
        expect(error / Math.sqrt(inner)).toBeLessThan(1e-6);
      }),
      { numRuns: name === "cpu" ? runs(100) : thorough ? 12 : 1 },
    );
  });

  test.each(casesOn(name, [], [1, 4]))(
    "a gauge by powers of two still changes no bit, %i steps",
    {
      timeout: 240_000,
    },
    async (steps) => {
      const g = gauge.of({ a: 8, b: 0.25 });
      const recipe: gauge.Recipe = {
        r: 2,
        alpha: 3,
        optimizer: { name: "adamw", lr: 0.02, weightDecay: 0.1 },
        groups: { B: { lr: 0.1 } },
      };
      const base = nn.linear(520, 3);
      const [x, y] = [values([600, 520], 4), values([600, 3], 5)];
      const layer = (own: gauge.Recipe) => lora.inject(base, { ...own, targetModules: "all-linear" });
      const fresh = layer(recipe).init(random.key(1));
      const start: nn.Params = await tree.evaluate(
        tree.map(fresh, (leaf, path) =>
          lora.roleOf(path) === "B" ? random.normal(random.key(2), leaf.shape) : leaf,
        ),
        device,
      );
      const train = async (own: gauge.Recipe, from: nn.Params) => {
        const model = layer(own);
        const optimizer = gauge.optimizerOf(own);
        let [adapter, frozen] = lora.partition(from);
        let state = optimizer.init(adapter);
        const step = compile(
          (p: nn.Params, s: OptimizerState) => {
            const [loss, gradients] = valueAndGrad((trained: nn.Params) =>
              nn.mseLoss(model.apply(tree.combine<nn.Params>(trained, frozen), x), y),
            )(p);
            const [updates, next] = optimizer.update(gradients, s, p);
            return { adapter: applyUpdates(p, updates), state: next, loss };
          },
          { device },
        );
        const losses: number[] = [];
        for (let i = 0; i < steps; i++) {
          const result = await step(adapter, state);
          ({ adapter, state } = result);
          losses.push(await result.loss.item());
        }
        // x W0^T and x A^T forwards, both gradients backwards.
        expect(splitOf(step)).toHaveLength(4);
        return { losses, adapter };
      };
      const reference = await train(recipe, start);
      const partner = await train(gauge.apply(g, recipe), gauge.applyParams(g, start));
      expect(partner.losses).toEqual(reference.losses);
      expect(new Set(reference.losses).size).toBe(steps);
      const scaled = gauge.applyParams(g, reference.adapter);
      for (const [i, leaf] of tree.leaves(partner.adapter).entries())
        expect(await leaf.data()).toEqual(await tree.leaves(scaled)[i]!.data());
    },
  );
});

describe("which products are split", () => {
  const scheduleOf = async (m: number, k: number, n: number) => {
    const device = wgslPrinter();
    const f = compile((x: Tensor, y: Tensor) => x.matmul(y), { device });
    await f(values([m, k], 1), values([k, n], 2));
    return f.inspect().schedule.match(/(?<=: ).*/g);
  };

  test("few results and a long inner axis, in parts of 128 at least", async () => {
    expect(await scheduleOf(256, 1024, 8)).toEqual([
      "matmul 8 of 256 x 8 over 128",
      "reduce sum over 8 for 2048",
    ]);
    expect(await scheduleOf(8, 2050, 1024)).toEqual([
      "matmul 4 of 8 x 1024 over 513",
      "reduce sum over 4 for 8192",
    ]);
  });

  test("never with many results or a short inner axis", async () => {
    expect(await scheduleOf(256, 1024, 128)).toEqual(["matmul 256 x 128 over 1024"]);
    expect(await scheduleOf(8, 256, 1024)).toEqual(["matmul 8 x 1024 over 256"]);
  });

  test("never on the CPU and on software drivers", () => {
    expect(openCpu({ threads: 1 }).target.busyResults).toBe(0);
  });
});
