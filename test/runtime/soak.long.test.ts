import { beforeAll, expect, test } from "vitest";
import type { RunArguments } from "../../src/backend/backend.ts";
import {
  compile,
  type Device,
  init,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
  zeros,
} from "../../src/index.ts";
import type { Loaded } from "../../src/runtime/device.ts";
import { describeBackends } from "../devices.ts";
import { manySignatures } from "../signatures.ts";

const steps = 20_000;
/** Results that wait for collection: at most this many small buffers. */
const slack = 4096 * 256;

describeBackends("twenty thousand steps", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });

  const loss = (w: Tensor) => w.square().sum();

  test("compiled, with donation: live bytes stay flat", { timeout: 900_000 }, async () => {
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

  test("not compiled: live bytes and programs stay bounded", { timeout: 900_000 }, async () => {
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
    timeout: 300_000,
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

  test("not compiled, the loss read at each step: kernels and live bytes stay flat", {
    timeout: 900_000,
  }, async () => {
    let w: Tensor = await tree.evaluate(random.normal(random.key(0), [8, 8]), device);
    const [before, programs] = [device.liveBytes, device.programs];
    const first = await loss(w).item();
    const counts = new Set<number>();
    let [kernels, peak, last] = [0, 0, first];
    device.observer = {
      compiled() {},
      run({ program, executable }: Loaded, args: RunArguments) {
        kernels += program.kernels.length;
        executable.run(args);
      },
    };
    for (let i = 0; i < steps; i++) {
      kernels = 0;
      const [value, g] = valueAndGrad(loss)(w);
      w = w.sub(g.mul(1e-4));
      last = await value.item();
      peak = Math.max(peak, device.liveBytes - before);
      if (i > 4) counts.add(kernels);
    }
    device.observer = undefined;
    expect(counts.size).toBe(1);
    expect(peak).toBeLessThan(slack);
    expect(device.programs - programs).toBeLessThanOrEqual(5);
    expect(last / first).toBeCloseTo((1 - 2e-4) ** (2 * (steps - 1)), 4);
  });

  test("a thousand devices, made and disposed of", { timeout: 900_000 }, async () => {
    const f = compile((x: Tensor) => x.mul(2).sum());
    for (let i = 0; i < 1000; i++) {
      using own = await init({ backend, threads: 2 });
      expect(await (await f(tensor([1, 2, i]))).item()).toBe(2 * (3 + i));
      expect(own.programs).toBe(1);
    }
    expect(f.traces).toBe(1000); // nothing is kept for a device that is gone
  });

  test("a thousand signatures", { timeout: 900_000 }, async () => {
    using own = await init({ backend });
    await manySignatures(own, 1000);
  });
});
