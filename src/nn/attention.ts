import { type Fields, field, finite, flag, optional, positive, readOptions } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { DTypeError, ShapeError } from "../base/errors.ts";
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
}

const attention: Fields<AttentionOptions> = {
  mask: optionalTensor,
  causal: flag,
  scale: optional(finite()),
};

/**
 * softmax(q k^T * scale + mask) v (Vaswani et al. 2017, arXiv:1706.03762). `q` is `[..., queries, d]`, `k`
 * `[..., keys, d]`, `v` `[..., keys, e]`; the result is `[..., queries, e]`.
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
  const { mask, causal, scale } = readOptions("scaledDotProductAttention", attention, options);
  for (const [name, operand] of Object.entries({ q, k, v }))
    checkTensor("scaledDotProductAttention", name, operand);
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
  let scores = q.matmul(k.transpose()).mul(scale ?? 1 / Math.sqrt(d));
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
  return scores.softmax(-1).matmul(v);
}

/** Far below every score: its exponential is exactly 0 beside any other. */
const masked = -1e30;

export interface RopeOptions {
  /** Base of the wavelengths. Default 10000. */
  readonly theta?: number;
  /** Position of each element along the axis before the last. Default 0, 1, 2, ... */
  readonly positions?: readonly number[] | Tensor<"int32">;
}

const ropeFields: Fields<RopeOptions> = {
  theta: positive(10000),
  positions: optional(
    field(
      "a list of integers or an int32 vector",
      (value) => Array.isArray(value) || value instanceof Tensor,
    ),
  ),
};

/**
 * Rotary position embedding (Su et al. 2021, arXiv:2104.09864): turns the pair of elements i and i + d/2 of the
 * last axis by position * theta^(-2i/d), as in Llama. `x` is `[..., length, d]`, `d` even. The angles of float16 are
 * float32, and the result is rounded once.
 *
 * Deviation: the paper pairs neighbours, 2i and 2i + 1.
 *
 * @throws ShapeError if `d` is odd or the positions are not one for each element.
 */
export function rope(x: Tensor, options: RopeOptions = {}): Tensor {
  const { theta = 10000, positions } = readOptions("rope", ropeFields, options);
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
  if (at.rank !== 1 || at.size !== length)
    throw new ShapeError(
      `rope: the positions are ${at}; expected int32[${length}], one for each element of ${x}.`,
    );
  // Positions of thousands leave float16 no digits for the angle.
  const whole = wide(x);
  const dtype = whole.dtype as FloatDType; // checked where it meets the cosines
  // Powers in float64: an error in a frequency is multiplied by the position.
  const frequencies = tensor(
    Float64Array.from({ length: half }, (_, i) => theta ** ((-2 * i) / d)),
    { dtype },
  );
  const angles = at.astype(dtype).unsqueeze(1).mul(frequencies);
  const [cos, sin]: [Tensor, Tensor] = [angles.cos(), angles.sin()];
  const [a, b] = whole.split(2, -1) as [Tensor, Tensor]; // two equal parts
  const turned = cat([a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))], -1);
  return inDType(turned, x);
}
