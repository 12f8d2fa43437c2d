import { positive, readOptions } from "../base/arguments.ts";

export interface LoraPlusOptions {
  /** Learning rate of B over that of A; the paper recommends about 16. A number > 0. */
  readonly ratio: number;
}

/** A group of LoRA+: plain data, fit for any optimizer. */
export interface LoraPlusGroup {
  readonly match: "loraB";
  readonly lrScale: number;
}

/**
 * The parameter groups of LoRA+ (Hayou et al. 2024, arXiv:2402.12354): every `loraB` gets `ratio` times the
 * learning rate, all else the plain one.
 *
 * Deviation: the authors' code also puts every vector (biases, norms) in the group of B, and gives embeddings a
 * rate of their own. Here only B is in it, which is the statement of the paper and what equals a change of
 * alpha. Add a group for the biases where the other is wanted.
 *
 * @throws ValueError if the ratio is not a finite number > 0.
 * @example
 * const optimizer = adamw({ lr: 2e-4, groups: loraPlus({ ratio: 16 }) });
 */
export function loraPlus(options: LoraPlusOptions): readonly LoraPlusGroup[] {
  const { ratio } = readOptions("loraPlus", { ratio: positive() }, options);
  return [{ match: "loraB", lrScale: ratio }];
}
