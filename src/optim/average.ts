import { onesLike, scalar } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { HostNumber } from "./optimizer.ts";

/** Exponential moving averages, as the slots of optimizers keep them. */
export interface Average {
  /** beta old + (1 - beta) x. */
  readonly of: (old: Tensor, x: Tensor) => Tensor;
  /** beta old + (1 - beta) x^2. */
  readonly ofSquares: (old: Tensor, x: Tensor) => Tensor;
}

/**
 * 1 - decay^t, what the averages of t updates lack when they start from 0. In float64 on the host; where t is a float32
 * (`skipNonFinite`), to some units of the last place, which 1 - 0.999^t would lose.
 */
export function correctionWith(decay: number, t: HostNumber): HostNumber {
  if (t.dtype === "number") return scalar(1).sub(scalar(decay).pow(t));
  return decay === 0 ? onesLike(t) : t.mul(scalar(decay).log()).expm1().neg();
}

/** The averages of one decay rate; 1 - beta is computed in float64 on the host. */
export function averageWith(decay: number | HostNumber): Average {
  const beta = typeof decay === "number" ? scalar(decay) : decay;
  const rest = scalar(1).sub(beta);
  return {
    of: (old, x) => old.mul(beta).add(x.mul(rest)),
    ofSquares: (old, x) => old.mul(beta).add(x.mul(rest).mul(x)),
  };
}
