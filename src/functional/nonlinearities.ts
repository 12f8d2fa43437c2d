import {
  anAxis,
  checkArgument,
  checkCount,
  type Fields,
  field,
  finite,
  flag,
  nonNegative,
  positive,
  readOptions,
} from "../base/arguments.ts";
import { ShapeError } from "../base/errors.ts";
import { normalizeAxis, sameShape } from "../base/shape.ts";
import { aKey, checkTensor } from "../nn/check.ts";
import { checkFloat } from "../tensor/arithmetic.ts";
import { moveaxis } from "../tensor/arrange.ts";
import { elu, oneHot, sigmoid, softplus, where } from "../tensor/functions.ts";
import { gumbel, type Key } from "../tensor/random.ts";
import type { Tensor } from "../tensor/tensor.ts";

// Activations beside those of `lorantz`, with PyTorch's names and values. They keep shape and dtype, take floats, and NaN stays
// NaN. Slopes at corners are those of PyTorch's kernels, 0 at the bounds of what is clipped.

const checked = (operation: string, x: Tensor, given: ArrayLike<unknown>, most = 1): void => {
  checkCount(operation, given, most);
  checkFloat(operation, x);
};

/**
 * x where x > 0, alpha (exp(x) - 1) elsewhere, times a scale: with the two constants of Klambauer et al. 2017 (arXiv:1706.02515),
 * by which activations keep mean 0 and variance 1.
 *
 * @example
 * selu(tensor([-1, 1])); // [-1.1113307, 1.0507010]
 */
export function selu(x: Tensor): Tensor {
  checked("selu", x, arguments);
  return elu(x, 1.6732632423543772).mul(1.0507009873554805);
}

/** x where x > 0, `alpha` (exp(x / alpha) - 1) elsewhere (Barron 2017, arXiv:1704.07483). @throws ValueError for alpha 0. */
export function celu(x: Tensor, alpha = 1): Tensor {
  checked("celu", x, arguments, 2);
  checkArgument(
    "celu",
    "alpha",
    alpha,
    field("a finite number that is not 0", (a) => Number.isFinite(a) && a !== 0),
  );
  const above = x.gt(0);
  return where(above, x, where(above, 0, x).div(alpha).expm1().mul(alpha));
}

/** x tanh(log(1 + exp(x))) (Misra 2019, arXiv:1908.08681). */
export function mish(x: Tensor): Tensor {
  checked("mish", x, arguments);
  return x.mul(softplus(x).tanh());
}

/** x between `min` and `max`, and these beyond; slope 0 from there on. @throws ValueError unless min <= max. */
export function hardtanh(x: Tensor, min = -1, max = 1): Tensor {
  checked("hardtanh", x, arguments, 3);
  checkArgument("hardtanh", "min", min, finite());
  checkArgument(
    "hardtanh",
    "max",
    max,
    field(`a finite number >= min, ${min}`, (m) => Number.isFinite(m) && (m as number) >= min),
  );
  return where(x.le(min), min, where(x.ge(max), max, x));
}

/** min(max(x, 0), 6) (Krizhevsky 2010), with slope 0 at both ends. */
export function relu6(x: Tensor): Tensor {
  checked("relu6", x, arguments);
  return hardtanh(x, 0, 6);
}

/** min(max(x + 3, 0), 6) / 6. */
export function hardSigmoid(x: Tensor): Tensor {
  checked("hardSigmoid", x, arguments);
  return hardtanh(x, -3, 3).add(3).div(6);
}

/** x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, arXiv:1905.02244), with slope 0 at -3 and 1 at 3. */
export function hardSwish(x: Tensor): Tensor {
  checked("hardSwish", x, arguments);
  return where(x.le(-3), 0, where(x.ge(3), x, x.mul(x.add(3)).div(6)));
}

/** x / (1 + |x|). */
export function softsign(x: Tensor): Tensor {
  checked("softsign", x, arguments);
  return x.div(x.abs().add(1));
}

/** x - tanh(x). */
export function tanhshrink(x: Tensor): Tensor {
  checked("tanhshrink", x, arguments);
  return x.sub(x.tanh());
}

/** x drawn nearer to 0 by `lambda`, and 0 where |x| <= lambda: the proximal map of lambda |x|. @throws ValueError for lambda < 0. */
export function softshrink(x: Tensor, lambda = 0.5): Tensor {
  checked("softshrink", x, arguments, 2);
  checkArgument("softshrink", "lambda", lambda, nonNegative(0.5));
  return where(x.abs().le(lambda), 0, x.sub(x.sign().mul(lambda)));
}

/** x, and 0 where |x| <= lambda. @throws ValueError for lambda < 0. */
export function hardshrink(x: Tensor, lambda = 0.5): Tensor {
  checked("hardshrink", x, arguments, 2);
  checkArgument("hardshrink", "lambda", lambda, nonNegative(0.5));
  return where(x.abs().le(lambda), 0, x);
}

/**
 * x where x > 0, `weight` x elsewhere, with a weight of one element, or one for each of the second axis of x, the channels (He et
 * al. 2015, arXiv:1502.01852).
 *
 * @throws ShapeError for a weight of another shape.
 * @example
 * prelu(tensor([[-1, -1]]), tensor([0.5, 0.25])); // [[-0.5, -0.25]]
 */
export function prelu(x: Tensor, weight: Tensor): Tensor {
  checked("prelu", x, arguments, 2);
  checkTensor("prelu", "the weight", weight);
  const channels = x.shape[1] ?? 1;
  if (weight.size !== 1 && !sameShape(weight.shape, [channels]))
    throw new ShapeError(
      `prelu: the weight is ${weight}; expected one element, or [${channels}], the channels of ${x}.`,
    );
  const slope =
    weight.size === 1 ? weight.reshape([]) : weight.reshape([channels, ...x.shape.slice(2).map(() => 1)]);
  return where(x.gt(0), x, x.mul(slope));
}

/**
 * The first half of an axis times the sigmoid of the second: a gated linear unit (Dauphin et al. 2016, arXiv:1612.08083).
 *
 * @throws ShapeError if the axis does not divide by 2.
 * @example
 * glu(ones([3, 8])).shape; // [3, 4]
 */
export function glu(x: Tensor, axis = -1): Tensor {
  checked("glu", x, arguments, 2);
  const at = normalizeAxis("glu", axis, x.rank);
  if (x.shape[at]! % 2 !== 0) throw new ShapeError(`glu: axis ${axis} of ${x} does not divide by 2.`);
  const [half, gate] = x.split(2, at) as [Tensor, Tensor];
  return half.mul(sigmoid(gate));
}

export interface GumbelSoftmaxOptions {
  /** The temperature: the lower, the nearer to a draw. Default 1. */
  readonly tau?: number;
  /** Gives the draw itself, 0 and 1, with the gradient of the soft one (straight through). Default false. */
  readonly hard?: boolean;
  /** The axis of the logits. Default the last. */
  readonly axis?: number;
}

const gumbelFields: Fields<Required<GumbelSoftmaxOptions>> = {
  tau: positive(1),
  hard: flag,
  axis: anAxis(-1),
};

/**
 * softmax((logits + Gumbel noise) / tau): a draw of one class that has a gradient (Jang et al. 2016, arXiv:1611.01144). The noise
 * is a function of the key alone.
 *
 * @throws ValueError for a tau that is not > 0.
 * @example
 * gumbelSoftmax(random.key(0), ones([4, 3]), { hard: true }); // a 1 in each row
 */
export function gumbelSoftmax(key: Key, logits: Tensor, options: GumbelSoftmaxOptions = {}): Tensor {
  checkArgument("gumbelSoftmax", "the key", key, aKey);
  checkFloat("gumbelSoftmax", logits);
  const { tau, hard, axis } = readOptions("gumbelSoftmax", gumbelFields, options);
  const at = normalizeAxis("gumbelSoftmax", axis, logits.rank);
  const dtype = logits.dtype as "float32"; // a float
  const noise = gumbel(key, logits.shape).astype(dtype) as Tensor;
  const soft = logits.add(noise).div(tau).softmax(at);
  if (!hard) return soft;
  const drawn = oneHot(soft.argmax(at), logits.shape[at]!).astype(dtype) as Tensor;
  return moveaxis(drawn, -1, at).sub(soft.detach()).add(soft);
}
