import {
  type Fields,
  field,
  finite,
  flag,
  functionOf,
  optional,
  positive,
  readOptions,
} from "../base/arguments.ts";
import { type FloatDType, isFloat, normalRange } from "../base/dtype.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import { arange, tensor } from "../tensor/creation.ts";
import { cat, where } from "../tensor/functions.ts";
import { inDType, wide } from "../tensor/precision.ts";
import { Tensor } from "../tensor/tensor.ts";
import { checkTensor, optionalTensor } from "./check.ts";

export interface AttentionOptions {
  /** bool (true: may attend) or added to the scores; broadcasts to `[..., queries, keys]`. */
  readonly mask?: Tensor | null;
  /** Query i attends to keys 0 to i only. Default false. */
  readonly causal?: boolean;
  /** Factor on the scores. Default 1 / sqrt(d). */
  readonly scale?: number;
  /** Scores become cap * tanh(score / cap) before they are masked, as in Gemma 2. Default none. */
  readonly softCap?: number;
  /** What becomes of the weights, `[..., queries, keys]`, before they meet the values, such as dropout. */
  readonly weights?: (weights: Tensor) => Tensor;
}

const attention: Fields<AttentionOptions> = {
  mask: optionalTensor,
  causal: flag,
  scale: optional(finite()),
  softCap: optional(positive()),
  weights: optional(functionOf("a function of the weights")),
};

/**
 * softmax(q k^T * scale + mask) v (Vaswani et al. 2017, arXiv:1706.03762). `q` is `[..., queries, d]`, `k`
 * `[..., keys, d]`, `v` `[..., keys, e]`; the result is `[..., queries, e]`. The axis before, that of heads, may be
 * shorter in `k` and `v`: then as many heads of `q`, side by side, share one of theirs (Ainslie et al. 2023,
 * arXiv:2305.13245).
 *
 * Deviation: a query whose keys are all masked by bool gets the mean of the values, where PyTorch gives NaN; the
 * mask is a finite number, since shaders may assume that there are no infinities.
 *
 * @throws ShapeError if the axes do not fit; DTypeError for a mask that is neither bool nor of the dtype of `q`.
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: AttentionOptions = {},
): Tensor {
  const { mask, causal, scale, softCap, weights } = readOptions(
    "scaledDotProductAttention",
    attention,
    options,
  );
  for (const [name, operand] of Object.entries({ q, k, v })) {
    const { dtype } = checkTensor("scaledDotProductAttention", name, operand);
    if (!isFloat(dtype))
      throw new DTypeError(
        `scaledDotProductAttention: ${name} is ${operand}; it is of floats. Cast with .astype("float32").`,
      );
  }
  const [d, queries, keys] = [q.shape.at(-1), q.shape.at(-2), k.shape.at(-2)];
  if (
    d === undefined ||
    queries === undefined ||
    keys === undefined ||
    k.shape.at(-1) !== d ||
    v.shape.at(-2) !== keys
  ) {
    throw new ShapeError(
      `scaledDotProductAttention: q ${q}, k ${k}, v ${v}; expected [..., queries, d], [..., keys, d] and [..., keys, e].`,
    );
  }
  // Heads that share keys are further queries of theirs: one product with more rows.
  const together = sharing(q, k);
  const grouped = (x: Tensor) =>
    together === undefined ? x : x.reshape([...k.shape.slice(0, -2), together * queries, x.shape.at(-1)!]);
  const apart = (x: Tensor) =>
    together === undefined ? x : x.reshape([...q.shape.slice(0, -1), x.shape.at(-1)!]);
  let scores = apart(grouped(q).matmul(k.transpose())).mul(scale ?? 1 / Math.sqrt(d));
  if (softCap !== undefined) scores = scores.div(softCap).tanh().mul(softCap);
  const masked = maskedScore(q.dtype as FloatDType); // the scores are floats
  if (mask) {
    if (mask.dtype === "bool")
      scores = where(mask as Tensor<"bool">, scores, masked); // its dtype is bool
    else if (mask.dtype === q.dtype) scores = scores.add(mask);
    else
      throw new DTypeError(
        `scaledDotProductAttention: the mask is ${mask}; it is bool or of the dtype of q, ${q.dtype}.`,
      );
  }
  if (causal) scores = where(arange(queries).unsqueeze(1).ge(arange(keys).unsqueeze(0)), scores, masked);
  const shares = scores.softmax(-1);
  return apart(grouped(weights ? weights(shares) : shares).matmul(v));
}

/** How many heads of `q` share one of `k`; undefined where each has its own, or there are none. */
function sharing(q: Tensor, k: Tensor): number | undefined {
  const [heads, shared] = [q.shape.at(-3), k.shape.at(-3)];
  if (heads === undefined || shared === undefined || heads === shared || heads % shared !== 0)
    return undefined;
  return sameShape(q.shape.slice(0, -3), k.shape.slice(0, -3)) ? heads / shared : undefined;
}

/** Far below every score, if the dtype holds it: its exponential is exactly 0 beside any other. */
const least = -1e30;

/** What a masked score is. @internal */
export function maskedScore(dtype: FloatDType): number {
  return Math.max(least, -normalRange(dtype).largest);
}

export interface RopeOptions {
  /** Base of the wavelengths. Default 10000. */
  readonly theta?: number;
  /**
   * Position of each element: one for each along the axis before the last, or a tensor that broadcasts to all axes but
   * the last. Default 0, 1, 2, ...
   */
  readonly positions?: readonly number[] | Tensor<"int32">;
  /**
   * Angle that each position adds, for each pair: what `theta` gives, unless they are scaled. With fewer than d/2 of them
   * only the first elements are turned, twice as many.
   */
  readonly frequencies?: readonly number[] | Tensor;
  /** Factor on what is turned, which lengthens queries and keys. Default 1. */
  readonly scale?: number;
}

const ropeFields: Fields<RopeOptions> = {
  theta: positive(10000),
  positions: optional(
    field(
      "a list of integers or an int32 vector",
      (value) => Array.isArray(value) || value instanceof Tensor,
    ),
  ),
  frequencies: optional(
    field("a list of numbers or a vector", (value) => Array.isArray(value) || value instanceof Tensor),
  ),
  scale: finite(1),
};

/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864): turns the pair of elements i and i + d/2 of the
 * last axis by position * theta^(-2i/d), as in Llama. `x` is `[..., length, d]`, `d` even. The angles of float16 are
 * float32, and the result is rounded once.
 *
 * Deviation: the paper pairs neighbours, 2i and 2i + 1.
 *
 * @throws ShapeError if `d` is odd, the positions are not one for each element, or there are more frequencies than pairs.
 */
export function rope(x: Tensor, options: RopeOptions = {}): Tensor {
  const { theta = 10000, positions, frequencies: given, scale } = readOptions("rope", ropeFields, options);
  checkTensor("rope", "the input", x);
  const [length, d] = [x.shape.at(-2), x.shape.at(-1)];
  if (length === undefined || d === undefined || d % 2 !== 0)
    throw new ShapeError(`rope: takes [..., length, d] with d even; given ${x}.`);
  const half = d / 2;
  const at =
    positions === undefined
      ? arange(length)
      : Array.isArray(positions)
        ? tensor(positions, { dtype: "int32" })
        : (positions as Tensor<"int32">); // not an array
  if (at.rank >= x.rank || at.shape.at(-1) !== length)
    throw new ShapeError(
      `rope: the positions are ${at}; expected int32[${length}], one for each element of ${x}.`,
    );
  // Positions of thousands leave float16 no digits for the angle.
  const whole = wide(x);
  const dtype = whole.dtype as FloatDType; // checked where it meets the cosines
  // Powers in float64: an error in a frequency is multiplied by the position.
  const frequencies =
    given instanceof Tensor
      ? inDType(given, whole)
      : tensor(Float64Array.from(given ?? Array.from({ length: half }, (_, i) => theta ** ((-2 * i) / d))), {
          dtype,
        });
  const pairs = frequencies.size;
  if (frequencies.rank !== 1 || pairs > half || pairs === 0)
    throw new ShapeError(
      `rope: the frequencies are ${frequencies}; expected at most [${half}], one for each pair of ${x}.`,
    );
  const angles = at.astype(dtype).unsqueeze(-1).mul(frequencies);
  const factor = (part: Tensor) => (scale === 1 ? part : part.mul(scale as number));
  const [cos, sin] = [factor(angles.cos()), factor(angles.sin())];
  const part = (from: number, to: number) =>
    whole.slice(
      [...whole.shape.slice(1).map(() => null), from],
      [...whole.shape.slice(1).map(() => null), to],
    );
  const [a, b] =
    pairs === half
      ? (whole.split(2, -1) as [Tensor, Tensor]) // two equal parts
      : [part(0, pairs), part(pairs, 2 * pairs)];
  const turned = [a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))];
  const rest = pairs === half ? [] : [part(2 * pairs, d)];
  return inDType(cat([...turned, ...rest], -1), x);
}
