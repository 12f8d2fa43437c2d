import { valuesOf } from "./host.ts";
import type { Numbers } from "./numbers.ts";
import { canMove, responseTo } from "./responses.ts";
import { type Problem, type Run, type Subject, sameUpdates } from "./subject.ts";

const insteadOfZero = [0.1, 0.5, 0.01, 1];
/** A response that differences resolve well. */
const wellSeen = 1e-2;

/**
 * Numbers at which every hyperparameter has an effect, if it has any, without those that cannot move; and the names
 * of those that act as thresholds only.
 */
export async function responsive(
  subject: Subject,
  numbers: Numbers,
  problem: Problem,
): Promise<{ readonly tried: Numbers; readonly thresholds: readonly string[] }> {
  const tried = new Map(numbers);
  const thresholds: string[] = [];
  for (const [name, value] of numbers) {
    let effect: Effect | undefined;
    for (const start of value === 0 ? insteadOfZero : [value])
      effect ??= await effectNear(start, subject, tried, name, problem);
    if (!effect) tried.delete(name);
    else if (effect.kind !== "none") tried.set(name, effect.value);
    if (effect?.kind === "threshold") thresholds.push(name);
  }
  return { tried, thresholds };
}

/** How a hyperparameter acts on a run, and the value at which that is seen. */
type Effect = { readonly kind: "smooth" | "threshold"; readonly value: number } | { readonly kind: "none" };

/** The effect that is seen best near a value; undefined where the hyperparameter cannot move. */
async function effectNear(
  start: number,
  subject: Subject,
  numbers: Numbers,
  name: string,
  problem: Problem,
): Promise<Effect | undefined> {
  let best: { value: number; response: number } | undefined;
  let first: Run | undefined;
  let jump: number | undefined;
  for (let i = 0; i <= 30; i++) {
    // 1, 8, 1/8, 64, 1/64, ...
    const value = start * 8 ** (i % 2 ? (i + 1) / 2 : -i / 2);
    const candidate = new Map(numbers).set(name, value);
    if (!canMove(subject, candidate, name)) continue;
    const run = await subject.run(problem, () => candidate);
    if (!allFinite(run)) continue;
    const response = await responseTo({ subject, run, numbers: candidate }, name);
    if (!best || response > best.response) best = { value, response };
    if (response > wellSeen) break;
    first ??= run;
    if (jump === undefined && !sameUpdates(first, run)) jump = value;
  }
  if (!best) return undefined;
  if (best.response > 0) return { kind: "smooth", value: best.value };
  return jump === undefined ? { kind: "none" } : { kind: "threshold", value: jump };
}

function allFinite({ moments }: Run): boolean {
  return moments.every(({ update }) => Array.from(valuesOf(update)).every(Number.isFinite));
}
