import {
  checkCount,
  type Fields,
  field,
  flag,
  integer,
  nonNegative,
  optional,
  readOptions,
} from "../base/arguments.ts";
import { ShapeError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import { checkFloat, lerp } from "../tensor/arithmetic.ts";
import { diagonal } from "../tensor/arrange.ts";
import { tensor } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import { bincount, searchsorted } from "../tensor/scans.ts";
import { centered, Tensor } from "../tensor/tensor.ts";

// What tells how numbers are spread; names and conventions are NumPy's.

export interface CovOptions {
  /** Subtracted from the count: 1 (default) for the unbiased estimate, 0 for the biased one. */
  readonly correction?: number;
}

/**
 * The covariances of variables, the rows of x `[..., variables, observations]`, with each other: `[..., variables, variables]`; of a
 * vector its variance. Floats.
 *
 * @example
 * cov(tensor([[1, 2, 3], [3, 2, 1]])); // [[1, -1], [-1, 1]]
 */
export function cov(x: Tensor, options: CovOptions = {}): Tensor {
  checkCount("cov", arguments, 2);
  const { correction } = readOptions("cov", { correction: nonNegative(1) }, options);
  const rows = rowsOf("cov", x);
  const near = centered(rows, -1);
  const products = near.matmul(near.transpose()).div(Math.max(rows.shape.at(-1)! - correction, 0));
  return x.rank === 1 ? products.reshape([]) : products;
}

/**
 * The correlations of variables, the rows of x `[..., variables, observations]`: covariances divided by both standard deviations, from
 * -1 to 1; NaN where a variable does not vary. Floats.
 *
 * @example
 * corrcoef(tensor([[1, 2, 3], [3, 2, 1]])); // [[1, -1], [-1, 1]]
 */
export function corrcoef(x: Tensor): Tensor {
  checkCount("corrcoef", arguments, 1);
  const products = cov(rowsOf("corrcoef", x));
  const deviation = diagonal(products).sqrt();
  const shares = products.div(deviation.unsqueeze(-1)).div(deviation.unsqueeze(-2)).clamp(-1, 1);
  return x.rank === 1 ? shares.reshape([]) : shares;
}

function rowsOf(operation: string, x: Tensor): Tensor {
  checkFloat(operation, x);
  if (x.rank === 0) throw new ShapeError(`${operation}: takes [..., variables, observations]; given ${x}.`);
  return x.rank === 1 ? x.unsqueeze(0) : x;
}

export interface HistogramOptions {
  /** How many bins of one width, or a rising vector of their edges. Default 10. */
  readonly bins?: number | Tensor;
  /** Where the first bin begins and the last one ends. Default from the least to the largest number. */
  readonly range?: readonly [number, number];
  /** Added in place of 1, one for each number. */
  readonly weights?: Tensor;
  /** Gives a density, whose integral is 1. Default false. */
  readonly density?: boolean;
}

export interface Histogram {
  /** For each bin: int32, or of the dtype of the weights or densities. */
  readonly hist: Tensor;
  /** One more than bins. */
  readonly binEdges: Tensor;
}

const isPair = (value: unknown): boolean =>
  Array.isArray(value) && value.length === 2 && value.every(Number.isFinite) && value[0] < value[1];

const histogramFields: Fields<HistogramOptions> = {
  bins: field(
    "an integer from 1 to 65536, or a vector of edges",
    (value) =>
      integer(1, 65536).valid(value) || (value instanceof Tensor && value.rank === 1 && value.size > 1),
    10,
  ),
  range: optional(field("a pair of finite numbers that rises", isPair)),
  weights: optional(field("a tensor of the shape of x", (value) => value instanceof Tensor)),
  density: flag,
};

/**
 * How many numbers of x are in each bin. A bin has its lower edge, the last one both; what is outside or NaN is not counted. Weights
 * and edges have gradients. Floats.
 *
 * @throws ShapeError for weights of another shape.
 * @example
 * const { hist, binEdges } = histogram(tensor([1, 2, 2, 4]), { bins: 3 }); // [1, 2, 1] and [1, 2, 3, 4]
 */
export function histogram(x: Tensor, options: HistogramOptions = {}): Histogram {
  checkCount("histogram", arguments, 2);
  checkFloat("histogram", x);
  const { bins = 10, range, weights, density } = readOptions("histogram", histogramFields, options);
  if (weights && !sameShape(weights.shape, x.shape))
    throw new ShapeError(`histogram: weights are ${weights}; they have the shape of x, ${x}.`);
  const flat = x.reshape([-1]);
  const binEdges = typeof bins === "number" ? evenEdges(flat, bins, range) : bins;
  const length = binEdges.size - 1;
  const last = binEdges.at(-1).get();
  const place = searchsorted(binEdges, flat, { side: "right" }).sub(1);
  const bin = where(flat.eq(last), length - 1, place);
  const hist = weights
    ? bincount(bin, { length, weights: weights.reshape([-1]) })
    : bincount(bin, { length });
  if (!density) return { hist, binEdges };
  const counts = hist.astype(x.dtype as "float32") as Tensor; // a float
  const widths = binEdges.slice([1]).sub(binEdges.slice([0], [-1]));
  return { hist: counts.div(counts.sum()).div(widths), binEdges };
}

/** Edges of bins of one width, between numbers that the host knows or the least and largest of x; around these if they are one. */
function evenEdges(x: Tensor, bins: number, range: readonly [number, number] | undefined): Tensor {
  const shares = Float64Array.from({ length: bins + 1 }, (_, i) => i / bins);
  const dtype = x.dtype as "float32"; // a float
  const [from, to] = range ?? [0, 1];
  if (range || x.size === 0)
    return tensor(
      shares.map((share) => from * (1 - share) + to * share),
      { dtype },
    );
  const [least, most] = [x.amin(), x.amax()];
  const room = where(least.eq(most), 0.5, 0);
  return lerp(least.sub(room), most.add(room), tensor(shares, { dtype }) as Tensor);
}
