import type { FloatDType } from "../base/dtype.ts";
import type { Tensor } from "./tensor.ts";

// float16 holds parameters and activations; what must not lose small differences is float32: what optimizers keep from
// update to update, adapters, averages. A square of a gradient of 1e-4 is 0 in float16, and a number of 16 bits does not
// move by less than half its last place.

/** The float32 of a float16; any other tensor as it is. */
export function wide(x: Tensor): Tensor {
  return x.dtype === "float16" ? x.astype("float32") : x;
}

/** The dtype of `wide`. */
export function wideDType(dtype: FloatDType): FloatDType {
  return dtype === "float16" ? "float32" : dtype;
}

/** x in the dtype of `like`, rounded once. */
export function inDType(x: Tensor, like: Tensor): Tensor {
  return x.dtype === like.dtype ? x : x.astype(like.dtype as FloatDType); // floats, or alike
}

/** x + y, in float32 where one is float16 and the other is not. */
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
