import { checkArgument, checkCount, type Fields, integer, readOptions } from "../base/arguments.ts";
import { type DType, integerRange } from "../base/dtype.ts";
import { ShapeError } from "../base/errors.ts";
import { normalizeAxis } from "../base/shape.ts";
import { onDevice } from "../graph/cast.ts";
import * as movement from "../graph/movement.ts";
import { Tensor, tensorNode } from "./tensor.ts";

export interface WindowsOptions {
  /** How far behind the last each window starts. Default 1. */
  readonly step?: number;
  /** How far apart the places of a window are. Default 1. */
  readonly dilation?: number;
}

const positive = integer(1, integerRange.int32[1], 1);
const fields: Fields<Required<WindowsOptions>> = { step: positive, dilation: positive };

/**
 * Windows of `size` elements along an axis, which becomes two: how many there are, and the places in one. They may
 * overlap, and are a view: nothing is copied where they are read. Their gradient is the sum over the windows.
 *
 * @throws ShapeError if the axis is shorter than a window.
 * @example
 * windows(tensor([1, 2, 3, 4]), 0, 2); // [[1, 2], [2, 3], [3, 4]]
 */
export function windows<D extends DType>(
  x: Tensor<D>,
  axis: number,
  size: number,
  options: WindowsOptions = {},
): Tensor<D> {
  checkCount("windows", arguments, 4);
  tensorNode("windows", "x", x);
  const at = normalizeAxis("windows", axis, x.rank);
  checkArgument("windows", "size", size, integer(1, integerRange.int32[1]));
  const { step, dilation } = readOptions("windows", fields, options);
  const length = dilation * (size - 1) + 1;
  if (x.shape[at]! < length)
    throw new ShapeError(
      `windows: axis ${axis} of ${x} has length ${x.shape[at]}, and a window spans ${length}. Pad it, or take smaller windows.`,
    );
  return new Tensor(movement.windows(onDevice(x.node), at, size, step, dilation));
}
