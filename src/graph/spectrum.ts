import { type Procedure, type Value, type Writer, written } from "./procedure.ts";

// Eigenvalues and singular values, as programs on rows: reflections make a matrix narrow, rotations make it diagonal. Its largest
// entry is about 1, so that squares stay within the range.

type W = Writer<"real">;
type Int = Value<"int">;
type Real = Value<"real">;

/** Of the significand of an element: of float64, where it is wide, or float32. */
const bits = (wide: boolean) => (wide ? 53 : 24);

/** Lengths below are taken for none: their squares may have lost their digits. */
const leastLength = (wide: boolean) => (wide ? 2 ** -500 : 2 ** -60);

/**
 * The reflection I - v v^T that leaves nothing of a run of elements but the first (A. S. Householder 1958): v comes in the
 * place of the run, and what is left is returned.
 */
function reflect(w: W, run: Int, length: Int, wide: boolean): Real {
  const size = w.let(w.dot(run, run, length).sqrt());
  const first = w.let(w.load(run));
  const none = w.let(size.lt(leastLength(wide)));
  const left = w.let(none.select(first, first.lt(0).select(size, size.negated())));
  const square = none.select(w.real(1), size.times(size.plus(first.abs())));
  const scale = w.let(none.select(w.real(0), w.real(1).over(square.sqrt())));
  w.store(run, first.minus(left));
  w.each(length, (w, j) => w.store(run.plus(j), w.load(run.plus(j)).times(scale)));
  return left;
}

/**
 * The tridiagonal form T = Q^T A Q of a symmetric A, in the place of A, n x n. Behind it, n each: the diagonal of T, what is
 * beside it, and room for two. In row k lies, behind the diagonal, the v of the reflection with which Q = H_0 H_1 ... goes on.
 */
export function tridiagonalOf(n: number, wide: boolean): Procedure {
  const [d, e, room] = [n * n, n * n + n, n * n + 2 * n];
  return {
    text: `tridiagonal ${n} in ${bits(wide)} bits`,
    work: 2 * n ** 3,
    code: () =>
      written("real", (w) => {
        w.store(d, w.load(0));
        w.for(0, n - 1, (w, k) => {
          // Each row takes the reflection before and is multiplied by the next, while it is at hand.
          const [old, shares] = [k.plus(1), k].map((i) => w.let(i.and(1).times(n).plus(room))) as [Int, Int];
          const before = w.let(k.minus(1).times(n));
          const factor = (at: Int, i: Int) => w.load(at.plus(i)).negated();
          w.if(k.gt(0), (w) =>
            w.each(w.int(n).minus(k), (w, j) => {
              const at = w.let(j.plus(k));
              const own = w.let(k.times(n).plus(at));
              const change = factor(old, k).times(w.load(before.plus(at)));
              w.store(
                own,
                w
                  .load(own)
                  .plus(change)
                  .plus(factor(before, k).times(w.load(old.plus(at)))),
              );
            }),
          );
          const row = w.let(k.times(n).plus(k).plus(1)); // v, of so many
          const length = w.let(w.int(n - 1).minus(k));
          w.store(k.plus(d), w.load(row.minus(1)));
          w.store(k.plus(e), reflect(w, row, length, wide));
          w.each(length, (w, below) => {
            const i = w.let(below.plus(k).plus(1));
            w.if(k.gt(0), (w) => {
              const [own, rest] = [i.times(n).plus(k), w.int(n).minus(k)];
              w.addMultiple(own, before.plus(k), rest, factor(old, i));
              w.addMultiple(own, old.plus(k), rest, factor(before, i));
            });
            w.store(shares.plus(i), w.dot(i.times(n).plus(k).plus(1), row, length));
          });
          // By way of a place that is free as yet, so that nobody changes what others still read.
          const part = d + n - 1;
          const own = w.let(shares.plus(k).plus(1));
          w.store(part, w.dot(own, row, length).times(0.5));
          w.each(length, (w, i) => {
            w.store(own.plus(i), w.load(own.plus(i)).minus(w.load(part).times(w.load(row.plus(i)))));
          });
        });
        if (n > 1) {
          const last = room + (n % 2) * n + n - 1; // of what was multiplied last
          const change = w
            .load(last)
            .times(w.load(n * n - n - 1))
            .times(2);
          w.store(d + n - 1, w.load(n * n - 1).minus(change));
        }
      }),
  };
}

/**
 * The bidiagonal form B = Q^T A P of an A of m x n, m >= n, in its place (G. H. Golub and W. Kahan 1965). Behind it n x m zeros,
 * of which row k becomes the v of the k-th reflection of Q, then, n each, the diagonal of B and what is beside it, and room for
 * n + m. In row k of A lies, behind the diagonal, the v of the k-th of P.
 */
export function bidiagonalOf(m: number, n: number, wide: boolean): Procedure {
  const left = m * n;
  const d = left + n * m;
  const e = d + n;
  const [above, beside] = [e + n, e + 2 * n]; // products of the v of Q, and of P, with columns, negated, and rows
  return {
    text: `bidiagonal ${m} ${n} in ${bits(wide)} bits`,
    work: 4 * m * n * n,
    code: () =>
      written("real", (w) => {
        w.each(m, (w, i) => w.store(i.plus(left), w.load(i.times(n))));
        w.for(0, n, (w, k) => {
          const v = w.let(k.times(m).plus(left));
          const rows = w.let(w.int(m).minus(k));
          w.store(k.plus(d), reflect(w, v.plus(k), rows, wide));
          const behind = w.let(k.plus(1));
          const length = w.let(w.int(n).minus(behind));
          const shares = w.let(behind.plus(above));
          const before = w.let(k.minus(1).times(n).plus(behind));
          // Rows have not taken the reflection of P before as yet.
          const part = w.let(w.dot(v.plus(k), k.plus(beside), rows));
          w.each(length, (w, j) => {
            w.store(shares.plus(j), 0);
            w.if(k.gt(0), (w) => w.store(shares.plus(j), part.times(w.load(before.plus(j)))));
          });
          const first = k.times(n).plus(behind);
          w.subtractMultiples({ y: shares, x: first, step: n, length, count: rows, factors: v.plus(k) });
          w.if(length.gt(0), (w) => {
            const row = w.let(k.times(n).plus(behind));
            const own = w.let(w.load(v.plus(k)));
            w.each(length, (w, j) => {
              const at = w.let(row.plus(j));
              w.store(at, w.load(at).plus(own.times(w.load(shares.plus(j)))));
              w.if(k.gt(0), (w) => {
                w.store(at, w.load(at).minus(w.load(k.plus(beside)).times(w.load(before.plus(j)))));
              });
            });
            w.store(k.plus(e), reflect(w, row, length, wide));
            const next = v.plus(m);
            w.each(rows.minus(1), (w, below) => {
              const i = w.let(below.plus(behind));
              const at = w.let(i.times(n).plus(behind));
              w.if(k.gt(0), (w) => w.addMultiple(at, before, length, w.load(i.plus(beside)).negated()));
              w.addMultiple(at, shares, length, w.load(v.plus(i)));
              const part = w.let(w.dot(at, row, length));
              w.store(i.plus(beside), part);
              w.store(next.plus(i), w.load(at).minus(part.times(w.load(row))));
            });
          });
        });
      }),
  };
}

interface Rotation {
  readonly size: Real;
  readonly cosine: Real;
  readonly sine: Real;
}

/** The rotation that turns (f, g) into (size, 0). */
function rotationOf(w: W, f: Real, g: Real, wide: boolean): Rotation {
  const size = w.let(f.times(f).plus(g.times(g)).sqrt());
  const none = w.let(size.lt(leastLength(wide)));
  const divisor = w.let(none.select(w.real(1), size));
  return {
    size,
    cosine: w.let(none.select(w.real(1), f.over(divisor))),
    sine: w.let(none.select(w.real(0), g.over(divisor))),
  };
}

/** What is as good as 0 beside the diagonal is less than a unit of this and of its neighbours on the diagonal. */
const least = 2 ** -10;
const unit = (wide: boolean) => 2 ** -bits(wide);

/**
 * The next block from a place on in which nothing beside the diagonal is 0; behind the n numbers on it lie those beside it. At the
 * end of all, a block is its start alone.
 */
function blockFrom(w: W, from: Int, step: 1 | -1, n: number, wide: boolean): readonly [start: Int, end: Int] {
  const [start, end, looking] = [w.let(from), w.let(from), w.let(w.int(1))];
  const inside = step > 0 ? end.lt(n - 1) : end.gt(0);
  w.while(looking.gt(0).both(inside), (w) => {
    const other = end.plus(step);
    const near = w.load(end).abs().plus(w.load(other).abs()).plus(least);
    w.if(
      near.times(unit(wide)).lt(w.load(step > 0 ? end.plus(n) : other.plus(n)).abs()),
      (w) => w.set(end, other),
      (w) =>
        w.if(
          start.eq(end),
          (w) => {
            w.set(end, other);
            w.set(start, end);
          },
          (w) => w.set(looking, 0),
        ),
    );
  });
  return [start, end];
}

/** Sweeps for a value, of which one or two are enough. */
const mostSweeps = 60;

/**
 * Sweeps, block by block, until nothing is left beside the diagonal: one invocation makes the rotations of a sweep, by which all
 * turn rows. Where blocks start and end is told at `place` and behind it.
 */
function sweeps(
  w: W,
  n: number,
  { step, wide, place }: { readonly step: 1 | -1; readonly wide: boolean; readonly place: number },
  sweep: (w: W, start: Int, end: Int) => void,
  turn: (w: W, start: Int, end: Int) => void,
): void {
  const left = w.let(w.int(mostSweeps * n));
  w.store(place, step > 0 ? 0 : n - 1);
  w.store(place + 1, -1);
  const length = () =>
    w
      .load(place)
      .minus(w.load(place + 1))
      .abs();
  w.while(left.gt(0).both(length().gt(0)), (w) => {
    w.set(left, left.minus(1));
    w.each(1, (w) => {
      const [start, end] = blockFrom(w, w.load(place).toInt(), step, n, wide);
      w.store(place, start.toReal());
      w.store(place + 1, end.toReal());
      w.if(
        start.eq(end),
        () => {},
        (w) => sweep(w, start, end),
      );
    });
    turn(w, w.let(w.load(place).toInt()), w.let(w.load(place + 1).toInt()));
  });
}

/**
 * Eigenvalues of a tridiagonal matrix by rotations (the QL algorithm with implicit shifts: H. Bowdler and others 1968), which
 * the rows of an n x m matrix take too: n numbers of the diagonal, n beside it, room for 2 n + 2, and the matrix.
 */
export function diagonalised(n: number, m: number, wide: boolean): Procedure {
  const [cosines, sines, place] = [2 * n, 3 * n, 4 * n];
  const E = (i: Int) => i.plus(n);
  const sweep = (w: W, l: Int, end: Int) => {
    const start = w.let(w.load(E(l)));
    const half = w.let(w.load(l.plus(1)).minus(w.load(l)).over(start.times(2)));
    const root = half.times(half).plus(1).sqrt();
    const shift = w.let(half.plus(half.lt(0).select(root.negated(), root)));
    const g = w.let(w.load(end).minus(w.load(l)).plus(start.over(shift)));
    const [cosine, sine, moved] = [w.let(w.real(1)), w.let(w.real(1)), w.let(w.real(0))];
    w.for(0, end.minus(l), (w, down) => {
      const i = w.let(end.minus(1).minus(down));
      const beside = w.let(w.load(E(i)));
      const b = w.let(cosine.times(beside));
      const turn = rotationOf(w, g, sine.times(beside), wide);
      w.store(E(i.plus(1)), turn.size);
      w.set(sine, turn.sine);
      w.set(cosine, turn.cosine);
      w.store(down.plus(cosines), cosine);
      w.store(down.plus(sines), sine);
      w.set(g, w.load(i.plus(1)).minus(moved));
      const other = w.let(w.load(i).minus(g).times(sine).plus(cosine.times(b).times(2)));
      w.set(moved, sine.times(other));
      w.store(i.plus(1), g.plus(moved));
      w.set(g, cosine.times(other).minus(b));
    });
    w.store(l, w.load(l).minus(moved));
    w.store(E(l), g);
    w.store(E(end), 0);
  };
  return {
    text: `diagonalise ${n} ${m} in ${bits(wide)} bits`,
    work: 5 * n * n * m,
    code: () =>
      written("real", (w) => {
        sweeps(w, n, { step: 1, wide, place }, sweep, (w, l, end) => {
          const rows = end.times(m).plus(4 * n + 2);
          w.rotations({ rows, step: -m, length: m, count: end.minus(l), cosines, sines });
        });
      }),
  };
}

/**
 * Singular values of a bidiagonal matrix B by rotations from both sides (G. H. Golub and C. Reinsch 1970), of which the rows of
 * an n x u matrix take those from the left, the rows of an n x v matrix those from the right: n numbers of the diagonal, n above
 * it, room for 4 n + 2, and the matrices. The values may have signs.
 */
export function singularOf(n: number, u: number, v: number, wide: boolean): Procedure {
  const [right, left] = [2 * n, 4 * n]; // cosines, then sines
  const place = 6 * n;
  const E = (i: Int) => i.plus(n);
  const sweep = (w: W, high: Int, low: Int) => {
    const zero = w.let(w.int(0));
    w.for(low, high.plus(1), (w, i) => {
      w.if(
        w
          .load(i)
          .abs()
          .lt(unit(wide) * least),
        (w) => w.set(zero, 1),
      );
    });
    // The smaller singular value of the last two columns, unless there is one that is 0.
    const before = w.let(high.minus(1));
    const [x, y] = [w.let(w.load(before).abs()), w.let(w.load(high).abs())];
    const square = w.let(w.load(E(before)));
    w.set(square, square.times(square));
    const far = (sum: Real) => sum.times(sum).plus(square).sqrt();
    const both = w.let(far(x.plus(y)).plus(far(x.minus(y))));
    const shift = w.let(zero.eq(1).select(w.real(0), x.times(y).times(2).over(both)));
    const d = w.let(w.load(low));
    const divisor = zero.eq(1).select(w.real(1), d);
    const f = w.let(d.minus(shift.times(shift).over(divisor)));
    const e = w.let(w.load(E(low)));
    const g = w.let(e.plus(0));
    w.for(low, high, (w, i) => {
      const at = w.let(i.minus(low));
      const rotation = (place: number): Rotation => {
        const made = rotationOf(w, f, g, wide);
        w.store(at.plus(place), made.cosine);
        w.store(at.plus(place + n), made.sine);
        return made;
      };
      const columns = rotation(right);
      w.if(low.lt(i), (w) => w.store(E(i.minus(1)), columns.size));
      const next = w.load(i.plus(1));
      w.set(f, columns.cosine.times(d).plus(columns.sine.times(e)));
      w.set(e, columns.cosine.times(e).minus(columns.sine.times(d)));
      w.set(g, columns.sine.times(next));
      w.set(d, columns.cosine.times(next));
      const rows = rotation(left);
      w.store(i, rows.size);
      w.set(f, rows.cosine.times(e).plus(rows.sine.times(d)));
      w.set(d, rows.cosine.times(d).minus(rows.sine.times(e)));
      w.set(e, w.load(E(i.plus(1))));
      w.set(g, rows.sine.times(e));
      w.set(e, rows.cosine.times(e));
    });
    w.store(high, d);
    w.store(E(before), f);
  };
  return {
    text: `singular ${n} ${u} ${v} in ${bits(wide)} bits`,
    work: 5 * n * n * (u + v),
    code: () =>
      written("real", (w) => {
        sweeps(w, n, { step: -1, wide, place }, sweep, (w, high, low) => {
          const count = w.let(high.minus(low));
          const first = 6 * n + 2;
          const turn = (at: number, length: number, cosines: number) => {
            const rows = low.times(length).plus(at);
            w.rotations({ rows, step: length, length, count, cosines, sines: cosines + n });
          };
          turn(first, u, left);
          turn(first + n * u, v, right);
        });
      }),
  };
}
