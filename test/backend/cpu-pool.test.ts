import { describe, expect, test } from "vitest";
import { Memory } from "../../src/backend/cpu/memory.ts";
import { type Job, Pool } from "../../src/backend/cpu/pool.ts";
import { control, controlBytes } from "../../src/backend/cpu/pool-worker.ts";
import { WasmBackend } from "../../src/backend/cpu/wasm.ts";
import { compile, DeviceError, init, random, type Tensor, tree, valueAndGrad } from "../../src/index.ts";
import { Device } from "../../src/runtime/device.ts";
import { cases } from "../thorough.ts";

/** Work of every kind that is large enough to be shared, as bits. */
async function bits(threads: number): Promise<Uint32Array[]> {
  const device = await init({ backend: "cpu", threads });
  expect(device.description).toMatch(threads === 1 ? /one thread/ : new RegExp(`${threads} threads`));
  const n = (shape: number[], seed: number) => random.normal(random.key(seed), shape);
  const step = compile((w: Tensor, x: Tensor) => {
    const [loss, g] = valueAndGrad((p: Tensor) => x.matmul(p).tanh().softmax(1).square().mean())(w);
    return { loss, next: w.sub(g.mul(0.1)) };
  });
  const { loss, next } = await step(n([203, 301], 1), n([515, 203], 2));
  const results = [
    loss,
    next,
    n([300, 1001], 3).exp().sum(0),
    n([300, 1001], 3).sum(1),
    n([300, 1001], 3).sum(),
    n([4000, 77], 3).sum(0),
    n([40, 30, 20], 4).matmul(n([40, 20, 37], 5)),
    n([257, 511], 6).transpose().add(1),
    n([129, 600], 7).cumsum(0),
    n([70, 1200], 8).matmul(n([1200, 90], 9)),
  ];
  await tree.evaluate(results);
  const read = await Promise.all(results.map(async (x) => new Uint32Array((await x.data()).slice().buffer)));
  device.dispose();
  return read;
}

const bytes = (words: Uint32Array) => new Uint8Array(words.buffer);

describe("threads", () => {
  test("any number gives the same bits", async () => {
    const one = await bits(1);
    for (const threads of cases([2, 5], [3])) {
      const many = await bits(threads);
      many.forEach((values, i) => {
        expect(Buffer.compare(bytes(values), bytes(one[i]!)), `result ${i} with ${threads} threads`).toBe(0);
      });
    }
  });

  test("threads are checked", async () => {
    await expect(init({ backend: "cpu", threads: 0 })).rejects.toThrow(
      /threads is 0; it is an integer from 1 to 64/,
    );
  });
});

describe("workers that fail", () => {
  /** A job whose module no worker can compile. */
  const job: Job = {
    module: 0,
    bytes: 0,
    length: 3,
    phase: 0,
    args: 0,
    scratch: 0,
    first: 0,
    units: 40,
    grain: 2,
  };

  async function poolOf(workers: number, patience?: number) {
    const memory = new Memory(controlBytes);
    const own = Array.from({ length: workers }, () => memory.allocate(64));
    const pool = new Pool(memory.memory, own, patience);
    await pool.start();
    return { pool, words: new Int32Array(memory.memory.buffer, 0, controlBytes / 4) };
  }

  test("one that has no room for a kernel leaves the work to the others", async () => {
    const { pool } = await poolOf(2);
    for (let round = 0; round < 50; round++) {
      const done = new Set<number>();
      pool.run(
        job,
        (begin, end) => {
          for (let unit = begin; unit < end; unit++) done.add(unit);
        },
        0,
      );
      expect(done.size).toBe(40);
    }
    pool.dispose();
  });

  test("one that ends in the middle of a kernel is reported, not waited for", async () => {
    const { pool, words } = await poolOf(1, 50);
    expect(pool.threads).toBe(2);
    Atomics.add(words, control.gate, 1); // joined, and gone
    expect(() => pool.run(job, () => {}, 0)).toThrow(DeviceError);
    await expect(pool.lost).resolves.toMatch(/a worker thread did not come back from a kernel in 0.05 s/);
    expect(pool.threads).toBe(1);
  });
});

describe("memory", () => {
  test("parts are reused, joined and given back", () => {
    const memory = new Memory(controlBytes);
    const [a, b, c] = [memory.allocate(1000), memory.allocate(5000), memory.allocate(64)];
    expect(new Set([a, b, c].map((at) => at % 64))).toEqual(new Set([0]));
    memory.free(a);
    memory.free(b);
    expect(memory.allocate(6000)).toBe(a); // the two parts joined
    memory.free(a);
    memory.free(c);
    expect(memory.live).toBe(0);
    expect(memory.allocate(10)).toBe(a);
  });

  test("random requests never overlap, and all is free in the end", () => {
    const memory = new Memory(controlBytes);
    const held: { at: number; bytes: number }[] = [];
    let state = 1;
    const next = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 2 ** 32;
    };
    for (let i = 0; i < 3000; i++) {
      if (held.length > 0 && next() < 0.5)
        memory.free(held.splice(Math.floor(next() * held.length), 1)[0]!.at);
      else {
        const bytes = 1 + Math.floor(next() ** 4 * 100_000);
        held.push({ at: memory.allocate(bytes), bytes });
      }
    }
    held.sort((x, y) => x.at - y.at);
    for (let i = 1; i < held.length; i++)
      expect(held[i]!.at).toBeGreaterThanOrEqual(held[i - 1]!.at + held[i - 1]!.bytes);
    for (const { at } of held) memory.free(at);
    expect(memory.live).toBe(0);
  });

  test("spare buffers are kept of a bounded number of sizes", () => {
    const backend = new WasmBackend({ threads: 1 });
    using device = new Device(backend, 2 ** 30);
    const before = backend.memory.live;
    for (let size = 1; size <= 1000; size++) device.free(device.allocate(64 * size));
    expect(backend.memory.live - before).toBeLessThanOrEqual(128 * 64_000);
    // Those that are asked for again stay.
    const [first, ...others] = Array.from({ length: 200 }, (_, i) => 64 * (2000 + i));
    const kept = device.allocate(first!);
    device.free(kept);
    for (const size of others) {
      device.free(device.allocate(size));
      const again = device.allocate(first!);
      expect(again).toBe(kept);
      device.free(again);
    }
  });

  test("spare buffers make room for others", async () => {
    const device = await init({ backend: "cpu", threads: 1 });
    const spare = [device.allocate(2 ** 29), device.allocate(2 ** 29)];
    for (const buffer of spare) device.free(buffer);
    const large = device.allocate(3.5 * 2 ** 30);
    expect(device.liveBytes).toBe(3.5 * 2 ** 30);
    expect(() => device.allocate(2 ** 30)).toThrow(/no memory for 1073741824 bytes/);
    expect(device.liveBytes).toBe(3.5 * 2 ** 30);
    device.free(large);
    device.dispose();
  });

  test("more than 2 GiB works, and too much says what to do", () => {
    const memory = new Memory(controlBytes);
    if (memory.maximum < 65536) return; // little address space
    const first = memory.allocate(2 ** 31);
    const high = memory.allocate(2 ** 20);
    expect(high).toBeGreaterThanOrEqual(2 ** 31);
    memory.views.float32[high / 4] = 5;
    expect(memory.views.float32[high / 4]).toBe(5);
    expect(() => memory.allocate(2 ** 31)).toThrow(DeviceError);
    expect(() => memory.allocate(2 ** 31)).toThrow(
      /no memory for 2147483648 bytes: 2148532224 bytes are live.*smaller batch/s,
    );
    memory.free(first);
    memory.free(high);
  });
});
