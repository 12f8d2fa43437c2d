import type { Interval } from "./statistics.ts";

/** Whether a measured exponent is the one that theory derives. */
export type Agreement = "agrees" | "differs" | "undecided";

/** Theory's exponents are those of the limit; sizes that can be measured may be this far from it ... */
const finiteSize = 0.1;

/** ... and since they are multiples of 1/2, a wider interval than this to each side decides nothing. */
const widest = 0.25;

/** Compares the interval of a measured exponent with theory's. */
export function judge([low, high]: Interval, theory: number): Agreement {
  if (!((high - low) / 2 <= widest)) return "undecided";
  const distance = Math.max(low - theory, theory - high, 0);
  return distance <= finiteSize ? "agrees" : "differs";
}
