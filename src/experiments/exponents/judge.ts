import type { Interval } from "./statistics.ts";
import { type Prediction, rivals } from "./theory.ts";

/** Whether a measured exponent is the one that theory derives. */
export type Agreement = "agrees" | "differs" | "undecided";

/** Confidence of the intervals that are judged: of a thousand that hold, one is said to differ. */
export const judgedConfidence = 0.999;

/**
 * Compares the interval of a measured exponent with theory's: it agrees if it holds the exponent that theory says and
 * tells it from those beside it, differs if it does not hold it, and decides nothing if it holds another one too.
 */
export function judge([low, high]: Interval, prediction: Prediction): Agreement {
  const holds = (x: number) => low <= x && x <= high;
  if (!(low <= high)) return "undecided";
  if (!holds(prediction.exponent)) return "differs";
  return rivals(prediction).some(holds) ? "undecided" : "agrees";
}
