import { type Fields, flag, flagOf, positive, readOptions } from "../base/arguments.ts";
import { checkTensor, optionalTensor } from "../nn/check.ts";
import { checkPair, fitting, type LossOptions, lossFields, reduceAll } from "../nn/losses.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Negative log-likelihoods of numbers; names, values and reductions are PyTorch's.

export interface BinaryCrossEntropyOptions extends LossOptions {
  /** A factor for each loss; broadcasts to it. Default none. */
  readonly weight?: Tensor;
}

const binaryFields: Fields<BinaryCrossEntropyOptions> = { ...lossFields, weight: optionalTensor };

/**
 * -(target log x + (1 - target) log(1 - x)) of probabilities x, whose logarithms are at least -100; where one is, it has no
 * gradient. Of logits, `bceWithLogits` is more exact.
 *
 * @throws ShapeError if the shapes differ, or the weight does not broadcast to them.
 * @example
 * binaryCrossEntropy(tensor([0.9, 0.2]), tensor([1, 0])); // 0.1642520
 */
export function binaryCrossEntropy(
  input: Tensor,
  target: Tensor,
  options: BinaryCrossEntropyOptions = {},
): Tensor {
  const { reduction = "mean", weight } = readOptions("binaryCrossEntropy", binaryFields, options);
  checkPair("binaryCrossEntropy", input, target);
  // 0 has no part in the logarithm, so that no infinity is multiplied.
  const log = (p: Tensor, of: (p: Tensor) => Tensor, none: number) => {
    const zero = p.eq(none);
    return where(zero, -100, of(where(zero, 0.5, p)).maximum(-100));
  };
  const [yes, no] = [log(input, (p) => p.log(), 0), log(input, (p) => p.neg().log1p(), 1)];
  const loss = target.mul(yes).add(target.neg().add(1).mul(no)).neg();
  return reduceAll(weight ? loss.mul(fitting(weight, input)) : loss, reduction);
}

export interface GaussianNllOptions extends LossOptions {
  /** Adds log(2 pi) / 2, which depends on nothing. Default false. */
  readonly full?: boolean;
  /** The least variance; a smaller one counts as this, and has its gradient. Default 1e-6. */
  readonly eps?: number;
}

const gaussianFields: Fields<Required<GaussianNllOptions>> = {
  ...lossFields,
  full: flag,
  eps: positive(1e-6),
};

/**
 * (log variance + (input - target)^2 / variance) / 2: of targets that are normal with mean `input` and a variance that broadcasts to
 * it (Nix and Weigend 1994).
 *
 * @throws ShapeError if the shapes differ, or the variance does not broadcast to them.
 */
export function gaussianNllLoss(
  input: Tensor,
  target: Tensor,
  variance: Tensor,
  options: GaussianNllOptions = {},
): Tensor {
  const { reduction, full, eps } = readOptions("gaussianNllLoss", gaussianFields, options);
  checkPair("gaussianNllLoss", input, target);
  const own = checkTensor("gaussianNllLoss", "the variance", variance).expand(input.shape);
  const least = own.add(own.maximum(eps).sub(own).detach());
  const loss = least.log().add(input.sub(target).square().div(least)).mul(0.5);
  return reduceAll(full ? loss.add(0.5 * Math.log(2 * Math.PI)) : loss, reduction);
}

export interface PoissonNllOptions extends LossOptions {
  /** Whether the input is the logarithm of the rate. Default true. */
  readonly logInput?: boolean;
  /** Adds Stirling's form of log(target!) where the target is above 1. Default false. */
  readonly full?: boolean;
  /** Added to a rate before its logarithm is taken. Default 1e-8. */
  readonly eps?: number;
}

const poissonFields: Fields<Required<PoissonNllOptions>> = {
  ...lossFields,
  logInput: flagOf(true),
  full: flag,
  eps: positive(1e-8),
};

/** exp(input) - target input, of counts with the rate exp(input). @throws ShapeError if the shapes differ. */
export function poissonNllLoss(input: Tensor, target: Tensor, options: PoissonNllOptions = {}): Tensor {
  const { reduction, logInput, full, eps } = readOptions("poissonNllLoss", poissonFields, options);
  checkPair("poissonNllLoss", input, target);
  const loss = logInput ? input.exp().sub(target.mul(input)) : input.sub(target.mul(input.add(eps).log()));
  if (!full) return reduceAll(loss, reduction);
  const many = target.gt(1);
  const n = where(many, target, 2);
  const stirling = n
    .mul(n.log())
    .sub(n)
    .add(
      n
        .mul(2 * Math.PI)
        .log()
        .mul(0.5),
    );
  return reduceAll(loss.add(where(many, stirling, 0)), reduction);
}
