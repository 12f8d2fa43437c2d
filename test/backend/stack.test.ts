import { afterAll, beforeAll, describe, expect, type MockInstance, test, vi } from "vitest";
import { printKernel } from "../../src/backend/webgpu/print.ts";
import { sharedInputs, stackedShader } from "../../src/backend/webgpu/stack.ts";
import { kernelsOf, type Program } from "../../src/compile/program.ts";
import {
  compile,
  eye,
  Gang,
  init,
  linalg,
  random,
  relu,
  scalar,
  sort,
  type Tensor,
  tensor,
  topk,
  tree,
  valueAndGrad,
  where,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { backends } from "../devices.ts";
import { gpu, wgslPrinter } from "../printer.ts";

/** What runs have of their own, and what they share. */
type Step = (
  own: Tensor<"float32">,
  shared: Tensor<"float32">,
  rate: Tensor<"number">,
) => Tensor | readonly Tensor[];

const normal = (shape: readonly number[], seed: number) => random.normal(random.key(seed), shape);

/** Kernels of every kind, each with a shape of its own part and of the shared one. */
const steps: Record<string, { own: readonly number[]; shared: readonly number[]; step: Step }> = {
  "a product in tiles": {
    own: [80, 64],
    shared: [64, 72],
    step: (x, w, rate) => relu(x.matmul(w).mul(rate)).add(x.sum(1, { keepdim: true })),
  },
  "a small product, of two that are own": {
    own: [7, 5],
    shared: [3],
    step: (x, b) => x.transpose().matmul(x).sum(0).add(b.sum()),
  },
  "rows, columns and sums of lengths that are no quads": {
    own: [9, 33],
    shared: [33],
    step: (x, b) => [x.add(b).softmax(1), x.mean(0), x.cumsum(1), x.square().sum()],
  },
  "narrow floats, two in a word": {
    own: [3, 7],
    shared: [7],
    step: (x, b) => [x.add(b).astype("float16"), x.mul(b).astype("bfloat16"), x.gt(b)],
  },
  "procedures, and where an index points": {
    own: [6, 6],
    shared: [6],
    step: (x, b) => [
      sort(x, { axis: 1 }).values,
      topk(x, 2).values,
      linalg.cholesky(x.matmul(x.transpose()).add(eye(6))),
      x.at(tensor([5, -1, 0], { dtype: "int32" })).get(),
      where(x.gt(0), x, b),
    ],
  },
};

const values = async (result: Tensor | readonly Tensor[]) =>
  Promise.all([result].flat().map(async (each) => [...(await (each as Tensor).data())]));

const webgpu = (await backends()).includes("webgpu");

describe.runIf(webgpu)("runs at a time", () => {
  let device: Device;
  let dispatch: MockInstance<GPUComputePassEncoder["dispatchWorkgroups"]>;
  const stacked = () => dispatch.mock.calls.filter(([, , runs = 1]) => runs > 1).length;
  beforeAll(async () => {
    device = await init({ backend: "webgpu" });
    dispatch = vi.spyOn(GPUComputePassEncoder.prototype, "dispatchWorkgroups");
  });
  afterAll(() => {
    vi.restoreAllMocks();
    device.dispose();
  });

  /** What a gang gives when it was often enough at it and what was made for it was tried, and how many dispatches of several runs that took. */
  async function often<T>(round: () => Promise<T>): Promise<{ result: T; dispatches: number }> {
    for (let i = 0; i < 9; i++) await round();
    const before = stacked();
    return { result: await round(), dispatches: stacked() - before };
  }

  for (const [name, { own, shared, step }] of Object.entries(steps))
    test(`have the bits that they have alone: ${name}`, async () => {
      const gang = new Gang();
      const common = await tree.evaluate(normal(shared, 9), device);
      const inputs = await Promise.all([0, 1, 2].map((i) => tree.evaluate(normal(own, i), device)));
      const alone = compile(step, { device });
      const expected = [];
      for (const [i, x] of inputs.entries())
        expected.push(await values(await alone(x, common, scalar(i + 0.1))));
      const run = compile(step, { device, gang });
      const { result, dispatches } = await often(() =>
        gang.all(inputs.map((x, i) => async () => values(await run(x, common, scalar(i + 0.1))))),
      );
      expect(result).toEqual(expected);
      expect(dispatches).toBe(run.inspect().kernels);
      // What lies in parts is used alone.
      expect(await values(await alone(inputs[1]!, common, scalar(1.1)))).toEqual(expected[1]);
    });

  test("have the bits that they have alone where the driver rounds otherwise at a time", async () => {
    // Lavapipe did so in this product when it was told how long its sum is; then they go one by one.
    const f = (x: Tensor<"float32">, y: Tensor<"float32">) =>
      x.softmax(2).matmul(y.reshape([4, 10, 2, 32]).permute([0, 2, 1, 3]).reshape([8, 10, 32]));
    const common = await tree.evaluate(normal([4, 10, 64], 9), device);
    const inputs = await Promise.all([0, 1, 2].map((i) => tree.evaluate(normal([8, 10, 10], i), device)));
    const alone = compile(f, { device });
    const expected = [];
    for (const x of inputs) expected.push(await values(await alone(x, common)));
    const gang = new Gang();
    const run = compile(f, { device, gang });
    const { result } = await often(() =>
      gang.all(inputs.map((x) => async () => values(await run(x, common)))),
    );
    expect(result).toEqual(expected);
  });

  test("trainings that end one after the other, with the base in common", async () => {
    const base = nn.sequential({ in: nn.linear(6, 20), norm: nn.layerNorm(20), out: nn.linear(20, 3) });
    const frozenBase = await tree.evaluate(base.init(random.key(1)), device);
    const train = async (i: number, updates: number, gang?: Gang) => {
      const model = lora.inject(base, { r: 2, alpha: 3 + i, targetModules: "all-linear", dropout: 0.1 });
      const optimizer = optim.adamw({ lr: 0.01 * (i + 1), weightDecay: 0.1 * i });
      const start = await tree.evaluate(model.init(random.key(i), frozenBase), device);
      let [own, frozen] = lora.partition(start);
      let state = optimizer.init(own);
      const update = compile(
        (own: nn.Params, frozen: nn.Params, state: optim.OptimizerState, x: Tensor, at: Tensor<"number">) => {
          const [loss, gradients] = valueAndGrad((own: nn.Params) =>
            nn.mseLoss(
              model.apply(tree.combine(own, frozen), x, { training: true, key: random.key(5).fold(at) }),
              x.slice([0, 0], [x.shape[0]!, 3]),
            ),
          )(own);
          const [updates, next] = optimizer.update(gradients, state, own);
          return { own: optim.applyUpdates(own, updates), state: next, loss };
        },
        { donate: [0, 2], device, ...(gang && { gang }) },
      );
      const losses: number[] = [];
      for (let at = 0; at < updates; at++) {
        const x = await tree.evaluate(normal([24, 6], 40 + at), device);
        const after = await update(own, frozen, state, x, scalar(at));
        [own, state] = [after.own, after.state];
        losses.push(await after.loss.item());
      }
      return {
        losses,
        own: await Promise.all(tree.leaves(own).map(async (leaf) => [...(await leaf.data())])),
      };
    };
    const lengths = [12, 12, 4, 12, 7];
    const { result, dispatches } = await often(() => {
      const gang = new Gang();
      return gang.all(lengths.map((updates, i) => () => train(i, updates, gang)));
    });
    for (const [i, updates] of lengths.entries()) expect(result[i]).toEqual(await train(i, updates));
    expect(dispatches).toBeGreaterThan(12);
  });
});

describe("runs at a time", () => {
  const buffer = (bytes = 4) => ({ bytes });
  const [a, b, c, d, e] = [buffer(), buffer(), buffer(), buffer(), buffer()];
  const run = (inputs: readonly { bytes: number }[], outputs: readonly { bytes: number }[]) => ({
    inputs,
    outputs,
    scalars: [],
  });

  test("share what is one buffer for all", () => {
    expect(sharedInputs([run([a, b], [c]), run([a, d], [e])])).toEqual(new Set([0]));
    expect(sharedInputs([run([a, b], [b]), run([a, d], [d])])).toEqual(new Set([0]));
  });

  test("go one by one where a buffer would have two places, or be overwritten by some", () => {
    expect(sharedInputs([run([a, b], [c]), run([b, d], [e])])).toBeUndefined();
    expect(sharedInputs([run([a, b], [c]), run([a, b], [d]), run([a, c], [e])])).toBeUndefined();
    expect(sharedInputs([run([b], [b]), run([d], [e])])).toBeUndefined();
  });

  test("have kernels in which the part is looked up", async () => {
    const programs: Program[] = [];
    const device = wgslPrinter(gpu, (program) => programs.push(program));
    const f = compile((x: Tensor, w: Tensor, rate: Tensor<"number">) => x.mul(w).mul(rate), { device });
    await f(
      tensor([
        [1, 2, 3, 4],
        [5, 6, 7, 8],
      ]),
      tensor([1, 2, 3, 4]),
      scalar(2),
    );
    const program = programs.at(-1)!;
    const shader = printKernel(kernelsOf(program)[0]!, program, gpu);
    expect(stackedShader(shader, program, new Set([1]), 4)!.source).toMatchInlineSnapshot(`
      "// map 2 x 4

      @group(0) @binding(0) var<storage, read> in0: array<f32>;
      @group(0) @binding(1) var<storage, read> in1: array<array<f32, 4>>;
      @group(0) @binding(2) var<storage, read_write> out0: array<array<f32, 8>>;
      @group(0) @binding(3) var<uniform> scalars: array<array<vec4<u32>, 16>, 16>;

      var<private> run_: u32;

      @compute @workgroup_size(64)
      fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        run_ = id.z;
        let point = i32(id.x);
        if (point >= 8) {
          return;
        }
        let i0 = point / 4;
        let i1 = point % 4;
        let n0 = i0 * 4 + i1;
        let x1 = (in0[n0] * in1[run_][i1]) * bitcast<f32>(scalars[run_][0].x);
        out0[run_][n0] = x1;
      }
      "
    `);
  });
});
