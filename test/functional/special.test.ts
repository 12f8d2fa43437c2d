import { afterAll, beforeAll, expect, test } from "vitest";
import * as functional from "../../src/functional/index.ts";
import { type Device, debugNans, grad, init, softplus, type Tensor, tensor, zeros } from "../../src/index.ts";
import { describeComposed } from "../devices.ts";
import { agrees, type Reference } from "./reference.ts";

// Functions of torch.special. What is said of other places holds to rounding without a reference.

const { digamma, lgamma, logit, polygamma, sinc, xlogy } = functional;

describeComposed("special functions", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  const cases: readonly Reference[] = [
    {
      of: (x) => lgamma(x.mul(4)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [1.05603815, -0.117135154, 1.12235158, 3.7440929],
      sum: 19.9096163,
      squares: [33822.7507],
    },
    {
      of: (x) => digamma(x.mul(4)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [1.057848, -0.182588977, 1.07906783, -41.3278354],
      sum: 2.74672645,
      squares: [53897388.5],
    },
    {
      of: (x) => polygamma(1, x.add(2).mul(3)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.124459295, 0.281473863, 0.123743338, 0.208976954],
      sum: 2.61069795,
      squares: [0.0692663523],
    },
    {
      of: (x) => polygamma(3, x.add(1.2)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.458905706, 70.1848447, 0.446636602, 7.71892215],
      sum: 428.260799,
      squares: [313250.891],
    },
    {
      of: (x) => logit(x.mul(0.25).add(0.4)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.448858283, -1.17584901, 0.465198381, -0.667777286],
      sum: -2.06173854,
      squares: [9.13142288],
    },
    {
      of: (x) => sinc(x.mul(2)),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [-0.15875181, -0.201946021, -0.145311153, 0.651757763],
      sum: 4.19875103,
      squares: [15.5411999],
    },
    {
      of: (x, y) => xlogy(x, y.add(2)),
      inputs: [[3, 5], [5]],
      shape: [3, 5],
      values: [0.878766553, -0.193791526, 0.899636621, -0.137390345],
      sum: 3.11079624,
      squares: [5.60397257, 1.0696592],
    },
    {
      of: (x) => softplus(x, 3, 2),
      inputs: [[3, 5]],
      shape: [3, 5],
      values: [0.841470985, 0.0435006147, 0.856986599, 0.130886866],
      sum: 7.43267217,
      squares: [4.40436479],
    },
  ];
  test.each(cases.map((reference) => [String(reference.of), reference] as const))("%s", (_, reference) =>
    agrees(reference, backend),
  );

  const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
  const points = [0, -0, -1, -2, inf, -inf, nan, 1, 2];

  test("poles, infinities and zeros", async () => {
    const x = tensor(points);
    expect([...(await lgamma(x).data())]).toEqual([inf, inf, inf, inf, inf, inf, nan, 0, 0]);
    const [first, second] = [await digamma(x).data(), await polygamma(1, x).data()];
    expect([...first.slice(0, 7)]).toEqual([-inf, -inf, nan, nan, inf, nan, nan]);
    expect([...second.slice(0, 7)]).toEqual([inf, inf, inf, inf, 0, inf, nan]);
    expect([...(await polygamma(2, x).data())].slice(0, 4)).toEqual([-inf, -inf, nan, nan]);
    expect([...(await logit(tensor([0, 1, 2, -1, 0.5])).data())]).toEqual([-inf, inf, nan, nan, 0]);
    const shares = xlogy(tensor([0, 0, 0, 0, 1, nan]), tensor([0, inf, -1, nan, 0, 1]));
    expect([...(await shares.data())]).toEqual([0, 0, 0, nan, -inf, nan]);
    expect([...(await sinc(tensor([0, 3, 1e7, inf])).data())].map((y) => y + 0)).toEqual([1, 0, 0, nan]);
  });

  test("of float32 to some units in the last place, by the series of other places", async () => {
    const x = Float32Array.from({ length: 200 }, (_, i) => 1e-3 * 1.1 ** i);
    // lgamma(x + 1) = lgamma(x) + log x, and the derivatives of it.
    const [a, b] = [tensor(x), tensor(Float64Array.from(x), { dtype: "float32" })];
    const next = (f: (x: Tensor) => Tensor) => f(b.add(1)).sub(f(a)).data();
    const [zeroth, first, second] = [
      await next(lgamma),
      await next(digamma),
      await next((x) => polygamma(1, x)),
    ];
    x.forEach((at, i) => {
      const size = 2 ** -20 * Math.max(1, Math.abs(at * Math.log(at)));
      expect(Math.abs(zeroth[i]! - Math.log(at)), `lgamma at ${at}`).toBeLessThan(size);
      expect(Math.abs(first[i]! - 1 / at)).toBeLessThan(2 ** -20 * Math.max(2, 1 / at, Math.log(at)));
      expect(Math.abs(second[i]! + 1 / at ** 2)).toBeLessThan(2 ** -20 * Math.max(1, 1 / at ** 2));
    });
  });

  test("gradients of higher order", async () => {
    const third = grad((x: Tensor) =>
      grad((x: Tensor) => grad((x: Tensor) => lgamma(x).sum())(x).sum())(x).sum(),
    );
    const at = tensor([-0.5, 1, 4.5]);
    expect(await third(at).toArray()).toEqual(await polygamma(2, at).toArray());
    const bent = grad((x: Tensor) => grad((x: Tensor) => sinc(x).sum())(x).sum());
    expect((await bent(tensor([0])).item()) / (Math.PI ** 2 / 3)).toBeCloseTo(-1, 6);
  });

  test("narrow floats are rounded once, and nothing stays nothing", async () => {
    const x = tensor([0.3, 1.7, 12], { dtype: "bfloat16" });
    for (const f of [lgamma, digamma, sinc, (x: Tensor) => polygamma(2, x)]) {
      expect(await f(x).toArray()).toEqual(await f(x.astype("float32")).astype("bfloat16").toArray());
      expect(f(zeros([0, 3])).shape).toEqual([0, 3]);
    }
  });

  test("where there is no pole there is no NaN on the way", async () => {
    const x = tensor([1, 2, -1.5, 3, 0.1]);
    for (const f of [lgamma, digamma, sinc, (x: Tensor) => polygamma(2, x)])
      await debugNans(() => f(x).sum());
  });

  test("what is no argument", () => {
    expect(() => polygamma(-1, tensor([1]))).toThrow(/polygamma: n is -1; it is an integer from 0 to 30/);
    expect(() => lgamma(tensor([1], { dtype: "int32" }))).toThrow(/lgamma: takes floats/);
    expect(() => softplus(tensor([1]), 0)).toThrow(/softplus: beta is 0/);
  });
});
