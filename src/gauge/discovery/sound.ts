import { ValueError } from "../../base/errors.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import { sameValues, valuesOf } from "./host.ts";
import type { Numbers } from "./numbers.ts";
import type { Scenario } from "./problems.ts";
import { type Run, Subject, sameUpdates, slotsOf } from "./subject.ts";

/** An optimizer of the library is made again for other numbers, so nothing else may act on it. */
export async function checkAlone(
  optimizer: Optimizer,
  subject: Subject,
  numbers: Numbers,
  { problem }: Scenario,
): Promise<void> {
  const given = new Subject(() => optimizer, optimizer.name);
  const expected = await subject.run(problem, () => numbers);
  const found = await given.run(problem, () => numbers).catch(() => undefined);
  if (found && sameUpdates(found, expected)) return;
  throw new ValueError(
    `discoverSymmetry: the optimizer is not ${optimizer.name} with its hyperparameters alone: groups, a schedule or a wrapper act on it too. Pass a function that makes all of it, and the hyperparameters: discoverSymmetry((hyper) => ..., { hyper }).`,
  );
}

/** Where rounding decides nothing, results must be finite, and the same each time. */
export async function checkSound(
  subject: Subject,
  numbers: Numbers,
  scenarios: readonly Scenario[],
): Promise<void> {
  for (const { problem, name, generic } of scenarios) {
    if (!generic) continue;
    const run = await subject.run(problem, () => numbers);
    checkFinite(subject, run, name);
    const again = [await subject.run(problem, () => numbers), await subject.run(problem, () => numbers)];
    const same = again.every((other) => sameUpdates(run, other));
    if (!same || !(await repeats(subject, numbers, run)))
      throw new ValueError(
        `discoverSymmetry: ${subject.name} is not deterministic: the same gradients, state and parameters gave different results. Keep all that changes in the state, and draw random numbers from a key in it.`,
      );
  }
}

function checkFinite({ name }: Subject, { moments }: Run, scenario: string): void {
  for (const [i, { update, after }] of moments.entries()) {
    for (const [where, x] of [["update", update] as const, ...slotsOf(after)]) {
      const values = valuesOf(x);
      const at = Array.from(values).findIndex((value) => !Number.isFinite(value));
      if (at >= 0)
        throw new ValueError(
          `discoverSymmetry: update ${i + 1} of ${name} returns ${values[at]} at element ${at} of ${where === "update" ? "the update" : `the state ${where}`}, for ${scenario}. Use hyperparameters with which it is finite.`,
        );
    }
  }
}

/** Whether one optimizer gives the last update of a run time and again. */
async function repeats(subject: Subject, numbers: Numbers, run: Run): Promise<boolean> {
  const optimizer = subject.make(numbers);
  const { gradient, before, parameter, update } = run.moments.at(-1)!;
  for (let i = 0; i < 2; i++) {
    const again = await subject.update(optimizer, gradient, before, parameter);
    if (!sameValues(again.update, update)) return false;
  }
  return true;
}
