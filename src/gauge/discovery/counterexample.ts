import type { Attempt } from "./attempts.ts";
import type { Experiments } from "./experiments.ts";
import type { Counterexample } from "./findings.ts";
import type { Failure } from "./judge.ts";
import type { Scenario } from "./problems.ts";

/** The failure as a counterexample; with a single element, if there is one. */
export async function smallestCounterexample(
  experiments: Experiments,
  { powers }: Attempt,
  { scenario, c, mismatch }: Failure,
): Promise<Counterexample> {
  const { start, gradients } = scenario.problem;
  for (let i = 0; i < start.length; i++) {
    const alone: Scenario = {
      ...scenario,
      problem: {
        shape: [1, 1],
        start: start.slice(i, i + 1),
        gradients: gradients.map((gradient) => gradient.slice(i, i + 1)),
      },
    };
    const { mismatch: single } = await experiments.verify(alone, powers, c);
    if (single && single.update <= mismatch.update)
      return counterexampleOf({ scenario: alone, c, mismatch: single });
  }
  return counterexampleOf({ scenario, c, mismatch });
}

function counterexampleOf({ scenario: { name, problem }, c, mismatch }: Failure): Counterexample {
  const { expected, found, update } = mismatch;
  return {
    ...mismatch,
    c,
    relative: Math.abs(found - expected) / Math.abs(expected),
    gradients: problem.gradients.slice(0, update).map((gradient) => [...gradient]),
    scenario: name,
  };
}
