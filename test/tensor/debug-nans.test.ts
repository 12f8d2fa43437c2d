import { beforeAll, expect, test } from "vitest";
import { compile, debugNans, grad, init, type Tensor, tensor, where } from "../../src/index.ts";
import { describeBackends } from "../devices.ts";

describeBackends("debugNans", (backend) => {
  beforeAll(async () => {
    await init({ backend });
  });

  const message = (f: () => unknown) =>
    debugNans(f).then(
      () => "none",
      (error: Error) => error.message,
    );

  test("names the operation, what it was given, and where it was called", async () => {
    const x = tensor([-1, 2]);
    const said = await message(() => x.mul(3).log().add(1).sum());
    expect(said).toMatch(
      /log gave NaN first, in float32\[2\], of float32\[2\] from -3 to 6, made at .*debug-nans\.test\.ts:\d+/,
    );
  });

  test("finds it in a gradient, and behind values that were asked for on the way", async () => {
    // The square root has no slope at 0, and 0 times that is not a number.
    const f = (x: Tensor) => where(x.gt(0), x.sqrt(), 0).sum();
    expect(await message(() => grad(f)(tensor([0, 4])))).toMatch(
      /(mul|div) gave NaN first.* of .*float32\[2\]/,
    );
    const early = async () => {
      const y = tensor([1, -1]).sqrt();
      await y.data();
      return y.mul(2);
    };
    expect(await message(early)).toMatch(/sqrt gave NaN first/);
  });

  test("says what held NaN to begin with, and gives the result where there is none", async () => {
    const x = tensor([Number.NaN, 1]);
    expect(await message(() => x.add(1))).toMatch(/float32\[2\] holds NaN to begin with/);
    const step = compile((x: Tensor) => x.add(1));
    expect(await (await debugNans(() => step(tensor([1])))).toArray()).toEqual([2]);
  });
});
