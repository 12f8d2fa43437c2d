import { beforeAll, describe, expect, test } from "vitest";
import type { RunArguments } from "../../src/backend/backend.ts";
import {
  compile,
  type Device,
  Gang,
  grad,
  init,
  onesLike,
  random,
  scalar,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
  vjp,
  zeros,
} from "../../src/index.ts";
import * as lora from "../../src/lora/index.ts";
import * as nn from "../../src/nn/index.ts";
import * as optim from "../../src/optim/index.ts";
import type { Loaded } from "../../src/runtime/device.ts";
import { describeBackends } from "../devices.ts";
import { longOn } from "../long.ts";
import { cases, casesOn, thorough } from "../thorough.ts";

// What lazy evaluation keeps, so that no loop computes its history again; and what donation spares.

describeBackends("lazy evaluation", (backend) => {
  let device: Device;
  let kernels = 0;
  let x: Tensor;
  let y: Tensor;

  beforeAll(async () => {
    device = await init({ backend });
    device.observer = {
      compiled() {},
      run({ program, executable }: Loaded, args: RunArguments) {
        kernels += program.kernels.length;
        executable.run(args);
      },
    };
    [x, y] = (await tree.evaluate([
      random.normal(random.key(1), [16, 8]),
      random.normal(random.key(2), [16, 4]),
    ] as Tensor[])) as [Tensor, Tensor];
  });

  /** Kernels that each round runs. */
  async function counts(rounds: number, round: (i: number) => Promise<unknown>): Promise<number[]> {
    const found: number[] = [];
    for (let i = 0; i < rounds; i++) {
      kernels = 0;
      await round(i);
      found.push(kernels);
    }
    return found;
  }

  /** After the first rounds all are alike, and run few programs. */
  async function expectConstant(rounds: number, round: (i: number) => Promise<unknown>): Promise<void> {
    const programs = device.programs;
    let peak = 0;
    const live = device.liveBytes;
    const found = await counts(rounds, async (i) => {
      await round(i);
      peak = Math.max(peak, device.liveBytes - live);
    });
    expect(new Set(found.slice(4))).toEqual(new Set([found[4]]));
    expect(device.programs - programs).toBeLessThanOrEqual(4);
    expect(peak).toBeLessThan(2 ** 22); // small results that wait for collection: see runtime/device.ts
  }

  const optimizers = {
    sgd: optim.sgd({ lr: 0.05 }),
    momentum: optim.sgd({ lr: 0.05, momentum: 0.9 }),
    adamw: optim.adamw({ lr: 0.01 }),
  };
  const base = nn.mlp([8, 6, 4]);
  const adapted = lora.inject(base, { r: 2, alpha: 4, targetModules: "all-linear" });

  // As above: a driver that compiles is slow.
  const some = cases<readonly [name: string, optimizer: optim.Optimizer]>(
    [["adamw", optimizers.adamw]],
    [
      ["sgd", optimizers.sgd],
      ["momentum", optimizers.momentum],
    ],
  );
  describe.each(some)("%s, not compiled", (_, optimizer) => {
    // Three steps in one program are many kernels, which software drivers of WebGPU compile for seconds.
    const often = backend === "cpu" || optimizer === optimizers.sgd ? ["every third step"] : [];
    test.each([...casesOn(backend, ["after the update"], ["before the update", "twice a step"]), ...often])(
      "the loss read %s: the work of a step stays",
      async (when) => {
        let params: nn.Params = base.init(random.key(0));
        let state = optimizer.init(params);
        const loss = (p: nn.Params) => nn.mseLoss(base.apply(p, x), y);
        let step = 0;
        const next = async () => {
          const [value, gradients] = valueAndGrad(loss)(params);
          if (when === "before the update") await value.item();
          const [updates, after] = optimizer.update(gradients, state, params);
          params = optim.applyUpdates(params, updates);
          state = after;
          if (when === "after the update") await value.item();
          if (when === "twice a step") await Promise.all([value.item(), loss(params).item()]);
          if (when === "every third step" && step++ % 3 === 2) await value.item();
        };
        if (when !== "every third step")
          return expectConstant(when === "after the update" && thorough ? 300 : 30, next);
        await expectConstant(8, async () => {
          for (let i = 0; i < 3; i++) await next();
        });
      },
      60_000,
    );

    longOn(backend)("LoRA: as before, and the same run as compiled", async () => {
      const [first, frozen] = lora.partition(adapted.init(random.key(3), base.init(random.key(0))));
      await tree.evaluate([first, frozen]);
      const loss = (p: nn.Params) => nn.mseLoss(adapted.apply(tree.combine<nn.Params>(p, frozen), x), y);
      const update = (p: nn.Params, s: optim.OptimizerState) => {
        const [value, gradients] = valueAndGrad(loss)(p);
        const [updates, after] = optimizer.update(gradients, s, p);
        return { p: optim.applyUpdates(p, updates), s: after, value };
      };
      const step = compile(update);
      const losses: number[][] = [[], []];
      let [p, s] = [first, optimizer.init(first)];
      await expectConstant(40, async () => {
        const result = update(p, s);
        [p, s] = [result.p, result.s];
        losses[0]!.push(await result.value.item());
      });
      [p, s] = [first, optimizer.init(first)];
      for (let i = 0; i < 40; i++) {
        const result = await step(p, s);
        [p, s] = [result.p, result.s];
        losses[1]!.push(await result.value.item());
      }
      losses[0]!.forEach((value, i) => {
        expect(value).toBeCloseTo(losses[1]![i]!, 4);
      });
      expect(losses[0]!.at(-1)).toBeLessThan(losses[0]![0]!);
    });
  });

  longOn(backend)("losses that are read one by one after the loop, from first to last", async () => {
    let w: Tensor = random.normal(random.key(5), [8, 4]);
    const losses: Tensor[] = [];
    for (let i = 0; i < 60; i++) {
      const [value, g] = valueAndGrad((v: Tensor) => x.matmul(v).sub(y).square().mean())(w);
      w = w.sub(g.mul(0.1));
      losses.push(value);
    }
    await expectConstant(60, (i) => losses[i]!.item());
  });

  test("states of a recurrence whose outputs are read afterwards", async () => {
    const w = random.normal(random.key(6), [8, 8]).mul(0.3);
    let h: Tensor = x;
    const outputs: Tensor[] = [];
    for (let i = 0; i < 60; i++) {
      h = h.matmul(w).tanh();
      outputs.push(h.sum());
    }
    await expectConstant(60, (i) => outputs[i]!.item());
  });

  test("what is made once and used in each step is computed once", async () => {
    const table = random.normal(random.key(7), [8, 8]).matmul(random.normal(random.key(8), [8, 8]));
    const found = await counts(20, (i) => x.matmul(table).mul(i).sum().item());
    expect(found.slice(2)).toEqual(Array(18).fill(found[2]));
    expect(found[2]).toBeLessThan(found[0]!);
  });

  test("constants and views are not stored", async () => {
    const ones: Tensor = tensor([1]).expand([1000, 1000]);
    const row = x.slice([0], [1]).expand([1000, 8]);
    const live = device.liveBytes;
    for (let i = 0; i < 4; i++) await ones.sum().add(row.sum()).mul(i).item();
    expect(device.liveBytes - live).toBeLessThan(1000);
  });

  test("numbers of the host that are carried along are settled", async () => {
    let n = scalar(0);
    let w: Tensor = tensor([1, 2]);
    for (let i = 0; i < 2000; i++) {
      n = n.add(1);
      w = w.add(n.mul(0.5)).mul(0.5);
      if (i % 10 === 9) await w.sum().item();
    }
    expect(n.node.operation.kind).toBe("constant");
    expect(await n.item()).toBe(2000);
  });

  test("evaluations at one time may meet", async () => {
    const shared = x.matmul(random.normal(random.key(9), [8, 8])).tanh();
    const parts = Array.from({ length: 6 }, (_, i) => shared.mul(i + 1).sum());
    const values = await Promise.all(parts.map((part) => part.item()));
    values.forEach((value, i) => {
      expect(value).toBeCloseTo(values[0]! * (i + 1), 3);
    });
    expect(await shared.sum().item()).toBeCloseTo(values[0]!, 4);
  });

  test("the way back of vjp is there after its outputs were read, again and again", async () => {
    const three: Tensor = tensor([1, 2, 3]);
    const [value, pull] = vjp((v: Tensor) => v.square().mul(3), three);
    expect(await value.toArray()).toEqual([3, 12, 27]);
    expect(await pull(onesLike(value)).toArray()).toEqual([6, 12, 18]);
    expect(await pull(onesLike(value).mul(2)).toArray()).toEqual([12, 24, 36]);
    const again = grad((v: Tensor) => vjp((u: Tensor) => u.pow(3), v)[1](onesLike(v)).sum());
    expect(await again(three).toArray()).toEqual([6, 12, 18]);
    expect(() => pull(onesLike(value).astype("int32") as unknown as Tensor)).toThrow(/a cotangent is int32/);
  });

  describe("donation", () => {
    const start = () => tree.evaluate(random.normal(random.key(11), [1000])) as Promise<Tensor>;
    const step = () => compile((w: Tensor) => w.mul(0.5).add(1), { donate: [0] });

    test("what was promised its values has them afterwards", async () => {
      const f = step();
      const w = await start();
      const before = await w.data();
      const twice = before.map((v) => 2 * v);
      const copy = w.mul(1);
      const doubled = w.mul(2);
      const view = w.reshape([10, 100]).transpose();
      const flat = w.detach();
      const derived = doubled.add(copy);
      await doubled.sum().item(); // computed on the way, and not kept
      const inFlight = [w.data(), w.mul(2).data()];
      const next = await f(w);
      const expected = before.map((v) => v * 0.5 + 1);
      for (let round = 0; round < 2; round++) {
        expect(await next.data()).toEqual(expected);
        expect(await copy.data()).toEqual(before);
        expect(await doubled.data()).toEqual(twice);
        expect(await flat.data()).toEqual(before);
        expect(await view.transpose().reshape([-1]).data()).toEqual(before);
        expect(await derived.data()).toEqual(before.map((v, i) => Math.fround(v + twice[i]!)));
      }
      expect(await inFlight[0]).toEqual(before);
      expect(await inFlight[1]).toEqual(twice);
      // The tensor itself is gone, and what is made of it now never was.
      for (const use of [() => w.data(), () => w.mul(2).data(), () => w.sum().item(), () => f(w)])
        await expect(use()).rejects.toThrow(/donated \(argument 0 of a compiled function\)/);
    });

    test("calls that are not awaited mean what they mean one after the other", async () => {
      const f = step();
      await f(await start()); // its program is ready, those of the others are not
      for (const gang of [undefined, new Gang()]) {
        const [w, other] = [await start(), await start()];
        const before = await w.data();
        const options = gang ? { gang } : {};
        const read = compile((a: Tensor, b: Tensor) => a.add(b).sub(other), options);
        const captures = compile((a: Tensor) => a.mul(2).sub(other), options);
        await captures(w); // traced: a call knows at once that it needs the other tensor
        const calls = [() => read(w, w), () => captures(w), () => f(w)].map((call) => () => call());
        const reading = w.data();
        const [first, second, stepped] = gang
          ? await gang.all(calls)
          : await Promise.all(calls.map((c) => c()));
        expect(await reading).toEqual(before);
        const twice = before.map((v) => v + v);
        expect(await first!.data()).toEqual(twice.map((v, i) => v - before[i]!));
        expect(await second!.data()).toEqual(twice.map((v, i) => v - before[i]!));
        expect(await stepped!.data()).toEqual(before.map((v) => v * 0.5 + 1));
        // And in the other order: what comes after the call that takes it is refused, before that has run.
        const taken = f(other);
        for (const use of [
          () => read(w, other),
          () => f(other),
          () => other.data(),
          () => captures(stepped!),
        ])
          await expect(use()).rejects.toThrow(/donated \(argument 0 of a compiled function\)/);
        expect(await (await taken).data()).toEqual(before.map((v) => v * 0.5 + 1));
      }
    });

    test("a call that fails has given nothing away", async () => {
      const w = await start();
      const before = await w.data();
      const late = compile(
        (a: Tensor, at: Tensor) => {
          if (at.shape[0] === 2) throw new Error("it cannot be traced");
          return a.add(1);
        },
        { donate: [0] },
      );
      const failing = late(w, zeros([2]));
      await expect(w.data()).rejects.toThrow(/donated/); // while it may still run
      await expect(failing).rejects.toThrow("it cannot be traced");
      expect(await w.data()).toEqual(before);
      expect(await (await late(w, zeros([3]))).data()).toEqual(before.map((v) => v + 1));
      await expect(w.data()).rejects.toThrow(/donated/);
    });

    test("what was kept for a call goes when it has run", async () => {
      const f = step();
      const read = compile((a: Tensor) => a.mul(3));
      let w = await start();
      await Promise.all([read(w).then((r) => r.dispose()), f(await start()).then((r) => r.dispose())]);
      const bytes = device.liveBytes;
      for (let i = 0; i < 20; i++) {
        const [tripled, next] = await Promise.all([read(w), f(w)]);
        tripled.dispose();
        w = next;
      }
      expect(device.liveBytes).toBe(bytes);
    });

    longOn(backend)("averages and merged weights taken before a donated step", async () => {
      const optimizer = optim.sgd({ lr: 0.1 });
      let [own, frozen] = lora.partition(adapted.init(random.key(3), base.init(random.key(0))));
      await tree.evaluate([own, frozen]);
      const average = optim.ema({ decay: 0.9 });
      const train = compile(
        (p: nn.Params) => {
          const gradients = grad((q: nn.Params) =>
            nn.mseLoss(adapted.apply(tree.combine<nn.Params>(q, frozen), x), y),
          )(p);
          return optim.applyUpdates(p, optimizer.update(gradients, optimizer.init(p), p)[0]);
        },
        { donate: [0] },
      );
      own = await train(own);
      const values = async (t: unknown) => Promise.all(tree.leaves(t).map((leaf) => leaf.data()));
      const expected = await values(own);
      const outputs = await adapted.apply(tree.combine<nn.Params>(own, frozen), x).data();
      const shadow = average.init(own);
      const merged = lora.merge(adapted, tree.combine<nn.Params>(own, frozen));
      own = await train(own);
      own = await train(own);
      expect(await values(shadow)).toEqual(expected);
      const after = await base.apply(merged, x).data();
      after.forEach((value, i) => {
        expect(value).toBeCloseTo(outputs[i]!, 4);
      });
      expect(await values(own)).not.toEqual(expected);
    });

    test("a tensor that the function captures is refused, however it gets there", async () => {
      const c = await start();
      const before = await c.data();
      const meant = /argument 0.* is donated, and it is a tensor that the function also uses from outside/;
      type Nest = { a: { b: Tensor }[]; n?: Tensor<"number"> | number };
      const captures: (() => Promise<unknown>)[] = [
        () => compile((v: Tensor) => v.add(c.flip(0)), { donate: [0] })(c),
        () => compile((v: Tensor) => v.add(c), { donate: [0] })(c),
        () => compile((v: Tensor) => ({ v: v.mul(2), c: c.slice([0], [10]) }), { donate: [0] })(c),
        () => compile((v: Tensor) => ({ v: v.mul(2), c }), { donate: [0] })(c),
        () => compile((t: Nest) => t.a[0]!.b.mul(c.sum()), { donate: [0] })({ a: [{ b: c }] }),
        () => compile((v: Tensor) => v.add(c.flip(0)), { donate: [0] }).warmup(c),
      ];
      for (const capture of captures) await expect(capture()).rejects.toThrow(meant);
      // Known from a trace of another argument.
      const f = compile((v: Tensor) => v.add(c.flip(0)), { donate: [0] });
      await f(await start());
      await expect(f(c)).rejects.toThrow(meant);
      const twice = compile((a: Tensor, b: { c: Tensor }) => a.add(b.c.flip(0)), { donate: [0] });
      await expect(twice(c, { c })).rejects.toThrow(/arguments 0 and 1.c are one tensor, and it is donated/);
      await expect(
        compile((t: Tensor[]) => t[0]!.add(t[1]!.flip(0)), { donate: [0] })([c, c]),
      ).rejects.toThrow(/arguments 0.0 and 0.1 are one tensor/);
      expect(await c.data()).toEqual(before); // nothing was touched
    });

    test("views and copies of a donated tensor are read before it is overwritten", async () => {
      const c = await start();
      const before = await c.data();
      const flipped = before.slice().reverse();
      const expected = before.map((v, i) => Math.fround(v + flipped[i]!));
      const views: (() => Tensor)[] = [
        () => c.detach(),
        () => c.mul(1),
        () => c.reshape([1, 1000]).flip(0).sum(0),
      ];
      for (const view of views) {
        // As another argument, as a captured one, and as the donated one.
        const both = compile((a: Tensor, b: Tensor) => a.add(b.flip(0)), { donate: [0] });
        expect(await (await both(view(), c)).data()).toEqual(expected);
        expect(await (await both(view(), view())).data()).toEqual(expected);
        const captured = view();
        const adds = compile((a: Tensor) => a.add(captured.flip(0)), { donate: [0] });
        expect(await (await adds(c.mul(1))).data()).toEqual(expected);
        expect(
          await (await compile((a: Tensor) => a.add(c.flip(0)), { donate: [0] })(view())).data(),
        ).toEqual(expected);
      }
      const last = views.map((view) => view());
      const adds = compile((a: Tensor, ...others: Tensor[]) => others.map((b) => a.add(b.flip(0))), {
        donate: [0],
      });
      for (const sum of await adds(c, ...(last as never[]))) expect(await sum.data()).toEqual(expected);
    });

    test("two calls at a time: one has the tensor, the other is told", async () => {
      const f = step();
      const w = await start();
      const before = await w.data();
      const results = await Promise.allSettled([f(w), f(w)]);
      const done = results.filter((result) => result.status === "fulfilled");
      expect(done.length).toBe(1);
      expect(await done[0]!.value.data()).toEqual(before.map((v) => v * 0.5 + 1));
      const [refused] = results.filter((result) => result.status === "rejected");
      expect(String(refused!.reason)).toMatch(/argument 0: the tensor was donated/);
    });

    test("a position without an argument", async () => {
      const f = compile((v: Tensor) => v.mul(2), { donate: [1] });
      await expect(f(await start())).rejects.toThrow(/donate names argument 1, and there are 1 arguments/);
    });

    test("nothing waits: the buffer is taken over", async () => {
      const f = step();
      let w = await start();
      w = await f(w);
      await w.sum().item(); // settled users need it no more
      w = await f(w);
      const live = device.liveBytes;
      for (let i = 0; i < 50; i++) w = await f(w);
      expect(device.liveBytes).toBe(live);
    });
  });
});
