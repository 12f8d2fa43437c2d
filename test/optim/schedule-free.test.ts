import { compile, init, random, type Tensor, tensor, tree } from "lorantz";
import { discoverSymmetry } from "lorantz/gauge";
import * as optim from "lorantz/optim";
import { beforeAll, expect, test } from "vitest";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

test.each([{}, { r: 1, weightLrPower: 0 }, { r: 0.5, weightLrPower: 1 }])(
  "schedule-free AdamW is its three sequences of points with %j",
  async (form) => {
    const [lr, eps, weightDecay, b1, b2] = [0.1, 0.01, 0.3, 0.8, 0.9];
    const warmup = 4;
    const optimizer = optim.scheduleFreeAdamw({
      lr,
      eps,
      weightDecay,
      betas: [b1, b2],
      schedule: optim.schedule.warmupConstant({ warmup }),
      ...form,
    });
    const { r = 0, weightLrPower = 2 } = form as { r?: number; weightLrPower?: number };
    const draw = (name: string) => random.normal(random.key(2).fold(name), [5]).astype("float64") as Tensor;
    let p = draw("p");
    let state = optimizer.init(p);
    const step = compile((g: Tensor, state: optim.OptimizerState, p: Tensor) => {
      const [updates, after] = optimizer.update(g, state, p);
      const trained = optim.applyUpdates(p, updates);
      return [trained, after, optimizer.averaged(trained, after)] as const;
    });
    // The paper's own form: x is kept, and y is between x and z.
    let [x, z] = [[...(await p.data())], [...(await p.data())]];
    const v = x.map(() => 0);
    let [sum, largest] = [0, 0];
    for (let t = 1; t <= 12; t++) {
      const g = draw(`g${t}`);
      const gs = await g.data();
      const y = x.map((a, i) => b1 * a + (1 - b1) * z[i]!);
      const rate = lr * Math.min(1, (t - 1) / warmup);
      largest = Math.max(largest, rate);
      const weight = t ** r * largest ** weightLrPower;
      sum += weight;
      const share = sum === 0 ? 0 : weight / sum;
      z = z.map((a, i) => {
        v[i] = b2 * v[i]! + (1 - b2) * gs[i]! ** 2;
        return a - rate * (gs[i]! / (Math.sqrt(v[i]! / (1 - b2 ** t)) + eps) + weightDecay * y[i]!);
      });
      x = x.map((a, i) => (1 - share) * a + share * z[i]!);
      let averaged: Tensor;
      [p, state, averaged] = await step(g, state, p);
      const [trained, best] = [await p.data(), await averaged.data()];
      x.forEach((a, i) => {
        expect(Math.abs(best[i]! - a)).toBeLessThan(1e-12);
        expect(Math.abs(trained[i]! - (b1 * a + (1 - b1) * z[i]!))).toBeLessThan(1e-12);
      });
    }
  },
);

test("its declared powers are those that are found by experiment", { timeout: 120_000 }, async () => {
  const hyper = { lr: 0.1, eps: 1e-3, weightDecay: 0.3 };
  const found = await discoverSymmetry((h: typeof hyper) => optim.scheduleFreeAdamw(h), {
    hyper,
    shapes: [[3]],
    horizon: 12,
  });
  if (!found.exists) throw new Error(found.text);
  const all = optim.scheduleFreeAdamw(hyper).defaults;
  const { lr, eps, weightDecay } = optim.scheduleFreeAdamwRule.scaling.hyper(all) as optim.Powers<typeof all>;
  expect(found.hyper).toEqual({ lr, eps, weightDecay });
  expect(found.state).toEqual(optim.scheduleFreeAdamwRule.scaling.state(all));
  expect(found.bitwise).toBe(true);
});

test("averages of float16 are float16, of their own group, and what does not fit is refused", async () => {
  const optimizer = optim.scheduleFreeAdamw({ lr: 0.1, groups: [{ match: "b", betas: [0.5, 0.9] }] });
  const params = { a: tensor([1], { dtype: "float16" }) as Tensor, b: tensor([1]) as Tensor };
  const gradients = { a: tensor([1]) as Tensor, b: tensor([1]) as Tensor };
  const [updates, one] = optimizer.update(gradients, optimizer.init(params), params);
  const first = optim.applyUpdates(params, updates);
  const [more, two] = optimizer.update(gradients, one, first);
  const second = optim.applyUpdates(first, more);
  const averaged = optimizer.averaged(second, two);
  expect(tree.entries(averaged).map(([, { dtype }]) => dtype)).toEqual(["float16", "float32"]);
  // z goes from 1 to 0.9 to 0.8; the average of the last two.
  expect(await averaged.a.item()).toBeCloseTo(0.85, 3);
  expect(await averaged.b.item()).toBeCloseTo(0.85, 6);
  expect(() => optimizer.averaged(params, optim.sgd({ lr: 1 }).init(params))).toThrow(/state is of another/);
  expect(() => optim.scheduleFreeAdamw({ lr: 1, betas: [0, 0.9] })).toThrow(/betas\[0\] is 0/);
  expect(() => optim.scheduleFreeAdamw({ lr: 1, warmupSteps: 3 } as never)).toThrow(/warmupSteps/);
});
