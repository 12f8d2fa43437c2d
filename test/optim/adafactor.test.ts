import { compile, init, random, scalar, type Tensor } from "lorantz";
import * as optim from "lorantz/optim";
import { beforeAll, expect, test } from "vitest";

beforeAll(async () => {
  await init({ backend: "cpu" });
});

const rms = (x: readonly number[]) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length);

/** The paper's algorithm 4 in plain numbers, for a matrix `[rows, columns]` or, with no rows, a vector. */
function reference(rows: number, columns: number, h: Required<Omit<optim.AdafactorHyper, "lr">>) {
  const size = Math.max(rows, 1) * columns;
  const [r, c, v] = [rows, columns, size].map((n) => Array.from({ length: n }, () => 0));
  return (p: readonly number[], g: readonly number[], t: number, lr: number): number[] => {
    const share = t ** -h.decayRate;
    const squares = g.map((x) => x * x + h.epsGradient);
    const average = (old: number[], i: number, x: number) => {
      old[i] = (1 - share) * old[i]! + share * x;
    };
    let second: number[];
    if (rows === 0) {
      squares.forEach((x, i) => {
        average(v!, i, x);
      });
      second = v!;
    } else {
      for (let i = 0; i < rows; i++)
        average(r!, i, squares.slice(i * columns, (i + 1) * columns).reduce((a, b) => a + b) / columns);
      for (let j = 0; j < columns; j++)
        average(c!, j, squares.filter((_, k) => k % columns === j).reduce((a, b) => a + b) / rows);
      const mean = r!.reduce((a, b) => a + b) / rows;
      second = squares.map((_, k) => (r![Math.floor(k / columns)]! * c![k % columns]!) / mean);
    }
    const u = g.map((x, k) => x / Math.sqrt(second[k]!));
    const size = h.scaleParameter ? Math.max(h.epsParameter, rms(p)) : 1;
    const step = (lr * size) / Math.max(1, rms(u) / h.clipThreshold);
    return p.map((x, k) => x - step * u[k]! - lr * h.weightDecay * x);
  };
}

const hyper = {
  decayRate: 0.8,
  epsGradient: 1e-4,
  epsParameter: 0.05,
  clipThreshold: 0.6,
  weightDecay: 0.1,
  scaleParameter: true,
};

test.each([
  [[3, 4], {}],
  [[5], {}],
  [[3, 2], { scaleParameter: false }],
  [[2, 3], { epsParameter: 50, clipThreshold: 3 }],
] as const)("adafactor follows its formula on %j with %j", async (shape, form) => {
  const own = { ...hyper, ...form };
  const lr = 0.3;
  // The relative step of the paper.
  const schedule: optim.Schedule = (step) => step.add(1).pow(-0.5).div(lr).minimum(1);
  const optimizer = optim.adafactor({ lr, ...own, schedule });
  const draw = (name: string) => random.normal(random.key(5).fold(name), shape).astype("float64") as Tensor;
  const next = reference(shape.length === 2 ? shape[0] : 0, shape.at(-1)!, own);
  let p = draw("p");
  let state = optimizer.init(p);
  let wanted = [...(await p.data())];
  const step = compile((g: Tensor, state: optim.OptimizerState, p: Tensor) => {
    const [updates, after] = optimizer.update(g, state, p);
    return [optim.applyUpdates(p, updates), after] as const;
  });
  for (let t = 1; t <= 15; t++) {
    const g = draw(`g${t}`).mul(scalar(t % 3));
    [p, state] = await step(g, state, p);
    wanted = next(wanted, [...(await g.data())], t, Math.min(lr, 1 / Math.sqrt(t)));
    [...(await p.data())].forEach((x, i) => {
      expect(Math.abs(x - wanted[i]!)).toBeLessThan(1e-13 * Math.max(1, Math.abs(x)));
    });
  }
});

test("squares of small gradients in float32 do not vanish, and none is NaN", async () => {
  const optimizer = optim.adafactor({ lr: 0.1 });
  const p = random.normal(random.key(0), [3, 3]);
  const [updates] = optimizer.update(p.mul(0), optimizer.init(p), p);
  for (const x of await updates.data()) expect(Math.abs(x)).toBe(0);
  const [small] = optimizer.update(p.mul(1e-12), optimizer.init(p), p);
  const [large] = optimizer.update(p, optimizer.init(p), p);
  const [x, y] = [await small.data(), await large.data()];
  x.forEach((value, i) => {
    expect(Math.abs(value - y[i]!)).toBeLessThan(1e-5);
  });
});

test("a matrix has as many numbers of state as it has rows and columns", () => {
  const optimizer = optim.adafactor({ lr: 0.1 });
  const { rows, columns, v } = optimizer.init({ w: random.normal(random.key(0), [2, 5, 7]) }) as never as {
    [slot: string]: { w: Tensor } | undefined;
  };
  expect([rows!.w.shape, columns!.w.shape, v]).toEqual([[2, 5, 1], [2, 1, 7], undefined]);
  expect(() => optim.adafactor({ lr: 0.1, clipThreshold: 0 })).toThrow(
    /adafactor: clipThreshold is 0; it is a finite number > 0/,
  );
  expect(() => optim.adafactor({ lr: 0.1, beta1: 0.9 } as never)).toThrow(/beta1/);
});
