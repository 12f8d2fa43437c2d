import { ValueError } from "../../base/errors.ts";
import type { Optimizer } from "../../optim/optimizer.ts";
import type { Fault } from "./findings.ts";
import { type Outside, valuesOf } from "./host.ts";
import type { Numbers } from "./hyper.ts";
import type { Problem, Scenario } from "./problems.ts";
import { Misuse, type Moment, type Run, Subject, sameUpdates, slotsOf } from "./subject.ts";

/** An optimizer of the library is made again for other numbers, so nothing else may act on it. */
export async function checkAlone(
  optimizer: Optimizer,
  subject: Subject,
  numbers: Numbers,
  problem: Problem,
): Promise<void> {
  const given = new Subject({ make: () => optimizer, name: optimizer.name, numbers, others: {} });
  const expected = await subject.run(problem, () => numbers);
  const found = await given.run(problem, () => numbers).catch(() => undefined);
  if (found && sameUpdates(found, expected)) return;
  throw new ValueError(
    `discoverSymmetry: the optimizer is not ${optimizer.name} with its hyperparameters alone: groups, a schedule or a wrapper act on it too. Pass a function that makes all of it, and the hyperparameters: discoverSymmetry((hyper) => ..., { hyper }).`,
  );
}

const day = 24 * 3600 * 1000;
const unsound: Fault = "is not a function of its inputs";

/**
 * Checks that an optimizer is a function of its hyperparameters, gradients, state and parameters, and finite where
 * rounding decides nothing.
 *
 * @throws Misuse with what it gave instead.
 */
export async function checkSound(
  subject: Subject,
  numbers: Numbers,
  scenarios: readonly Scenario[],
): Promise<void> {
  for (const { problem, name, generic } of scenarios) {
    if (!generic) continue;
    const base: Outside = { random: 0.25, time: 1.8e12 };
    const run = (around = base) => subject.run(problem, () => numbers, { around });
    const once = await run();
    checkFinite(once, name, numbers);
    const differs = (other: Run, fault: Fault, when: string) => compare(once, other, fault, numbers, when);
    differs(await run(), unsound, "when the same was asked again. Keep all that changes in the state");
    differs(
      await run({ ...base, random: 0.75 }),
      "draws random numbers",
      "when Math.random gave 0.75 in place of 0.25. Draw from a key in the state (lorantz's random.key)",
    );
    differs(
      await run({ ...base, time: base.time + 400.3 * day }),
      "depends on the time",
      "with the clock 400 days ahead. Count updates in the state",
    );
    // One optimizer that is used twice, and backwards: what it keeps outside the state shows.
    const made = subject.make(numbers);
    const reused = { made, around: base };
    await subject.run(problem, () => numbers, reused);
    const second = await subject.run(problem, () => numbers, reused);
    differs(second, unsound, "when the optimizer had been used before. Keep all that changes in the state");
    const backwards: Moment[] = [];
    for (const { gradients, before, parameters } of [...once.moments].reverse())
      backwards.unshift(
        await subject.moment(made, problem.tensors, gradients, before, parameters, { around: base }),
      );
    differs(
      { ...once, moments: backwards },
      unsound,
      "when later updates had been asked for before. Keep all that changes in the state",
    );
  }
}

/** @throws Misuse naming the first number that two runs do not share. */
function compare(a: Run, b: Run, fault: Fault, numbers: Numbers, when: string): void {
  for (const [t, { updates }] of a.moments.entries()) {
    for (const [i, update] of updates.entries()) {
      const [x, y] = [valuesOf(update), valuesOf(b.moments[t]!.updates[i]!)];
      const at = Array.from(x).findIndex((value, j) => !Object.is(value, y[j]));
      if (at >= 0)
        throw new Misuse(
          fault,
          `element ${at} of update ${t + 1} was ${x[at]}, and ${y[at]} ${when}`,
          numbers,
        );
    }
  }
}

function checkFinite({ moments }: Run, scenario: string, numbers: Numbers): void {
  for (const [i, { updates, after }] of moments.entries()) {
    for (const [where, x] of [...updates.map((u) => ["update", u] as const), ...slotsOf(after)]) {
      const values = valuesOf(x);
      const at = Array.from(values).findIndex((value) => !Number.isFinite(value));
      if (at >= 0)
        throw new Misuse(
          "is not finite",
          `update ${i + 1} returns ${values[at]} at element ${at} of ${where === "update" ? "the update" : `the state ${where}`}, for ${scenario}. Use hyperparameters with which it is finite`,
          numbers,
        );
    }
  }
}
