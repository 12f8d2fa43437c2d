import {
  checkArgument,
  checkCount,
  type Fields,
  flag,
  integer,
  nonNegative,
  optional,
  readOptions,
} from "../base/arguments.ts";
import { type DType, type FloatDType, isNarrow, unitOf } from "../base/dtype.ts";
import { ShapeError } from "../base/errors.ts";
import { broadcastShapes, type Shape } from "../base/shape.ts";
import { choleskyOf, forwardSubstitution, luOf, qrOf } from "../graph/factorise.ts";
import type { Procedure } from "../graph/procedure.ts";
import { runProcedure } from "../graph/reduce.ts";
import { bidiagonalOf, diagonalised, singularOf, tridiagonalOf } from "../graph/spectrum.ts";
import { checkFloat } from "./arithmetic.ts";
import { diagonal, roll } from "./arrange.ts";
import { arange, eye, ones, zeros } from "./creation.ts";
import { customVjp } from "./custom-vjp.ts";
import { cat, where } from "./functions.ts";
import { argsort } from "./sort.ts";
import { Tensor } from "./tensor.ts";

// Linear algebra on the last two axes, batched over the others, with gradients of every order: each function has a rule that
// is written with these functions.

/** Sides from which a factorisation is made of blocks, so that products of matrices do the work. */
const blockSide = 64;

/** The same of those by columns: with 64 as fast, and twice the kernels. */
const panelSide = 128;

/** The same of reflections, and columns that rotations turn together. */
const wideSide = 256;

// What all have in common.

function square<D extends DType>(operation: string, x: Tensor<D>): Tensor<D> {
  matrix(operation, x);
  if (x.shape.at(-1) !== x.shape.at(-2))
    throw new ShapeError(`${operation}: takes square matrices, the last two axes; given ${x}.`);
  return x;
}

function matrix<D extends DType>(operation: string, x: Tensor<D>): Tensor<D> {
  checkFloat(operation, x);
  if (x.rank < 2) throw new ShapeError(`${operation}: takes matrices, the last two axes; given ${x}.`);
  return x;
}

/** In float32 where the dtype is too narrow for steps in between. */
function computed<D extends DType, R>(x: Tensor<D>, f: (x: Tensor) => R): R {
  return f(isNarrow(x.dtype) || x.dtype === "number" ? x.astype("float32") : x);
}

const like = <D extends DType>(y: Tensor, x: Tensor<D>): Tensor<D> =>
  (isNarrow(x.dtype) ? y.astype(x.dtype) : y) as unknown as Tensor<D>; // the dtype of x

const batchOf = (x: Tensor): Shape => x.shape.slice(0, -2);
const sides = (x: Tensor) => x.shape.slice(-2) as unknown as readonly [number, number];
const T = (x: Tensor): Tensor => x.transpose(-2, -1);
const flat = (x: Tensor): Tensor => x.reshape([...batchOf(x), sides(x)[0] * sides(x)[1]]);
const identity = (n: number, x: Tensor): Tensor => eye(n).astype(x.dtype as "float32") as Tensor;
const symmetric = (x: Tensor): Tensor => x.add(T(x)).mul(0.5);

function run(procedure: Procedure, parts: readonly Tensor[]): Tensor {
  return new Tensor(
    runProcedure(
      procedure,
      cat(
        parts.map((part) => part.detach()),
        -1,
      ).node,
    ),
  );
}

/** Elements of the last axis as a shape. */
function taken(x: Tensor, from: number, shape: Shape): Tensor {
  const batch = x.shape.slice(0, -1);
  const size = shape.reduce((product, n) => product * n, 1);
  const none = batch.map(() => null);
  return x.slice([...none, from], [...none, from + size]).reshape([...batch, ...shape]);
}

/** Rows and columns of a matrix from `start` to `stop`. */
function block(x: Tensor, rows: readonly [number, number], columns: readonly [number, number]): Tensor {
  const none = batchOf(x).map(() => null);
  return x.slice([...none, rows[0], columns[0]], [...none, rows[1], columns[1]]);
}

const isEmpty = (x: Tensor) => x.size === 0;

export interface CholeskyOptions {
  /** Gives L^T. Default false. */
  readonly upper?: boolean;
}

/**
 * The lower triangle L with A = L L^T, of the symmetric part of A: NaN where that is not positive definite.
 *
 * @example
 * linalg.cholesky(tensor([[4, 2], [2, 2]])); // [[2, 0], [1, 1]]
 */
export function cholesky<D extends DType>(a: Tensor<D>, options: CholeskyOptions = {}): Tensor<D> {
  checkCount("cholesky", arguments, 2);
  square("cholesky", a);
  const { upper } = readOptions("cholesky", { upper: flag }, options);
  return like(
    computed(a, (a) => {
      const l = factor(symmetric(a));
      return upper ? T(l) : l;
    }),
    a,
  );
}

const factor: (a: Tensor) => Tensor = (a) =>
  customVjp(
    (a: Tensor) => [lowerOf(a), a] as const,
    (a, g) => {
      const l = factor(a);
      const p = T(l).matmul(g).tril();
      const half = p.sub(p.mul(identity(sides(p)[0], p)).mul(0.5));
      const left = substitute(l, half, true); // L^-T P
      return [symmetric(T(substitute(l, T(left), true)))]; // (L^-T P) L^-1
    },
  )(a);

/** Half by half: what is below the first is solved for, and its square taken from the second. */
function lowerOf(a: Tensor): Tensor {
  const [n] = sides(a);
  if (isEmpty(a)) return a;
  if (n <= blockSide) return taken(run(choleskyOf(n), [flat(a)]), 0, [n, n]).tril();
  const k = Math.ceil(n / 2 / blockSide) * blockSide;
  const first = lowerOf(block(a, [0, k], [0, k]));
  const below = T(forward(first, T(block(a, [k, n], [0, k]))));
  const second = lowerOf(block(a, [k, n], [k, n]).sub(below.matmul(T(below))));
  const above = zeros([...batchOf(a), k, n - k]).astype(a.dtype as "float32") as Tensor;
  return cat([cat([first, above], -1), cat([below, second], -1)], -2);
}

/** L^-1 B, or L^-T B, of a lower triangle. */
const substitute = (l: Tensor, b: Tensor, transposed: boolean): Tensor =>
  customVjp(
    (l: Tensor, b: Tensor) =>
      [
        transposed ? forward(T(l).flip([-2, -1]), b.flip(-2)).flip(-2) : forward(l, b),
        [l, b] as const,
      ] as const,
    ([l, b], g) => {
      const x = substitute(l, b, transposed);
      const back = substitute(l, g, !transposed);
      const slope = transposed ? x.matmul(T(back)) : back.matmul(T(x));
      return [slope.neg().tril(), back];
    },
  )(l, b);

function forward(l: Tensor, b: Tensor): Tensor {
  const [n, m] = sides(b);
  if (isEmpty(b)) return b;
  if (n <= blockSide) return taken(run(forwardSubstitution(n, m), [flat(l), flat(b)]), n * n, [n, m]);
  const k = Math.ceil(n / 2 / blockSide) * blockSide;
  const first = forward(block(l, [0, k], [0, k]), block(b, [0, k], [0, m]));
  const rest = block(b, [k, n], [0, m]).sub(block(l, [k, n], [0, k]).matmul(first));
  return cat([first, forward(block(l, [k, n], [k, n]), rest)], -2);
}

export interface TriangularOptions {
  /** a is an upper triangle. Default false: a lower one. The other triangle is not read. */
  readonly upper?: boolean;
  /** Solves with the transpose. Default false. */
  readonly transposed?: boolean;
  /** The diagonal is not read, and taken for ones. Default false. */
  readonly unitDiagonal?: boolean;
}

const triangularFields: Fields<Required<TriangularOptions>> = {
  upper: flag,
  transposed: flag,
  unitDiagonal: flag,
};

/**
 * The solution X of A X = B for a triangle A; B has as many rows, or is a vector. Leading axes broadcast.
 *
 * @example
 * linalg.triangularSolve(tensor([[2, 0], [1, 1]]), tensor([2, 3])); // [1, 2]
 */
export function triangularSolve<D extends DType>(
  a: Tensor<D>,
  b: Tensor<D>,
  options: TriangularOptions = {},
): Tensor<D> {
  checkCount("triangularSolve", arguments, 3);
  const { upper, transposed, unitDiagonal } = readOptions("triangularSolve", triangularFields, options);
  return solving("triangularSolve", a, b, (a, b) => {
    const whole = upper ? T(a.triu()) : a.tril();
    return substitute(unitDiagonal ? lowerWithOnes(whole) : whole, b, upper !== transposed);
  });
}

/** Checks both sides, and gives `solve` matrices of one batch. */
function solving<D extends DType>(
  operation: string,
  a: Tensor<D>,
  b: Tensor<D>,
  solve: (a: Tensor, b: Tensor) => Tensor,
): Tensor<D> {
  square(operation, a);
  checkFloat(operation, b);
  const [n] = sides(a);
  const vector = b.rank === 1;
  if (b.rank === 0 || b.shape[vector ? 0 : b.rank - 2] !== n || b.dtype !== a.dtype)
    throw new ShapeError(`${operation}: a is ${a} and b ${b}; b has ${n} rows, and the dtype of a.`);
  const right = vector ? b.unsqueeze(-1) : b;
  const batch = broadcastShapes(operation, batchOf(a), batchOf(right));
  const x = computed(a, (a) =>
    computed(right, (b) => solve(a.expand([...batch, n, n]), b.expand([...batch, n, sides(b)[1]]))),
  );
  return like(vector ? x.squeeze(-1) : x, a);
}

interface Lu {
  /** L below the diagonal and U from it on. */
  readonly both: Tensor;
  /** Which row each was. */
  readonly order: Tensor<"int32">;
  /** Of P. */
  readonly sign: Tensor;
}

/** P A = L U of a matrix with as many rows as columns or more. Columns half by half: the second without what is of the first. */
function lu(a: Tensor): Lu {
  const [m, n] = sides(a);
  if (n <= panelSide) {
    const room = zeros([...batchOf(a), m + 1]).astype(a.dtype as "float32") as Tensor;
    const all = run(luOf(m, n), [flat(a), room]);
    return {
      both: taken(all, 0, [m, n]),
      order: taken(all, m * n, [m]).astype("int32"),
      sign: taken(all, m * n + m, []),
    };
  }
  const k = Math.ceil(n / 2 / panelSide) * panelSide;
  const { both: left, order, sign } = lu(block(a, [0, m], [0, k]));
  const right = rowsOf(block(a, [0, m], [k, n]), order);
  const above = forward(lowerWithOnes(block(left, [0, k], [0, k])), block(right, [0, k], [0, n - k]));
  const below = block(left, [k, m], [0, k]);
  const second = lu(block(right, [k, m], [0, n - k]).sub(below.matmul(above)));
  const none = batchOf(a).map(() => null);
  const [head, tail] = [order.slice([], [...none, k]), order.slice([...none, k])];
  return {
    both: cat(
      [cat([block(left, [0, k], [0, k]), above], -1), cat([rowsOf(below, second.order), second.both], -1)],
      -2,
    ),
    order: cat([head, tail.gather(-1, second.order)], -1),
    sign: sign.mul(second.sign),
  };
}

/** Rows in an order. */
const rowsOf = (x: Tensor, order: Tensor<"int32">): Tensor =>
  x.gather(-2, order.unsqueeze(-1).expand(x.shape));

const lowerWithOnes = (x: Tensor): Tensor => where(identity(sides(x)[0], x).eq(1), 1, x.tril());

/**
 * The solution X of A X = B, by Gaussian elimination with partial pivoting; B has as many rows, or is a vector. Leading axes
 * broadcast. Not finite where A is singular.
 *
 * @example
 * linalg.solve(tensor([[2, 1], [1, 3]]), tensor([3, 4])); // [1, 1]
 */
export function solve<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkCount("solve", arguments, 2);
  return solving("solve", a, b, (a, b) => solution(a, b));
}

const solution = (a: Tensor, b: Tensor): Tensor =>
  customVjp(
    (a: Tensor, b: Tensor) => {
      if (isEmpty(b)) return [b, [a, b] as const] as const;
      const { both, order } = lu(a);
      const y = forward(lowerWithOnes(both), rowsOf(b, order));
      const x = forward(both.triu().flip([-2, -1]), y.flip(-2)).flip(-2);
      return [x, [a, b] as const] as const;
    },
    ([a, b], g) => {
      const back = solution(T(a), g);
      return [back.matmul(T(solution(a, b))).neg(), back];
    },
  )(a, b);

/**
 * The inverse of square matrices; not finite where there is none. To solve a system take `solve`.
 *
 * @example
 * linalg.inv(tensor([[2, 0], [0, 4]])); // [[0.5, 0], [0, 0.25]]
 */
export function inv<D extends DType>(a: Tensor<D>): Tensor<D> {
  checkCount("inv", arguments, 1);
  square("inv", a);
  return like(
    computed(a, (a) => solution(a, identity(sides(a)[0], a).expand(a.shape))),
    a,
  );
}

/** Sides up to which the gradient of a determinant is made of cofactors, which are there for singular matrices too. */
const fewRows = 6;

/**
 * The determinant of square matrices. Its gradient is the matrix of cofactors, computed as such up to 6 rows, and as det(A)
 * A^-T beyond.
 *
 * @example
 * linalg.det(tensor([[2, 1], [1, 3]])); // 5
 */
export function det<D extends DType>(a: Tensor<D>): Tensor<D> {
  checkCount("det", arguments, 1);
  square("det", a);
  return like(computed(a, determinant), a);
}

const determinant = (a: Tensor): Tensor => {
  const [n] = sides(a);
  if (n === 0) return ones(batchOf(a)).astype(a.dtype as "float32") as Tensor;
  if (n === 1) return a.reshape(batchOf(a));
  return customVjp(
    (a: Tensor) => {
      const { both, sign } = lu(a);
      return [diagonal(both).prod(-1).mul(sign), a] as const;
    },
    (a, g) => {
      const slope =
        n <= fewRows
          ? cofactors(a)
          : determinant(a)
              .unsqueeze(-1)
              .unsqueeze(-1)
              .mul(T(inv(a)));
      return [slope.mul(g.unsqueeze(-1).unsqueeze(-1))];
    },
  )(a);
};

function cofactors(a: Tensor): Tensor {
  const [n] = sides(a);
  const without = (x: Tensor, axis: number, i: number) => {
    const bound = (value: number) => x.shape.map((_, other) => (other === axis ? value : null));
    return cat([x.slice([], bound(i)), x.slice(bound(i + 1))], axis);
  };
  const rank = a.rank;
  const rows = Array.from({ length: n }, (_, i) =>
    cat(
      Array.from({ length: n }, (_, j) => without(without(a, rank - 2, i), rank - 1, j).unsqueeze(0)),
      0,
    ).unsqueeze(0),
  );
  const minors = determinant(cat(rows, 0)); // [n, n, ...batch]
  const signs = arange(n).unsqueeze(1).add(arange(n)).astype("int32").bitwiseAnd(1).mul(-2).add(1);
  const axes = [...batchOf(a).map((_, i) => i + 2), 0, 1];
  return minors.permute(axes).mul(signs.astype(a.dtype as "float32") as Tensor);
}

/** A determinant by its sign and the logarithm of its size. */
export interface SignAndLog<D extends DType> {
  readonly sign: Tensor<D>;
  readonly logabsdet: Tensor<D>;
}

/**
 * The sign of the determinant, and the logarithm of its size: 0 and -Infinity where it is 0.
 *
 * @example
 * linalg.slogdet(tensor([[2, 0], [0, -1]])); // sign -1, logabsdet 0.6931472
 */
export function slogdet<D extends DType>(a: Tensor<D>): SignAndLog<D> {
  checkCount("slogdet", arguments, 1);
  square("slogdet", a);
  const [n] = sides(a);
  const { sign, logabsdet } = computed(a, (a) => {
    if (n === 0) {
      const one = ones(batchOf(a)).astype(a.dtype as "float32") as Tensor;
      return { sign: one, logabsdet: one.sub(1) };
    }
    const { both, sign } = lu(a);
    const pivots = diagonal(both);
    return { sign: pivots.sign().prod(-1).mul(sign), logabsdet: logOf(a) };
  });
  return { sign: like(sign, a), logabsdet: like(logabsdet, a) };
}

const logOf = (a: Tensor): Tensor =>
  customVjp(
    (a: Tensor) => [diagonal(lu(a).both).abs().log().sum(-1), a] as const,
    (a, g) => [T(inv(a)).mul(g.unsqueeze(-1).unsqueeze(-1))],
  )(a);

/** A = Q R. */
export interface Qr<D extends DType> {
  readonly q: Tensor<D>;
  readonly r: Tensor<D>;
}

/**
 * Orthonormal columns Q and an upper triangle R with A = Q R, reduced: Q has as many columns as A has rows or columns,
 * whichever are fewer. The diagonal of R is not negative, which makes both unique. Columns of Q are zero where those of A
 * depend on the ones before, and the gradient is not finite there.
 *
 * @example
 * linalg.qr(tensor([[3, 1], [4, 2]])).r; // [[5, 2.2], [0, 0.4]]
 */
export function qr<D extends DType>(a: Tensor<D>): Qr<D> {
  checkCount("qr", arguments, 1);
  matrix("qr", a);
  const [m, n] = sides(a);
  const { q, r } = computed(a, (a) => {
    if (isEmpty(a)) {
      const k = Math.min(m, n);
      const none = (shape: Shape) => zeros([...batchOf(a), ...shape]).astype(a.dtype as "float32") as Tensor;
      return { q: none([m, k]), r: none([k, n]) };
    }
    if (m >= n) return orthonormal(a);
    const first = orthonormal(block(a, [0, m], [0, m]));
    return { q: first.q, r: cat([first.r, T(first.q).matmul(block(a, [0, m], [m, n]))], -1) };
  });
  return { q: like(q, a), r: like(r, a) };
}

const orthonormal = (a: Tensor): { readonly q: Tensor; readonly r: Tensor } =>
  customVjp(
    (a: Tensor) => [columnsOf(a, a.square().sum(-2)), a] as const,
    (a, g) => {
      const { q, r } = orthonormal(a);
      const inner = r.matmul(T(g.r)).sub(T(g.q).matmul(q)).tril();
      const both = inner.add(T(inner.tril(-1)));
      // Times R^-T from the right.
      const slope = g.q.add(q.matmul(both));
      return [T(substitute(T(r), T(slope), true))];
    },
  )(a);

/** Columns half by half: the second without what lies in those of the first, taken away twice (J. L. Barlow and A. Smoktunowicz 2013). */
function columnsOf(a: Tensor, squares: Tensor): { readonly q: Tensor; readonly r: Tensor } {
  const [m, n] = sides(a);
  const zero = (...shape: Shape) => zeros([...batchOf(a), ...shape]).astype(a.dtype as "float32") as Tensor;
  if (n <= panelSide) {
    const all = run(qrOf(m, n), [flat(T(a)), zero(n * n), squares, zero(n)]);
    return { q: T(taken(all, 0, [n, m])), r: T(taken(all, n * m, [n, n])) };
  }
  const k = Math.ceil(n / 2 / panelSide) * panelSide;
  const none = batchOf(a).map(() => null);
  const first = columnsOf(block(a, [0, m], [0, k]), squares.slice([], [...none, k]));
  let right = block(a, [0, m], [k, n]);
  let shares = zero(k, n - k);
  for (let i = 0; i < 2; i++) {
    const part = T(first.q).matmul(right);
    right = right.sub(first.q.matmul(part));
    shares = shares.add(part);
  }
  const second = columnsOf(right, squares.slice([...none, k]));
  const below = zero(n - k, k);
  return {
    q: cat([first.q, second.q], -1),
    r: cat([cat([first.r, shares], -1), cat([below, second.r], -1)], -2),
  };
}

/** A = U diag(s) V^T. */
export interface Svd<D extends DType> {
  /** [..., m, k] with k = min(m, n): orthonormal columns. */
  readonly u: Tensor<D>;
  /** [..., k], falling. */
  readonly s: Tensor<D>;
  /** [..., n, k]: orthonormal columns. */
  readonly v: Tensor<D>;
}

/**
 * Singular values and vectors, to about the accuracy of the dtype times the largest value. The sign of each pair of vectors is
 * as it comes. What a gradient would divide by the difference of equal values is left out. Ask for several of them by
 * `tree.evaluate`, which decomposes once.
 *
 * @example
 * linalg.svd(tensor([[3, 0], [0, -4]])).s; // [4, 3]
 */
export function svd<D extends DType>(a: Tensor<D>): Svd<D> {
  checkCount("svd", arguments, 1);
  matrix("svd", a);
  const [m, n] = sides(a);
  const { u, s, v } = computed(a, (a) => {
    if (isEmpty(a)) {
      const none = (shape: Shape) => zeros([...batchOf(a), ...shape]).astype(a.dtype as "float32") as Tensor;
      return { u: none([m, 0]), s: none([0]), v: none([n, 0]) };
    }
    if (m >= n) return singular(a);
    const turned = singular(T(a));
    return { u: turned.v, s: turned.s, v: turned.u };
  });
  return { u: like(u, a), s: like(s, a), v: like(v, a) };
}

interface Parts {
  readonly u: Tensor;
  readonly s: Tensor;
  readonly v: Tensor;
}

const column = (x: Tensor): Tensor => x.unsqueeze(-1);
const row = (x: Tensor): Tensor => x.unsqueeze(-2);
/** 1 / x, and 0 where x is 0. */
const inverse = (x: Tensor): Tensor => where(x.eq(0), 0, where(x.eq(0), 1, x).reciprocal());

const singular = (a: Tensor): Parts =>
  customVjp(
    (a: Tensor) => [decomposed(a), a] as const,
    (a, g) => {
      const { u, s, v } = singular(a);
      // J. Townsend 2016, "Differentiating the singular value decomposition".
      const squares = s.square();
      const apart = inverse(row(squares).sub(column(squares)));
      const skew = (x: Tensor, gx: Tensor) => T(x).matmul(gx).sub(T(gx).matmul(x)).mul(apart);
      const inner = skew(u, g.u)
        .mul(row(s))
        .add(skew(v, g.v).mul(column(s)))
        .add(identity(sides(v)[1], a).mul(row(g.s)));
      const beyond = (x: Tensor, gx: Tensor) => gx.sub(x.matmul(T(x).matmul(gx))).mul(row(inverse(s)));
      const along = u.matmul(inner).add(beyond(u, g.u)).matmul(T(v));
      return [along.add(u.matmul(T(beyond(v, g.v))))];
    },
  )(a);

/** Numbers of about 1, so that squares stay within the range, and by what they were divided. */
function scaled(a: Tensor): { readonly even: Tensor; readonly scale: Tensor } {
  const most = a.detach().abs().amax([-2, -1], { keepdim: true });
  const scale = where(most.eq(0), 1, most);
  return { even: a.detach().div(scale), scale: scale.squeeze(-1) };
}

function decomposed(a: Tensor): Parts {
  const [m, n] = sides(a);
  const { even, scale } = scaled(a);
  const wide = a.dtype === "float64";
  const form = run(bidiagonalOf(m, n, wide), [flat(even), room(a, n * m + 4 * n + m)]);
  const left = reflected(taken(form, m * n, [n, m]));
  const right = reflected(taken(form, 0, [n, n]).triu(1));
  const narrow = taken(form, 2 * m * n, [2 * n]);
  const { values, turned } = turning(narrow, 4 * n + 2, [left, right], ([u, v]) =>
    singularOf(n, u!, v!, wide),
  );
  const order = argsort(values.abs(), { descending: true });
  const s = values.gather(-1, order);
  const [u, v] = turned.map((x) => rowsOf(x, order));
  return { u: T(u!), s: s.abs().mul(scale), v: T(where(column(s).lt(0), v!.neg(), v!)) };
}

/** Eigenvalues of a symmetric matrix, rising, and the eigenvectors as rows. */
function spectrumOf(a: Tensor): { readonly values: Tensor; readonly vectors: Tensor } {
  const [n] = sides(a);
  const wide = a.dtype === "float64";
  const form = run(tridiagonalOf(n, wide), [flat(a), room(a, 4 * n)]);
  const narrow = taken(form, n * n, [2 * n]);
  const { values, turned } = turning(
    narrow,
    2 * n + 2,
    [reflected(taken(form, 0, [n, n]).triu(1))],
    ([width]) => diagonalised(n, width!, wide),
  );
  const order = argsort(values);
  return { values: values.gather(-1, order), vectors: rowsOf(turned[0]!, order) };
}

/** As many zeros for each matrix. */
const room = (x: Tensor, size: number): Tensor =>
  zeros([...batchOf(x), size]).astype(x.dtype as "float32") as Tensor;

/** The first k rows of Q^T for Q = H_0 H_1 ..., of reflections I - v v^T: k of them, whose v are rows, v_i with i zeros in front. */
function reflected(v: Tensor): Tensor {
  const [k, n] = sides(v);
  if (k <= wideSide) return reflections(v, k);
  const half = Math.ceil(k / 2 / wideSide) * wideSide;
  const first = reflections(block(v, [0, half], [0, n]), n);
  const rest = reflected(block(v, [half, k], [half, n])).matmul(block(first, [half, n], [0, n]));
  return cat([block(first, [0, half], [0, n]), rest], -2);
}

/** So many rows of Q^T = I - V^T S V, where the triangle S has an inverse that is made of products alone. */
function reflections(v: Tensor, rows: number): Tensor {
  const [k, n] = sides(v);
  const inverse = v.matmul(T(v)).tril(-1).add(identity(k, v));
  const change = T(block(v, [0, k], [0, rows])).matmul(forward(inverse, v));
  return block(identity(n, v), [0, rows], [0, n]).sub(change);
}

/**
 * What rotations that make a matrix diagonal leave of it and of the rows of others, which they turn in blocks of columns, each by
 * itself. In front of these lie the numbers of the matrix and room.
 */
function turning(
  narrow: Tensor,
  more: number,
  others: readonly Tensor[],
  of: (widths: readonly number[]) => Procedure,
): { readonly values: Tensor; readonly turned: readonly Tensor[] } {
  const batch = narrow.shape.slice(0, -1);
  const none = batch.map(() => null);
  const [n] = sides(others[0]!);
  const blocks = Math.ceil(Math.max(...others.map((x) => sides(x)[1])) / wideSide);
  const widths = others.map((x) => Math.ceil(sides(x)[1] / blocks));
  const apart = others.map((x, i) => {
    const missing = blocks * widths[i]! - sides(x)[1];
    const filled = missing > 0 ? cat([x, room(x, n * missing).reshape([...batch, n, missing])], -1) : x;
    return flat(filled.reshape([...batch, n, blocks, widths[i]!]).transpose(-3, -2));
  });
  const numbers = cat([narrow, room(others[0]!, more)], -1);
  const size = 2 * n + more;
  const done = run(of(widths), [numbers.unsqueeze(-2).expand([...batch, blocks, size]), ...apart]);
  let at = size;
  const turned = others.map((x, i) => {
    const width = widths[i]!;
    const own = taken(done, at, [n, width]).transpose(-3, -2);
    at += n * width;
    const rows = block(own.reshape([...batch, n, blocks * width]), [0, n], [0, sides(x)[1]]);
    // Many rounded rotations change lengths a little.
    return rows.div(rows.square().sum(-1, { keepdim: true }).sqrt());
  });
  const values = done.slice([...none, 0, 0], [...none, 1, n]).squeeze(-2);
  return { values, turned };
}

/** A = V diag(w) V^T. */
export interface Eigh<D extends DType> {
  /** [..., n], rising. */
  readonly w: Tensor<D>;
  /** [..., n, n]: orthonormal columns. */
  readonly v: Tensor<D>;
}

/**
 * Eigenvalues and eigenvectors of the symmetric part of A, to about the accuracy of the dtype times the largest size of an
 * eigenvalue. The sign of each vector is as it comes. What a gradient would divide by the difference of equal values is left
 * out.
 *
 * @example
 * linalg.eigh(tensor([[2, 1], [1, 2]])).w; // [1, 3]
 */
export function eigh<D extends DType>(a: Tensor<D>): Eigh<D> {
  checkCount("eigh", arguments, 1);
  square("eigh", a);
  const { w, v } = computed(a, (a) => {
    if (isEmpty(a)) return { w: zeros(a.shape.slice(0, -1)).astype(a.dtype as "float32") as Tensor, v: a };
    return spectral(symmetric(a));
  });
  return { w: like(w, a), v: like(v, a) };
}

const spectral = (a: Tensor): { readonly w: Tensor; readonly v: Tensor } =>
  customVjp(
    (a: Tensor) => {
      const { even, scale } = scaled(a);
      const { values, vectors } = spectrumOf(even);
      return [{ w: values.mul(scale), v: T(vectors) }, a] as const;
    },
    (a, g) => {
      const { w, v } = spectral(a);
      const apart = inverse(row(w).sub(column(w)));
      const inner = T(v)
        .matmul(g.v)
        .mul(apart)
        .add(identity(sides(v)[1], a).mul(row(g.w)));
      return [symmetric(v.matmul(inner).matmul(T(v)))];
    },
  )(a);

export interface PinvOptions {
  /** Singular values below this share of the largest are taken for 0. Default the accuracy of the dtype times the longer side. */
  readonly rtol?: number;
}

const pinvFields: Fields<PinvOptions> = { rtol: optional(nonNegative(0)) };

/**
 * The pseudo-inverse of E. H. Moore and R. Penrose, of singular values that are not too small. Its gradient is that among
 * matrices of one rank, where singular values are equal too: what is left out counts as zero, as in PyTorch and JAX.
 *
 * @example
 * linalg.pinv(tensor([[2, 0], [0, 0]])); // [[0.5, 0], [0, 0]]
 */
export function pinv<D extends DType>(a: Tensor<D>, options: PinvOptions = {}): Tensor<D> {
  checkCount("pinv", arguments, 2);
  matrix("pinv", a);
  const { rtol } = readOptions("pinv", pinvFields, options);
  return like(
    computed(a, (a) => (isEmpty(a) ? T(a) : pseudoInverse(a, rtol))),
    a,
  );
}

/** The singular value of `a` up to which they count as 0. */
function leastOf(s: Tensor, a: Tensor, rtol?: number): Tensor {
  return s.amax(-1, { keepdim: true }).mul(rtol ?? unitOf(a.dtype as FloatDType) * Math.max(...sides(a)));
}

const pseudoInverse = (a: Tensor, rtol?: number): Tensor =>
  customVjp(
    (a: Tensor) => {
      const { u, s, v } = svd(a);
      const kept = where(s.gt(leastOf(s, a, rtol)), s, 0);
      return [v.mul(row(inverse(kept))).matmul(T(u)), a] as const;
    },
    (a, g) => {
      // G. H. Golub and V. Pereyra 1973: dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P.
      const p = pseudoInverse(a, rtol);
      const [inner, outer] = [p.matmul(T(g)), T(g).matmul(p)];
      const along = inner.sub(inner.matmul(p).matmul(a)).sub(T(inner));
      const beyond = outer.sub(a.matmul(p.matmul(outer)));
      return [
        T(p)
          .matmul(along)
          .add(beyond.matmul(T(p))),
      ];
    },
  )(a);

/**
 * The X for which A X is nearest to B, and of those the smallest: `pinv(a)` times B. B has as many rows as A, or is a vector.
 *
 * @example
 * linalg.lstsq(tensor([[1], [1]]), tensor([1, 3])); // [2]
 */
export function lstsq<D extends DType>(a: Tensor<D>, b: Tensor<D>, options: PinvOptions = {}): Tensor<D> {
  checkCount("lstsq", arguments, 3);
  matrix("lstsq", a);
  checkFloat("lstsq", b);
  if (b.rank === 0 || b.shape[b.rank === 1 ? 0 : b.rank - 2] !== sides(a)[0] || b.dtype !== a.dtype)
    throw new ShapeError(`lstsq: a is ${a} and b ${b}; b has ${sides(a)[0]} rows, and the dtype of a.`);
  return pinv(a, options).matmul(b);
}

/** The sum of each matrix's diagonal. */
export function trace<D extends DType>(a: Tensor<D>): Tensor<D> {
  checkCount("trace", arguments, 1);
  return diagonal(matrix("trace", a)).sum(-1);
}

/** The eigenvalues of a symmetric matrix, rising, as `eigh`. */
export function eigvalsh<D extends DType>(a: Tensor<D>): Tensor<D> {
  checkCount("eigvalsh", arguments, 1);
  return eigh(square("eigvalsh", a)).w;
}

/** The singular values, falling, as `svd`. */
export function svdvals<D extends DType>(a: Tensor<D>): Tensor<D> {
  checkCount("svdvals", arguments, 1);
  return svd(matrix("svdvals", a)).s;
}

/**
 * A square matrix times itself, `n` times in all; of a negative `n`, the inverse is.
 *
 * @example
 * linalg.matrixPower(tensor([[1, 1], [0, 1]]), 3); // [[1, 3], [0, 1]]
 */
export function matrixPower<D extends DType>(a: Tensor<D>, n: number): Tensor<D> {
  checkCount("matrixPower", arguments, 2);
  checkArgument("matrixPower", "n", n, integer(-(2 ** 31), 2 ** 31 - 1));
  square("matrixPower", a);
  return like(
    computed(a, (a) => {
      let result: Tensor | undefined;
      let factor = n < 0 ? inv(a) : a;
      for (let left = Math.abs(n); left > 0; left = Math.floor(left / 2)) {
        if (left % 2 === 1) result = result ? result.matmul(factor) : factor;
        if (left > 1) factor = factor.matmul(factor);
      }
      return result ?? identity(sides(a)[0], a).expand(a.shape);
    }),
    a,
  );
}

/** How many singular values are above `rtol` times the largest, as `pinv` counts them: int32. */
export function matrixRank<D extends DType>(a: Tensor<D>, options: PinvOptions = {}): Tensor<"int32"> {
  checkCount("matrixRank", arguments, 2);
  const { rtol } = readOptions("matrixRank", pinvFields, options);
  matrix("matrixRank", a);
  if (isEmpty(a)) return zeros(batchOf(a), { dtype: "int32" });
  return computed(a.detach(), (a) => {
    const s = svd(a).s;
    return s
      .gt(leastOf(s, a, rtol))
      .astype("int32")
      .sum(-1);
  });
}

/** The cross product of vectors of three along the last axis, which broadcast over the others. */
export function cross<D extends DType>(a: Tensor<D>, b: Tensor<D>): Tensor<D> {
  checkCount("cross", arguments, 2);
  checkFloat("cross", a);
  checkFloat("cross", b);
  if (a.shape.at(-1) !== 3 || b.shape.at(-1) !== 3 || a.dtype !== b.dtype)
    throw new ShapeError(
      `cross: takes vectors of three along the last axis, of one dtype; given ${a} and ${b}.`,
    );
  return roll(a, -1, -1)
    .mul(roll(b, 1, -1))
    .sub(roll(a, 1, -1).mul(roll(b, -1, -1)));
}
