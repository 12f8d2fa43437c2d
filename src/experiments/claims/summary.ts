import { type Column, table } from "../../base/table.ts";
import { judgedConfidence } from "../exponents/judge.ts";
import type { Interval } from "../exponents/statistics.ts";
import type { Claim } from "./claim.ts";
import { type Result, sourceOf } from "./run.ts";
import { type Axis, type Check, describeExpectation, type Outcome } from "./verdict.ts";

/** A claim with everything that was found, as lines of text. */
export function describeResult(result: Result): string {
  const { id, source, statement, verdict, how, checks, outcomes, seed, seeds, seconds, later, plan } = result;
  const head = [`${id}  ${verdict}`, `  source     ${source}`, `  statement  ${statement}`];
  if (!checks || !outcomes) {
    const rest = plan === undefined ? [] : [`  measure    ${plan}`];
    return [...head, `  reason     ${later}`, ...rest].join("\n");
  }
  const taken = axes.flatMap(([axis, words]) => (outcomes[axis] ? [`${words} ${outcomes[axis]}`] : []));
  const rows = table(checkColumns(checks)).replace(/^/gm, "  ");
  return [
    ...head,
    `  test       ${how}`,
    `  outcome    ${taken.join(", ")}`,
    `  run        seed ${seed}, ${seeds} repetitions, ${seconds!.toFixed(1)} s`,
    "",
    rows,
  ].join("\n");
}

const axes = [
  ["stated", "as stated"],
  ["setting", "in its own setting"],
  ["condition", "under a condition"],
  ["beside", "beside it"],
] as const satisfies readonly (readonly [Axis, string])[];

/** What was measured, and what was expected. */
export function checkColumns(checks: readonly (Check & { readonly outcome: Outcome })[]): Column[] {
  return [
    { title: "measured", cells: checks.map(({ what }) => what) },
    { title: "value", cells: checks.map(({ value }) => figure(value)), align: "right" },
    {
      title: "interval",
      cells: checks.map(({ interval, confidence = judgedConfidence }) =>
        interval ? describeInterval(interval, confidence) : "exact",
      ),
    },
    { title: "expected", cells: checks.map(({ expected }) => describeExpectation(expected)) },
    { title: "as expected", cells: checks.map(({ outcome }) => outcome) },
    { title: "taken", cells: checks.map(({ axis }) => axes.find(([name]) => name === axis)![1]) },
    { title: "which is", cells: checks.map(({ under }) => under ?? "") },
  ];
}

/** One line for each verdict with the number of claims it is on. */
export function tally(results: readonly Result[]): string {
  const counts = new Map<string, number>();
  for (const { verdict } of results) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
  return [...counts].map(([verdict, count]) => `${count} ${verdict}`).join(", ");
}

/** All claims, one a line, with whether they are tested here. */
export function list(claims: readonly Claim[]): string {
  const bySource = grouped(claims);
  return [...bySource]
    .map(
      ([source, own]) =>
        `${source}\n${own.map((claim) => `  ${claim.id.padEnd(6)} ${"test" in claim ? " " : "-"} ${claim.statement}`).join("\n")}`,
    )
    .join("\n\n");
}

function grouped(claims: readonly Claim[]): Map<string, Claim[]> {
  const groups = new Map<string, Claim[]>();
  for (const claim of claims) groups.set(sourceOf(claim), [...(groups.get(sourceOf(claim)) ?? []), claim]);
  return groups;
}

/** Where ends are not known, nothing is: of a single run, or of a rate that was best at an end of its grid. */
function describeInterval([low, high]: Interval, confidence: number): string {
  return Number.isNaN(low) ? "unknown" : `${figure(low)} to ${figure(high)} (${figure(100 * confidence)} %)`;
}

/** Four digits; counts in full. */
export function figure(x: number): string {
  if (Number.isInteger(x)) return String(x);
  return String(Number(x.toPrecision(4)));
}
