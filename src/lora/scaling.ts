import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { scalar } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface ScalingConfig {
  /** Rank: rows of A, columns of B. */
  readonly r: number;
  readonly alpha: number;
  /** Divide alpha by sqrt(r) instead of r (Kalajdzievski 2023, arXiv:2312.03732). Default false. */
  readonly rsLora?: boolean;
}

/** The factor on an adapter's output, and the numbers it comes from. Made by `scaling`; nothing recomputes it. */
export interface Scaling extends Required<ScalingConfig> {
  /** `alpha / r`, or `alpha / sqrt(r)` when `rsLora`; float64. */
  readonly value: number;
}

/**
 * The scaling of an adapter: `alpha / r` (Hu et al. 2021, arXiv:2106.09685), or `alpha / sqrt(r)`.
 *
 * @throws ValueError if `r` is not a positive integer, or `alpha` is 0 or not finite.
 * @example
 * scaling({ r: 8, alpha: 16 }).value;                // 2
 * scaling({ r: 4, alpha: 16, rsLora: true }).value;  // 8
 */
export function scaling({ r, alpha, rsLora = false }: ScalingConfig): Scaling {
  if (!Number.isInteger(r) || r < 1)
    throw new ValueError(`lora: r is ${show(r)}; a rank is an integer >= 1.`);
  if (!Number.isFinite(alpha) || alpha === 0) {
    throw new ValueError(
      `lora: alpha is ${show(alpha)}; it is a finite number other than 0, which would switch the adapter off for good.`,
    );
  }
  return { r, alpha, rsLora, value: rsLora ? alpha / Math.sqrt(r) : alpha / r };
}

/**
 * `scaling.value * x`: always one multiplication, also by 1, by a number passed at run time. So the sequence of
 * operations is the same for every alpha: runs share their programs, and gauges by powers of two are bitwise.
 */
export function applyScaling(scaling: Scaling, x: Tensor): Tensor {
  return x.mul(scalar(scaling.value));
}
