import { type Procedure, type Value, type Writer, written } from "./procedure.ts";

// Factorisations of small matrices as programs on their rows one behind the other. Signs and orders that differ between
// libraries are given by who runs them.

type W = Writer<"real">;
type Int = Value<"int">;

/** L of A = L L^T in the lower triangle of n x n (A. L. Cholesky): NaN where A is not positive definite. */
export function choleskyOf(n: number): Procedure {
  return {
    text: `cholesky ${n}`,
    work: n ** 3 / 6 + n * 20,
    code: () =>
      written("real", (w) => {
        w.for(0, n, (w, k) => {
          const row = w.let(k.times(n));
          w.store(row.plus(k), w.load(row.plus(k)).sqrt());
          w.each(w.int(n - 1).minus(k), (w, below) => {
            const at = w.let(below.plus(k).plus(1).times(n).plus(k));
            w.store(at, w.load(at).over(w.load(row.plus(k))));
          });
          w.each(w.int(n - 1).minus(k), (w, below) => {
            const i = w.let(below.plus(k).plus(1));
            const factor = w.let(w.load(i.times(n).plus(k)));
            w.for(k.plus(1), i.plus(1), (w, j) => {
              const at = w.let(i.times(n).plus(j));
              w.store(at, w.load(at).minus(factor.times(w.load(j.times(n).plus(k)))));
            });
          });
        });
      }),
  };
}

/** X of L X = B, in the place of B: L, n x n, in front of B, n x m. */
export function forwardSubstitution(n: number, m: number): Procedure {
  const b = n * n;
  return {
    text: `substitution ${n} ${m}`,
    work: (n * n * m) / 4 + n * m,
    code: () =>
      written("real", (w) => {
        w.for(0, n, (w, i) => {
          const row = w.let(i.times(m).plus(b));
          w.subtractMultiples({ y: row, x: b, step: m, length: m, count: i, factors: i.times(n) });
          const pivot = w.let(w.load(i.times(n + 1)));
          w.each(m, (w, j) => w.store(row.plus(j), w.load(row.plus(j)).over(pivot)));
        });
      }),
  };
}

/** L and U of P A = L U in the place of A, m x n with m >= n; behind it which row of A each row was, then the sign of P. */
export function luOf(m: number, n: number): Procedure {
  const order = m * n;
  return {
    text: `lu ${m} ${n}`,
    work: ((m - n / 3) * n * n) / 2 + m * n,
    code: () =>
      written("real", (w) => {
        w.each(m, (w, i) => w.store(i.plus(order), i.toReal()));
        w.store(order + m, 1);
        w.for(0, n, (w, k) => {
          // The row with the largest element, the first of them, to the place k: by one invocation.
          w.each(1, (w) => {
            const best = w.let(k.plus(0));
            const size = w.let(w.load(k.times(n + 1)).abs());
            w.for(k.plus(1), m, (w, i) => {
              const other = w.let(w.load(i.times(n).plus(k)).abs());
              w.if(size.lt(other), (w) => {
                w.set(best, i);
                w.set(size, other);
              });
            });
            w.if(k.lt(best), (w) => {
              const swap = (w: W, a: Int, b: Int) => {
                const held = w.let(w.load(a));
                w.store(a, w.load(b));
                w.store(b, held);
              };
              w.for(0, n, (w, j) => swap(w, w.let(k.times(n).plus(j)), w.let(best.times(n).plus(j))));
              swap(w, w.let(k.plus(order)), w.let(best.plus(order)));
              w.store(order + m, w.load(order + m).negated());
            });
          });
          w.each(w.int(m - 1).minus(k), (w, below) => {
            const row = w.let(below.plus(k).plus(1).times(n));
            const pivot = w.let(w.load(k.times(n + 1)));
            w.if(
              pivot.eq(0),
              () => {},
              (w) => {
                const factor = w.let(w.load(row.plus(k)).over(pivot));
                w.store(row.plus(k), factor);
                const right = w.let(k.plus(1));
                w.addMultiple(
                  row.plus(right),
                  k.times(n).plus(right),
                  w.int(n).minus(right),
                  factor.negated(),
                );
              },
            );
          });
        });
      }),
  };
}

/**
 * Orthonormal columns and R: A^T, n x m with m >= n, in front of n x n zeros for R^T, and of the n squares of lengths that the
 * columns had at first. Twice by Gram and Schmidt, which is enough (L. Giraud and others 2005); the diagonal of R is not
 * negative, and columns that depend on others are zero.
 */
export function qrOf(m: number, n: number): Procedure {
  const r = n * m;
  return {
    text: `qr ${m} ${n}`,
    work: 2 * m * n * n,
    code: () => written("real", (w) => orthonormalise(w, m, n, r)),
  };
}

/** @param r Where R^T lies; behind it the squares, and room for n more. */
function orthonormalise(w: W, m: number, n: number, r: number): void {
  const squares = r + n * n;
  const parts = squares + n;
  w.for(0, n, (w, k) => {
    const column = w.let(k.times(m));
    w.for(0, 2, (w) => {
      w.each(k, (w, j) => {
        const part = w.let(w.dot(j.times(m), column, m));
        w.store(j.plus(parts), part);
        const at = w.let(k.times(n).plus(j).plus(r));
        w.store(at, w.load(at).plus(part));
      });
      w.subtractMultiples({ y: column, x: 0, step: m, length: m, count: k, factors: parts });
    });
    // What is left of a column that depends on others is rounding.
    const square = w.let(w.dot(column, column, m));
    const none = w.let(square.le(w.load(k.plus(squares)).times(1e-13)));
    const length = w.let(none.select(w.real(0), square.sqrt()));
    const scale = w.let(none.select(w.real(0), w.real(1).over(none.select(w.real(1), square).sqrt())));
    w.store(k.times(n).plus(k).plus(r), length);
    w.each(m, (w, i) => w.store(column.plus(i), w.load(column.plus(i)).times(scale)));
  });
}
