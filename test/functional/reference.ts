import { expect } from "vitest";
import { grad, type Tensor, tensor } from "../../src/index.ts";
import type { BackendName } from "../devices.ts";

/**
 * What PyTorch 1.13 gives in float64 of inputs sin(3 i + 1) + (i mod 7) / 10: the shape, the first four elements and the sum, and
 * for each input the sum of squares of its gradient, below cotangents cos(i).
 */
export interface Reference {
  readonly of: (...inputs: Tensor[]) => Tensor;
  readonly inputs: readonly (readonly number[])[];
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly sum: number;
  readonly squares: readonly number[];
}

const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const numbers = (shape: readonly number[], dtype: "float32" | "float64", of: (i: number) => number): Tensor =>
  tensor(
    Float64Array.from({ length: numel(shape) }, (_, i) => of(i)),
    { dtype, shape },
  );

/** In float32, and in float64 where there is some. */
export async function agrees(reference: Reference, backend: BackendName): Promise<void> {
  for (const dtype of backend === "cpu" ? (["float64", "float32"] as const) : (["float32"] as const)) {
    const close = (got: ArrayLike<number>, wanted: readonly number[]) =>
      wanted.forEach((value, i) => {
        const within = (dtype === "float64" ? 2e-8 : 3e-5) * Math.max(1, Math.abs(value));
        expect(Math.abs(got[i]! - value), `${dtype}: ${got[i]}, expected ${value}`).toBeLessThan(within);
      });
    const { of } = reference;
    const inputs = reference.inputs.map((shape) =>
      numbers(shape, dtype, (i) => Math.sin(3 * i + 1) + 0.1 * (i % 7)),
    );
    const y = of(...inputs);
    expect(y.dtype).toBe(dtype);
    expect(y.shape).toEqual(reference.shape);
    const got = (await y.data()) as Float64Array;
    close(got, reference.values);
    close([got.reduce((a, b) => a + b, 0)], [reference.sum]);
    const cotangents = numbers(y.shape, dtype, Math.cos);
    const argnums = inputs.map((_, i) => i);
    const slopes = grad(
      (...xs: Tensor[]) =>
        of(...xs)
          .mul(cotangents)
          .sum(),
      { argnums },
    )(...inputs);
    const squares = await Promise.all(slopes.map((slope) => slope.square().sum().item()));
    close(squares, reference.squares);
  }
}
