import { checkArgument, integer } from "../base/arguments.ts";
import { type DType, integerRange } from "../base/dtype.ts";
import { normalizeAxis, numel } from "../base/shape.ts";
import { arange, zeros } from "./creation.ts";
import { cat, where } from "./functions.ts";
import { type Extremes, type Tensor, tensorNode } from "./tensor.ts";

/** Rows up to which each element is compared with each other one. */
const shortRow = 128;
/** The tie of what has been taken, after all others. */
const [least, none] = integerRange.int32;

/**
 * The `k` largest values along an axis, in falling order, and where they are: equal values by their index, NaN before all
 * others, as `argmax` has it. The gradient goes to the elements that were taken. A row of n elements is read a few times, and
 * each further value takes work in the order of the square root of n: meant for a k that is small beside n.
 *
 * @throws ValueError unless k is an integer from 0 to the length of the axis.
 * @example
 * const { values, indices } = topk(tensor([3, 1, 4, 1, 5]), 2); // [5, 4] and [4, 2]
 */
export function topk<D extends DType>(x: Tensor<D>, k: number, axis = -1): Extremes<D> {
  tensorNode("topk", "x", x);
  const at = normalizeAxis("topk", axis, x.rank);
  const length = x.shape[at]!;
  checkArgument("topk", "k", k, integer(0, length));
  const last = x.detach().unsqueeze(-1).transpose(at, -1).squeeze(at);
  const outer = last.shape.slice(0, -1);
  const rows = last.reshape([numel(outer), length]);
  const order = orderOf(rows);
  const found =
    k === 0
      ? zeros([rows.shape[0]!, 0], { dtype: "int32" })
      : (length <= shortRow ? byRank : byBlocks)(order, k);
  const indices = found
    .reshape([...outer, k])
    .unsqueeze(at)
    .transpose(at, -1)
    .squeeze(-1);
  return { values: x.gather(at, indices), indices };
}

/** Rows in the order of falling keys, equal ones by rising ties; a tie less `length`, if it is that, is the index. */
interface Ordered {
  readonly keys: Tensor;
  readonly ties: Tensor<"int32">;
}

/** Integers have the order of floats by their bits, whatever a device makes of NaN and infinities; float64 has none. */
function orderOf(x: Tensor): Ordered {
  const ties = arange(x.shape[1]!, { dtype: "int32" }).expand(x.shape);
  if (x.dtype === "int32") return { keys: x, ties };
  if (x.dtype === "bool") return { keys: x.astype("int32"), ties };
  if (x.dtype === "uint32") return { keys: x.bitwiseXor(2 ** 31).astype("int32"), ties };
  if (x.dtype === "float64") {
    // Infinity stands for NaN, and comes later where it is meant.
    const keys = where(x.isNaN(), Number.POSITIVE_INFINITY, x);
    const infinite = x.eq(Number.POSITIVE_INFINITY);
    return { keys, ties: where(infinite, ties.add(x.shape[1]!), ties) };
  }
  const bits = (x.astype("float32") as Tensor<"float32">).bitcast().astype("int32");
  const size = bits.bitwiseAnd(none);
  const signed = where(size.eq(0), 0, where(bits.lt(0), bits.bitwiseXor(none), bits));
  return { keys: where(size.gt(0x7f800000), none, signed), ties };
}

/** How many others come before each element is its place. */
function byRank({ keys, ties }: Ordered, k: number): Tensor<"int32"> {
  const [rows, length] = keys.shape as [number, number];
  const [key, tie] = [keys.unsqueeze(2), ties.unsqueeze(2)];
  const [other, otherTie] = [keys.unsqueeze(1), ties.unsqueeze(1)];
  const before = other.gt(key).bitwiseOr(other.eq(key).bitwiseAnd(otherTie.lt(tie)));
  const place = before.expand([rows, length, length]).sum(2);
  const taken = place.unsqueeze(1).eq(arange(k, { dtype: "int32" }).unsqueeze(1));
  return where(taken, arange(length, { dtype: "int32" }), 0).sum(2);
}

/** The best of each block is kept; where it is taken, the block alone is looked through for the next. */
function byBlocks(order: Ordered, k: number): Tensor<"int32"> {
  const [rows, length] = order.keys.shape as [number, number];
  const shift = Math.round(Math.log2(length) / 2);
  const size = 2 ** shift;
  const blocks = Math.ceil(length / size);
  const lowest = order.keys.dtype === "int32" ? least : Number.NEGATIVE_INFINITY;
  const inBlocks = <D extends DType>(x: Tensor<D>, missing: number) =>
    x
      .pad(
        [
          [0, 0],
          [0, blocks * size - length],
        ],
        missing,
      )
      .reshape([rows, blocks, size]);
  const [keys, ties] = [inBlocks(order.keys, lowest), inBlocks(order.ties, none)];
  /** The first of what is left of rows of elements. */
  const first = (key: Tensor, tie: Tensor<"int32">) => {
    const best = key.amax(-1, { keepdim: true });
    return { key: best, tie: where(key.eq(best), tie, none).amin(-1, { keepdim: true }) };
  };
  const each = first(keys, ties);
  let [bestKeys, bestTies] = [each.key.squeeze(-1), each.tie.squeeze(-1)];
  const found: Tensor<"int32">[] = [];
  for (let i = 0; i < k; i++) {
    const { key, tie } = first(bestKeys, bestTies);
    const index = where(tie.ge(length), tie.sub(length), tie);
    found.push(index);
    if (i === k - 1) break;
    const block = index.rightShift(shift);
    const places = block.unsqueeze(2).expand([rows, 1, size]);
    const [rowKeys, rowTies] = [keys.gather(1, places).squeeze(1), ties.gather(1, places).squeeze(1)];
    const left = rowKeys.lt(key).bitwiseOr(rowKeys.eq(key).bitwiseAnd(rowTies.gt(tie)));
    const next = first(where(left, rowKeys, lowest), where(left, rowTies, none));
    const own = arange(blocks, { dtype: "int32" }).eq(block);
    bestKeys = where(own, next.key, bestKeys);
    bestTies = where(own, next.tie, bestTies);
  }
  return cat(found, 1);
}
