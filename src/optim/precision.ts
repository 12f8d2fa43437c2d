import type { Tensor } from "../tensor/tensor.ts";

// float16 holds parameters; what optimizers keep from update to update, and compute with, is float32. A square of a
// gradient of 1e-4 is 0 in float16, and a number of 16 bits does not move by less than half its last place.

/** The float32 of a float16; any other tensor as it is. */
export function wide(x: Tensor): Tensor {
  return x.dtype === "float16" ? x.astype("float32") : x;
}

/** A parameter plus its update, rounded once to the dtype of the parameter. */
export function applied(parameter: Tensor, update: Tensor): Tensor {
  if (parameter.dtype !== "float16" || update.dtype !== "float32") return parameter.add(update);
  return wide(parameter).add(update).astype("float16");
}
