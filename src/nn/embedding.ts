import { checkArgument, type Fields, optional, readOptions } from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aKey, checkFloatDType, floatDType, initializer, size } from "./check.ts";
import * as functional from "./functional.ts";
import { type Initializer, normal } from "./initializers.ts";
import type { Layer } from "./layer.ts";
import { parameter } from "./params.ts";

/** An embedding; its parameters are `{ weight: [vocabulary, dim] }`. */
export interface Embedding extends Layer<{ readonly weight: Tensor }> {
  readonly kind: "embedding";
  readonly vocabulary: number;
  readonly dim: number;
}

export interface EmbeddingOptions {
  /** Initial weight. Default `initializers.normal`, of standard deviation 1 as in PyTorch. */
  readonly init?: Initializer;
  /** Default float32. */
  readonly dtype?: FloatDType;
}

const fields: Fields<EmbeddingOptions> = { init: optional(initializer), dtype: floatDType };

/**
 * A vector for each index: int32 `[...]` to `[..., dim]`.
 *
 * @throws ValueError for sizes that are not integers >= 1.
 * @example
 * const layer = embedding(256, 32);
 * const y = layer.apply(layer.init(random.key(0)), tensor([1, 2, 3], { dtype: "int32" })); // float32[3,32]
 */
export function embedding(vocabulary: number, dim: number, options: EmbeddingOptions = {}): Embedding {
  const { init = normal, ...given } = readOptions("embedding", fields, options);
  checkArgument("embedding", "vocabulary", vocabulary, size);
  checkArgument("embedding", "dim", dim, size);
  const dtype = checkFloatDType("embedding", given.dtype);
  return {
    kind: "embedding",
    vocabulary,
    dim,
    init: (key) => ({
      weight: init(checkArgument("embedding", "the key", key, aKey).fold("weight"), [vocabulary, dim]).astype(
        dtype,
      ),
    }),
    apply: (params, x) => functional.embedding(x, parameter("embedding", params, "weight")),
  };
}
