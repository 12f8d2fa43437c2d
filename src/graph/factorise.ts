import { type Procedure, type Value, type Writer, written } from "./procedure.ts";

// Factorisations of small matrices as programs on their rows one behind the other. Signs and orders that differ between
// libraries are given by who runs them.

type W = Writer<"real">;
type Int = Value<"int">;
type Real = Value<"real">;

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
          w.for(0, i, (w, k) => {
            const factor = w.let(w.load(i.times(n).plus(k)).negated());
            w.addMultiple(row, k.times(m).plus(b), m, factor);
          });
          const pivot = w.let(w.load(i.times(n + 1)));
          w.for(0, m, (w, j) => w.store(row.plus(j), w.load(row.plus(j)).over(pivot)));
        });
      }),
    together: () =>
      written("real", (w) => {
        w.each(m, (w, j) => {
          w.for(0, n, (w, i) => {
            const at = w.let(i.times(m).plus(j).plus(b));
            const left = w.let(w.load(at));
            w.for(0, i, (w, k) => {
              w.set(left, left.minus(w.load(i.times(n).plus(k)).times(w.load(k.times(m).plus(j).plus(b)))));
            });
            w.store(at, left.over(w.load(i.times(n + 1))));
          });
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
    code: () => written("real", (w) => orthonormalise(w, m, n, r, false)),
    together: () => written("real", (w) => orthonormalise(w, m, n, r, true)),
  };
}

/** @param r Where R^T lies; behind it the squares, and room for n more. */
function orthonormalise(w: W, m: number, n: number, r: number, together: boolean): void {
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
      if (together)
        w.each(m, (w, i) => {
          const left = w.let(w.load(column.plus(i)));
          w.for(0, k, (w, j) => {
            w.set(left, left.minus(w.load(j.plus(parts)).times(w.load(j.times(m).plus(i)))));
          });
          w.store(column.plus(i), left);
        });
      else
        w.for(0, k, (w, j) => {
          w.addMultiple(column, j.times(m), m, w.load(j.plus(parts)).negated());
        });
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

/**
 * Columns made orthogonal by rotations (M. R. Hestenes 1958): A^T, n x m, in front of an n x n matrix, the identity to start
 * with, which takes the same rotations. The lengths of the columns are then the singular values, in no order. Behind them
 * there is room for their squares (P. P. M. de Rijk 1989), and for one number more.
 */
export function orthogonalised(m: number, n: number, wide: boolean): Procedure {
  const v = n * m;
  const squares = v + n * n;
  const moved = squares + n;
  // Products that are smaller are rounding errors of their sums.
  const bound = (wide ? 2 ** -53 : 2 ** -24) * Math.max(4, Math.sqrt(m));
  const even = n + (n % 2);
  const last = even - 1;
  return {
    text: `orthogonalise ${m} ${n} to ${bound}`,
    work: 6 * n * n * (m + n),
    code: () =>
      written("real", (w) => {
        const left = w.let(w.int(30));
        w.store(moved, 1);
        w.while(left.gt(0).both(w.load(moved).gt(0)), (w) => {
          w.set(left, left.minus(1));
          w.store(moved, 0);
          w.each(n, (w, p) => w.store(p.plus(squares), w.dot(p.times(m), p.times(m), m)));
          // All pairs of columns, in rounds of pairs that have none in common.
          w.for(0, last, (w, round) => {
            w.each(even / 2, (w, i) => {
              const p = w.let(i.eq(0).select(w.int(last), round.plus(i).rem(last)));
              const q = w.let(i.eq(0).select(round, round.minus(i).plus(last).rem(last)));
              w.if(p.lt(n).both(q.lt(n)), (w) => {
                const [x, y] = [w.let(p.times(m)), w.let(q.times(m))];
                const alpha = w.let(w.load(p.plus(squares)));
                const beta = w.let(w.load(q.plus(squares)));
                const gamma = w.let(w.dot(x, y, m));
                w.if(alpha.sqrt().times(beta.sqrt()).times(bound).lt(gamma.abs()), (w) => {
                  w.store(moved, 1);
                  // The smaller root of t^2 + 2 zeta t - 1 = 0 is the tangent of the angle.
                  const zeta = w.let(beta.minus(alpha).over(gamma.times(2)));
                  const size = w.let(zeta.abs());
                  const root = size.plus(w.real(1).plus(size.times(size)).sqrt());
                  const t = w.let(zeta.lt(0).select(w.real(-1), w.real(1)).over(root));
                  const cosine = w.let(w.real(1).over(w.real(1).plus(t.times(t)).sqrt()));
                  const sine = w.let(cosine.times(t));
                  w.rotate(x, y, m, cosine, sine);
                  w.rotate(p.times(n).plus(v), q.times(n).plus(v), n, cosine, sine);
                  w.store(p.plus(squares), alpha.minus(t.times(gamma)));
                  w.store(q.plus(squares), beta.plus(t.times(gamma)));
                });
              });
            });
          });
        });
      }),
  };
}

/**
 * The tridiagonal form T = Q^T A Q of a symmetric A by reflections (A. S. Householder 1958), in the place of A, n x n. Behind
 * it, n each: the diagonal of T, what is beside it, and room. In row k lies, behind the diagonal, the v of the reflection
 * I - v v^T with which Q = H_0 H_1 ... goes on.
 */
export function tridiagonalOf(n: number): Procedure {
  const [d, e, room] = [n * n, n * n + n, n * n + 2 * n];
  return {
    text: `tridiagonal ${n}`,
    work: 2 * n ** 3,
    code: () =>
      written("real", (w) => {
        w.for(0, n - 1, (w, k) => {
          const row = w.let(k.times(n).plus(k).plus(1)); // v, of so many
          const length = w.let(w.int(n - 1).minus(k));
          const size = w.let(w.dot(row, row, length).sqrt());
          const first = w.let(w.load(row));
          const turned = w.let(first.lt(0).select(size, size.negated()));
          const none = w.let(size.eq(0));
          const square = w.let(none.select(w.real(1), size.times(size.plus(first.abs()))));
          const scale = w.let(none.select(w.real(0), w.real(1).over(square.sqrt())));
          w.store(k.plus(d), w.load(row.minus(1)));
          w.store(k.plus(e), turned);
          w.store(row, first.minus(turned));
          w.each(length, (w, j) => w.store(row.plus(j), w.load(row.plus(j)).times(scale)));
          const below = (i: Int) => i.plus(k).plus(1).times(n).plus(k).plus(1);
          w.each(length, (w, i) => w.store(i.plus(room), w.dot(below(i), row, length)));
          // By way of a place that is free as yet, so that nobody changes what others still read.
          const part = d + n - 1;
          w.store(part, w.dot(room, row, length).times(0.5));
          w.each(length, (w, i) => {
            w.store(i.plus(room), w.load(i.plus(room)).minus(w.load(part).times(w.load(row.plus(i)))));
          });
          w.each(length, (w, i) => {
            const own = w.let(below(i));
            w.addMultiple(own, row, length, w.let(w.load(i.plus(room)).negated()));
            w.addMultiple(own, room, length, w.let(w.load(row.plus(i)).negated()));
          });
        });
        w.store(d + n - 1, w.load(n * n - 1));
      }),
  };
}

/**
 * Eigenvalues of a tridiagonal matrix by rotations (the QL algorithm with implicit shifts: H. Bowdler and others 1968), which
 * the rows of an n x m matrix take too: m times n numbers of the diagonal, m times n beside it, and the matrix. Numbers stand
 * m times, of which the first is worked on. Where many invocations share a row, one of them makes the rotations of a sweep, in the
 * place of the second, and each turns its column by all of them.
 */
export function diagonalised(n: number, m: number, wide: boolean): Procedure {
  const [e, z] = [n * m, 2 * n * m];
  const D = (i: Int) => i.times(m);
  const E = (i: Int) => D(i).plus(e);
  /** What is made of a sweep from `end` down to `l`, if there is one. */
  interface Sweep {
    readonly from: (w: W, end: Int) => void;
    /** Turns rows i and i + 1. */
    readonly rotate: (w: W, i: Int, cosine: Real, sine: Real) => void;
    readonly none: (w: W) => void;
  }
  const sweep = (w: W, l: Int, { from, rotate, none }: Sweep) => {
    // The first number beside the diagonal that is as good as 0.
    const [end, looking] = [w.let(l.plus(0)), w.let(w.int(1))];
    w.while(looking.gt(0).both(end.lt(n - 1)), (w) => {
      const near = w
        .load(D(end))
        .abs()
        .plus(w.load(D(end.plus(1))).abs());
      w.if(
        near.times(wide ? 2 ** -53 : 2 ** -24).lt(w.load(E(end)).abs()),
        (w) => w.set(end, end.plus(1)),
        (w) => w.set(looking, 0),
      );
    });
    w.if(
      l.lt(end),
      (w) => {
        from(w, end);
        const start = w.let(w.load(E(l)));
        const half = w.let(
          w
            .load(D(l.plus(1)))
            .minus(w.load(D(l)))
            .over(start.times(2)),
        );
        const root = half.times(half).plus(1).sqrt();
        const shift = w.let(half.plus(half.lt(0).select(root.negated(), root)));
        const g = w.let(
          w
            .load(D(end))
            .minus(w.load(D(l)))
            .plus(start.over(shift)),
        );
        const [cosine, sine, moved] = [w.let(w.real(1)), w.let(w.real(1)), w.let(w.real(0))];
        w.for(0, end.minus(l), (w, down) => {
          const i = w.let(end.minus(1).minus(down));
          const beside = w.let(w.load(E(i)));
          const f = w.let(sine.times(beside));
          const b = w.let(cosine.times(beside));
          const size = w.let(f.times(f).plus(g.times(g)).sqrt());
          const zero = w.let(size.eq(0));
          const divisor = w.let(zero.select(w.real(1), size));
          w.store(E(i.plus(1)), size);
          w.set(sine, zero.select(w.real(0), f.over(divisor)));
          w.set(cosine, zero.select(w.real(1), g.over(divisor)));
          w.set(g, w.load(D(i.plus(1))).minus(moved));
          const other = w.let(w.load(D(i)).minus(g).times(sine).plus(cosine.times(b).times(2)));
          w.set(moved, sine.times(other));
          w.store(D(i.plus(1)), g.plus(moved));
          w.set(g, cosine.times(other).minus(b));
          rotate(w, i, cosine, sine);
        });
        w.store(D(l), w.load(D(l)).minus(moved));
        w.store(E(l), g);
        w.store(E(end), 0);
      },
      none,
    );
  };
  const alone = (w: W, l: Int) => {
    const [left, apart] = [w.let(w.int(mostSweeps)), w.let(w.int(1))];
    w.while(w.int(0).lt(left).both(w.int(0).lt(apart)), (w) => {
      w.set(left, left.minus(1));
      sweep(w, l, {
        from: () => {},
        rotate: (w, i, cosine, sine) => {
          const row = w.let(i.times(m).plus(z));
          w.rotate(row, row.plus(m), m, cosine, sine);
        },
        none: (w) => w.set(apart, 0),
      });
    });
  };
  // No rotation is of the last row, so that its places are free.
  const [apart, bottom] = [(n - 1) * m + 1, (n - 1) * m + 1 + e];
  const together = (w: W, l: Int) => {
    const left = w.let(w.int(mostSweeps));
    w.store(apart, 1);
    w.while(left.gt(0).both(w.load(apart).gt(0)), (w) => {
      w.set(left, left.minus(1));
      w.each(1, (w) =>
        sweep(w, l, {
          from: (w, end) => w.store(bottom, end.toReal()),
          rotate: (w, i, cosine, sine) => {
            w.store(D(i).plus(1), cosine);
            w.store(E(i).plus(1), sine);
          },
          none: (w) => {
            w.store(apart, 0);
            w.store(bottom, l.toReal());
          },
        }),
      );
      w.each(m, (w, j) => {
        const end = w.let(w.load(bottom).toInt());
        const at = (i: Int) => i.times(m).plus(j).plus(z);
        const y = w.let(w.load(at(end)));
        w.for(0, end.minus(l), (w, down) => {
          const i = w.let(end.minus(1).minus(down));
          const [cosine, sine] = [w.let(w.load(D(i).plus(1))), w.let(w.load(E(i).plus(1)))];
          const x = w.let(w.load(at(i)));
          w.store(at(i.plus(1)), sine.times(x).plus(cosine.times(y)));
          w.set(y, cosine.times(x).minus(sine.times(y)));
        });
        w.store(at(l), y);
      });
    });
  };
  return {
    text: `diagonalise ${n} ${m}`,
    work: 5 * n * n * m,
    code: () => written("real", (w) => w.for(0, n, alone)),
    together: () => written("real", (w) => w.for(0, m > 1 ? n : 0, together)),
  };
}

/** Sweeps for an eigenvalue, of which two or three are enough. */
const mostSweeps = 60;
