import type { Attempt } from "./attempts.ts";
import type { Experiments } from "./experiments.ts";
import type { Symmetry } from "./findings.ts";
import type { Scenario } from "./problems.ts";
import type { Mismatch } from "./verify.ts";

/** Where powers fail. */
export interface Failure {
  readonly scenario: Scenario;
  readonly c: number;
  readonly mismatch: Mismatch;
}

/** How well powers hold, and under which conditions. */
export type Success = Pick<Symmetry, "bitwise" | "deviation" | "needs">;

/** Tries powers on every scenario: by powers of two, and by others where rounding turns no sign. */
export async function judge(
  experiments: Experiments,
  { powers, unit }: Attempt,
): Promise<Success | { readonly failure: Failure }> {
  let [bitwise, deviation] = [unit !== undefined, 0];
  const needs = (await experiments.couples())
    ? ["one factor c for all parameters, since a tensor's update depends on the others"]
    : [];
  for (const scenario of experiments.scenarios) {
    const exact = unit === undefined ? [] : [unit, -unit, 5 * unit, -7 * unit].map((k) => 2 ** k);
    const others = scenario.generic || unit === undefined ? [3, 0.7] : [];
    for (const c of [...exact, ...others]) {
      const verdict = await experiments.verify(scenario, powers, c);
      if (verdict.mismatch) {
        if (scenario.needs === undefined) return { failure: { scenario, c, mismatch: verdict.mismatch } };
        needs.push(scenario.needs);
        break;
      }
      if (exact.includes(c)) bitwise &&= verdict.bitwise;
      deviation = Math.max(deviation, verdict.deviation);
    }
  }
  return { bitwise, deviation, needs };
}
