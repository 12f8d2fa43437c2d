import { judge } from "../exponents/judge.ts";
import type { Interval } from "../exponents/statistics.ts";
import { type Prediction, rivals } from "../exponents/theory.ts";

/** What a claim, or theory in its place, says about a number. */
export type Expectation =
  | { readonly equals: number }
  | { readonly between: Interval }
  /** In any of these intervals: alternatives, of which one explains the number. */
  | { readonly anyOf: readonly Interval[] }
  | { readonly above: number }
  | { readonly below: number }
  /** An exponent: the interval holds this one and none of its neighbours. */
  | { readonly theory: Prediction };

/**
 * As what a claim is taken: as the article states it, in the article's own setting, or under a condition. What is
 * measured beside the claim explains it, and has no part in the verdict.
 */
export type Axis = "stated" | "setting" | "condition" | "beside";

/** A measured number beside what is expected of it. */
export interface Check {
  readonly what: string;
  readonly value: number;
  /** Where the true value lies; left out for exact numbers. */
  readonly interval?: Interval;
  /** How sure the interval is. Default `judgedConfidence`. */
  readonly confidence?: number;
  readonly expected: Expectation;
  readonly axis: Axis;
  /** The setting, the condition, or what is explained. */
  readonly under?: string;
}

export type Outcome = "yes" | "no" | "undecided";

export type Verdict =
  | "holds"
  | "holds in its own setting"
  | "holds under a condition"
  | "contradicted"
  | "wrong"
  | "undecided";

/** Whether a claim comes out, taken in each of the ways in which it was tested. */
export type Outcomes = { readonly [A in Axis]?: Outcome };

/** Whether the number, wherever it lies in its interval, is as expected. */
export function outcome({ value, interval = [value, value], expected }: Check): Outcome {
  const [low, high] = interval;
  if (![low, high, value].every((x) => !Number.isNaN(x))) return "undecided";
  if ("theory" in expected) {
    const agreement = judge(interval, expected.theory);
    return agreement === "agrees" ? "yes" : agreement === "differs" ? "no" : "undecided";
  }
  const each = bounds(expected).map(([from, to, open]): Outcome => {
    const inside = (x: number) => (open ? x > from && x < to : x >= from && x <= to);
    if (inside(low) && inside(high)) return "yes";
    const apart = open ? high <= from || low >= to : high < from || low > to;
    return apart ? "no" : "undecided";
  });
  return each.includes("yes") ? "yes" : each.includes("undecided") ? "undecided" : "no";
}

/** All checks taken in one way have to come out. */
export function outcomes(checks: readonly Check[]): Outcomes {
  const found: { [A in Axis]?: Outcome } = {};
  for (const check of checks) {
    const both = [found[check.axis] ?? "yes", outcome(check)];
    found[check.axis] = both.includes("no") ? "no" : both.includes("undecided") ? "undecided" : "yes";
  }
  return found;
}

/**
 * The verdict on a claim. It holds if it comes out as stated. If it does not, it is wrong when it is one of
 * arithmetic; else it holds in its own setting, or under a condition, if it comes out there. It is contradicted if
 * that is not so either, or if it fails in its own setting. What cannot be told from the measurements is undecided.
 */
export function verdict(
  checks: readonly Check[],
  { arithmetic = false }: { readonly arithmetic?: boolean } = {},
): Verdict {
  const { stated, setting, condition } = outcomes(checks);
  if (setting === "no") return "contradicted";
  if (stated === "yes") return setting === "undecided" ? "undecided" : "holds";
  if (stated === "undecided") return "undecided";
  if (stated === "no" && arithmetic) return "wrong";
  if (setting) return setting === "yes" ? "holds in its own setting" : "undecided";
  if (condition === "yes") return "holds under a condition";
  return condition === "undecided" || !stated ? "undecided" : "contradicted";
}

type Bounds = readonly [from: number, to: number, open: boolean];

function bounds(expected: Exclude<Expectation, { readonly theory: Prediction }>): readonly Bounds[] {
  if ("equals" in expected) return [[expected.equals, expected.equals, false]];
  if ("between" in expected) return [[...expected.between, false]];
  if ("anyOf" in expected) return expected.anyOf.map(([from, to]): Bounds => [from, to, false]);
  if ("above" in expected) return [[expected.above, Number.POSITIVE_INFINITY, true]];
  return [[Number.NEGATIVE_INFINITY, expected.below, true]];
}

/** The expectation in words. */
export function describeExpectation(expected: Expectation): string {
  const digits = (x: number) => String(Number(x.toPrecision(4)));
  const range = ([from, to]: Interval) => `${digits(from)} to ${digits(to)}`;
  if ("equals" in expected) return `= ${expected.equals}`;
  if ("between" in expected) return range(expected.between);
  if ("anyOf" in expected) return expected.anyOf.map(range).join(" or ");
  if ("theory" in expected)
    return `${digits(expected.theory.exponent)}, not ${rivals(expected.theory).join(" or ")}`;
  return "above" in expected ? `> ${digits(expected.above)}` : `< ${digits(expected.below)}`;
}
