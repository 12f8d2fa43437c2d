import { afterAll, beforeAll, expect, test } from "vitest";
import * as functional from "../../src/functional/index.ts";
import { type Device, init, tensor, zeros } from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Spreads of numbers, and Kronecker products.

const { corrcoef, cov, histogram, kron } = functional;

describeComposed("statistics", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (x) => cov(x),
      inputs: [[3, 5]],
      shape: [3, 3],
      values: [0.520663303, -0.0944521815, -0.554453343, -0.0944521815],
      sum: 0.0651911029,
      squares: [0.832973681],
    },
    {
      of: (x) => cov(x, { correction: 0 }),
      inputs: [[6]],
      shape: [],
      values: [0.348834441],
      sum: 0.348834441,
      squares: [0.232556294],
    },
    {
      of: (x) => corrcoef(x),
      inputs: [[3, 5]],
      shape: [3, 3],
      values: [1, -0.393411713, -0.871399939, -0.393411713],
      sum: 0.313814651,
      squares: [5.11790423],
    },
    {
      of: (x, y) => kron(x, y),
      inputs: [
        [2, 3],
        [3, 2],
      ],
      shape: [6, 6],
      values: [0.708073418, -0.552680243, -0.552680243, 0.431389518],
      sum: 3.34852558,
      squares: [17.7020965, 1.51653164],
    },
    {
      of: (x, y) => kron(x, y),
      inputs: [[2], [2, 1, 2]],
      shape: [2, 1, 4],
      values: [0.708073418, -0.552680243, -0.552680243, 0.431389518],
      sum: 0.147297862,
      squares: [0.901993909, 3.92327485],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of), reference] as const))("%s", (_, reference) =>
    agrees(reference, backend),
  );

  test("histograms have NumPy's edges", async () => {
    const x = tensor([1, 2, 2, 4, Number.NaN]);
    const { hist, binEdges } = histogram(x, { bins: 3, range: [1, 4] });
    expect([await hist.toArray(), await binEdges.toArray()]).toEqual([
      [1, 2, 1],
      [1, 2, 3, 4],
    ]);
    const found = histogram(x.slice([0], [4]), { bins: 3, density: true });
    expect(await found.binEdges.toArray()).toEqual([1, 2, 3, 4]);
    expect(await found.hist.toArray()).toEqual([0.25, 0.5, 0.25]);
    const own = histogram(x, { bins: tensor([0, 2, 4]), weights: tensor([1, 2, 3, 4, 5]) });
    expect(await own.hist.toArray()).toEqual([1, 9]);
    const one = histogram(tensor([3, 3]), { bins: 2 });
    expect([await one.hist.toArray(), await one.binEdges.toArray()]).toEqual([
      [0, 2],
      [2.5, 3, 3.5],
    ]);
    const none = histogram(zeros([0]), { bins: 2 });
    expect([await none.hist.toArray(), await none.binEdges.toArray()]).toEqual([
      [0, 0],
      [0, 0.5, 1],
    ]);
  });

  test("of other dtypes and shapes", async () => {
    const whole = tensor([[1, 2]], { dtype: "int32" });
    expect(await kron(whole, whole.transpose()).toArray()).toEqual([
      [1, 2],
      [2, 4],
    ]);
    expect(kron(zeros([0, 2]), zeros([3])).shape).toEqual([0, 6]);
    expect(cov(zeros([4, 3, 5])).shape).toEqual([4, 3, 3]);
    expect(await corrcoef(tensor([2, 2])).item()).toBeNaN();
    expect(() => cov(tensor(1))).toThrow(/cov: takes/);
    expect(() => histogram(tensor([1]), { range: [2, 1] })).toThrow(/histogram: range/);
    expect(() => histogram(tensor([1]), { weights: tensor([1, 2]) })).toThrow(/histogram: weights/);
  });
});
