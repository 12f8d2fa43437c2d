import { expect } from "vitest";
import { generator } from "../src/base/generator.ts";
import { numel } from "../src/base/shape.ts";
import { referenceValues } from "../src/experiments/reference.ts";
import { compile, type FloatDType, grad, type Tensor, tensor, valueAndGrad } from "../src/index.ts";

// What tests of the floats of 16 bits share.

/** Uniform in [-1, 1). */
export function uniformValues(shape: readonly number[], dtype: FloatDType, seed = 1): Tensor<FloatDType> {
  const draw = generator(seed);
  const length = numel(shape);
  return tensor(
    Float32Array.from({ length }, () => draw() * 2 - 1),
    { shape, dtype },
  );
}

/** Values of results within what a relative error and the sums of products of k terms allow. */
export async function expectProducts(
  results: readonly Tensor[],
  expected: readonly ArrayLike<number>[],
  k: number,
  halfUnit: (i: number) => number,
): Promise<void> {
  for (const [i, result] of results.entries()) {
    const found = await result.data();
    Array.from(expected[i]!).forEach((value, j) => {
      const allowed = halfUnit(i) * Math.abs(value) + k * 2 ** -23;
      if (!(Math.abs(found[j]! - value) <= allowed)) expect(found[j], `${i}: ${j}`).toBe(value);
    });
  }
}

/** A frozen weight is read in 16 bits by the loss and its gradient, and no copy of it is made. */
export async function expectReadAsStored(dtype: FloatDType): Promise<void> {
  const layer = (x: Tensor, w: Tensor) => x.matmul(w.astype("float32").transpose()).square().sum();
  const step = compile((x: Tensor, w: Tensor) => valueAndGrad(layer)(x, w));
  const [x, w] = [uniformValues([32, 48], "float32"), uniformValues([40, 48], dtype, 2)];
  const [loss, gradient] = await step(x, w);
  const [exactLoss, exactGradient] = await referenceValues([layer(x, w), grad(layer)(x, w)]);
  expect(await loss.item()).toBeCloseTo(exactLoss![0]!, 2);
  const found = await gradient.data();
  exactGradient!.forEach((value, i) => {
    expect(found[i]).toBeCloseTo(value, 3);
  });
  expect(step.inspect().kernels).toBe(3);
  expect(step.inspect().schedule).not.toMatch(/float32\[?1920/);
}
