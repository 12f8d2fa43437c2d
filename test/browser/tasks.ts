import { Memory } from "../../src/backend/cpu/memory.ts";
import { Pool, type Run } from "../../src/backend/cpu/pool.ts";
import { control, controlBytes } from "../../src/backend/cpu/pool-worker.ts";
import { Module } from "../../src/backend/cpu/wasm/assemble.ts";
import { phaseTypes } from "../../src/backend/cpu/wasm/units.ts";
import type { AdapterDescription } from "../../src/backend/webgpu/device.ts";
import { chooseMatmul } from "../../src/backend/webgpu/tune.ts";
import type { HostArray } from "../../src/base/dtype.ts";
import { passes, selfTest } from "../../src/experiments/selftest.ts";
import * as gauge from "../../src/gauge/index.ts";
import { type InitOptions, init, type Tensor, tree, zeros } from "../../src/index.ts";
import { roleOf } from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import { initial, type Setting, train as trainSetting } from "../trainer.ts";

// What is run in pages, and in Node to compare. Arguments and results are JSON.

/** Workers that were started and ended, in pages. */
const workers = { started: 0, ended: 0 };

if ("Worker" in globalThis) {
  globalThis.Worker = class extends Worker {
    constructor(url: string | URL, options?: WorkerOptions) {
      super(url, options);
      workers.started++;
    }
    override terminate(): void {
      workers.ended++;
      super.terminate();
    }
  };
}

/** Products large enough to be shared by threads, every kind of trained parameter, dropout. */
const setting: Setting = {
  problem: {
    base: nn.mlp([128, 192, 48], { activation: (x) => x.tanh() }),
    inputs: 128,
    outputs: 48,
    batch: 96,
    adapter: { r: 6, dropout: 0.1, targetModules: "all-linear" },
    trainBiases: true,
    loss: "crossEntropy",
  },
  dtype: "float32",
  seed: 5,
  steps: 4,
};

const recipe: gauge.Recipe = {
  r: 6,
  alpha: 9,
  dropout: 0.1,
  init: "random",
  trained: [...gauge.trainedRoles({ branchBias: false }), "base"],
  optimizer: { name: "adamw", lr: 3e-3, weightDecay: 0.1 },
};

const partnerGauge = gauge.of({ a: 1 / 4, b: 8 });

const bits = (values: HostArray): number[] => [...new Uint32Array(Float32Array.from(values).buffer)];

export interface Trained {
  readonly name: string;
  readonly description: string;
  readonly workers: { readonly started: number; readonly ended: number };
  /** After each step: losses, outputs and parameters by path, as bits. */
  readonly steps: readonly Readonly<Record<string, readonly number[]>>[];
  /** Where the partner of a gauge by powers of two is not the same run, bit for bit. */
  readonly broken: readonly string[];
}

/** LoRA fine-tuning of two layers: a recipe, and its partner. */
async function train(options: InitOptions): Promise<Trained> {
  const device = await init(options);
  const params = await initial(setting, recipe);
  const reference = await trainSetting(setting, recipe, { params, done: 0 });
  const partner = await trainSetting(setting, gauge.apply(partnerGauge, recipe), {
    params: gauge.applyParams(partnerGauge, params),
    done: 0,
  });
  const broken = reference.steps.flatMap((seen, t) =>
    [...seen].flatMap(([path, values]) => {
      const factor = gauge.factor(partnerGauge, roleOf(path));
      const expected = bits(values.map((x) => x * factor)).join();
      return bits(partner.steps[t]!.get(path)!).join() === expected ? [] : [`${path} after step ${t + 1}`];
    }),
  );
  const { name, description } = device;
  device.dispose();
  const steps = reference.steps.map((seen) =>
    Object.fromEntries([...seen].map(([path, values]) => [path, bits(values)])),
  );
  return { name, description, workers, steps, broken };
}

const until = async (condition: () => boolean): Promise<boolean> => {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return true;
};

export interface Shared {
  /** How many units the calling thread and each worker took. */
  readonly taken: readonly number[];
  /** Did every worker go to sleep when there was nothing to do, and leave when the pool was disposed of? */
  readonly slept: boolean;
  readonly left: boolean;
}

/**
 * A job of as many units as there are threads, none of which ends before each has begun one: so every thread takes one,
 * however the system schedules them. The pool's memory has grown since it started.
 */
async function share({ workers: count }: { workers: number }): Promise<Shared> {
  const memory = new Memory(controlBytes);
  const own = Array.from({ length: count }, () => memory.allocate(64));
  const pool = new Pool(memory.memory, own);
  await pool.start();
  memory.allocate(2 ** 28); // while they wait
  const together = memory.allocate(64);
  const module = new Module();
  // Counts, in each thread's own memory, the units that it took; then waits until all are together.
  module.define("run", phaseTypes, (code, { begin, end, args, scratch: own }) => {
    code
      .get(own)
      .get(own)
      .memory("i32.load")
      .get(end)
      .get(begin)
      .op("i32.sub", "i32.add")
      .memory("i32.store")
      .doWhile(
        () => {},
        () => code.get(args).memory("i32.load").op("i32.eqz"),
      );
  });
  const bytes = module.encode(memory);
  const at = memory.allocate(bytes.length);
  memory.views.uint8.set(bytes, at);
  const { int32 } = memory.views;
  const taken = () => own.map((address) => Atomics.load(int32, address / 4));
  const units = count + 1;
  let mine = 0;
  const run: Run = (begin, end) => {
    mine += end - begin;
    const late = performance.now() + 30_000;
    while (taken().includes(0) && performance.now() < late);
    Atomics.store(int32, together / 4, 1);
  };
  const place = { module: 0, bytes: at, length: bytes.length };
  pool.run({ ...place, phase: 0, args: together, scratch: 0, first: 0, units, grain: 1 }, run, 0);
  const words = new Int32Array(memory.memory.buffer, 0, controlBytes / 4);
  const sleepers = () => Atomics.notify(words, control.generation);
  const slept = await until(() => sleepers() === count);
  pool.dispose();
  const left = await until(() => sleepers() === 0);
  return { taken: [mine, ...taken()], slept, left };
}

/** A pool that ends before its workers are there. */
async function hasty(): Promise<Trained["workers"]> {
  const memory = new Memory(controlBytes);
  const pool = new Pool(memory.memory, [memory.allocate(64), memory.allocate(64)]);
  const started = pool.start();
  pool.dispose();
  await started;
  return workers;
}

export interface Dropped {
  readonly peak: number;
  /** Times that a timer was set: in pages each waits for 4 ms at least. */
  readonly timers: number;
}

/** Results of 64 MiB, so many one after the other, of which only the last is needed. */
async function drop({ results, ...options }: InitOptions & { results: number }): Promise<Dropped> {
  const device = await init(options);
  let timers = 0;
  const { setTimeout } = globalThis;
  globalThis.setTimeout = ((...args: Parameters<typeof setTimeout>) => {
    timers++;
    return setTimeout(...args);
  }) as typeof setTimeout; // without Node's additions, which nothing here uses
  let x: Tensor = await tree.evaluate(zeros([2 ** 24]));
  let peak = 0;
  for (let i = 0; i < results; i++) {
    x = await tree.evaluate(x.add(1));
    peak = Math.max(peak, device.liveBytes);
  }
  globalThis.setTimeout = setTimeout;
  if ((await x.slice([5], [6]).sum().item()) !== results) throw new Error("wrong sum");
  device.dispose();
  return { peak, timers };
}

/** Operations that are less accurate than they promise to be. */
async function operations(options: InitOptions): Promise<{ count: number; failed: readonly unknown[] }> {
  using device = await init(options);
  const results = await selfTest(device);
  return { count: results.length, failed: results.filter((result) => !passes(result)) };
}

/** A GPU whose tuning takes measurements. */
const adapter = {
  vendor: "a",
  architecture: "b",
  device: "c",
  description: "d",
  software: false,
  features: [],
  subgroupSize: undefined,
  matrices: [],
  limits: { maxComputeInvocationsPerWorkgroup: 256 },
} as unknown as AdapterDescription; // tuning reads no other limit

/** How many measurements choosing takes, twice; `reload`: the second time in the page loaded anew. */
async function choose({ reload }: { reload: boolean }): Promise<number[]> {
  const count = async () => {
    let measured = 0;
    await chooseMatmul(adapter, "float32", {}, async () => ++measured);
    return measured;
  };
  if (!reload) return [await count(), await count()];
  const first = sessionStorage.getItem("first");
  if (first !== null) return [Number(first), await count()];
  sessionStorage.setItem("first", String(await count()));
  location.reload();
  return new Promise(() => {}); // the page that is loaded answers
}

export const tasks = { train, share, hasty, drop, operations, choose };
