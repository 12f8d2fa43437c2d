import { type FloatDType, unitOf } from "../base/dtype.ts";
import { customVjp } from "./custom-vjp.ts";
import { where } from "./functions.ts";
import { eigh, pinv, svd } from "./linalg.ts";
import type { Tensor } from "./tensor.ts";

// The polar form A = W H: W has orthonormal columns, H is symmetric with no negative eigenvalue. It does not depend on which
// vectors go with equal singular values, so its rule is its own: that of `svd` leaves out what these would add.

const T = (x: Tensor): Tensor => x.transpose(-2, -1);

/** The sum of the singular values of matrices; the gradient is W. */
export const nuclearNorm = (a: Tensor): Tensor =>
  customVjp(
    (a: Tensor) => [svd(a).s.sum(-1), a] as const,
    (a, g) => {
      const [rows, columns] = a.shape.slice(-2) as [number, number];
      const w = rows >= columns ? orthonormal(a) : T(orthonormal(T(a)));
      return [w.mul(g.unsqueeze(-1).unsqueeze(-1))];
    },
  )(a);

/** W, of matrices with no fewer rows than columns. */
const orthonormal = (a: Tensor): Tensor =>
  customVjp(
    (a: Tensor) => {
      const { u, v } = svd(a);
      return [u.matmul(T(v)), a] as const;
    },
    (a, g) => {
      // dW = W X + (I - W W^T) dA H^-1 with X H + H X = W^T dA - dA^T W.
      const w = orthonormal(a);
      const h = T(w).matmul(a);
      const along = T(w).matmul(g);
      const turn = lyapunov(h, along.sub(T(along)));
      return [w.matmul(turn).add(g.sub(w.matmul(along)).matmul(pinv(h)))];
    },
  )(a);

/** X of X H + H X = C, without what would be divided by eigenvalues that are 0. */
const lyapunov = (h: Tensor, c: Tensor): Tensor =>
  customVjp(
    (h: Tensor, c: Tensor) => {
      const { w, v } = eigh(h);
      const sums = w.unsqueeze(-1).add(w.unsqueeze(-2));
      const none = sums.le(
        sums.amax([-2, -1], { keepdim: true }).mul(unitOf(h.dtype as FloatDType) * w.shape.at(-1)!),
      );
      const x = T(v)
        .matmul(c)
        .matmul(v)
        .div(where(none, 1, sums));
      return [v.matmul(where(none, 0, x)).matmul(T(v)), [h, c] as const] as const;
    },
    ([h, c], g) => {
      const [x, back] = [lyapunov(h, c), lyapunov(h, g)];
      return [
        T(x)
          .matmul(back)
          .add(back.matmul(T(x)))
          .neg(),
        back,
      ];
    },
  )(h, c);
