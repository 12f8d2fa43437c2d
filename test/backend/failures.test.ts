import { afterEach, describe, expect, test, vi } from "vitest";
import { Memory } from "../../src/backend/cpu/memory.ts";
import { controlBytes } from "../../src/backend/cpu/pool-worker.ts";
import { WebGpuBackend } from "../../src/backend/webgpu/backend.ts";
import { openDevice } from "../../src/backend/webgpu/device.ts";
import { Recent } from "../../src/base/recent.ts";
import {
  compile,
  DeviceError,
  DisposedError,
  init,
  ones,
  random,
  type Tensor,
  tensor,
  tree,
  zeros,
} from "../../src/index.ts";
import { Device } from "../../src/runtime/device.ts";
import { backends, describeBackends } from "../devices.ts";
import { manySignatures } from "../signatures.ts";

// What is lost, disposed of, too large or too many: named errors, nothing hangs, and what was held is given back.

const webgpu = (await backends()).includes("webgpu");

describe.runIf(webgpu)("a WebGPU device that is lost", () => {
  async function open() {
    const opened = await openDevice();
    if ("reason" in opened) throw new Error(opened.reason);
    const backend = new WebGpuBackend(opened);
    return { gpu: opened.device, device: new Device(backend, 2 ** 30) };
  }

  test("one named error for every call that waits and every later one, and a new device works", async () => {
    const { gpu, device } = await open();
    const step = compile((w: Tensor) => w.matmul(w).tanh(), { device, donate: [0] });
    const w: Tensor = await tree.evaluate(random.normal(random.key(0), [64, 64]), device);
    const v: Tensor = await tree.evaluate(random.normal(random.key(1), [64, 64]), device);
    await step.warmup(w);
    const waiting = [
      w.data(),
      step(w).then((result) => result.data()),
      tree.evaluate(v.exp(), device),
      compile((x: Tensor) => x.cumsum(0).sin(), { device })(v),
      compile((x: Tensor) => x.cumsum(1).cos(), { device }).warmup(v),
      device.backend.finish().then(() => v.data()),
      v.sum().item(),
    ];
    gpu.destroy();
    const results = await Promise.allSettled(waiting);
    await device.backend.lost;
    for (const result of results) {
      // What was done before is done; what was not is told why.
      if (result.status === "fulfilled") continue;
      expect(result.reason).toBeInstanceOf(DeviceError);
      expect(String(result.reason)).toMatch(/the device was lost: .*call init\(\) again/is);
    }
    expect(results.filter(({ status }) => status === "rejected").length).toBeGreaterThanOrEqual(4);
    const later = [
      () => v.data(),
      () => v.add(1).data(),
      () => step(v),
      () => step.warmup(v),
      () => tree.evaluate(zeros([4]), device),
      () => device.backend.finish(),
    ];
    for (const call of later) {
      const error = await call().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      expect(error).toBeInstanceOf(DeviceError);
      expect(String(error)).toMatch(/the device was lost/);
    }
    expect(device.programs).toBe(0);
    device.dispose();
    device.dispose();
    using next = await init({ backend: "webgpu" });
    expect(await (await compile((x: Tensor) => x.add(1))(tensor([1, 2]))).toArray()).toEqual([2, 3]);
    expect(next.disposed).toBe(false);
  });

  test("a platform that throws instead of giving a buffer", async () => {
    const { gpu, device } = await open();
    const fails = vi.spyOn(gpu, "createBuffer").mockImplementation(() => {
      throw new RangeError("no room");
    });
    const live = device.liveBytes;
    for (const call of [
      () => tree.evaluate(zeros([100]), device),
      () => compile(() => zeros([100]), { device })(),
    ])
      await expect(call()).rejects.toThrow(
        /webgpu: the device gives no buffer of \d+ bytes: no room\. Dispose/,
      );
    expect(device.liveBytes).toBe(live);
    fails.mockRestore();
    expect(await (await tree.evaluate(zeros([2]).add(1), device)).toArray()).toEqual([1, 1]);
    device.dispose();
  });

  test("more than the adapter's largest buffer is refused before anything is touched", async () => {
    const { device } = await open();
    const { adapter } = device.backend as WebGpuBackend;
    const most = Math.min(adapter.limits.maxBufferSize, adapter.limits.maxStorageBufferBindingSize);
    const large = new Device(device.backend, 2 * most + 2 ** 20);
    const w: Tensor = await tree.evaluate(zeros([8]), large);
    const live = large.liveBytes;
    const f = compile((x: Tensor) => ({ x: x.add(1), y: zeros([most / 4 + 4]).add(x.sum()) }), {
      device: large,
      donate: [0],
    });
    await expect(f(w)).rejects.toThrow(
      /a tensor of \d+ bytes is larger than this adapter's max\w+ of \d+\. Split it/,
    );
    expect(await w.toArray()).toEqual(Array(8).fill(0)); // not taken
    expect(large.liveBytes).toBe(live);
    device.dispose();
  });
});

describeBackends("limits", (backend) => {
  test("a tensor beyond the budget is refused before anything is touched", async () => {
    using device = await init({ backend, maxBytes: 2 ** 20 });
    const w: Tensor = await tree.evaluate(zeros([8]));
    const f = compile((x: Tensor) => ({ x: x.add(1), y: zeros([2 ** 19]).add(x.sum()) }), { donate: [0] });
    const meant =
      /a tensor of 2097152 bytes is larger than the budget of 1048576 bytes.*raise init\(\{ maxBytes \}\)/;
    await expect(f(w)).rejects.toThrow(meant);
    await expect(f.warmup(w)).rejects.toThrow(meant);
    await expect(
      zeros([2 ** 19])
        .add(1)
        .data(),
    ).rejects.toThrow(meant);
    expect(device.liveBytes).toBe(32);
    expect(await w.toArray()).toEqual(Array(8).fill(0));
  });

  test("a budget that is too small is an error that says what to do", async () => {
    const small = await init({ backend, maxBytes: 1 << 20 });
    const kept: Tensor[] = [];
    const fill = async () => {
      for (let i = 0; i < 20; i++)
        kept.push(await tree.evaluate(random.uniform(random.key(i), [64, 1024]), small));
    };
    await expect(fill()).rejects.toThrow(
      /live tensors hold \d+ bytes, more than the budget of 1048576\. Donate/,
    );
    small.dispose();
  });

  test("dispose in the middle of everything: each call ends, with a name", async () => {
    const device = await init({ backend });
    const step = compile((w: Tensor) => w.matmul(w).tanh(), { donate: [0] });
    const w: Tensor = await tree.evaluate(random.normal(random.key(0), [32, 32]));
    const other: Tensor = await tree.evaluate(random.normal(random.key(1), [32, 32]));
    await step.warmup(w);
    const waiting = [
      compile((x: Tensor) => x.cumsum(0))(w),
      w.exp().data(),
      tree.evaluate(w.sum()),
      step.warmup(w),
      w.data(),
      step(w),
    ];
    device.dispose();
    for (const result of await Promise.allSettled(waiting)) {
      if (result.status === "fulfilled") continue;
      expect(result.reason).toBeInstanceOf(DisposedError);
      expect(String(result.reason)).toMatch(/the device was disposed\. Call init\(\)/);
    }
    for (const call of [() => other.data(), () => step(other), () => other.add(1).data()])
      await expect(call()).rejects.toThrow(/dispose|no device is open/);
    using next = await init({ backend });
    expect(await (await step(zeros([2, 2]) as Tensor)).toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(next.programs).toBeGreaterThan(0);
  });
});

test("more signatures than programs are kept: the first one runs again, and right", async () => {
  using device = await init({ backend: "cpu" });
  await manySignatures(device, 400);
});

test("no memory for 3 GiB beyond what the machine has", async () => {
  const memory = new Memory(4096);
  const { process } = globalThis as { process: { availableMemory?: () => number } };
  const before = process.availableMemory;
  process.availableMemory = () => 2 ** 30;
  try {
    expect(() => memory.allocate(3 * 2 ** 30)).toThrow(
      /no memory for 3221225472 bytes: the machine has 1073741824 left/,
    );
    expect(memory.live).toBe(0);
  } finally {
    if (before) process.availableMemory = before;
    else delete process.availableMemory;
  }
  expect(() => memory.allocate(5 * 2 ** 30)).toThrow(/no memory for 5368709120 bytes/);
  const at = memory.allocate(1000);
  memory.free(at);
});

describeBackends("allocations beyond what there is", (backend) => {
  const forms: Readonly<Record<string, (x: Tensor, length: number) => Tensor>> = {
    "a result": (x, length) => x.expand([length]).add(1),
    "what is stored on the way": (x, length) => x.expand([length]).cumsum(0).sin().sum(),
  };
  test.each(Object.entries(forms))(
    "%s is refused before anything is touched, and the device goes on",
    async (_, form) => {
      using device = await init({ backend, maxBytes: 2 ** 50 });
      const [w, x] = (await tree.evaluate([ones([4]), ones([1])])) as [Tensor, Tensor];
      // More than a buffer of the adapter may have, or than the machine or WebAssembly has left.
      const bytes =
        backend === "webgpu"
          ? device.backend.target.maxBuffer + 4
          : Math.min(process.availableMemory(), 2 ** 32) + 2 ** 28;
      const step = compile(
        (w: Tensor, x: Tensor) => ({ w: w.add(1), large: form(x, Math.ceil(bytes / 4)) }),
        { donate: [0] },
      );
      const [live, rss] = [device.liveBytes, process.memoryUsage().rss];
      for (let tries = 0; tries < 3; tries++)
        await expect(step(w, x)).rejects.toThrow(/^(?:webgpu|cpu): (?:no memory for|a tensor of) \d+ bytes/);
      expect(device.liveBytes).toBe(live);
      expect(process.memoryUsage().rss - rss).toBeLessThan(2 ** 28);
      expect(await w.toArray()).toEqual([1, 1, 1, 1]); // donated, and not taken
      expect(await w.add(x).toArray()).toEqual([2, 2, 2, 2]);
    },
  );
});

describe("workers that end before they are ready", () => {
  afterEach(() => {
    vi.restoreAllMocks();
    vi.resetModules();
  });

  test.each([
    ["by exiting", `process.exit(3)`],
    ["by an error", `throw new Error("own")`],
    ["by a syntax error", `(`],
  ])("%s: the rest do the work", async (_, source) => {
    vi.resetModules();
    const original = process.getBuiltinModule;
    const threads = original("node:worker_threads");
    let started = 0;
    class Ends extends threads.Worker {
      constructor(code: string, options: object) {
        super(started++ === 0 ? source : code, { ...options, stderr: true });
      }
    }
    vi.spyOn(process, "getBuiltinModule").mockImplementation(((name: string) =>
      name === "node:worker_threads" ? { ...threads, Worker: Ends } : original(name as never)) as never);
    const { Pool } = await import("../../src/backend/cpu/pool.ts");
    const memory = new Memory(controlBytes);
    const pool = new Pool(memory.memory, [memory.allocate(64), memory.allocate(64)]);
    await pool.start();
    expect(started).toBe(2);
    expect(pool.threads).toBe(2); // this one and the other
    pool.dispose();
  });
});

test("what was used least recently goes first", () => {
  const gone: string[] = [];
  const recent = new Recent<string, string>(3, (value) => gone.push(value));
  for (const key of ["a", "b", "c"]) recent.set(key, key);
  expect(recent.get("a")).toBe("a");
  recent.set("c", "c2");
  recent.set("d", "d");
  expect(gone).toEqual(["b"]);
  expect([...recent.values()]).toEqual(["a", "c2", "d"]);
  recent.delete("a");
  expect([recent.get("a"), recent.size]).toEqual([undefined, 2]);
});
