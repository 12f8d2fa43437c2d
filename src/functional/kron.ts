import { checkCount } from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import { type Same, type Tensor, tensorNode } from "../tensor/tensor.ts";

/**
 * The Kronecker product: each element of x times all of y, `[m p, n q]` of matrices `[m, n]` and `[p, q]`; of other ranks likewise,
 * the shorter shape with leading axes of length 1.
 *
 * @example
 * kron(tensor([[1, 2]]), tensor([[1], [10]])); // [[1, 2], [10, 20]]
 */
export function kron<D extends DType>(x: Tensor<D>, y: Same<D>): Tensor<D> {
  checkCount("kron", arguments, 2);
  tensorNode("kron", "x", x);
  tensorNode("kron", "y", y);
  const rank = Math.max(x.rank, y.rank);
  const [outer, inner] = [x, y].map(({ shape }) => [
    ...new Array<number>(rank - shape.length).fill(1),
    ...shape,
  ]);
  const [blocks, within] = [outer!.flatMap((length) => [length, 1]), inner!.flatMap((length) => [1, length])];
  return x
    .reshape(blocks)
    .mul(y.reshape(within))
    .reshape(outer!.map((length, i) => length * inner![i]!));
}
