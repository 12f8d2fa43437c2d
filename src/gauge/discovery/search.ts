import { type Attempt, attempts } from "./attempts.ts";
import { smallestCounterexample } from "./counterexample.ts";
import type { Experiments } from "./experiments.ts";
import type { NoSymmetry, Symmetry } from "./findings.ts";
import { foundPowers } from "./foundPowers.ts";
import { type Failure, judge, type Success } from "./judge.ts";
import { equationsOf } from "./responses.ts";
import type { Equation } from "./solve.ts";
import { slotsOf } from "./subject.ts";
import { Unknowns } from "./unknowns.ts";
import { describeNone, describeSymmetry } from "./words.ts";

/** The first attempt that all runs confirm; else the last, with what speaks against it. */
export async function search(
  experiments: Experiments,
  thresholds: readonly string[],
  perUpdate: readonly string[],
): Promise<Symmetry | NoSymmetry> {
  const unknowns = await unknownsOf(experiments, perUpdate);
  const equations = await equationsByUpdate(experiments, unknowns);
  let last: { readonly attempt: Attempt; readonly failure: Failure } | undefined;
  for (const attempt of attempts(equations, unknowns, thresholds)) {
    const verdict = await judge(experiments, attempt);
    if (!("failure" in verdict)) return symmetry(experiments, unknowns, attempt, verdict);
    last = { attempt, failure: verdict.failure };
  }
  return none(experiments, unknowns, last!.attempt, last!.failure);
}

async function unknownsOf(experiments: Experiments, perUpdate: readonly string[]): Promise<Unknowns> {
  const { initial, moments } = await experiments.run(experiments.scenarios[0]!);
  // Where powers may be traded for one another, the learning rate keeps its value: it comes last.
  const hyper = [...experiments.numbers.keys()].sort((a, b) => Number(a === "lr") - Number(b === "lr"));
  return new Unknowns([...slotsOf(initial).keys()], hyper, moments.length, perUpdate);
}

/** By update: those of all scenarios that the powers must fit. */
async function equationsByUpdate(experiments: Experiments, unknowns: Unknowns): Promise<Equation[][]> {
  const { subject, numbers, scenarios } = experiments;
  const sets: Equation[][][] = [];
  for (const scenario of scenarios.filter(({ needs }) => needs === undefined))
    sets.push(await equationsOf({ subject, numbers, run: await experiments.run(scenario) }, unknowns));
  return Array.from({ length: unknowns.updates }, (_, i) => sets.flatMap((set) => set[i]!));
}

function symmetry(
  { subject, numbers }: Experiments,
  unknowns: Unknowns,
  { powers, open }: Attempt,
  success: Success,
): Symmetry {
  const found = foundPowers(powers, unknowns);
  const tried = Object.fromEntries(numbers);
  const result = { exists: true, optimizer: subject.name, ...found, ...success, open, tried } as const;
  return { ...result, text: describeSymmetry(result) };
}

async function none(
  experiments: Experiments,
  unknowns: Unknowns,
  attempt: Attempt,
  failure: Failure,
): Promise<NoSymmetry> {
  const { subject, numbers } = experiments;
  const closest = foundPowers(attempt.powers, unknowns);
  const counterexample = await smallestCounterexample(experiments, attempt, failure);
  const tried = Object.fromEntries(numbers);
  const result = { exists: false, optimizer: subject.name, closest, counterexample, tried } as const;
  return { ...result, text: describeNone(result) };
}
