import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Pool } from "../../src/backend/cpu/pool.ts";
import { control, listed } from "../../src/backend/cpu/pool-worker.ts";
import { WasmBackend } from "../../src/backend/cpu/wasm.ts";
import {
  compile,
  Gang,
  init,
  random,
  scalar,
  scan,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
  zeros,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import { Device } from "../../src/runtime/device.ts";
import { describeBackends } from "../devices.ts";
import { runs } from "../thorough.ts";

/** A training of a small adapted model: what differs between those of a gang is in numbers, or in sizes too. */
interface Run {
  readonly width: number;
  readonly r: number;
  readonly alpha: number;
  readonly lr: number;
  readonly seed: number;
  readonly steps: number;
}

/** The bits of the losses and of what was trained. */
async function bitsOf(
  { width, r, alpha, lr, seed, steps }: Run,
  frozen: nn.Params,
  device: Device,
  gang: Gang | undefined,
) {
  const base = nn.sequential({
    in: nn.linear(6, width),
    norm: nn.layerNorm(width),
    out: nn.linear(width, 3),
  });
  const model = lora.inject(base, { r, alpha, targetModules: "all-linear", dropout: 0.1 });
  const optimizer = optim.adamw({ lr, weightDecay: 0.01 * seed });
  const step = compile(
    (own: nn.Params, state: optim.OptimizerState, x: Tensor, at: Tensor<"number">) => {
      const [loss, gradients] = valueAndGrad((own: nn.Params) => {
        const context = { training: true, key: random.key(seed).fold(at) };
        return nn.mseLoss(
          model.apply(tree.combine(own, frozen), x, context),
          x.slice([0, 0], [x.shape[0]!, 3]),
        );
      })(own);
      const [updates, next] = optimizer.update(gradients, state, own);
      return { own: optim.applyUpdates(own, updates), state: next, loss };
    },
    { donate: [0, 1], device, ...(gang && { gang }) },
  );
  const start = await tree.evaluate(model.init(random.key(seed), frozen), device);
  let [own] = lora.partition(start);
  let state = optimizer.init(own);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const x = await tree.evaluate(random.normal(random.key(7).fold(i), [40, 6]), device);
    const after = await step(own, state, x, scalar(i));
    [own, state] = [after.own, after.state];
    losses.push(await after.loss.item());
  }
  const values = await Promise.all(tree.leaves(own).map(async (leaf) => [...(await leaf.data())]));
  return { losses, values };
}

const run: fc.Arbitrary<Omit<Run, "width">> = fc.record({
  r: fc.constantFrom(1, 2, 3),
  alpha: fc.double({ min: 0.5, max: 64, noNaN: true }),
  lr: fc.double({ min: 1e-4, max: 0.3, noNaN: true }),
  seed: fc.nat({ max: 9 }),
  steps: fc.integer({ min: 1, max: 4 }),
});

/** The law: runs of a gang have the bits that they have alone, whatever they are and whenever they end. */
async function keepsBits(device: Device, many: number, gangOf: (runs: number) => fc.Arbitrary<Run[]>) {
  const frozen = new Map<number, nn.Params>();
  for (const width of [4, 9])
    frozen.set(
      width,
      await tree.evaluate(
        nn
          .sequential({ in: nn.linear(6, width), norm: nn.layerNorm(width), out: nn.linear(width, 3) })
          .init(random.key(1)),
        device,
      ),
    );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 8 }).chain(gangOf), async (all) => {
      const alone = [];
      for (const each of all) alone.push(await bitsOf(each, frozen.get(each.width)!, device, undefined));
      const gang = new Gang();
      const together = await gang.all(
        all.map((each) => () => bitsOf(each, frozen.get(each.width)!, device, gang)),
      );
      expect(together).toEqual(alone);
    }),
    { numRuns: many },
  );
}

/** Makes the calling thread wait, wherever runs are shared out, until a worker has one: else it may have done all before one comes. */
function waitForWorkers({ memory }: WasmBackend): () => number {
  const { run } = Pool.prototype;
  const words = new Int32Array(memory.memory.buffer, 0, control.next + 2 * control.apart);
  let waited = 0;
  vi.spyOn(Pool.prototype, "run").mockImplementation(function (this: Pool, job, work, own) {
    const share = Math.ceil(job.units / this.threads);
    let first = job.module === listed;
    run.call(
      this,
      job,
      (...of) => {
        const until = performance.now() + 60_000;
        while (first && Atomics.load(words, control.next + control.apart) === share)
          if (performance.now() > until) throw new Error("no worker came");
        waited += Number(first);
        first = false;
        work(...of);
      },
      own,
    );
  });
  return () => waited;
}

const alike = (count: number) =>
  fc
    .tuple(
      run,
      fc.array(
        fc.record({ alpha: fc.double({ min: 0.5, max: 64, noNaN: true }), seed: fc.nat({ max: 9 }) }),
        {
          minLength: count,
          maxLength: count,
        },
      ),
    )
    .map(([first, others]) => others.map((other) => ({ ...first, width: 4, ...other })));

const mixed = (count: number) =>
  fc.array(
    fc.tuple(run, fc.constantFrom(4, 9)).map(([each, width]) => ({ ...each, width })),
    { minLength: count, maxLength: count },
  );

describeBackends("gang", (backend) => {
  let device: Device;
  let shared = () => 0;
  beforeAll(async () => {
    const cpu = new WasmBackend({ threads: 3, worthSharing: 0 });
    device = backend === "cpu" ? new Device(cpu, 2 ** 28) : await init({ backend });
    if (backend === "cpu") shared = waitForWorkers(cpu);
  });
  afterAll(() => {
    vi.restoreAllMocks();
    device.dispose();
  });

  test("runs of one shape have the bits that they have alone", () =>
    keepsBits(device, backend === "cpu" ? runs(6) : 1, alike));

  test.runIf(backend === "cpu")("so have runs of any shapes and lengths", () =>
    keepsBits(device, runs(6), mixed),
  );

  test.runIf(backend === "cpu")("workers had some of them", () => expect(shared()).toBeGreaterThan(0));

  test("a task that throws stops no other", async () => {
    const gang = new Gang();
    const step = compile((x: Tensor) => x.mul(2), { donate: [0], device, gang });
    const ended: number[] = [];
    const task = (n: number) => async () => {
      let x: Tensor = await tree.evaluate(tensor([n]), device);
      for (let i = 0; i < 4; i++) {
        if (n === 2 && i === 2) throw new Error("it diverged");
        x = await step(x);
      }
      ended.push(await x.item());
    };
    await expect(gang.all([1, 2, 3].map(task))).rejects.toThrow("it diverged");
    expect(ended).toEqual([16, 48]);
  });

  test("a task that does something else is not waited for, and a call that is refused is the only one", async () => {
    const gang = new Gang();
    const step = compile((x: Tensor) => x.add(1), { donate: [0], device, gang });
    let free = () => {};
    const turn = new Promise<void>((resolve) => {
      free = resolve;
    });
    const one = async () => {
      const x = await tree.evaluate(zeros([3]), device);
      const y = await step(x); // while the other one waits for it
      free();
      await expect(step(x)).rejects.toThrow(/donated/);
      return [...(await y.data())];
    };
    const other = async () => {
      await turn;
      return [...(await (await step(await tree.evaluate(zeros([3]), device))).data())];
    };
    expect(await gang.all([one, other])).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
  });

  test("a call that overwrites what another one reads comes in its order", async () => {
    const gang = new Gang();
    const size = 4096;
    const read = compile((x: Tensor) => x.mul(3), { device, gang });
    const write = compile((x: Tensor) => x.add(1), { donate: [0], device, gang });
    for (let i = 0; i < 3; i++) {
      const x = await tree.evaluate(zeros([size]).add(1), device);
      const [tripled, next] = await gang.all([() => read(x), () => write(x)]);
      expect(new Set(await tripled!.data())).toEqual(new Set([3]));
      expect(new Set(await next!.data())).toEqual(new Set([2]));
    }
  });

  test("programs with loops run as they do alone", async () => {
    const gang = new Gang();
    const f = (x: Tensor) =>
      scan((carry: Tensor, row: Tensor) => [carry.add(row).tanh(), carry], zeros([3]) as Tensor, x)[0];
    const together = compile(f, { device, gang });
    const alone = compile(f, { device });
    const inputs = await Promise.all(
      [0, 1, 2].map((i) => tree.evaluate(random.normal(random.key(i), [5, 3]), device)),
    );
    const got = await gang.all(inputs.map((x) => async () => [...(await (await together(x)).data())]));
    for (const [i, x] of inputs.entries()) expect(got[i]).toEqual([...(await (await alone(x)).data())]);
  });
});

describe("gang", () => {
  test("runs are taken by threads, on memory of their own", async () => {
    const device = new Device(new WasmBackend({ threads: 2, worthSharing: 0 }), 2 ** 28);
    const gang = new Gang();
    const step = compile((x: Tensor) => x.softmax(1).matmul(x.transpose()).sum(0), { device, gang });
    const x = await tree.evaluate(random.normal(random.key(0), [40, 40]), device);
    await step(x);
    const alone = step.inspect().bytes;
    await gang.all([0, 1, 2, 3].map(() => async () => void (await step(x))));
    expect(alone).toBeGreaterThan(0);
    expect(step.inspect().bytes).toBe(2 * alone); // of one more, since two run at a time
    device.dispose();
  });

  test("takes functions", async () => {
    const gang = new Gang();
    // @ts-expect-error: promises are not tasks
    await expect(gang.all([Promise.resolve(1)])).rejects.toThrow(/list of functions that give promises/);
    // @ts-expect-error: likewise
    expect(() => compile((x: Tensor) => x, { gang: true })).toThrow(
      /gang is true; it is a gang, new Gang\(\)/,
    );
  });
});
