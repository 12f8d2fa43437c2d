import { checkArgument } from "../base/arguments.ts";
import { ShapeError } from "../base/errors.ts";
import { checkTensor } from "../nn/check.ts";
import { each, largest, type PerAxis, perAxis } from "../nn/conv.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { tensor } from "../tensor/creation.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { meanRows, mixed, windowAt } from "./resample.ts";

// Pooling to a given length: window o of an axis goes from floor(o from / to) to below ceil((o + 1) from / to), as in PyTorch.

function lengthsOf(operation: string, axes: number, x: Tensor, size: PerAxis): readonly number[] {
  checkTensor(operation, "the input", x);
  checkFloat(operation, x);
  checkArgument(operation, "the size", size, perAxis(1, 1));
  if (x.rank !== axes + 2 || x.shape.slice(2).includes(0))
    throw new ShapeError(
      `${operation}: the input is ${x}; expected [batch, channels, ...] with ${axes} axes behind them, none empty.`,
    );
  return each(operation, "the size", size, axes);
}

/** The mean of each window. Where lengths divide it is a view and a sum. */
function mean(operation: string, axes: number, x: Tensor, size: PerAxis): Tensor {
  return lengthsOf(operation, axes, x, size).reduceRight((y, to, i) => {
    const from = y.shape[i + 2]!;
    if (from % to !== 0) return mixed(y, i + 2, meanRows(from, to));
    return y.reshape([...y.shape.slice(0, i + 2), to, from / to, ...y.shape.slice(i + 3)]).mean(i + 3);
  }, x);
}

function most(operation: string, axes: number, x: Tensor, size: PerAxis): Tensor {
  const all = lengthsOf(operation, axes, x, size).reduceRight((y, to, i) => {
    const from = y.shape[i + 2]!;
    const whole = Math.max(...Array.from({ length: to }, (_, o) => windowAt(o, from, to).length));
    // Shorter windows end in their last place once more, which changes neither the largest nor the first of these.
    const places = Array.from({ length: to }, (_, o) => {
      const window = windowAt(o, from, to);
      return Array.from({ length: whole }, (_, k) => window[Math.min(k, window.length - 1)]!);
    }).flat();
    const picked = from % to === 0 ? y : y.indexSelect(i + 2, tensor(places, { dtype: "int32" }));
    return picked.reshape([...y.shape.slice(0, i + 2), to, whole, ...y.shape.slice(i + 3)]);
  }, x);
  return largest(all, axes);
}

/** The means of windows along one axis, `[batch, channels, size]`. @throws ShapeError if the input has other axes. */
export function adaptiveAvgPool1d(x: Tensor, size: PerAxis): Tensor {
  return mean("adaptiveAvgPool1d", 1, x, size);
}

/**
 * The means of windows of images `[batch, channels, height, width]`, as many as `size` says.
 *
 * @throws ShapeError if the input has other axes.
 * @example
 * adaptiveAvgPool2d(ones([2, 8, 13, 13]), 6).shape; // [2, 8, 6, 6]
 */
export function adaptiveAvgPool2d(x: Tensor, size: PerAxis): Tensor {
  return mean("adaptiveAvgPool2d", 2, x, size);
}

/** The means of windows in three dimensions. @throws ShapeError if the input has other axes. */
export function adaptiveAvgPool3d(x: Tensor, size: PerAxis): Tensor {
  return mean("adaptiveAvgPool3d", 3, x, size);
}

/** The largest of windows along one axis; the gradient goes to the first of ties. @throws ShapeError if the input has other axes. */
export function adaptiveMaxPool1d(x: Tensor, size: PerAxis): Tensor {
  return most("adaptiveMaxPool1d", 1, x, size);
}

/** The largest of windows of images; the gradient goes to the first of ties. @throws ShapeError if the input has other axes. */
export function adaptiveMaxPool2d(x: Tensor, size: PerAxis): Tensor {
  return most("adaptiveMaxPool2d", 2, x, size);
}

/** The largest of windows in three dimensions; else as `adaptiveMaxPool2d`. @throws ShapeError if the input has other axes. */
export function adaptiveMaxPool3d(x: Tensor, size: PerAxis): Tensor {
  return most("adaptiveMaxPool3d", 3, x, size);
}
