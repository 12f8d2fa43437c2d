import { type DType, type HostArray, isInteger } from "../../base/dtype.ts";
import { type Shape, sameShape } from "../../base/shape.ts";
import type { OracleDType } from "./engine.ts";
import type { Reference } from "./fields.ts";

/** What came of comparing one tensor: its error, and a sentence when it is not as it should be. */
export interface Comparison {
  /** Largest error divided by the largest magnitude of the reference, or as it is where that is 0; 0 for integers. */
  readonly error: number;
  readonly problem?: string;
}

/** How far a tensor may be from its reference. */
export interface Bound {
  /** Largest error divided by the largest magnitude; the largest error itself where the reference is zero throughout. */
  readonly relative: number;
  /**
   * The least magnitude to divide by, where it is not exactly zero: references below it may be rounding noise (x / x has the gradient 2e-16)
   * or lie below what the dtype can tell from 0 (a saturated sigmoid has one of 2e-9).
   */
  readonly floor: number;
}

/**
 * Compares a computed tensor with its reference. Shapes, integers and booleans are equal; NaN and infinities
 * stand in the same places; elsewhere the error stays within `bound`.
 */
export function compare(
  values: HostArray,
  { shape, dtype }: { readonly shape: Shape; readonly dtype: DType },
  expected: Reference,
  { relative, floor }: Bound,
): Comparison {
  if (!sameShape(shape, expected.shape)) {
    return {
      error: Infinity,
      problem: `has shape [${shape.join(",")}], expected [${expected.shape.join(",")}]`,
    };
  }
  const kind = dtype === "bool" ? "bool" : isInteger(dtype) ? "int64" : "float";
  if (kind !== expected.dtype) return { error: Infinity, problem: `is ${dtype}, expected ${expected.dtype}` };
  let [worst, at, largest] = [0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const [found, wanted] = [values[i]!, expected.data[i]!];
    if (Number.isFinite(wanted)) largest = Math.max(largest, Math.abs(wanted));
    if (Object.is(found, wanted)) continue;
    if (!Number.isFinite(wanted) || !Number.isFinite(found) || (kind !== "float" && found !== wanted)) {
      return { error: Infinity, problem: `element ${i} is ${found}, expected ${wanted}` };
    }
    const error = Math.abs(found - wanted);
    if (error > worst) [worst, at] = [error, i];
  }
  // An error has no size relative to zero.
  const error = largest === 0 ? worst : worst / Math.max(largest, floor);
  if (error <= relative) return { error };
  const where = `element ${at} is ${values[at]}, expected ${expected.data[at]}`;
  return { error, problem: `differs by ${error.toExponential(1)}, more than ${relative}: ${where}` };
}

const float64Bound: Bound = { relative: 1e-9, floor: 1e-6 };

/** Cases whose float32 values lose digits by cancellation, whoever computes them. */
const illConditioned =
  /^(logsumexp\/large|logcumsumexp\/large|layer_norm\/offset|(cholesky|triangular_solve|solve|inv|det|slogdet|qr|svd|svd_truncate|eigh|pinv|lstsq)\/)/;

/** The bound of a case of an `ops_*` file or of LoRA layers. */
export function boundOf(name: string, dtype: OracleDType): Bound {
  if (dtype === "float64") return float64Bound;
  return { relative: illConditioned.test(name) ? 1e-4 : 1e-5, floor: 1e-3 };
}

/** The bound of a training run. */
export function trajectoryBound(dtype: OracleDType): Bound {
  return dtype === "float64" ? float64Bound : { relative: 2e-5, floor: 1e-3 };
}

/** The bound of whole models, their gradients and trainings. */
export function modelBound(dtype: OracleDType): Bound {
  return dtype === "float64" ? float64Bound : { relative: 5e-5, floor: 1e-3 };
}

/** The bound of trainings of adapters on a checkpoint. */
export function trainingBound(dtype: OracleDType): Bound {
  return dtype === "float64" ? float64Bound : { relative: 1e-4, floor: 1e-3 };
}

/** The bound of references that were rounded to float32, or computed in it by others. */
export const roundedBound: Bound = { relative: 1e-5, floor: 1e-3 };

/** The bound of learning rates, which the host computes in float64 whatever the dtype of the run. */
export const rateBound: Bound = { relative: 1e-12, floor: 1e-6 };
