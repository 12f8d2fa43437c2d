import { init, ones, random, type Tensor } from "lorantz";
import { discoverSymmetry } from "lorantz/gauge";
import * as optim from "lorantz/optim";
import { beforeAll, expect, test } from "vitest";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

type Matrix = number[][];
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, v, k) => sum + v * b[k]![j]!, 0)));
const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));

/** Five steps of Newton-Schulz, from the paper's text. */
function sign(x: Matrix): Matrix {
  const size = Math.hypot(...x.flat());
  let y = x.map((row) => row.map((v) => v / size));
  for (let i = 0; i < 5; i++) {
    const a = product(y, transposed(y));
    const aa = product(a, a);
    const b = a.map((row, r) => row.map((v, c) => -4.775 * v + 2.0315 * aa[r]![c]!));
    const by = product(b, y);
    y = y.map((row, r) => row.map((v, c) => 3.4445 * v + by[r]![c]!));
  }
  return y;
}

test.each([
  [[2, 3], {}],
  [[4, 2], {}],
  [[2, 3], { plainMomentum: true, matchAdam: true }],
] as const)("muon follows its formula on %j with %j", async (shape, form) => {
  const [lr, momentum, weightDecay] = [0.1, 0.9, 0.5];
  const optimizer = optim.muon({ lr, momentum, weightDecay, ...form });
  const draw = (name: string) => random.normal(random.key(3).fold(name), shape).astype("float64") as Tensor;
  let p: Tensor = draw("p");
  let state = optimizer.init(p);
  let wanted = (await p.toArray()) as never as Matrix;
  let m = wanted.map((row) => row.map(() => 0));
  for (let t = 0; t < 3; t++) {
    const g = draw(`g${t}`);
    const [updates, next] = optimizer.update(g, state, p);
    p = optim.applyUpdates(p, updates);
    state = next;
    const gs = (await g.toArray()) as never as Matrix;
    m = m.map((row, r) => row.map((v, c) => momentum * v + (1 - momentum) * gs[r]![c]!));
    const ahead =
      "matchAdam" in form
        ? m
        : m.map((row, r) => row.map((v, c) => gs[r]![c]! + momentum * (v - gs[r]![c]!)));
    const [rows, columns] = shape;
    const size =
      "matchAdam" in form ? 0.2 * Math.sqrt(Math.max(rows, columns)) : Math.sqrt(Math.max(1, rows / columns));
    const o = sign(ahead);
    wanted = wanted.map((row, r) => row.map((v, c) => v - lr * size * o[r]![c]! - lr * weightDecay * v));
  }
  const got = (await p.toArray()) as never as Matrix;
  got.flat().forEach((v, i) => {
    expect(v).toBeCloseTo(wanted.flat()[i]!, 9);
  });
});

test("muon's declared powers are those that are found by experiment", { timeout: 120_000 }, async () => {
  const hyper = { lr: 0.1, momentum: 0.9, weightDecay: 0.3 };
  const found = await discoverSymmetry((h: typeof hyper) => optim.muon(h), {
    hyper,
    shapes: [[2, 3]],
    horizon: 12,
  });
  expect(found.exists, found.text).toBe(true);
  const { lr, momentum, weightDecay } = optim.muonRule.scaling.hyper(hyper) as never as typeof hyper;
  if (found.exists) expect(found.hyper).toEqual({ lr, momentum, weightDecay });
});

test("muon takes matrices only", () => {
  expect(() => optim.muon({ lr: 0.1 }).init({ bias: ones([3]) })).toThrow(
    /muon: a parameter is float32\[3\]; it is for matrices/,
  );
  expect(() => optim.muon({ lr: -1 })).toThrow(/lr/);
});
