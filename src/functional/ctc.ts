import { type Fields, flag, integer, readOptions } from "../base/arguments.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import { asIndices, checkTensor } from "../nn/check.ts";
import { type LossOptions, lossFields, reduceAll } from "../nn/losses.ts";
import { logaddexp } from "../tensor/arithmetic.ts";
import { arange, full } from "../tensor/creation.ts";
import { cat, stack, where } from "../tensor/functions.ts";
import { scan } from "../tensor/scan.ts";
import type { Tensor } from "../tensor/tensor.ts";

export interface CtcOptions extends LossOptions {
  /** The class of no label. Default 0. */
  readonly blank?: number;
  /** Makes a loss of infinity, of what cannot be aligned, 0. Default false. */
  readonly zeroInfinity?: boolean;
}

const fields: Fields<Required<CtcOptions>> = {
  ...lossFields,
  blank: integer(0, Infinity, 0),
  zeroInfinity: flag,
};

/** The logarithm of nothing: finite, so that differences of two are no NaN. */
const nothing = -1e30;

/**
 * The negative log-probability of label sequences under all their alignments with an input (connectionist temporal classification,
 * Graves et al. 2006), by a `scan` over time. `logProbabilities` is `[time, batch, classes]` in float32 or float64, `targets` int32
 * `[batch, labels]`, of which the first `targetLengths` count; `inputLengths` and `targetLengths` are int32 `[batch]`. "mean" divides
 * each loss by its target length, as in PyTorch.
 *
 * Deviation: the gradient is that by log-probabilities, minus how probable each class is at each time; PyTorch's has what
 * `logSoftmax` adds in it already. With `logSoftmax` before it both are the same.
 *
 * @throws ShapeError if the shapes do not fit; DTypeError for other dtypes.
 * @example
 * const lengths = (n: number) => tensor([n], { dtype: "int32" });
 * ctcLoss(zeros([4, 1, 3]).logSoftmax(-1), tensor([[1, 2]], { dtype: "int32" }), lengths(4), lengths(2));
 */
export function ctcLoss(
  logProbabilities: Tensor,
  targets: Tensor,
  inputLengths: Tensor,
  targetLengths: Tensor,
  options: CtcOptions = {},
): Tensor {
  const { reduction, blank, zeroInfinity } = readOptions("ctcLoss", fields, options);
  checkTensor("ctcLoss", "the log-probabilities", logProbabilities);
  const { dtype, shape } = logProbabilities;
  if (dtype !== "float32" && dtype !== "float64")
    throw new DTypeError(
      `ctcLoss: the log-probabilities are ${logProbabilities}; expected float32 or float64.`,
    );
  const labels = asIndices("ctcLoss", "the targets", targets);
  const ends = asIndices("ctcLoss", "the target lengths", targetLengths);
  const times = asIndices("ctcLoss", "the input lengths", inputLengths);
  const [time, batch, classes] = shape as readonly [number, number, number];
  if (shape.length !== 3 || time === 0 || labels.rank !== 2 || labels.shape[0] !== batch)
    throw new ShapeError(
      `ctcLoss: the log-probabilities are ${logProbabilities}, the targets ${targets}; expected [time, batch, classes] and [batch, labels].`,
    );
  for (const [what, lengths] of [
    ["input", times],
    ["target", ends],
  ] as const)
    if (!sameShape(lengths.shape, [batch]))
      throw new ShapeError(`ctcLoss: the ${what} lengths are ${lengths}; expected int32[${batch}].`);
  if (blank >= classes) throw new ShapeError(`ctcLoss: the blank ${blank} is none of ${classes} classes.`);

  // Labels with a blank on both sides of each.
  const most = labels.shape[1]!;
  const blanks = full([batch, most + 1], blank, { dtype: "int32" });
  const pairs = stack([blanks.slice([0, 0], [batch, most]), labels], -1).reshape([batch, 2 * most]);
  const path = cat([pairs, blanks.slice([0, most])], 1);
  const before = <D extends Tensor>(x: D, steps: number, none: number) =>
    x
      .pad(
        [
          [0, 0],
          [steps, 0],
        ],
        none,
      )
      .slice([0, 0], [batch, 2 * most + 1]) as D;
  // A label may follow the one before without a blank if they differ.
  const follows = path.ne(blank).bitwiseAnd(path.ne(before(path, 2, blank)));
  const scores = logProbabilities.gather(2, path.unsqueeze(0).expand([time, ...path.shape]));
  const start = where(arange(2 * most + 1).lt(2), scores.at(0).get(), nothing);
  const step = (sum: Tensor, { score, at }: { readonly score: Tensor; readonly at: Tensor<"int32"> }) => {
    const near = logaddexp(sum, before(sum, 1, nothing));
    const next = logaddexp(near, where(follows, before(sum, 2, nothing), nothing)).add(score);
    return [where(at.lt(times).unsqueeze(1), next, sum), null] as const;
  };
  const [last] = scan(step, start, { score: scores.slice([1]), at: arange(time - 1, { start: 1 }) });
  const pick = (index: Tensor<"int32">) => last.gather(1, index.unsqueeze(1)).squeeze(1);
  const end = ends.mul(2);
  const label = where(ends.gt(0), pick(end.sub(1).maximum(0)), nothing);
  const loss = logaddexp(pick(end), label).neg();
  const finite = loss.lt(-nothing / 2);
  const losses = where(finite, loss, zeroInfinity ? 0 : Number.POSITIVE_INFINITY);
  if (reduction !== "mean") return reduceAll(losses, reduction);
  return losses.div(ends.maximum(1).astype(dtype) as Tensor).mean();
}
