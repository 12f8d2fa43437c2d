import {
  checkArgument,
  checkCount,
  type Fields,
  field,
  flag,
  optional,
  readOptions,
} from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import { ShapeError } from "../base/errors.ts";
import { checkFloat } from "./arithmetic.ts";
import { where } from "./functions.ts";
import { svd } from "./linalg.ts";
import { nuclearNorm } from "./polar.ts";
import type { Axes, KeepDim, Tensor } from "./tensor.ts";

export interface NormOptions extends KeepDim {
  /** The order: a number, Infinity for the largest entry, 0 for the count of entries that are not 0. Default 2. */
  readonly ord?: number;
  /** Default all, as of one long vector. */
  readonly axis?: Axes;
}

const fields: Fields<NormOptions> = {
  ord: field("a number that is not NaN", (value) => typeof value === "number" && !Number.isNaN(value), 2),
  axis: optional(field<number | readonly number[]>("an axis or a list of axes", () => true)),
  keepdim: flag,
};

/**
 * The norm of vectors along axes: (sum |x|^ord)^(1/ord). Gradient 0 where the norm is 0; the largest entry shares it among
 * ties. Floats.
 *
 * @example
 * norm(tensor([3, 4])); // 5
 */
export function norm<D extends DType>(x: Tensor<D>, options: NormOptions = {}): Tensor<D> {
  checkCount("norm", arguments, 2);
  checkFloat("norm", x);
  const {
    ord,
    axis = null,
    keepdim,
  } = readOptions("norm", { ...fields, axis: { ...fields.axis, optional: true } }, options);
  const keep = { keepdim };
  const size = x.abs();
  if (ord === Infinity) return size.amax(axis, keep);
  if (ord === -Infinity) return size.amin(axis, keep);
  if (ord === 0)
    return x
      .ne(0)
      .astype(x.dtype as "float32")
      .sum(axis, keep) as unknown as Tensor<D>; // a float
  if (ord === 1) return size.sum(axis, keep);
  const zero = size.eq(0);
  // Even powers are smooth at 0, sizes are not.
  const power = () =>
    ord > 0 && ord % 2 === 0
      ? x.pow(ord)
      : where(zero, ord < 0 ? Infinity : 0, where(zero, 1, size).pow(ord));
  const terms = ord === 2 ? x.square() : power();
  const sum = terms.sum(axis, keep);
  const none = sum.eq(0);
  const positive = where(none, 1, sum);
  return where(none, 0, ord === 2 ? positive.sqrt() : positive.pow(1 / ord));
}

/** Orders of `matrixNorm`. */
export type MatrixOrder = "fro" | "nuc" | 1 | -1 | 2 | -2 | typeof Infinity;

/**
 * The norm of matrices, the last two axes: "fro" (default), the root of the sum of squares; 1 and -1, the largest and
 * smallest sum of a column's sizes; Infinity and -Infinity, those of a row's; 2 and -2, the largest and smallest singular
 * value; "nuc", the sum of these. Floats.
 */
export function matrixNorm<D extends DType>(x: Tensor<D>, ord: MatrixOrder = "fro"): Tensor<D> {
  checkCount("matrixNorm", arguments, 2);
  checkFloat("matrixNorm", x);
  if (x.rank < 2) throw new ShapeError(`matrixNorm: takes matrices; given ${x}.`);
  checkArgument(
    "matrixNorm",
    "ord",
    ord,
    field<MatrixOrder>('"fro", "nuc", 1, -1, 2, -2, Infinity or -Infinity', (value) =>
      (["fro", "nuc", 1, -1, 2, -2, Infinity, -Infinity] as unknown[]).includes(value),
    ),
  );
  if (ord === "nuc" && x.size > 0) return nuclearNorm(x as unknown as Tensor) as unknown as Tensor<D>; // of the dtype of x
  if (ord === "nuc") return svd(x).s.sum(-1);
  if (ord === 2) return svd(x).s.amax(-1);
  if (ord === -2) return svd(x).s.amin(-1);
  if (ord === "fro") return norm(x, { axis: [-2, -1] });
  const sums = x.abs().sum(Math.abs(ord) === 1 ? -2 : -1);
  return ord > 0 ? sums.amax(-1) : sums.amin(-1);
}
