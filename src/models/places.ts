import type { FloatDType } from "../base/dtype.ts";
import { tensor } from "../tensor/creation.ts";
import { where } from "../tensor/functions.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { BlockKind, Rope } from "./architecture.ts";

// Where tokens stand, and what they see. One rule covers causal attention, windows, packed sequences, padding and caches:
// a query sees a key of its own segment whose position is not behind its own, and not too far before it.

/** Positions of tokens, and the sequence that each belongs to. */
export interface Stand {
  /** int32 `[length]` or `[batch, length]`. */
  readonly positions: Tensor<"int32">;
  /** int32 `[batch, length]`; missing where a row is one sequence. */
  readonly segments?: Tensor<"int32"> | undefined;
}

/** Those of the tokens of a call, and of the keys that they may see. */
export interface Places extends Stand {
  readonly keys: Stand;
  /** The frequencies of each rotary embedding: one tensor in a call, so that blocks share what is made of them. */
  readonly frequencies: ReadonlyMap<Rope, Tensor>;
  /** The slot of a cache that the first token is written to. */
  readonly slot?: Tensor<"number">;
}

/** `frequencies` of these blocks: those of sequences as long as the last of the positions says. */
export function frequenciesAt(
  positions: Tensor<"int32">,
  blocks: readonly BlockKind[],
  dtype: FloatDType,
): Places["frequencies"] {
  const of = (values: readonly number[]): Tensor => tensor(Float64Array.from(values), { dtype });
  const ropes = new Set(blocks.flatMap(({ rope }) => rope ?? []));
  const at = (rope: Rope): Tensor => {
    const plain = of(rope.frequencies);
    if (positions.size === 0) return plain;
    if (rope.long)
      return where(positions.amax().ge(rope.long.from), of(rope.long.frequencies), plain) as Tensor;
    if (!rope.dynamic) return plain;
    // theta^(-2i/d) with theta times s^(d/(d-2)), where s is 1 up to the length that the model was made for.
    const { from, factor } = rope.dynamic;
    const pairs = rope.frequencies.length;
    const exponents = of(rope.frequencies.map((_, i) => -i / (pairs - 1)));
    const length = positions.amax().add(1).astype(dtype);
    const longer = length.mul(factor / from).sub(factor - 1);
    return where(length.gt(from), plain.mul(longer.pow(exponents)), plain) as Tensor;
  };
  return new Map([...ropes].map((rope) => [rope, at(rope)]));
}

/** The segment of slots of a cache that hold nothing, and of padding. */
export const nowhere = -1;

/** Which keys each query sees: bool `[queries, keys]`, or `[batch, 1, queries, keys]`. */
export function sight({ positions, segments, keys }: Places, window: number | undefined): Tensor<"bool"> {
  const [query, key] = [positions.unsqueeze(-1), keys.positions.unsqueeze(-2)];
  let seen = key.le(query);
  if (window !== undefined) seen = seen.bitwiseAnd(query.sub(key).lt(window));
  if (segments && keys.segments)
    seen = seen.bitwiseAnd(segments.unsqueeze(-1).eq(keys.segments.unsqueeze(-2)));
  return seen.rank === 3 ? seen.unsqueeze(1) : seen;
}
