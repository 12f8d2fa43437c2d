import { arange, zerosLike } from "../tensor/creation.ts";
import { cat, where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Algebra of the small matrices of an adapter, r x r, made of the operations that there are: it runs on every backend,
// and a power of two in the argument comes out as one, to the last bit. Factors have the rank first, `[r, k]`.

/** The unit matrix of the size and dtype of a square one. */
export function eyeLike(x: Tensor): Tensor {
  const [n, m] = [x.shape[0]!, x.shape[1]!];
  return arange(n)
    .reshape([n, 1])
    .eq(arange(m).reshape([1, m]))
    .astype(x.dtype as "float32") as Tensor;
}

/** Y Y^T + reg 1, `[r, r]`. */
export function gram(y: Tensor, reg: Tensor<"number">): Tensor {
  const products = y.matmul(y.transpose());
  return products.add(eyeLike(products).mul(reg));
}

/**
 * L^-1 of a symmetric positive definite S = L L^T, `[r, r]`, lower triangular: L^-T L^-1 is the inverse of S, and
 * L^-1 Y has orthonormal rows for S = Y Y^T. Elimination of [S | 1] with rows divided by the roots of pivots, in r
 * steps; such a matrix needs no search for pivots.
 */
export function inverseFactor(s: Tensor): Tensor {
  const r = s.shape[0]!;
  const rows = arange(r).reshape([r, 1]);
  let work: Tensor = cat([s, eyeLike(s)], 1);
  for (let k = 0; k < r; k++) {
    const root = work.slice([k, k], [k + 1, k + 1]).sqrt();
    const row = work.slice([k], [k + 1]).div(root);
    const below = work.slice([0, k], [r, k + 1]).div(root);
    const reduced = where(rows.eq(k), row.expand(work.shape), work.sub(below.mul(row)));
    work = where(rows.lt(k), work, reduced);
  }
  return work.slice([0, r], [r, 2 * r]);
}

/** Enough to invert the root of a matrix whose eigenvalues lie eight orders of magnitude apart. */
const rootSteps = 28;

/**
 * S^-1/2 of a symmetric positive definite S, `[r, r]`, by the coupled Newton-Schulz iteration (Higham 2008, Functions of
 * Matrices, section 6.7) on S over its norm, 28 steps of three products. Eigenvalues below about 10^-8 of the largest come
 * out too small.
 */
export function inverseRoot(s: Tensor): Tensor {
  const size = norm(s);
  let [y, z] = [s.div(size), eyeLike(s)];
  const three = eyeLike(s).mul(3);
  for (let i = 0; i < rootSteps; i++) {
    const step = three.sub(z.matmul(y)).mul(0.5);
    [y, z] = [y.matmul(step), step.matmul(z)];
  }
  return z.div(size.sqrt());
}

/**
 * About U V^T of X = U D V^T, `[r, k]`: five steps of Muon's quintic iteration, which brings singular values into 0.7 to
 * 1.2 rather than to 1. Zero stays zero.
 */
export function orthogonalised(x: Tensor): Tensor {
  const size = norm(x);
  let y = where(size.gt(0), x.div(where(size.gt(0), size, zerosLike(size).add(1))), x);
  const wide = x.shape[0]! <= x.shape[1]!;
  for (let i = 0; i < 5; i++) {
    const a = wide ? y.matmul(y.transpose()) : y.transpose().matmul(y);
    const polynomial = a.mul(-4.775).add(a.matmul(a).mul(2.0315));
    y = y.mul(3.4445).add(wide ? polynomial.matmul(y) : y.matmul(polynomial));
  }
  return y;
}

function norm(x: Tensor): Tensor {
  return x.square().sum().sqrt();
}
