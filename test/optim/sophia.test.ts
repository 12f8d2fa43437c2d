import { init, random, type Tensor, tensor, tree, valueAndGrad } from "lorantz";
import { discoverSymmetry } from "lorantz/gauge";
import * as optim from "lorantz/optim";
import { beforeAll, expect, test } from "vitest";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

test("sophia follows its formula, with curvature told now and then, by group", async () => {
  const [lr, gamma, eps, weightDecay] = [0.1, 0.5, 0.01, 0.3];
  const optimizer = optim.sophia({
    lr,
    gamma,
    eps,
    weightDecay,
    betas: [0.9, 0.8],
    groups: [{ match: "b", betas: [0.5, 0.25], gamma: 2 }],
  });
  const forms = { a: [0.9, 0.8, gamma], b: [0.5, 0.25, 2] } as const;
  const draw = (name: string) => random.normal(random.key(1).fold(name), [6]).astype("float64") as Tensor;
  let params = { a: draw("a"), b: draw("b") };
  let state = optimizer.init(params);
  const plain = { a: [...(await params.a.data())], b: [...(await params.b.data())] };
  const [m, h] = [0, 0].map(() => ({ a: Array(6).fill(0), b: Array(6).fill(0) }));
  for (let t = 0; t < 8; t++) {
    const gradients = tree.map(params, (_, path) => draw(`g${t}${path}`)) as typeof params;
    const estimate = tree.map(params, (_, path) => draw(`h${t}${path}`)) as typeof params;
    const told = t % 3 === 1;
    if (told) state = optimizer.curved(state, estimate);
    const [updates, next] = optimizer.update(gradients, state, params);
    params = optim.applyUpdates(params, updates);
    state = next;
    for (const key of ["a", "b"] as const) {
      const [b1, b2, share] = forms[key];
      const [g, e] = [await gradients[key].data(), await estimate[key].data()];
      const got = await params[key].data();
      plain[key].forEach((p, i) => {
        if (told) h![key][i] = b2 * h![key][i] + (1 - b2) * e[i]!;
        m![key][i] = b1 * m![key][i] + (1 - b1) * g[i]!;
        const d = Math.max(-1, Math.min(1, m![key][i] / Math.max(share * h![key][i], eps)));
        plain[key][i] = p - lr * d - lr * weightDecay * p;
        expect(Math.abs(got[i]! - plain[key][i]!)).toBeLessThan(1e-13);
      });
    }
  }
});

test("hutchinson is exact for a diagonal Hessian, and right on average for any", async () => {
  const f = (x: Tensor) => x.pow(3).sum();
  expect([...(await optim.hutchinson(f, tensor([1, 2]), random.key(0)).data())]).toEqual([6, 12]);
  // With signs u, the estimate of element i is H_ii + u_i u_j H_ij: over both signs its mean is H_ii.
  const g = ({ x, y }: { x: Tensor; y: Tensor }) => x.square().mul(2).add(x.mul(y).mul(5)).sum();
  const seen = new Set<number>();
  for (let i = 0; i < 12; i++) {
    const params = { x: tensor([1]) as Tensor, y: tensor([3]) as Tensor };
    const { x, y } = optim.hutchinson(g, params, random.key(i));
    seen.add(await x.item());
    expect([-5, 5]).toContain(await y.item());
  }
  expect([...seen].sort((a, b) => a - b)).toEqual([-1, 9]);
});

test("sophia descends a valley at one rate along and across it", async () => {
  const loss = (p: Tensor) =>
    p
      .square()
      .mul(tensor([1, 1000]))
      .sum();
  const optimizer = optim.sophia({ lr: 0.5, gamma: 1, betas: [0, 0.9], weightDecay: 0 });
  let p: Tensor = tensor([1, 1]);
  let state = optimizer.init(p);
  for (let t = 0; t < 20; t++) {
    state = optimizer.curved(state, optim.hutchinson(loss, p, random.key(t)));
    const [, gradient] = valueAndGrad(loss)(p);
    const [updates, next] = optimizer.update(gradient, state, p);
    p = optim.applyUpdates(p, updates);
    state = next;
  }
  for (const x of await p.data()) expect(Math.abs(x)).toBeLessThan(1e-3);
});

test("its declared powers are those that are found, curvature being of degree -2", {
  timeout: 120_000,
}, async () => {
  const hyper = { lr: 0.1, gamma: 0.5, eps: 1e-3, weightDecay: 0.3 };
  // Squares of gradients scale as curvature does.
  const told = (h: typeof hyper): optim.Optimizer => {
    const optimizer = optim.sophia(h);
    return {
      ...optimizer,
      update: (gradients, state, params) =>
        optimizer.update(
          gradients,
          optimizer.curved(
            state,
            tree.map(gradients, (g) => g.square()),
          ),
          params,
        ),
    };
  };
  const found = await discoverSymmetry(told, { hyper, shapes: [[2, 3]], horizon: 12 });
  if (!found.exists) throw new Error(found.text);
  const { betas: _, ...declared } = optim.sophiaRule.scaling.hyper({
    ...hyper,
    betas: [0.9, 0.9],
  }) as never as Record<string, number>;
  expect(found.hyper).toEqual(declared);
  expect(found.state).toEqual(optim.sophiaRule.scaling.state({ ...hyper, betas: [0.9, 0.9] }));
  expect(found.bitwise).toBe(true);
});

test("what does not fit is refused, and states of float16 are float32", () => {
  const optimizer = optim.sophia({ lr: 0.1 });
  const p = { w: tensor([1, 2], { dtype: "float16" }) as Tensor };
  const state = optimizer.curved(optimizer.init(p), p);
  expect(tree.entries(state).map(([path, { dtype }]) => [path, dtype])).toContainEqual(["h.w", "float32"]);
  expect(() => optimizer.curved(optim.sgd({ lr: 1 }).init(p), p)).toThrow(/sophia: the state is of another/);
  expect(() => optimizer.curved(state, { v: p.w })).toThrow();
  expect(() => optim.sophia({ lr: 0.1, rho: 1 } as never)).toThrow(/rho/);
});
