import {
  type Fields,
  field,
  flag,
  integer,
  nonNegative,
  oneOf,
  optional,
  positive,
  readOptions,
} from "../base/arguments.ts";
import { integerRange, isFloat } from "../base/dtype.ts";
import { ShapeError, ValueError } from "../base/errors.ts";
import { describe, sameShape } from "../base/shape.ts";
import { gather } from "../graph/reduce.ts";
import { scalar } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import { counted } from "../tensor/indices.ts";
import { type FloatTensor, Tensor } from "../tensor/tensor.ts";
import { asIndices, checkTensor, optionalTensor } from "./check.ts";

// PyTorch's losses and conventions. Inputs and targets are floats of one dtype; results are scalars, or for
// reduction "none" one loss per element.

/** What becomes of the losses: their mean (the default), their sum, or nothing. */
export type Reduction = "mean" | "sum" | "none";

export interface LossOptions {
  readonly reduction?: Reduction;
}

/** @internal */
export const lossFields: Fields<Required<LossOptions>> = {
  reduction: oneOf(["mean", "sum", "none"], "mean"),
};

/** Of no class, and ignored by default. */
const noIndex = -100;

export interface NllOptions extends LossOptions {
  /** Targets of this class count neither in the loss nor in the mean. Default -100. */
  readonly ignoreIndex?: number;
  /** A factor for each class, `[classes]`; the mean is then over the factors of the targets. Default none. */
  readonly weight?: Tensor;
}

/** @internal */
export const countFields: Fields<Required<Omit<NllOptions, "weight">>> = {
  ...lossFields,
  ignoreIndex: integer(...integerRange.int32, noIndex),
};

const nllFields: Fields<NllOptions> = { ...countFields, weight: optionalTensor };

export interface CrossEntropyOptions extends NllOptions {
  /** Share of the target spread evenly over all classes (Szegedy et al. 2016), from 0 to 1. Default 0. */
  readonly labelSmoothing?: number;
}

const crossEntropyFields: Fields<CrossEntropyOptions> = {
  ...nllFields,
  labelSmoothing: field("from 0 to 1", (e) => typeof e === "number" && e >= 0 && e <= 1, 0),
};

/**
 * The negative log-probability of the right class, from logits. `logits` `[..., classes]`, `classes` int32
 * `[...]`. With label smoothing e it is 1 - e times that plus e times the mean over all classes. The mean is over
 * targets that are not ignored, NaN when there are none. Classes whose values the host has are checked; on a device one out
 * of range counts as the nearest in it, in the loss and in the gradient.
 *
 * `classes` may also be probabilities, floats of the shape of `logits` ("soft targets"): then it is the cross-entropy of them,
 * `-sum(target * log softmax)`, whose mean is over rows. With `weight` each class counts by its factor, as in PyTorch: the
 * mean divides by the factors of the targets, and with soft targets by the number of rows.
 *
 * Deviation: classes lie along the last axis; PyTorch has them along axis 1.
 *
 * Probabilities are of no class that could be ignored: `ignoreIndex` is refused with them.
 *
 * @throws DTypeError if the classes are neither int32 nor of the dtype of the logits; ShapeError if the shapes do not fit;
 * ValueError for options.
 * @example
 * crossEntropy(tensor([[2, 1], [0, 3]]), tensor([0, 1], { dtype: "int32" }));
 * crossEntropy(tensor([[2, 1], [0, 3]]), tensor([[0.9, 0.1], [0, 1]])); // probabilities
 */
export function crossEntropy(logits: Tensor, classes: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const {
    reduction = "mean",
    labelSmoothing: e = 0,
    ignoreIndex = noIndex,
    weight,
  } = readOptions("crossEntropy", crossEntropyFields, options);
  checkTensor("crossEntropy", "the input", logits);
  checkTensor("crossEntropy", "the classes", classes);
  checkWeight("crossEntropy", weight, logits);
  const logProbabilities = logits.logSoftmax(-1);
  const weighted = weight ? logProbabilities.mul(weight) : logProbabilities;
  if (isFloat(classes.dtype) && classes.rank === logits.rank) {
    checkPair("crossEntropy", logits, classes);
    if (ignoreIndex !== noIndex)
      throw new ValueError(
        `crossEntropy: ignoreIndex is ${ignoreIndex}, and the classes are probabilities, ${classes}; they have no index that could be ignored. Leave it out, or give int32 classes.`,
      );
    const smooth = e === 0 ? classes : classes.mul(1 - e).add(e / logits.shape.at(-1)!);
    return reduceAll(smooth.mul(weighted).sum(-1).neg(), reduction);
  }
  const { counted, picked, factors } = classTerms("crossEntropy", logits, classes, ignoreIndex);
  const right = picked(weighted);
  const loss = e === 0 ? right : right.mul(1 - e).add(weighted.mean(-1).mul(e));
  return reduceCounted(loss.neg(), counted, reduction, weight && factors(weight));
}

function checkWeight(name: string, weight: Tensor | undefined, rows: Tensor): void {
  if (!weight) return;
  const classes = rows.shape.at(-1);
  if (weight.dtype !== rows.dtype || !sameShape(weight.shape, [classes ?? -1]))
    throw new ShapeError(
      `${name}: weight is ${weight}; expected a factor for each class, ${rows.dtype}[${classes ?? ""}].`,
    );
}

/**
 * The negative log-probability of the right class, from log-probabilities `[..., classes]`; else as
 * `crossEntropy` without smoothing.
 *
 * @throws As `crossEntropy`.
 */
export function nllLoss(logProbabilities: Tensor, classes: Tensor, options: NllOptions = {}): Tensor {
  const { reduction = "mean", ignoreIndex = noIndex, weight } = readOptions("nllLoss", nllFields, options);
  checkTensor("nllLoss", "the input", logProbabilities);
  checkWeight("nllLoss", weight, logProbabilities);
  const { counted, picked, factors } = classTerms("nllLoss", logProbabilities, classes, ignoreIndex);
  const right = picked(weight ? logProbabilities.mul(weight) : logProbabilities);
  return reduceCounted(right.neg(), counted, reduction, weight && factors(weight));
}

/** (input - target)^2. @throws ShapeError if the shapes differ. */
export function mseLoss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction } = readOptions("mseLoss", lossFields, options);
  return reduceAll(difference("mseLoss", input, target).square(), reduction);
}

/** |input - target|, with gradient 0 where they are equal. @throws ShapeError if the shapes differ. */
export function l1Loss(input: Tensor, target: Tensor, options: LossOptions = {}): Tensor {
  const { reduction } = readOptions("l1Loss", lossFields, options);
  return reduceAll(difference("l1Loss", input, target).abs(), reduction);
}

export interface SmoothL1Options extends LossOptions {
  /** Where the parabola meets the line; at 0 there is no parabola. Default 1. */
  readonly beta?: number;
}

/**
 * d^2 / (2 beta) for |d| < beta, |d| - beta/2 beyond, with d = input - target (Girshick 2015, arXiv:1504.08083).
 *
 * @throws ShapeError if the shapes differ; ValueError for a beta that is negative or not finite.
 */
export function smoothL1Loss(input: Tensor, target: Tensor, options: SmoothL1Options = {}): Tensor {
  const { reduction, beta } = readOptions("smoothL1Loss", { ...lossFields, beta: nonNegative(1) }, options);
  if (beta === 0) return l1Loss(input, target, { reduction });
  const d = difference("smoothL1Loss", input, target);
  const size = d.abs();
  return reduceAll(where(size.lt(beta), d.square().mul(0.5 / beta), size.sub(0.5 * beta)), reduction);
}

export interface HuberOptions extends LossOptions {
  /** Where the parabola meets the line. Default 1. */
  readonly delta?: number;
}

/**
 * d^2 / 2 for |d| <= delta, delta (|d| - delta/2) beyond, with d = input - target (Huber 1964).
 *
 * @throws ShapeError if the shapes differ; ValueError for a delta that is not a finite number > 0.
 */
export function huberLoss(input: Tensor, target: Tensor, options: HuberOptions = {}): Tensor {
  const { reduction, delta } = readOptions("huberLoss", { ...lossFields, delta: positive(1) }, options);
  const d = difference("huberLoss", input, target);
  const size = d.abs();
  return reduceAll(where(size.le(delta), d.square().mul(0.5), size.sub(0.5 * delta).mul(delta)), reduction);
}

export interface BceOptions extends LossOptions {
  /** A factor for each loss; broadcasts to it. Default none. */
  readonly weight?: Tensor;
  /** How often a target of 1 counts, against one of 0; broadcasts to the targets. Default 1. */
  readonly posWeight?: Tensor | number;
}

const bceFields: Fields<BceOptions> = {
  ...lossFields,
  weight: optionalTensor,
  posWeight: optional(
    field<Tensor | number>(
      "a number or a tensor",
      (value) => value instanceof Tensor || (typeof value === "number" && Number.isFinite(value)),
    ),
  ),
};

/**
 * Binary cross-entropy of logits with targets from 0 to 1, without overflow:
 * max(x, 0) - x target + log(1 + exp(-|x|)). With `posWeight` p its positive part counts p times:
 * (1 - target) x + (1 + (p - 1) target) log(1 + exp(-x)). The mean is over elements, whatever their weights, as in PyTorch.
 *
 * @throws ShapeError if the shapes differ, or a weight does not broadcast to them.
 */
export function bceWithLogits(input: Tensor, target: Tensor, options: BceOptions = {}): Tensor {
  const { reduction = "mean", weight, posWeight } = readOptions("bceWithLogits", bceFields, options);
  checkPair("bceWithLogits", input, target);
  // One side has the 0, so that derivatives of every order are right there.
  const positive = input.ge(0);
  const size = where(positive, input, input.neg());
  const softplus = size.neg().exp().log1p(); // of -|x|
  const loss =
    posWeight === undefined
      ? where(positive, input, 0).sub(input.mul(target)).add(softplus)
      : input.sub(input.mul(target)).add(
          target
            .mul(fitting(posWeight, input).sub(1))
            .add(1)
            .mul(softplus.add(where(positive, 0, size))),
        );
  return reduceAll(weight ? loss.mul(fitting(weight, input)) : loss, reduction);
}

export interface KlDivOptions {
  /** "batchmean" divides the sum by the length of the first axis. Default "mean", by the number of elements. */
  readonly reduction?: Reduction | "batchmean";
  /** Whether the target is log-probabilities too. Default false. */
  readonly logTarget?: boolean;
}

const klFields: Fields<Required<KlDivOptions>> = {
  reduction: oneOf(["mean", "sum", "none", "batchmean"], "mean"),
  logTarget: flag,
};

/**
 * Kullback-Leibler divergence, target (log target - input), of log-probabilities `input` from probabilities
 * `target`; 0 where the target is 0. "mean" divides by the number of elements, as in PyTorch: "batchmean" is the divergence
 * per row of a matrix.
 *
 * @throws ShapeError if the shapes differ.
 */
export function klDiv(input: Tensor, target: Tensor, options: KlDivOptions = {}): Tensor {
  const { reduction, logTarget } = readOptions("klDiv", klFields, options);
  checkPair("klDiv", input, target);
  const positive = target.gt(0);
  const loss = logTarget
    ? target.exp().mul(target.sub(input))
    : where(positive, target.mul(where(positive, target, 1).log().sub(input)), 0);
  return reduction === "batchmean" ? loss.sum().div(loss.shape[0] ?? 1) : reduceAll(loss, reduction);
}

/** A factor of the losses of `input`. @throws ShapeError if it does not broadcast to them. @internal */
export function fitting(factor: Tensor | number, input: Tensor): Tensor {
  return typeof factor === "number" ? (scalar(factor) as Tensor) : factor.expand(input.shape);
}

function difference(name: string, input: Tensor, target: Tensor): Tensor {
  checkPair(name, input, target);
  return input.sub(target);
}

/** @internal */
export function checkPair(name: string, input: Tensor, target: Tensor): void {
  checkTensor(name, "the input", input);
  checkTensor(name, "the target", target);
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${name}: input ${input} and target ${target} must have one shape. Expand or reshape one of them.`,
    );
  }
}

/** @internal */
export function reduceAll(losses: Tensor, reduction: Reduction): Tensor {
  switch (reduction) {
    case "mean":
      return losses.mean();
    case "sum":
      return losses.sum();
    case "none":
      return losses;
    default:
      return reduction satisfies never;
  }
}

interface ClassTerms {
  /** True where the target is not ignored. */
  readonly counted: Tensor<"bool">;
  /** The class of each row along a new axis, the first where it is ignored. */
  readonly place: Tensor<"int32">;
  /** The entry of each row at its class. */
  readonly picked: (rows: Tensor) => Tensor;
  /** The factor of the class of each row, of one for each class. */
  readonly factors: (weight: Tensor) => Tensor;
}

/** @internal */
export function classTerms(
  name: string,
  rows: Pick<Tensor, "shape" | "dtype">,
  classes: Tensor,
  ignoreIndex: number,
): ClassTerms {
  const index = asIndices(name, "the classes", classes);
  if (rows.shape.length < 1 || !sameShape(rows.shape.slice(0, -1), classes.shape)) {
    throw new ShapeError(
      `${name}: the classes are ${classes}, the input is ${describe(rows)}; expected one class for each row, int32[${rows.shape.slice(0, -1).join(",")}].`,
    );
  }
  const range = { what: `${name}: class`, from: 0, length: rows.shape.at(-1)!, ignored: ignoreIndex };
  const marked = new Tensor<"int32">(counted(index.node, range));
  // Ignored targets pick the first class, and are left out afterwards.
  const kept = marked.ne(ignoreIndex);
  const place = where(kept, marked, 0).unsqueeze(-1);
  const picked = (values: Tensor) => new Tensor(gather(values.node, place.node, values.rank - 1)).squeeze(-1);
  return { counted: kept, place, picked, factors: (weight) => picked(weight.expand([...rows.shape])) };
}

/**
 * @param factors What each counts in the mean, in place of 1.
 * @internal
 */
export function reduceCounted(
  losses: Tensor,
  counted: Tensor<"bool">,
  reduction: Reduction,
  factors?: Tensor,
): Tensor {
  const kept = where(counted, losses, 0);
  if (reduction !== "mean") return reduceAll(kept, reduction);
  const dtype = losses.dtype as FloatTensor["dtype"]; // logarithms are floats
  const count = (factors ? where(counted, factors, 0) : counted.astype(dtype)).sum() as Tensor; // of that dtype
  // Not 0 / 0, which a shader compiler may take for something else.
  return where(count.gt(0), kept.sum().div(count), scalar(Number.NaN));
}
