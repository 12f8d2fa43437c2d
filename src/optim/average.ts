import { scalar } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Exponential moving averages, as the slots of optimizers keep them. */
export interface Average {
  /** beta old + (1 - beta) x. */
  readonly of: (old: Tensor, x: Tensor) => Tensor;
  /** beta old + (1 - beta) x^2. */
  readonly ofSquares: (old: Tensor, x: Tensor) => Tensor;
}

/** The averages of one decay rate; 1 - beta is computed in float64 on the host. */
export function averageWith(decay: number): Average {
  const beta = scalar(decay);
  const rest = scalar(1).sub(beta);
  return {
    of: (old, x) => old.mul(beta).add(x.mul(rest)),
    ofSquares: (old, x) => old.mul(beta).add(x.mul(rest).mul(x)),
  };
}
