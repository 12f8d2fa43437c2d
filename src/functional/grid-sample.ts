import { type Fields, flag, oneOf, readOptions } from "../base/arguments.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
import { checkIntegers, numel, sameShape } from "../base/shape.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { meshgrid } from "../tensor/arrange.ts";
import { onesLike, tensor } from "../tensor/creation.ts";
import { stack, where } from "../tensor/functions.ts";
import { inDType, wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { hardtanh } from "./nonlinearities.ts";
import { polynomial } from "./special.ts";

// Images seen through a grid of places (M. Jaderberg et al. 2015, arXiv:1506.02025), with PyTorch's names and values. Places are
// (x, y) or (x, y, z), from -1 to 1: the last axis of the image comes first.

export interface AlignCorners {
  /** Whether -1 and 1 are the centres of the first and last elements, or their outer edges. Default false. */
  readonly alignCorners?: boolean;
}

export interface GridSampleOptions extends AlignCorners {
  /** Between neighbours ("bilinear", of three axes too), the nearest, or by Keys' cubic (a = -0.75). Default "bilinear". */
  readonly mode?: "bilinear" | "nearest" | "bicubic";
  /** What lies outside: 0, the element at the border, or the image in a mirror. Default "zeros". */
  readonly paddingMode?: "zeros" | "border" | "reflection";
}

const fields: Fields<Required<GridSampleOptions>> = {
  mode: oneOf(["bilinear", "nearest", "bicubic"] as const, "bilinear"),
  paddingMode: oneOf(["zeros", "border", "reflection"] as const, "zeros"),
  alignCorners: flag,
};

/** An element that a place is made of, along one axis. */
interface Tap {
  readonly at: Tensor;
  readonly weight?: Tensor;
}

/** The same of all axes. */
interface Picked {
  readonly index: Tensor<"int32">;
  readonly weight: Tensor | undefined;
  readonly outside: Tensor<"bool">;
}

/**
 * The image `[batch, channels, ...lengths]`, of two or three lengths, at the places of a grid `[batch, ...others, 2 or 3]`:
 * `[batch, channels, ...others]`. Both have gradients, the nearest of the image alone. Floats of one dtype.
 *
 * @throws ShapeError if the grid does not fit, or the image has no elements; DTypeError if dtypes differ.
 * @example
 * const grid = affineGrid(tensor([[[0, -1, 0], [1, 0, 0]]]), [1, 1, 2, 2]);
 * gridSample(tensor([[[[1, 2], [3, 4]]]]), grid); // turned by 90 degrees: [[[[2, 4], [1, 3]]]]
 */
export function gridSample(x: Tensor, grid: Tensor, options: GridSampleOptions = {}): Tensor {
  const { mode, paddingMode, alignCorners } = readOptions("gridSample", fields, options);
  checkFloat("gridSample", x);
  checkFloat("gridSample", grid);
  if (x.dtype !== grid.dtype)
    throw new DTypeError(`gridSample: dtypes differ: ${x} and ${grid}. Cast with .astype(...).`);
  const axes = x.rank - 2;
  if (
    (axes !== 2 && axes !== 3) ||
    grid.rank !== x.rank ||
    grid.shape[0] !== x.shape[0] ||
    grid.shape.at(-1) !== axes
  )
    throw new ShapeError(
      `gridSample: the image is ${x}, the grid ${grid}; expected [batch, channels, h, w] and [batch, h', w', 2], or three lengths and 3.`,
    );
  const [batch, channels, ...lengths] = x.shape as [number, number, ...number[]];
  if (lengths.includes(0)) throw new ShapeError(`gridSample: the image ${x} is empty.`);
  const others = grid.shape.slice(1, -1);
  const places = grid.reshape([batch, numel(others), axes]);
  const taps = lengths.map((length, axis) => {
    const last = axes - 1 - axis;
    const from = places
      .slice([0, 0, last], [null, null, last + 1])
      .reshape([batch, 1, numel(others)])
      .add(1);
    const at = alignCorners ? from.mul((length - 1) / 2) : from.mul(length / 2).sub(0.5);
    const inside = (at: Tensor) => brought(at, length, paddingMode, alignCorners);
    return mode === "bicubic"
      ? cubic(at, inside)
      : mode === "nearest"
        ? [{ at: inside(at).round() }]
        : line(inside(at));
  });
  const flat = x.reshape([batch, channels, numel(lengths)]);
  const seen = taps
    .map((along, axis) => along.map((tap) => measured(tap, lengths, axis)))
    .reduce((before, along) => before.flatMap((tap) => along.map((next) => joined(tap, next))))
    .map(({ index, weight, outside }) => {
      const picked = flat.gather(2, index.expand([batch, channels, numel(others)]));
      return where(outside, 0, weight ? picked.mul(weight) : picked);
    });
  return seen.reduce((sum, term) => sum.add(term)).reshape([batch, channels, ...others]);
}

/** Places brought inside along an axis of some length; those of "zeros" stay. Nothing that is brought has a gradient. */
function brought(at: Tensor, length: number, padding: string, alignCorners: boolean): Tensor {
  if (padding === "zeros") return at;
  if (padding === "border") return hardtanh(at, 0, length - 1);
  const [low, span] = alignCorners ? [0, length - 1] : [-0.5, length];
  if (span === 0) return at.mul(0);
  const signed = at.sub(low);
  const size = where(signed.lt(0), signed.neg(), signed);
  const turns = size.div(span).floor();
  const rest = size.sub(turns.mul(span));
  const back = turns.mul(0.5).floor().mul(2).ne(turns);
  return hardtanh(where(back, rest.neg().add(span), rest).add(low), 0, length - 1);
}

/** The two neighbours of a place, with what lies nearer counting more. */
function line(at: Tensor): Tap[] {
  const below = at.floor();
  const part = at.sub(below);
  return [
    { at: below, weight: part.neg().add(1) },
    { at: below.add(1), weight: part },
  ];
}

/** Two neighbours on each side, brought inside one by one. */
function cubic(at: Tensor, inside: (at: Tensor) => Tensor): Tap[] {
  const below = at.floor();
  const part = at.sub(below);
  const a = -0.75;
  return [-1, 0, 1, 2].map((i) => {
    const d = i < 1 ? part.sub(i) : part.neg().add(i);
    const near = i === 0 || i === 1;
    const weight = polynomial(d, near ? [1, 0, -(a + 3), a + 2] : [-4 * a, 8 * a, -5 * a, a]);
    return { at: inside(below.add(i)), weight };
  });
}

/** A tap in the flattened image. */
function measured({ at, weight }: Tap, lengths: readonly number[], axis: number): Picked {
  const last = lengths[axis]! - 1;
  const index = at
    .detach()
    .clamp(0, last)
    .astype("int32")
    .mul(numel(lengths.slice(axis + 1)));
  return { index, weight, outside: at.lt(0).bitwiseOr(at.gt(last)) };
}

const joined = (x: Picked, y: Picked): Picked => ({
  index: x.index.add(y.index),
  weight: x.weight && y.weight && x.weight.mul(y.weight),
  outside: x.outside.bitwiseOr(y.outside),
});

/**
 * The grid `[batch, ...lengths, 2 or 3]` of places that the affine maps `theta`, `[batch, 2, 3]` or `[batch, 3, 4]`, make of those of
 * an image of shape `size`, `[batch, channels, ...lengths]`, for `gridSample`. Floats.
 *
 * @throws ShapeError if theta and the size do not belong together.
 * @example
 * affineGrid(tensor([[[1, 0, 0.5], [0, 1, 0]]]), [1, 1, 1, 2]); // [[[[0, 0], [1, 0]]]]
 */
export function affineGrid(theta: Tensor, size: readonly number[], options: AlignCorners = {}): Tensor {
  const { alignCorners } = readOptions("affineGrid", { alignCorners: flag }, options);
  checkFloat("affineGrid", theta);
  checkIntegers("affineGrid", "the size", size, { least: 0 });
  const [batch, , ...lengths] = size as [number, number, ...number[]];
  const axes = lengths.length;
  if ((axes !== 2 && axes !== 3) || !sameShape(theta.shape, [batch, axes, axes + 1]))
    throw new ShapeError(
      `affineGrid: theta is ${theta}, the size [${size.join(",")}]; expected [batch, 2, 3] and [batch, channels, h, w], or 3, 4 and three lengths.`,
    );
  const wider = wide(theta);
  const vectors = lengths.map((length) => {
    const step = alignCorners ? 2 / Math.max(length - 1, 1) : 2 / length;
    const values = Float64Array.from({ length }, (_, i) => (i - (length - 1) / 2) * step);
    return tensor(values, { dtype: wider.dtype as "float32" }) as Tensor; // a float
  });
  const places = meshgrid(vectors).toReversed();
  const points = stack([...places, onesLike(places[0]!)], -1).reshape([numel(lengths), axes + 1]);
  const grid = points.matmul(wider.transpose()).reshape([batch, ...lengths, axes]);
  return inDType(grid, theta);
}
