import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeAll, expect, test, vi } from "vitest";
import {
  compile,
  type Device,
  init,
  random,
  scalar,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
  zeros,
} from "../../src/index.ts";
import { saveBlob } from "../../src/io/index.ts";
import { describeBackends } from "../devices.ts";

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void; // the flag defines it in new contexts

/** What is dropped by now is taken back by the device: exact counts of live bytes need that. */
async function collectGarbage(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describeBackends("compile", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });

  test("traces once while numbers change, and again for another shape", async () => {
    const f = compile((x: Tensor, rate: Tensor<"number">) => x.mul(rate).add(rate.mul(2)));
    expect(await (await f(tensor([1, 2]), 3)).toArray()).toEqual([9, 12]);
    const programs = device.programs;
    expect(await (await f(tensor([1, 2]), 0.5)).toArray()).toEqual([1.5, 2]);
    expect(f.traces).toBe(1);
    expect(device.programs).toBe(programs);
    expect(await (await f(tensor([1, 2, 3]), 1)).toArray()).toEqual([3, 4, 5]);
    expect(f.traces).toBe(2);
  });

  test("keeps its program and not the graph that it was traced to", async () => {
    const seen: WeakRef<object>[] = [];
    const f = compile((x: Tensor, n: Tensor<"number">) => {
      const [y, scaled] = [x.exp(), n.mul(2)];
      const z = y.mul(scaled);
      for (const { node } of [y, z]) seen.push(new WeakRef(node));
      return { z, again: z, half: z.mul(0.5), x, scaled, three: 3 };
    });
    const check = async () => {
      const { z, again, half, x, scaled, three } = await f(tensor([0, 0]), 3);
      expect(await Promise.all([z, again, half, x].map((t) => t.toArray()))).toEqual([
        [6, 6],
        [6, 6],
        [3, 3],
        [0, 0],
      ]);
      expect(again).toBe(z);
      expect([await scaled.item(), three]).toEqual([6, 3]);
    };
    await f.plan(tensor([0, 0]), 3);
    await check();
    await collectGarbage();
    expect(seen.map((node) => node.deref())).toEqual([undefined, undefined]);
    await check();
    expect(f.traces).toBe(1);
  });

  test("warns once of a function that is traced too often, with the argument that changes", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    try {
      const step = (x: { readonly ids: Tensor }, w: Tensor) => x.ids.mul(w);
      const [f, expected] = [compile(step), compile(step, { expectedTraces: 20 })];
      for (let n = 1; n <= 12; n++) {
        expect(warn).toHaveBeenCalledTimes(n <= 10 ? 0 : 1);
        for (const g of [expected, f]) if (n < 12) await g.plan({ ids: zeros([n]) }, zeros([1]));
      }
      const text = String(warn.mock.calls[0]);
      expect(text).toMatch(/^compile: step was traced for 10 forms of its arguments/);
      expect(text).toContain(
        "is argument 0.ids (float32[1], float32[2], float32[3], float32[4] and 6 more). Pad",
      );
      expect(() => compile(step, { expectedTraces: 0 })).toThrow("expectedTraces is 0; it is a whole number");
    } finally {
      warn.mockRestore();
    }
  });

  test("plans what a call takes, without running it", async () => {
    const f = compile((x: Tensor, w: Tensor) => ({ w: w.add(1), y: x.matmul(x).exp().matmul(x).sum() }), {
      donate: [1],
    });
    const [x, w] = [random.normal(random.key(0), [16, 16]), random.normal(random.key(1), [16, 16])];
    const { inputs, intermediates, results, work } = await f.plan(x, w);
    // Two products of 16 x 16 matrices, exp by the table's cost, and sums.
    expect(work.flops).toBeGreaterThanOrEqual(4 * 16 ** 3 + 3 * 16 ** 2);
    expect(work.flops).toBeLessThan(1.5 * 4 * 16 ** 3);
    expect(work.bytesRead).toBeGreaterThanOrEqual(2 * 16 * 16 * 4);
    expect(work.bytesWritten).toBeGreaterThanOrEqual(16 * 16 * 4 + 4);
    await f(x, w);
    expect(intermediates).toBe(f.inspect().bytes);
    expect([inputs, results, f.traces]).toEqual([2 * 16 * 16 * 4, 4, 1]);
  });

  test("numbers that follow from numbers stay on the host, in float64", async () => {
    const f = compile((state: { step: Tensor<"number">; w: Tensor }) => ({
      step: state.step.add(1),
      w: state.w.mul(state.step.mul(0.1)),
    }));
    let state: { step: Tensor<"number">; w: Tensor } = await f({ step: 1, w: tensor([10]) });
    state = await f(state);
    state = await f(state);
    expect(state.step.dtype).toBe("number");
    expect(await state.step.item()).toBe(4);
    expect(await state.w.item()).toBeCloseTo(10 * 0.1 * 0.2 * 0.3, 5);
    expect(f.traces).toBe(1);
  });

  test("donation updates in place, and the old tensor says where it went", async () => {
    const f = compile((w: Tensor, x: Tensor) => w.sub(x.mul(0.5)), { donate: [0] });
    const w = await tree.evaluate(random.normal(random.key(1), [64]));
    const x = await tree.evaluate(random.normal(random.key(2), [64]));
    const expected = await w.sub(x.mul(0.5)).data();
    await collectGarbage();
    const live = device.liveBytes;
    const next = await f(w, x);
    expect(device.liveBytes).toBe(live);
    expect(await next.data()).toEqual(expected);
    await expect(w.data()).rejects.toThrow(/donated \(argument 0 of a compiled function\)/);
    await expect(f(w, x)).rejects.toThrow(/argument 0.*donated/s);
    await expect(f(next, next)).rejects.toThrow(/arguments 0 and 1 are one tensor/);
    expect(await next.data()).toEqual(expected);
  });

  test("swapped donated arguments do not overwrite each other", async () => {
    const f = compile((a: Tensor, b: Tensor) => ({ a: b.mul(2), b: a.flip(0) }), { donate: [0, 1] });
    const result = await f(tensor([1, 2, 3]), tensor([10, 20, 30]));
    expect(await result.a.toArray()).toEqual([20, 40, 60]);
    expect(await result.b.toArray()).toEqual([3, 2, 1]);
  });

  test("an argument handed through keeps its values, donated or not", async () => {
    const f = compile((w: Tensor, x: Tensor) => ({ w, y: w.add(x), n: 5 }), { donate: [0] });
    const w = tensor([1, 2]);
    const { w: same, y, n } = await f(w, tensor([1, 1]));
    expect(n).toBe(5);
    expect(await same.toArray()).toEqual([1, 2]);
    expect(await y.toArray()).toEqual([2, 3]);
  });

  test("captured tensors are inputs; captured graphs are computed once", async () => {
    const frozen = random.uniform(random.key(3), [8]);
    const f = compile((x: Tensor) => x.add(frozen));
    const y = await f(tensor(new Float32Array(8)));
    expect(await y.data()).toEqual(await frozen.data());
    expect(f.inspect().kernels).toBe(1);
    expect(f.inspect().sources[0]).not.toMatch(/>>>|>> /);
  });

  test("a captured number is what it was, whoever asks for it, saves it or gives it away meanwhile", async () => {
    const [key, count] = [random.key(2), scalar(5).astype("int32")];
    const whole = count.ne(4); // known to the host, from what is known to the host
    const f = compile((place: Tensor<"number">) => ({
      drawn: random.uniform(key.fold(place), [3]),
      counted: tensor([1, 2], { dtype: "int32" }).add(count),
      whole,
      count,
    }));
    const seen = async () => {
      const found = await f(3);
      return Promise.all(Object.values(found).map((x) => x.toArray()));
    };
    const first = await seen();
    expect(first.slice(1)).toEqual([[6, 7], true, 5]);
    await saveBlob({ key, whole });
    expect(await seen()).toEqual(first);
    const taken = compile((x: Tensor<"int32">) => x.add(1), { donate: [0] });
    expect(await (await taken(count)).item()).toBe(6);
    expect(await seen()).toEqual(first);
  });

  test("one result twice, constant results and empty tensors", async () => {
    const f = compile((x: Tensor) => {
      const y = x.mul(3);
      return { first: y, second: y, constant: x.mul(0).add(2), shape: x.slice([2]) };
    });
    const r = await f(tensor([1, 2]));
    expect(await r.first.toArray()).toEqual([3, 6]);
    expect(await r.second.toArray()).toEqual([3, 6]);
    expect(await r.constant.toArray()).toEqual([2, 2]);
    expect(r.shape.shape).toEqual([0]);
    expect(await r.shape.toArray()).toEqual([]);
  });

  test("says what is wrong with the function and its arguments", async () => {
    const asynchronous = compile(async (x: Tensor) => x);
    await expect(asynchronous(tensor([1]))).rejects.toThrow(/the function is async/);
    const f = compile((x: Tensor) => x);
    await expect(f("text" as never)).rejects.toThrow(/argument|tree/);
    expect(() => f.inspect()).toThrow(/has not run yet/);
    expect(() => compile((x: Tensor) => x, { donate: [-1] })).toThrow(/donate names argument -1/);
  });

  test("a warm-up does the first call's work, and takes nothing", async () => {
    const make = () =>
      compile(
        (p: { w: Tensor; n: Tensor<"number"> }, x: Tensor) => {
          const [loss, g] = valueAndGrad((w: Tensor) => x.matmul(w).square().mean())(p.w);
          return { p: { w: p.w.sub(g.mul(p.n)), n: p.n.add(1) }, loss, x };
        },
        { donate: [0] },
      );
    const w: Tensor = await tree.evaluate(random.normal(random.key(7), [9, 5]));
    const x: Tensor = await tree.evaluate(random.normal(random.key(8), [4, 9]));
    const before = await w.data();
    await collectGarbage();
    const live = device.liveBytes;
    const step = make();
    await step.warmup({ w, n: 2 }, x);
    expect(step.traces).toBe(1);
    await collectGarbage();
    expect(device.liveBytes).toBeLessThanOrEqual(live); // of which nothing was garbage
    expect(await w.data()).toEqual(before);
    expect(step.inspect().kernels).toBeGreaterThan(0);
    const { programs } = device;
    // Other values of the same shapes: nothing is traced or compiled any more.
    const other: Tensor = await tree.evaluate(random.normal(random.key(9), [9, 5]));
    const expected = await other.data();
    await step.warmup({ w: other, n: 0.25 }, x);
    const first = await step({ w: other, n: 0.5 }, x);
    expect([step.traces, device.programs]).toEqual([1, programs]);
    await expect(other.data()).rejects.toThrow(/donated/);
    const cold = await make()({ w: tensor(expected, { shape: [9, 5] }), n: 0.5 }, x);
    expect(await first.p.w.data()).toEqual(await cold.p.w.data());
    expect(await first.p.n.item()).toBe(1.5);
    await expect(step.warmup({ w: other, n: 1 }, x)).rejects.toThrow(/argument 0\.w.*donated/s);
    await expect(step.warmup("text" as never, x)).rejects.toThrow(/argument|tree/);
  });

  test("a training step needs one program and no new buffers", async () => {
    const x: Tensor = await tree.evaluate(random.normal(random.key(4), [16, 6]));
    const y: Tensor = await tree.evaluate(random.normal(random.key(5), [16, 3]));
    const step = compile(
      (params: { w: Tensor; b: Tensor }, rate: Tensor<"number">) => {
        const [loss, g] = valueAndGrad(({ w, b }: { w: Tensor; b: Tensor }) =>
          x.matmul(w).add(b).sub(y).square().mean(),
        )(params);
        return { params: { w: params.w.sub(g.w.mul(rate)), b: params.b.sub(g.b.mul(rate)) }, loss };
      },
      { donate: [0] },
    );
    let params: { w: Tensor; b: Tensor } = { w: random.normal(random.key(6), [6, 3]), b: tensor([0, 0, 0]) };
    const losses: number[] = [];
    let live = 0;
    for (let i = 0; i < 30; i++) {
      const result = await step(params, 0.5 / (1 + 0.1 * i));
      params = result.params;
      losses.push(await result.loss.item());
      result.loss.dispose();
      if (i !== 5) continue;
      await collectGarbage();
      live = device.liveBytes;
    }
    expect(step.traces).toBe(1);
    expect(device.liveBytes).toBe(live);
    expect(losses[29]).toBeLessThan(losses[0]! / 2);
  });
});
