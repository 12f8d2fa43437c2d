import { computeDType, type DType, type FloatDType } from "../base/dtype.ts";
import type { Tensor } from "./tensor.ts";

// A narrow float holds parameters and activations; what must not lose small differences is float32: what optimizers keep from
// update to update, adapters, averages. A square of a gradient of 1e-4 is 0 in float16, and a number of 16 bits does not
// move by less than half its last place.

/** What a narrow float is computed in; any other tensor as it is. */
export function wide(x: Tensor): Tensor {
  return inDType(x, computeDType(x.dtype));
}

/** x in a dtype, or in that of a tensor, rounded once. */
export function inDType(x: Tensor, like: Tensor | DType): Tensor {
  const dtype = typeof like === "string" ? like : like.dtype;
  return x.dtype === dtype ? x : x.astype(dtype as FloatDType); // floats, or alike
}

/** x + y, in the wider dtype where they differ. */
export function plus(x: Tensor, y: Tensor): Tensor {
  return x.dtype === y.dtype ? x.add(y) : wide(x).add(wide(y));
}

/** x - y, likewise. */
export function minus(x: Tensor, y: Tensor): Tensor {
  return x.dtype === y.dtype ? x.sub(y) : wide(x).sub(wide(y));
}

/** A parameter plus its update, rounded once to the dtype of the parameter. */
export function applied(parameter: Tensor, update: Tensor): Tensor {
  return inDType(plus(parameter, update), parameter);
}
