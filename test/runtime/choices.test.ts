import { afterAll, beforeAll, expect, test } from "vitest";
import { type Device, init, random, tensor } from "../../src/index.ts";
import { describeBackends } from "../devices.ts";

// Draws of integers and of elements; the distributions that are made of tables.

const key = (name: string) => random.key(7).fold(name);

describeBackends("draws", (backend) => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend });
  });
  afterAll(() => device.dispose());

  test("of integers are the upper half of a product with random bits", async () => {
    const bits = await random.bits(key("int"), [300]).data();
    for (const [min, max] of [
      [0, 10],
      [-5, 2 ** 31 - 1],
      [-(2 ** 31), 2 ** 31],
      [3, 4],
    ] as const) {
      const drawn = await random.randint(key("int"), [300], { min, max }).data();
      const wanted = Array.from(bits, (b) => Number((BigInt(b) * BigInt(max - min)) >> 32n) + min);
      expect([...drawn]).toEqual(wanted);
    }
    expect(() => random.randint(key("int"), [1], { max: 0 })).toThrow(/^random.randint: min is 0 and max 0/);
  });

  test("in random order, with and without putting back", async () => {
    const order = await random.permutation(key("order"), 100).data();
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    expect([...order]).not.toEqual([...(await random.permutation(key("other"), 100).data())]);
    const rows = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(await random.permutation(key("rows"), rows).sum(0).toArray()).toEqual([9, 12]);
    const some = await random.choice(key("some"), 20, [4, 4], { replace: false }).data();
    expect(new Set(some).size).toBe(16);
    const p = tensor([0, 0.5, 0.25, 0.25]);
    const weighted = await random.choice(key("p"), 4, [4000], { p }).data();
    const share = (i: number) => weighted.filter((x) => x === i).length / 4000;
    expect(share(0)).toBe(0);
    expect(share(1)).toBeCloseTo(0.5, 1);
    const three = await random
      .choice(key("three"), rows, [2], { replace: false, p: tensor([1, 0, 1]) })
      .sum(0)
      .toArray();
    expect(three).toEqual([6, 8]);
    expect(() => random.choice(key("x"), 3, true as never)).toThrow(/random.choice: the shape is true/);
    expect(() => random.choice(key("x"), 2, [3], { replace: false })).toThrow(
      /^random.choice: 3 of 2 elements cannot be drawn without putting back/,
    );
  });

  test("of the exponential and the truncated normal distribution", async () => {
    const waits = await random.exponential(key("waits"), [4000]).data();
    expect(waits.every((x) => x >= 0)).toBe(true);
    const mean = (x: ArrayLike<number>) => Array.from(x).reduce((sum, v) => sum + v, 0) / x.length;
    expect(mean(waits)).toBeCloseTo(1, 1);
    expect(waits.filter((x) => x > 1).length / 4000).toBeCloseTo(Math.exp(-1), 1);
    const cut = await random.truncatedNormal(key("cut"), [4000], { min: -1, max: 2 }).data();
    expect(Math.min(...cut)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...cut)).toBeLessThanOrEqual(2);
    expect(mean(cut)).toBeCloseTo(0.2296, 1); // (density at -1 less that at 2) over the probability between
    expect(cut.filter((x) => x < 0).length / 4000).toBeCloseTo(0.3413 / 0.8186, 1);
    expect(() => random.truncatedNormal(key("cut"), [1], { min: 1, max: 1 })).toThrow(/2\^-24 at least/);
  });
});
