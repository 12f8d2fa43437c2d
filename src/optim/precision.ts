import type { Tensor } from "../tensor/tensor.ts";

/**
 * What is kept from update to update, and computed with, of a float16: float32. A square of a gradient of 1e-4 is 0 in
 * float16, and a sum does not move by less than half its last place.
 */
export function wide(x: Tensor): Tensor {
  return x.dtype === "float16" ? x.astype("float32") : x;
}
