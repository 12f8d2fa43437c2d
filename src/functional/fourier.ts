import { checkCount, type Fields, field, integer, oneOf, optional, readOptions } from "../base/arguments.ts";
import { ShapeError } from "../base/errors.ts";
import { normalizeAxis, numel } from "../base/shape.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { moveaxis } from "../tensor/arrange.ts";
import { tensor } from "../tensor/creation.ts";
import { cat } from "../tensor/functions.ts";
import { inDType, wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Discrete Fourier transforms. A complex number is a pair, [real, imaginary], along a last axis of length 2, as
// torch.view_as_real has it; axes in options do not count it. A transform of length a b is products of matrices, for transforms
// of a and of b, with a rotation of each element between them (J. W. Cooley and J. W. Tukey 1965).

export interface FftOptions {
  /** The axes that are transformed; of real ones the last in the list. Default -1, the last. */
  readonly axes?: number | readonly number[];
  /** Where it is divided by the count: in the inverse ("backward"), forward, or by the root of it in both ("ortho"). Default "backward". */
  readonly norm?: "backward" | "ortho" | "forward";
}

export interface IrfftOptions extends FftOptions {
  /** How long the last axis becomes: 2 (length - 1) by default, or one more. */
  readonly n?: number;
}

const fields: Fields<Required<FftOptions>> = {
  axes: field<number | readonly number[]>(
    "an axis or a list of axes",
    (axes) => [axes].flat().every(Number.isInteger),
    -1,
  ),
  norm: oneOf(["backward", "ortho", "forward"] as const, "backward"),
};

/**
 * The sums of z_t exp(-2 pi i t k / n) of pairs, for each k. Floats.
 *
 * @throws ShapeError if the last axis is no pair, or an axis has no places.
 * @example
 * fft(tensor([[1, 0], [0, 0], [0, 0], [0, 0]])); // [[1, 0], [1, 0], [1, 0], [1, 0]]
 */
export function fft(z: Tensor, options: FftOptions = {}): Tensor {
  checkCount("fft", arguments, 2);
  return transformed("fft", pairs("fft", z), options, -1);
}

/** The inverse of `fft`. */
export function ifft(z: Tensor, options: FftOptions = {}): Tensor {
  checkCount("ifft", arguments, 2);
  return transformed("ifft", pairs("ifft", z), options, 1);
}

/**
 * `fft` of real numbers, of which half is enough: of n places along the last axis floor(n / 2) + 1 pairs. Floats.
 *
 * @example
 * rfft(tensor([1, 2, 3, 4])); // [[10, 0], [-2, 2], [-2, 0]]
 */
export function rfft(x: Tensor, options: FftOptions = {}): Tensor {
  checkCount("rfft", arguments, 2);
  checkFloat("rfft", x);
  return transformed("rfft", x.unsqueeze(-1), options, -1);
}

/** The inverse of `rfft`: real numbers, what else the pairs would give being left out. */
export function irfft(z: Tensor, options: IrfftOptions = {}): Tensor {
  checkCount("irfft", arguments, 2);
  const { n, ...given } = readOptions("irfft", { ...fields, n: optional(integer(1)) }, options);
  pairs("irfft", z);
  const axes = [given.axes].flat().map((axis) => normalizeAxis("irfft", axis, z.rank - 1));
  const last = axes.at(-1)!;
  const half = z.shape[last]!;
  const length = n ?? 2 * (half - 1);
  if (Math.floor(length / 2) + 1 !== half)
    throw new ShapeError(
      `irfft: axis ${last} of ${z} has ${half} pairs; ${length} places have ${Math.floor(length / 2) + 1}.`,
    );
  const others = axes.slice(0, -1);
  const inner = others.length > 0 ? ifft(z, { ...given, axes: others }) : z;
  // Above half are the conjugates of what is below.
  const along = (from: number, to: number) =>
    inner.shape.map((_, axis) => (axis === last ? [from, to] : [null, null]));
  const bounds = along(1, length - half + 1);
  const mirrored = inner
    .slice(
      bounds.map(([from]) => from!),
      bounds.map(([, to]) => to!),
    )
    .flip(last);
  const whole = cat([inner, mirrored.mul(tensor([1, -1], { dtype: z.dtype as "float32" }) as Tensor)], last);
  return ifft(whole, { ...given, axes: last })
    .split(2, -1)[0]!
    .squeeze(-1);
}

/**
 * The products of complex numbers, pairs along the last axis. Shapes broadcast.
 *
 * @example
 * complexMul(tensor([0, 1]), tensor([0, 1])); // [-1, 0]
 */
export function complexMul(z: Tensor, w: Tensor): Tensor {
  checkCount("complexMul", arguments, 2);
  const [real, imaginary] = pairs("complexMul", w).split(2, -1) as [Tensor, Tensor];
  return pairs("complexMul", z)
    .mul(real)
    .add(z.flip(-1).mul(cat([imaginary.neg(), imaginary], -1)));
}

function pairs(operation: string, z: Tensor): Tensor {
  checkFloat(operation, z);
  if (z.shape.at(-1) !== 2)
    throw new ShapeError(`${operation}: takes pairs along the last axis, [..., 2]; given ${z}.`);
  return z;
}

/** A sign, of the exponents. */
type Sign = 1 | -1;

function transformed(operation: string, x: Tensor, options: FftOptions, sign: Sign): Tensor {
  const { axes, norm } = readOptions(operation, fields, options);
  const list = [axes].flat().map((axis) => normalizeAxis(operation, axis, x.rank - 1));
  if (list.length === 0 || new Set(list).size < list.length)
    throw new ShapeError(`${operation}: axes are [${list.join(", ")}]; name each once, and one at least.`);
  const real = x.shape.at(-1) === 1;
  const y = list.reduceRight((y, axis, i) => {
    const rows = moveaxis(y, axis, -2);
    const [n, parts] = rows.shape.slice(-2) as [number, number];
    if (n === 0) throw new ShapeError(`${operation}: axis ${axis} of ${x} has no places.`);
    const all = dft(rows.reshape([numel(rows.shape) / (n * parts), n, parts]), sign).reshape([
      ...rows.shape.slice(0, -1),
      2,
    ]);
    const half =
      real && i === list.length - 1
        ? all.slice([], [...rows.shape.slice(0, -2).map(() => null), Math.floor(n / 2) + 1])
        : all;
    return moveaxis(half, -2, axis);
  }, wide(x));
  const count = list.reduce((count, axis) => count * x.shape[axis]!, 1);
  const divided = norm === "ortho" ? 0.5 : (norm === "backward") === sign > 0 ? 1 : 0;
  return inDType(divided === 0 ? y : y.mul(count ** -divided), x);
}

/** The longest transforms that are one product of matrices, where the length has factors and where it has none. */
const [direct, directPrime] = [64, 256];

/** Transforms of rows `[rows, n, 1 or 2]` of real numbers or pairs: `[rows, n, 2]`. */
function dft(x: Tensor, sign: Sign): Tensor {
  const [rows, n, parts] = x.shape as unknown as readonly [number, number, number];
  const a = n > direct ? factorOf(n) : 1;
  if (a === 1 && n > directPrime)
    return chirped(
      parts === 2
        ? x
        : x.pad([
            [0, 0],
            [0, 0],
            [0, 1],
          ]),
      sign,
    );
  if (a === 1) {
    // A pair's imaginary part is a quarter of a turn ahead.
    const matrix = rotations(x, n * parts, n, (row, k) => {
      const t = Math.floor(row / parts);
      return (sign * ((t * k) % n)) / n + (row % parts) / 4;
    });
    return x
      .reshape([rows, n * parts])
      .matmul(matrix.reshape([n * parts, n * 2]))
      .reshape([rows, n, 2]);
  }
  // Place t b + s of the input, k + a l of the result.
  const b = n / a;
  const turn = (y: Tensor) => y.permute([0, 2, 1, 3]);
  const first = dft(turn(x.reshape([rows, a, b, parts])).reshape([rows * b, a, parts]), sign).reshape([
    rows,
    b,
    a,
    2,
  ]);
  const rotated = complexMul(
    first,
    rotations(x, b, a, (s, k) => (sign * s * k) / n),
  );
  const second = dft(turn(rotated).reshape([rows * a, b, 2]), sign).reshape([rows, a, b, 2]);
  return turn(second).reshape([rows, n, 2]);
}

/** As a convolution with exp(i pi t^2 / n), by transforms of a power of two (L. I. Bluestein 1970). */
function chirped(x: Tensor, sign: Sign): Tensor {
  const n = x.shape[1]!;
  const m = 2 ** Math.ceil(Math.log2(2 * n - 1));
  const chirp = (sign: Sign) => rotations(x, 1, n, (_, t) => (sign * ((t * t) % (2 * n))) / (2 * n));
  const filled = (z: Tensor) =>
    z.pad([
      [0, 0],
      [0, m - z.shape[1]!],
      [0, 0],
    ]);
  const back = chirp(-sign as Sign);
  const filter = filled(back).add(filled(back.slice([0, 1])).flip(1));
  const sums = dft(complexMul(dft(filled(complexMul(x, chirp(sign))), -1), dft(filter, -1)), 1);
  return complexMul(sums.slice([], [null, n]), chirp(sign)).div(m);
}

/** exp(2 pi i turns) as pairs, of the dtype of x. */
function rotations(
  x: Tensor,
  rows: number,
  columns: number,
  turns: (row: number, column: number) => number,
): Tensor {
  const values = new Float64Array(rows * columns * 2);
  for (let i = 0; i < values.length; i += 2) {
    const angle = 2 * Math.PI * turns(Math.floor(i / 2 / columns), (i / 2) % columns);
    values[i] = Math.cos(angle);
    values[i + 1] = Math.sin(angle);
  }
  return tensor(values, { shape: [rows, columns, 2], dtype: x.dtype as "float32" }); // a float
}

/** The largest divisor of n that is not above its root. */
function factorOf(n: number): number {
  let a = Math.floor(Math.sqrt(n));
  while (n % a !== 0) a--;
  return a;
}
