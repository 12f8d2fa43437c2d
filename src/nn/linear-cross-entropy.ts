import { type Fields, optional, readOptions } from "../base/arguments.ts";
import type { DType } from "../base/dtype.ts";
import { ShapeError } from "../base/errors.ts";
import { numel } from "../base/shape.ts";
import { after } from "../graph/remat.ts";
import { arange } from "../tensor/creation.ts";
import { customVjp } from "../tensor/custom-vjp.ts";
import { cat, where } from "../tensor/functions.ts";
import { Tensor } from "../tensor/tensor.ts";
import { checkTensor, size } from "./check.ts";
import { linear } from "./functional.ts";
import { classTerms, countFields, type NllOptions, reduceCounted } from "./losses.ts";

export interface LinearCrossEntropyOptions extends Omit<NllOptions, "weight"> {
  /** Rows whose logits are there at a time. Default: as many as have four million logits together, at least 16. */
  readonly chunk?: number;
}

const fields: Fields<Required<Omit<NllOptions, "weight">> & { readonly chunk?: number }> = {
  ...countFields,
  chunk: optional(size),
};

/** Logits of a chunk by default. */
const logitsAtOnce = 2 ** 22;

/**
 * `crossEntropy(linear(hidden, weight), classes)` for many classes, such as a vocabulary, without keeping the logits: rows
 * go through the weight a chunk at a time, and what the gradient of `hidden` needs is made of the same logits. `hidden`
 * `[..., in]`, `weight` `[classes, in]`, `classes` int32 `[...]`. Values and gradients are those of the plain form within
 * rounding. The gradient of the weight computes the logits a second time; where the weight is frozen there is none.
 *
 * @throws As `crossEntropy`; ShapeError where the weight does not fit.
 * @example
 * const loss = linearCrossEntropy(ones([3, 8]), ones([100, 8]), tensor([1, 2, 99], { dtype: "int32" }), { chunk: 2 });
 */
export function linearCrossEntropy(
  hidden: Tensor,
  weight: Tensor,
  classes: Tensor,
  options: LinearCrossEntropyOptions = {},
): Tensor {
  const { chunk, ignoreIndex, reduction } = readOptions("linearCrossEntropy", fields, options);
  checkTensor("linearCrossEntropy", "the hidden states", hidden);
  checkTensor("linearCrossEntropy", "the weight", weight);
  const [width, count] = [hidden.shape.at(-1), weight.shape[0]];
  if (weight.rank !== 2 || hidden.rank < 1 || weight.shape[1] !== width)
    throw new ShapeError(
      `linearCrossEntropy: the hidden states are ${hidden} and the weight is ${weight}; the weight is [classes, ${width ?? "in"}].`,
    );
  const outer = hidden.shape.slice(0, -1);
  const rows = numel(outer);
  const logits = { shape: [...outer, count!], dtype: hidden.dtype };
  const { counted, place } = classTerms("linearCrossEntropy", logits, classes, ignoreIndex);
  const each = chunk ?? Math.max(16, Math.floor(logitsAtOnce / count! / 16) * 16);
  const losses = rowLosses(place.reshape([rows, 1]), each)(hidden.reshape([rows, width!]), weight);
  return reduceCounted(losses.reshape(outer), counted, reduction);
}

interface Kept {
  readonly hidden: Tensor;
  readonly weight: Tensor;
  readonly places: Tensor<"int32">;
  /** The gradients of each row's loss. */
  readonly slopes: Tensor;
}

/** The loss of each row, with a gradient that is made on the way. */
function rowLosses(places: Tensor<"int32">, each: number) {
  return customVjp(
    (hidden: Tensor, weight: Tensor) => {
      const losses: Tensor[] = [];
      const slopes: Tensor[] = [];
      for (const { from, to } of chunks(hidden, each)) {
        const chunk = chunkOf(
          later(rows(hidden, from, to), slopes.at(-1), losses.at(-1)),
          weight,
          rows(places, from, to),
        );
        losses.push(chunk.loss);
        slopes.push(chunk.slopes.matmul(weight));
      }
      const kept: Kept = { hidden, weight, places, slopes: cat(slopes) };
      return [cat(losses), kept];
    },
    ({ hidden, weight, places, slopes }: Kept, g: Tensor) => {
      // The logits of a chunk are there again when what the chunk before has added is.
      let sum: Tensor | undefined;
      for (const { from, to } of chunks(hidden, each)) {
        const own = later(rows(hidden, from, to), sum ?? g);
        const chunk = chunkOf(own, weight, rows(places, from, to));
        const added = chunk.slopes
          .mul(rows(g, from, to).unsqueeze(-1))
          .transpose()
          .matmul(own);
        sum = sum ? sum.add(added) : added;
      }
      return [slopes.mul(g.unsqueeze(-1)), sum!]; // there is one chunk at least
    },
  );
}

/** The chunks of rows; one where there are no rows. */
function chunks(hidden: Tensor, each: number): { readonly from: number; readonly to: number }[] {
  const count = Math.max(1, Math.ceil(hidden.shape[0]! / each));
  return Array.from({ length: count }, (_, i) => ({ from: i * each, to: (i + 1) * each }));
}

function rows<D extends DType>(x: Tensor<D>, from: number, to: number): Tensor<D> {
  return x.slice([from], [to]);
}

/** The same for nobody before the others are there. */
function later(x: Tensor, ...others: readonly (Tensor | undefined)[]): Tensor {
  const tokens = others.flatMap((other) => (other ? [other.node] : []));
  return new Tensor(after(x.node, tokens, true));
}

/** The losses of some rows, and their gradients by the logits. */
function chunkOf(hidden: Tensor, weight: Tensor, place: Tensor<"int32">) {
  const logits = linear(hidden, weight);
  const count = logits.shape[1]!;
  const top = logits.amax(-1, { keepdim: true }).detach();
  const exps = logits.sub(top).exp();
  const sum = exps.sum(-1, { keepdim: true });
  const isRight = arange(count, { dtype: "int32" }).eq(place.maximum(0).minimum(count - 1));
  // A sum, not an element that is looked up: it is there before the next chunk, which then needs not keep these logits.
  const right = where(isRight, logits.sub(top), 0).sum(-1, { keepdim: true });
  const slopes = exps.div(sum);
  return {
    loss: sum.log().sub(right).squeeze(-1),
    slopes: where(isRight, slopes.sub(1), slopes),
  };
}
