import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { canonicalise } from "../../src/compile/canonical.ts";
import { compileGraph } from "../../src/compile/compile.ts";
import { type Cost, intensity, kernelCost, programCost } from "../../src/compile/cost.ts";
import type { Program } from "../../src/compile/program.ts";
import type { Target } from "../../src/compile/target.ts";
import { makeNode, type Node } from "../../src/graph/node.ts";
import {
  chromeTrace,
  compile,
  type Device,
  init,
  ones,
  profile,
  profileTable,
  random,
  Tensor,
  where,
} from "../../src/index.ts";
import { describeBackends } from "../devices.ts";

const target: Target = {
  name: "test",
  floats: ["float32", "float64"],
  maxBindings: 64,
  maxBuffer: Infinity,
  longReduction: Infinity,
  fewThreads: 0,
  busyResults: 0,
  sumsVectorProducts: true,
  sharesRows: false,
  maxRow: 0,
  reach: 0,
};

/** The program of a function of float32 tensors of these shapes. */
function programOf(f: (...inputs: Tensor[]) => Tensor | Tensor[], ...shapes: number[][]): Program {
  const inputs: Node[] = shapes.map((shape, index) =>
    makeNode({ kind: "input", index }, [], shape, "float32"),
  );
  const outputs = [f(...inputs.map((node) => new Tensor(node)))].flat().map(({ node }) => node);
  const { build, leaves } = canonicalise(outputs, false);
  return compileGraph(build(), { target, inputs: leaves, donated: new Set() });
}

function costOf(...args: Parameters<typeof programOf>): Cost & { kernels: number } {
  const program = programOf(...args);
  return { kernels: program.kernels.length, ...programCost(program) };
}

describe("the cost of a kernel", () => {
  test("elementwise: one operation per element, every element moved once", () => {
    const cost = costOf((x, y) => x!.add(y!).mul(2), [10, 20], [10, 20]);
    expect(cost).toEqual({ kernels: 1, flops: 400, bytesRead: 1600, bytesWritten: 800 });
    expect(intensity(cost)).toBeCloseTo(400 / 2400);
  });

  test("functions cost what the op table says; comparisons and selections nothing", () => {
    expect(costOf((x) => x!.exp(), [100]).flops).toBe(1200);
    expect(costOf((x) => where(x!.gt(0), x!, 0), [100]).flops).toBe(0);
  });

  test("an operand that is stretched is loaded once", () => {
    expect(costOf((x, b) => x!.add(b!), [10, 20], [20]).bytesRead).toBe(4 * (200 + 20));
    expect(costOf((x, b) => x!.add(b!), [10, 20], [10, 1]).bytesRead).toBe(4 * (200 + 10));
  });

  test("a part that two results share is computed and loaded once", () => {
    const cost = costOf((x) => [x!.square().add(1), x!.square().sub(1)], [50]);
    expect(cost).toEqual({ kernels: 1, flops: 150, bytesRead: 200, bytesWritten: 400 });
  });

  test("what does not depend on the inner axis is computed once for each row", () => {
    const cost = costOf((x, b) => x!.mul(b!.exp()), [10, 20], [10, 1]);
    expect(cost.flops).toBe(200 + 12 * 10);
  });

  test("a slice reads what it takes", () => {
    expect(costOf((x) => x!.slice([0], [10]).neg(), [1000]).bytesRead).toBe(40);
  });

  test("a reduction adds each addend", () => {
    const cost = costOf((x) => x!.square().sum(1), [8, 100]);
    expect(cost).toEqual({ kernels: 1, flops: 1600, bytesRead: 3200, bytesWritten: 32 });
  });

  test("a matmul multiplies and adds; its epilogue comes on top", () => {
    const plain = costOf((a, b) => a!.matmul(b!), [16, 32], [32, 8]);
    expect(plain.flops).toBe(2 * 16 * 32 * 8);
    expect(plain.bytesRead).toBe(4 * (16 * 32 + 32 * 8));
    expect(plain.bytesWritten).toBe(4 * 16 * 8);
    const biased = costOf((a, b, c) => a!.matmul(b!).add(c!), [16, 32], [32, 8], [8]);
    expect(biased).toEqual({
      kernels: 1,
      flops: plain.flops + 16 * 8,
      bytesRead: plain.bytesRead + 32,
      bytesWritten: plain.bytesWritten,
    });
  });

  test("batches multiply", () => {
    const one = costOf((a, b) => a!.matmul(b!), [16, 32], [32, 8]);
    const many = costOf((a, b) => a!.matmul(b!), [5, 16, 32], [5, 32, 8]);
    expect(many).toEqual({
      kernels: 1,
      flops: 5 * one.flops,
      bytesRead: 5 * one.bytesRead,
      bytesWritten: 5 * one.bytesWritten,
    });
  });

  test("a running sum adds each element", () => {
    expect(costOf((x) => x!.cumsum(0), [64])).toMatchObject({ flops: 64, bytesRead: 256, bytesWritten: 256 });
  });

  test("the cost of a program is that of its kernels", () => {
    const program = programOf((x) => x!.softmax(1), [4, 8]);
    const costs = program.kernels.map((kernel) => kernelCost(kernel, program.values));
    expect(costs.length).toBeGreaterThan(0);
    expect(programCost(program).flops).toBe(costs.reduce((sum, { flops }) => sum + flops, 0));
  });
});

describeBackends("a profile", (backend) => {
  let device: Device;
  beforeEach(async () => {
    device = await init({ backend });
  });
  afterEach(() => device.dispose());

  test("has every kernel of what ran, with its times and cost", async () => {
    const x = random.normal(random.key(1), [64, 64]);
    await x.data();
    const step = compile((a: Tensor) => a.matmul(a).add(1).sum());
    const expected = await (await step(x)).item();
    let result = Number.NaN;
    const seen = await profile(async () => {
      await step(x);
      result = await (await step(x)).item();
    });
    expect(result).toBe(expected);
    expect(seen.backend).toBe(backend);
    const kernels = step.inspect().kernels;
    expect(seen.kernels.map(({ program, kernel }) => `${program}.${kernel}`)).toEqual(
      Array.from({ length: 2 * kernels }, (_, i) => `0.${i % kernels}`),
    );
    expect(seen.kernels[0]).toMatchObject({ name: "matmul 64 x 64 over 64", flops: 2 * 64 ** 3 });
    for (const { start, milliseconds } of seen.kernels) {
      expect(start).toBeGreaterThanOrEqual(0);
      expect(milliseconds).toBeGreaterThanOrEqual(0);
    }
    expect(seen.host.map(({ kind }) => kind)).toEqual(["submit", "submit"]);
    expect(seen.milliseconds).toBeGreaterThan(0);
  });

  test("sees lazy values, and their compilation", async () => {
    const seen = await profile(() => ones([7, 9]).mul(3).exp().data());
    expect(seen.kernels.map(({ name }) => name)).toEqual(["map 63"]);
    expect(seen.host.map(({ kind }) => kind)).toEqual(["compile", "submit"]);
  });

  test("prints a table of kernels, the slowest first", async () => {
    const step = compile((a: Tensor) => a.matmul(a).softmax(1));
    const x = ones([32, 32]);
    await step(x);
    const seen = await profile(() => step(x));
    const text = profileTable(seen);
    expect(text).toContain(`${seen.kernels.length} kernel runs took`);
    for (const { name } of seen.kernels) expect(text).toContain(name);
    const shares = [...text.matchAll(/^ *([\d.]+)% /gm)].map((match) => Number(match[1]));
    expect(shares).toHaveLength(seen.kernels.length);
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
  });

  test("of nothing is empty", async () => {
    const seen = await profile(() => {});
    expect(seen.kernels).toEqual([]);
    expect(profileTable(seen)).toContain("0 kernel runs");
  });

  test("gives a trace that the viewers of Chrome's format read", async () => {
    const seen = await profile(() => ones([8, 8]).softmax(1).data());
    const { traceEvents } = JSON.parse(JSON.stringify(chromeTrace(seen))) as ReturnType<typeof chromeTrace>;
    const work = traceEvents.filter(({ ph }) => ph === "X");
    expect(work.filter(({ cat }) => cat === "kernel")).toHaveLength(seen.kernels.length);
    for (const event of work) {
      expect(event).toMatchObject({
        name: expect.any(String),
        ts: expect.any(Number),
        dur: expect.any(Number),
        pid: 1,
        tid: event.cat === "kernel" ? 2 : 1,
      });
    }
    const names = traceEvents.filter(({ ph }) => ph === "M").map(({ name }) => name);
    expect(names).toEqual(["process_name", "thread_name", "thread_name"]);
  });

  test("ends when its function throws, and refuses to nest", async () => {
    await expect(profile(() => Promise.reject(new Error("mine")))).rejects.toThrow("mine");
    await expect(profile(() => profile(() => {}))).rejects.toThrow("being profiled already");
    await expect(profile(() => {})).resolves.toBeDefined();
  });
});
