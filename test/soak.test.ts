import { beforeAll, expect, test } from "vitest";
import { compile, type Device, init, random, type Tensor, tree, valueAndGrad, zeros } from "../src/index.ts";
import { describeBackends } from "./devices.ts";

const steps = 10_000;
/** Results that wait for collection: at most this many small buffers. */
const slack = 4096 * 256;

describeBackends("ten thousand steps", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });

  const loss = (w: Tensor) => w.square().sum();

  test("compiled, with donation: live bytes stay flat", { timeout: 120_000 }, async () => {
    const step = compile(
      (w: Tensor, rate: Tensor<"number">) => {
        const [value, g] = valueAndGrad(loss)(w);
        return { w: w.sub(g.mul(rate)), value };
      },
      { donate: [0] },
    );
    let w: Tensor = await tree.evaluate(random.normal(random.key(0), [8, 8]));
    const [first] = [await loss(w).item()];
    let last: Tensor | undefined;
    let peak = 0;
    const before = device.liveBytes;
    for (let i = 0; i < steps; i++) {
      const result = await step(w, 1e-4);
      w = result.w;
      last = result.value;
      peak = Math.max(peak, device.liveBytes - before);
    }
    expect(peak).toBeLessThan(slack);
    expect(step.traces).toBe(1);
    // Each step multiplies w by 1 - 2e-4.
    expect((await last!.item()) / first).toBeCloseTo((1 - 2e-4) ** (2 * (steps - 1)), 4);
  });

  test("not compiled: live bytes and programs stay bounded", { timeout: 120_000 }, async () => {
    let w: Tensor = await tree.evaluate(random.normal(random.key(0), [8, 8]));
    const before = device.liveBytes;
    const programs = device.programs;
    let peak = 0;
    for (let i = 0; i < steps; i++) {
      const [, g] = valueAndGrad(loss)(w);
      // The rate is another literal at each step.
      w = await tree.evaluate(w.sub(g.mul(1e-4 + i * 1e-10)));
      peak = Math.max(peak, device.liveBytes - before);
    }
    expect(peak).toBeLessThan(slack);
    expect(device.programs - programs).toBeLessThanOrEqual(2);
  });

  test("large results that are dropped are collected before memory runs out", {
    timeout: 120_000,
  }, async () => {
    const own = await init({ backend });
    let x: Tensor = await tree.evaluate(zeros([2 ** 24]), own);
    let peak = 0;
    for (let i = 0; i < 96; i++) {
      x = await tree.evaluate(x.add(1), own); // 6 GiB in all
      peak = Math.max(peak, own.liveBytes);
    }
    expect(peak).toBeLessThan(2 ** 31);
    expect(await x.slice([5], [6]).sum().item()).toBe(96);
    own.dispose();
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
});
