import { ValueError } from "../base/errors.ts";
import type { CompileOptions } from "../tensor/compile.ts";
import * as tree from "../tensor/tree.ts";
import { type Batches, placesOf } from "./batches.ts";
import { type Loss, termsOf } from "./loss.ts";
import { compiled } from "./program.ts";
import { together } from "./step.ts";

/** A model on some data. */
export interface Evaluation {
  /** Over all that counts in all batches. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** The share of targets that were predicted, where the loss says how many. */
  readonly accuracy?: number;
  /** How many targets counted. */
  readonly count: number;
}

/** Evaluates on the same data each time. */
export type Evaluator<P> = (params: P, frozen?: unknown) => Promise<Evaluation>;

/**
 * A function that gives the loss over all of some batches, with the perplexity and, where the loss says what was
 * predicted, the accuracy. Batches weigh as much as what counts in them. Dropout is off.
 *
 * @throws ValueError for batches without a number or with none, and where nothing counts.
 * @example
 * const { loss, perplexity } = await evaluator(loss, batches)(params);
 */
export function evaluator<P, B>(
  loss: Loss<P, B>,
  batches: Batches<B>,
  options: Pick<CompileOptions, "device" | "gang"> = {},
): Evaluator<P> {
  const count = placesOf("evaluate", batches);
  const look = compiled((own: P, frozen: unknown, batch: B) => {
    const { sum, count, correct } = termsOf(loss(tree.combine<P>(frozen, own), batch, {}));
    return together([sum, count, ...(correct ? [correct] : [])]);
  }, options);
  return async (params, frozen = {}) => {
    const total = { loss: 0, count: 0, correct: 0 };
    let says = false;
    for (let i = 0; i < count; i++) {
      const seen = await look(params, frozen, await batches.at(i));
      const [sum = 0, counted = 0, correct] = await seen.data();
      seen.dispose();
      total.loss += counted === 0 ? 0 : sum;
      total.count += counted;
      total.correct += correct ?? 0;
      says = correct !== undefined;
    }
    if (total.count === 0)
      throw new ValueError(
        "evaluate: no target counts in any of the batches, so there is no mean. Is everything masked or cut off?",
      );
    const mean = total.loss / total.count;
    return {
      loss: mean,
      perplexity: Math.exp(mean),
      ...(says && { accuracy: total.correct / total.count }),
      count: total.count,
    };
  };
}
