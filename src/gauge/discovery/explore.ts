import { type Experiment, responseTo, whyFixed } from "./equations.ts";
import { valuesOf } from "./host.ts";
import type { Numbers } from "./hyper.ts";
import type { Problem } from "./problems.ts";
import { Misuse, type Run, type Subject, sameUpdates } from "./subject.ts";

const insteadOfZero = [0.1, 0.5, 0.01, 1];
const insteadOfInfinity = [1, 0.1, 10];
/** A response that differences resolve well. */
const wellSeen = 1e-2;

/** Numbers to look at an optimizer with. */
export interface Explored {
  /** At which every hyperparameter has an effect, if it has any; without those that cannot move. */
  readonly tried: Numbers;
  /** Of those that have no derivative but act all the same: two values between which something happens. */
  readonly thresholds: ReadonlyMap<string, readonly [from: number, to: number]>;
  /** Why the others cannot move. */
  readonly untried: Readonly<Record<string, string>>;
}

/** Looks for numbers at which each hyperparameter is seen to act, on some problems. */
export async function explore(
  subject: Subject,
  numbers: Numbers,
  problems: readonly Problem[],
): Promise<Explored> {
  const tried = new Map(numbers);
  const thresholds = new Map<string, readonly [number, number]>();
  const untried: Record<string, string> = {};
  // Where zeros in gradients make it NaN, as without eps, the others tell.
  const ran = await Promise.all(problems.map((one) => finiteRuns(subject, numbers, [one])));
  const told = ran.some((runs) => runs) ? problems.filter((_, i) => ran[i]) : problems;
  const short = told.map((problem) => ({ ...problem, gradients: problem.gradients.slice(0, 4) }));
  // Twice: what acts only beside another, such as dampening beside momentum, acts once that was found.
  let idle = [...numbers.keys()];
  for (const on of [short, told]) {
    for (const name of idle) {
      const value = numbers.get(name)!;
      const starts = value === 0 ? insteadOfZero : Number.isFinite(value) ? [value] : insteadOfInfinity;
      let effect: Effect | undefined;
      for (const start of starts)
        if (effect === undefined || effect.kind === "none")
          effect = (await effectNear(start, subject, tried, name, on)) ?? effect;
      if (!effect) {
        untried[name] =
          (await whyFixed(subject, on[0]!, new Map(tried).set(name, starts[0]!), name)) ??
          "no run near it is finite";
        continue;
      }
      if (effect.kind !== "none") tried.set(name, effect.value);
      if (effect.kind === "threshold") thresholds.set(name, [effect.value, effect.other]);
      if (effect.kind !== "none") idle = idle.filter((other) => other !== name);
    }
    idle = idle.filter((name) => !(name in untried));
  }
  for (const name of Object.keys(untried)) tried.delete(name);
  return { tried, thresholds, untried };
}

/** How a hyperparameter acts, and the value at which that is seen. */
type Effect =
  | { readonly kind: "smooth"; readonly value: number }
  | { readonly kind: "threshold"; readonly value: number; readonly other: number }
  | { readonly kind: "none" };

/** The effect that is seen best near a value; undefined where the hyperparameter cannot move. */
async function effectNear(
  start: number,
  subject: Subject,
  numbers: Numbers,
  name: string,
  problems: readonly Problem[],
): Promise<Effect | undefined> {
  let best: { readonly value: number; readonly response: number } | undefined;
  let first: { readonly value: number; readonly runs: readonly Run[] } | undefined;
  let jump: { readonly value: number; readonly other: number } | undefined;
  let fixed = false;
  for (const [i, octaves] of [0, 1, 2, 3, 5, 8, 12, 17, 23, 30]
    .flatMap((k) => (k ? [k, -k] : [k]))
    .entries()) {
    const value = start * 8 ** octaves;
    const candidate = new Map(numbers).set(name, value);
    const refused = (await whyFixed(subject, problems[0]!, candidate, name)) !== undefined;
    if (i === 0) fixed = refused;
    // Near a bound, smaller values may do; large whole numbers only look as if they moved.
    if (refused || (fixed && Math.abs(value) > Math.abs(start))) continue;
    const runs = await finiteRuns(subject, candidate, problems);
    if (!runs) continue;
    let response = 0;
    for (const run of runs) {
      const experiment: Experiment = { subject, run, numbers: candidate, rounding: "never" };
      response = Math.max(response, await responseTo(experiment, name, run.moments.length));
      if (response > wellSeen) return { kind: "smooth", value };
    }
    if (!best || response > best.response) best = { value, response };
    first ??= { value, runs };
    if (!jump && !first.runs.every((run, j) => sameUpdates(run, runs[j]!)))
      jump = { value: first.value, other: value };
  }
  if (!best) return undefined;
  if (best.response > 0) return { kind: "smooth", value: best.value };
  return jump ? { kind: "threshold", ...jump } : { kind: "none" };
}

async function finiteRuns(
  subject: Subject,
  numbers: Numbers,
  problems: readonly Problem[],
): Promise<Run[] | undefined> {
  const runs: Run[] = [];
  for (const problem of problems) {
    try {
      runs.push(await subject.run(problem, () => numbers));
    } catch (error) {
      if (error instanceof Misuse) return undefined;
      throw error;
    }
  }
  const finite = runs.every(({ moments }) =>
    moments.every(({ updates }) => updates.every((x) => Array.from(valuesOf(x)).every(Number.isFinite))),
  );
  return finite ? runs : undefined;
}
