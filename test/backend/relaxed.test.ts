import { expect, test, vi } from "vitest";
import { compile, init, random, type Tensor } from "../../src/index.ts";

// That the other tests of this project, "relaxed SIMD" in vitest.config.ts, are about what they say.

async function product(relaxed: boolean | undefined) {
  using device = await init({ backend: "cpu", relaxed });
  const compiled = compile((x: Tensor, y: Tensor) => x.matmul(y), { device });
  const n = (seed: number, shape: number[]) => random.normal(random.key(seed), shape);
  const values = await (await compiled(n(1, [33, 200]), n(2, [200, 40]))).data();
  return { values, description: device.description, sources: compiled.inspect().sources.join("\n") };
}

test("products are fused where the platform can, unless that is not wanted", async () => {
  const [fused, byDefault, strict] = [await product(true), await product(undefined), await product(false)];
  expect(fused.description).toMatch(/, relaxed fma$/);
  expect(fused.sources).toMatch(/fused multiply-add/);
  expect(byDefault).toEqual(fused);
  expect(strict.description).not.toMatch(/relaxed/);
  expect(strict.sources).not.toMatch(/fused multiply-add/);
  expect(strict.values).not.toEqual(fused.values);
  strict.values.forEach((x, i) => {
    expect(Math.abs(x - fused.values[i]!)).toBeLessThan(1e-4);
  });
});

test("what cannot be fused says so", async () => {
  const validate = vi.spyOn(WebAssembly, "validate");
  validate.mockReturnValueOnce(true).mockReturnValueOnce(false); // vectors, but no fused instructions
  await expect(init({ backend: "cpu", relaxed: true })).rejects.toThrow(
    /no relaxed SIMD here: it takes WebAssembly in Node 22/,
  );
  validate.mockRestore();
});
