import type { DType, FloatDType, HostArray } from "../../base/dtype.ts";
import { sameShape, type Shape } from "../../base/shape.ts";
import type { Reference } from "./fields.ts";

/** What came of comparing one tensor: its error, and a sentence when it is not as it should be. */
export interface Comparison {
  /** Largest error divided by the largest magnitude of the reference; 0 for integers and booleans. */
  readonly error: number;
  readonly problem?: string;
}

/**
 * Compares a computed tensor with its reference. Shapes, integers and booleans are equal; NaN and infinities
 * stand in the same places; elsewhere the largest error divided by the largest magnitude stays within `bound`
 * (the largest error itself where the reference is all zeros).
 */
export function compare(
  values: HostArray,
  { shape, dtype }: { readonly shape: Shape; readonly dtype: DType },
  expected: Reference,
  bound: number,
): Comparison {
  if (!sameShape(shape, expected.shape)) {
    return { error: Infinity, problem: `has shape [${shape.join(",")}], expected [${expected.shape.join(",")}]` };
  }
  const kind = dtype === "bool" ? "bool" : dtype === "int32" || dtype === "uint32" ? "int64" : "float";
  if (kind !== expected.dtype) return { error: Infinity, problem: `is ${dtype}, expected ${expected.dtype}` };
  let [worst, at, magnitude] = [0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const [found, wanted] = [values[i]!, expected.data[i]!];
    if (Object.is(found, wanted)) {
      if (Number.isFinite(wanted)) magnitude = Math.max(magnitude, Math.abs(wanted));
      continue;
    }
    if (!Number.isFinite(wanted) || !Number.isFinite(found) || (kind !== "float" && found !== wanted)) {
      return { error: Infinity, problem: `element ${i} is ${found}, expected ${wanted}` };
    }
    magnitude = Math.max(magnitude, Math.abs(wanted));
    const error = Math.abs(found - wanted);
    if (error > worst) [worst, at] = [error, i];
  }
  const error = worst / (magnitude || 1);
  if (error <= bound) return { error };
  const where = `element ${at} is ${values[at]}, expected ${expected.data[at]}`;
  return { error, problem: `differs by ${error.toExponential(1)}, more than ${bound}: ${where}` };
}

/** Cases whose float32 values lose digits by cancellation, whoever computes them. */
const illConditioned = /^(logsumexp\/large|layer_norm\/offset)/;

/** The bound on the error of a case of an `ops_*` file or a LoRA layer. */
export function boundOf(name: string, dtype: FloatDType): number {
  if (dtype === "float64") return 1e-9;
  return illConditioned.test(name) ? 1e-4 : 1e-5;
}

/** The bound on the error of a training run of twenty updates. */
export function trajectoryBound(dtype: FloatDType): number {
  return dtype === "float64" ? 1e-9 : 2e-5;
}
