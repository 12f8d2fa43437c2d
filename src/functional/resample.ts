import { checkArgument, type Fields, field, flag, oneOf, optional, readOptions } from "../base/arguments.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { checkShape } from "../base/shape.ts";
import { checkTensor, size } from "../nn/check.ts";
import { each, type PerAxis, perAxis } from "../nn/conv.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { tensor } from "../tensor/creation.ts";
import { customVjp } from "../tensor/custom-vjp.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Other lengths of axes: each place of the result is a sum of a few places of the input with weights that the host knows. Inputs
// are [batch, channels, ...lengths].

/** What a place is made of: places of the input, and their weights. */
export type Row = readonly (readonly [from: number, weight: number])[];

/**
 * Sums along an axis, one for each row, of which the input has `length` places. The gradient is a sum of the same kind, by the
 * transposed rows, so that nothing is scattered.
 */
export function mixed(x: Tensor, axis: number, rows: readonly Row[]): Tensor {
  const back: [number, number][][] = Array.from({ length: x.shape[axis]! }, () => []);
  rows.forEach((row, to) => {
    for (const [from, weight] of row) back[from]!.push([to, weight]);
  });
  return customVjp(
    (x: Tensor) => [summed(x, axis, rows), null],
    (_, g) => [summed(g, axis, back)],
  )(x);
}

function summed(x: Tensor, axis: number, rows: readonly Row[]): Tensor {
  const shape = x.shape.map((_, i) => (i === axis ? rows.length : 1));
  const most = Math.max(...rows.map((row) => row.length));
  const terms = Array.from({ length: most }, (_, k) => {
    const from = Int32Array.from(rows, (row) => (row[k] ?? row[0])?.[0] ?? 0);
    const weights = Float64Array.from(rows, (row) => row[k]?.[1] ?? 0);
    const picked = x.indexSelect(axis, tensor(from));
    if (weights.every((weight) => weight === 1)) return picked;
    const factor = tensor(weights, { dtype: x.dtype as "float32" }).reshape(shape) as Tensor; // a float
    // Where a row is shorter nothing is added, not even 0 times infinity.
    return weights.includes(0) ? where(factor.eq(0), 0, picked.mul(factor)) : picked.mul(factor);
  });
  return terms.reduce((sum, term) => sum.add(term));
}

export interface InterpolateOptions {
  /** Lengths of the result: a number for all axes, or one for each. */
  readonly size?: PerAxis;
  /** How many times as long each axis becomes, in place of `size`. */
  readonly scaleFactor?: number | readonly number[];
  /** Default "nearest". "linear" is of one axis, "bilinear" and "bicubic" of two, "trilinear" of three, the others of all. */
  readonly mode?: "nearest" | "nearest-exact" | "linear" | "bilinear" | "trilinear" | "bicubic" | "area";
  /** Whether the first and last places are corners that stay, or cells from edge to edge. Default false. */
  readonly alignCorners?: boolean;
}

const modes = ["nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area"] as const;
const axesOf = { linear: 1, bilinear: 2, bicubic: 2, trilinear: 3 } as const;
const fields: Fields<InterpolateOptions> = {
  size: optional(perAxis(1, 1)),
  scaleFactor: optional(
    field("a finite number > 0, or a list with one for each axis", (value) =>
      [value].flat().every((factor) => Number.isFinite(factor) && (factor as number) > 0),
    ),
  ),
  mode: oneOf(modes, "nearest"),
  alignCorners: optional(flag),
};

/**
 * The input at other lengths of the axes behind `[batch, channels]`, as `torch.nn.functional.interpolate`, without its antialias:
 * the nearest place, a line or the cubic of Keys (1981, a = -0.75) between places axis by axis, or means ("area").
 *
 * @throws ShapeError if the mode is of other axes; ValueError unless either `size` or `scaleFactor` is given, and for `alignCorners`
 * with a mode that has none; DTypeError for integers, but for the nearest.
 * @example
 * interpolate(tensor([[[0, 1]]]), { size: 4, mode: "linear" }); // [[[0, 0.25, 0.75, 1]]]
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  const given = readOptions("interpolate", fields, options);
  const { size, scaleFactor, mode = "nearest", alignCorners } = given;
  const axes = checkTensor("interpolate", "the input", x).rank - 2;
  const right = axesOf[mode as keyof typeof axesOf];
  if (axes < 1 || (right ?? axes) !== axes)
    throw new ShapeError(
      `interpolate: the input is ${x}; expected [batch, channels, ...] with ${right ?? "one or more"} axes behind them for "${mode}".`,
    );
  if (x.size === 0) throw new ShapeError(`interpolate: the input ${x} is empty.`);
  if ((size === undefined) === (scaleFactor === undefined))
    throw new ValueError("interpolate: give either size or scaleFactor.");
  if (alignCorners !== undefined && right === undefined)
    throw new ValueError(`interpolate: alignCorners is of lines and cubics; the mode is "${mode}".`);
  const nearest = mode === "nearest" || mode === "nearest-exact";
  if (!nearest) checkFloat("interpolate", x);
  const factors =
    scaleFactor === undefined ? undefined : each("interpolate", "scaleFactor", scaleFactor, axes);
  const lengths = size
    ? each("interpolate", "size", size, axes)
    : factors!.map((factor, i) => Math.floor(x.shape[i + 2]! * factor));
  return lengths.reduce((y, to, i) => {
    const from = x.shape[i + 2]!;
    if (to < 1) throw new ShapeError(`interpolate: axis ${i + 2} of ${x} becomes ${to} long.`);
    checkShape("interpolate", y.shape.with(i + 2, to));
    if (nearest) {
      const scale = Math.fround(factors ? 1 / factors[i]! : from / to);
      const shift = mode === "nearest" ? 0 : 0.5;
      // In float32, as PyTorch: of two places that are as near it takes the one that rounding says.
      const at = (o: number) => Math.min(Math.floor(Math.fround((o + shift) * scale)), from - 1);
      const rows = Array.from({ length: to }, (_, o): Row => [[at(o), 1]]);
      return mixed(y, i + 2, rows);
    }
    if (mode === "area") return mixed(y, i + 2, meanRows(from, to));
    const scale = alignCorners ? (from - 1) / Math.max(to - 1, 1) : factors ? 1 / factors[i]! : from / to;
    const at = (o: number) => (alignCorners ? o * scale : (o + 0.5) * scale - 0.5);
    const row = mode === "bicubic" ? cubic : line;
    const rows = Array.from({ length: to }, (_, o) => row(at(o), from - 1));
    return mixed(y, i + 2, rows);
  }, x);
}

/** Between two neighbours. */
function line(at: number, last: number): Row {
  const place = Math.max(at, 0);
  const below = Math.min(Math.floor(place), last);
  const part = place - below;
  return part === 0 || below === last
    ? [[below, 1]]
    : [
        [below, 1 - part],
        [below + 1, part],
      ];
}

/** Between two neighbours on each side, of which those at the ends stand for what is beyond. */
function cubic(at: number, last: number): Row {
  const a = -0.75;
  const below = Math.floor(at);
  return [-1, 0, 1, 2].map((i) => {
    const d = Math.abs(at - below - i);
    const weight = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    return [Math.min(Math.max(below + i, 0), last), weight];
  });
}

/** Places from floor(o from / to) to below ceil((o + 1) from / to), as PyTorch's adaptive pooling takes them. */
export function windowAt(o: number, from: number, to: number): number[] {
  const start = Math.floor((o * from) / to);
  return Array.from({ length: Math.ceil(((o + 1) * from) / to) - start }, (_, i) => start + i);
}

/** Means of such windows. */
export const meanRows = (from: number, to: number): Row[] =>
  Array.from({ length: to }, (_, o) => {
    const window = windowAt(o, from, to);
    return window.map((place) => [place, 1 / window.length]);
  });

/**
 * Channels as pixels: x `[..., channels r r, height, width]` becomes `[..., channels, height r, width r]` (Shi et al. 2016,
 * arXiv:1609.05158).
 *
 * @throws ShapeError if the channels do not divide by r r.
 * @example
 * pixelShuffle(ones([1, 8, 3, 3]), 2).shape; // [1, 2, 6, 6]
 */
export function pixelShuffle(x: Tensor, r: number): Tensor {
  const [before, channels, height, width] = image("pixelShuffle", x, r);
  if (channels % (r * r) !== 0)
    throw new ShapeError(`pixelShuffle: the ${channels} channels of ${x} do not divide by ${r} x ${r}.`);
  return x
    .reshape([-1, channels / (r * r), r, r, height, width])
    .permute([0, 1, 4, 2, 5, 3])
    .reshape([...before, channels / (r * r), height * r, width * r]);
}

/** The inverse of `pixelShuffle`. @throws ShapeError if height and width do not divide by r. */
export function pixelUnshuffle(x: Tensor, r: number): Tensor {
  const [before, channels, height, width] = image("pixelUnshuffle", x, r);
  if (height % r !== 0 || width % r !== 0)
    throw new ShapeError(`pixelUnshuffle: height and width of ${x} do not divide by ${r}.`);
  return x
    .reshape([-1, channels, height / r, r, width / r, r])
    .permute([0, 1, 3, 5, 2, 4])
    .reshape([...before, channels * r * r, height / r, width / r]);
}

function image(operation: string, x: Tensor, r: number): [readonly number[], number, number, number] {
  checkArgument(operation, "r", r, size);
  if (checkTensor(operation, "the input", x).rank < 3)
    throw new ShapeError(`${operation}: the input is ${x}; expected [..., channels, height, width].`);
  const [channels, height, width] = x.shape.slice(-3) as [number, number, number];
  return [x.shape.slice(0, -3), channels, height, width];
}
