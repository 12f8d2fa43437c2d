import type { Interval } from "../exponents/statistics.ts";

/** What a claim, or theory in its place, says about a number. */
export type Expectation =
  | { readonly equals: number }
  | { readonly between: Interval }
  | { readonly above: number }
  | { readonly below: number };

/** A measured number beside what is expected of it. */
export interface Check {
  readonly what: string;
  readonly value: number;
  /** Where the true value lies; left out for exact numbers. */
  readonly interval?: Interval;
  readonly expected: Expectation;
  /** Missing where the claim is taken as it stands; else the condition under which this was measured. */
  readonly under?: string;
}

export type Outcome = "yes" | "no" | "undecided";

export type Verdict = "holds" | "holds under a condition" | "contradicted" | "undecided";

/** Whether the number, wherever it lies in its interval, is as expected. */
export function outcome({ value, interval = [value, value], expected }: Check): Outcome {
  const [low, high] = interval;
  if (![low, high, value].every((x) => !Number.isNaN(x))) return "undecided";
  const [from, to, open] = bounds(expected);
  const inside = (x: number) => (open ? x > from && x < to : x >= from && x <= to);
  if (inside(low) && inside(high)) return "yes";
  const apart = open ? high <= from || low >= to : high < from || low > to;
  return apart ? "no" : "undecided";
}

/**
 * The verdict on a claim. It holds if every check of it as it stands comes out; if one does not, it holds under a
 * condition when there are checks under conditions and all of these come out, and is contradicted otherwise.
 * What cannot be told from the measurements is undecided.
 */
export function verdict(checks: readonly Check[]): Verdict {
  const stated = outcomes(checks.filter(({ under }) => under === undefined));
  const conditional = outcomes(checks.filter(({ under }) => under !== undefined));
  if (checks.length === 0) return "undecided";
  if (stated.includes("no")) {
    if (conditional.length === 0 || conditional.includes("no")) return "contradicted";
    return conditional.includes("undecided") ? "undecided" : "holds under a condition";
  }
  if (stated.includes("undecided")) return "undecided";
  if (conditional.includes("no")) return "contradicted";
  if (conditional.includes("undecided")) return "undecided";
  return stated.length === 0 ? "holds under a condition" : "holds";
}

function outcomes(checks: readonly Check[]): Outcome[] {
  return checks.map(outcome);
}

function bounds(expected: Expectation): readonly [from: number, to: number, open: boolean] {
  if ("equals" in expected) return [expected.equals, expected.equals, false];
  if ("between" in expected) return [...expected.between, false];
  if ("above" in expected) return [expected.above, Number.POSITIVE_INFINITY, true];
  return [Number.NEGATIVE_INFINITY, expected.below, true];
}

/** The expectation in words. */
export function describeExpectation(expected: Expectation): string {
  if ("equals" in expected) return `= ${expected.equals}`;
  if ("between" in expected) return `${expected.between[0]} to ${expected.between[1]}`;
  return "above" in expected ? `> ${expected.above}` : `< ${expected.below}`;
}
