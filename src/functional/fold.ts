import { checkArgument } from "../base/arguments.ts";
import { ShapeError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { checkTensor } from "../nn/check.ts";
import { each, type PerAxis, perAxis, type UnfoldOptions, unfold } from "../nn/conv.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { zeros } from "../tensor/creation.ts";
import { vjp } from "../tensor/grad.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * The adjoint of `unfold` (col2im): columns `[batch, channels x size, windows]` are added up where their windows lie in images
 * `[batch, channels, ...outputSize]`.
 *
 * @throws ShapeError if the columns are not those of such windows.
 * @example
 * fold(ones([1, 4, 4]), 3, 2); // [[[[1, 2, 1], [2, 4, 2], [1, 2, 1]]]]
 */
export function fold(x: Tensor, outputSize: PerAxis, size: PerAxis, options: UnfoldOptions = {}): Tensor {
  checkFloat("fold", checkTensor("fold", "the columns", x));
  checkArgument("fold", "outputSize", outputSize, perAxis(1, 1));
  checkArgument("fold", "size", size, perAxis(1, 1));
  const [batch, rows] = x.shape as [number, number];
  const channels = rows / numel(each("fold", "size", size, 2));
  if (x.rank !== 3 || !Number.isInteger(channels))
    throw new ShapeError(`fold: the columns are ${x}; expected [batch, channels x size, windows].`);
  const image = zeros([batch, channels, ...each("fold", "outputSize", outputSize, 2)]);
  const of = image.astype(x.dtype as "float32") as Tensor; // a float
  const [columns, pull] = vjp((image: Tensor) => unfold(image, size, options), of);
  if (columns.shape[2] !== x.shape[2])
    throw new ShapeError(
      `fold: the columns ${x} are ${x.shape[2]} windows; there are ${columns.shape[2]} in ${of}.`,
    );
  return pull(x);
}
