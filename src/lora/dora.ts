import { wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { applyScaling, type Scaling } from "./scaling.ts";

/** The matrices of an adapter and what they adapt: W `[out, in]`, A `[r, in]`, B `[out, r]`. */
export interface Factors {
  readonly weight: Tensor;
  readonly loraA: Tensor;
  readonly loraB: Tensor;
}

/**
 * The lengths of the rows of W + s B A, `[out]`, with no gradient, and without forming B A:
 *
 *     |w_i + s b_i A|^2 = |w_i|^2 + 2 s (W A^T)_i . b_i + s^2 (b_i A A^T) . b_i
 *
 * Of float16 they are float32. The largest temporaries are `[out, r]`. The terms are rounded before they are added, so the square has an
 * absolute error of some eps (|w_i| + |s b_i A|)^2: digits are lost where an adapter cancels most of a row.
 *
 * A row that is zero has no direction, and dividing by its length gives NaN, as in PEFT.
 *
 * Deviation: PEFT forms B A (`out * in` elements) and adds it to W first.
 */
export function rowLengths(factors: Factors, scaling: Scaling): Tensor {
  const [weight, loraA, loraB] = [wide(factors.weight), wide(factors.loraA), wide(factors.loraB)];
  const transposed = loraA.transpose();
  const own = weight.square().sum(1);
  const mixed = applyScaling(scaling, weight.matmul(transposed).mul(loraB).sum(1));
  const change = loraB.matmul(loraA.matmul(transposed)).mul(loraB).sum(1);
  return own
    .add(mixed.mul(2))
    .add(applyScaling(scaling, applyScaling(scaling, change)))
    .maximum(0)
    .sqrt()
    .detach();
}

/** `loraMagnitude / rowLengths`, `[out]`: the factor on each row of W + s B A. Gradients reach the magnitude only. */
export function rowFactors(factors: Factors, magnitude: Tensor, scaling: Scaling): Tensor {
  return wide(magnitude).div(rowLengths(factors, scaling));
}
