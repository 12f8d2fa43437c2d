import fc from "fast-check";
import { LorantzError, messageOf } from "../base/errors.ts";

/** A value, or a promise of one: functions under test may be either. */
export type Awaitable<T> = T | Promise<T>;

/** A statement that must hold for every value that fast-check draws, ready for any test runner. */
export interface Law {
  /** Short, and the same from run to run: fit for the name of a test. */
  readonly name: string;
  /** What must hold, as a formula. */
  readonly statement: string;
  /** For `fc.assert`, or `fc.check`. */
  readonly property: fc.IAsyncProperty<[unknown]>;
}

/** What became of a law. */
export interface Verdict {
  readonly name: string;
  readonly holds: boolean;
  /** Statement, shrunk counterexample and seed, where it does not hold. */
  readonly message?: string;
  /** Draws that the subject refused, so that nothing is known of them. Missing where there were none. */
  readonly refused?: number;
}

/** A law that does not hold. The message names it, with what was found and what was expected. */
export class LawError extends LorantzError {
  override readonly name = "LawError";
}

/**
 * A law of one's own, in the form of those of this package.
 *
 * @param holds Throws, with what was found and what was expected, unless the statement holds for the value.
 * @example
 * law("scale", "f(2 x) = 2 f(x)", fc.double({ noNaN: true }), (x) => close("f(2 x)", f(2 * x), 2 * f(x)));
 */
export function law<T>(
  name: string,
  statement: string,
  values: fc.Arbitrary<T>,
  holds: (value: T) => Awaitable<void>,
): Law {
  const property = fc.asyncProperty(values as fc.Arbitrary<unknown>, async (value) => {
    try {
      await holds(value as T); // a value of `values`
    } catch (error) {
      if (fc.PreconditionFailure.isFailure(error)) throw error;
      const found = messageOf(error);
      throw new LawError(`${name}: ${statement}\n${found}`, { cause: error });
    }
  });
  return { name, statement, property };
}

/**
 * The result of a call that may be refused: where an unusual argument is answered by an error, the draw is left out
 * and counted (`Verdict.refused`), for to refuse is no wrong answer.
 */
export async function orRefused<T>(unusual: boolean, call: () => Awaitable<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    fc.pre(!unusual);
    throw error;
  }
}

/** Parameters of fast-check for a run: `numRuns`, `seed`, `path`, `verbose`, ... */
export type RunParameters = fc.Parameters<[unknown]>;

/**
 * Tries each law, one after the other, and says which hold. Does not throw for one that fails.
 *
 * @example
 * const broken = (await laws.run(laws.lora(layer))).filter(({ holds }) => !holds);
 */
export async function run(laws: readonly Law[], parameters: RunParameters = {}): Promise<Verdict[]> {
  const verdicts: Verdict[] = [];
  for (const { name, property } of laws) {
    const details = await fc.check(property, parameters);
    const message = details.failed ? await fc.asyncDefaultReportMessage(details) : undefined;
    verdicts.push({
      name,
      holds: !details.failed,
      ...(message !== undefined && { message: message + reason(details) }),
      ...(details.numSkips > 0 && { refused: details.numSkips }),
    });
  }
  return verdicts;
}

/**
 * Tries each law and throws if any fails: for scripts, and for a whole list in one test.
 *
 * @throws LawError with the message of each law that fails.
 * @example
 * await laws.check(laws.optimizer(mine), { numRuns: 20 });
 */
export async function check(laws: readonly Law[], parameters: RunParameters = {}): Promise<void> {
  const broken = (await run(laws, parameters)).filter(({ holds }) => !holds);
  if (broken.length === 0) return;
  throw new LawError(
    `${broken.length} of ${laws.length} laws do not hold.\n\n${broken.map(({ name, message }) => `${name}\n${message}`).join("\n\n")}`,
  );
}

/** fast-check's report gives the error as the cause of its own; here it is text. */
function reason(details: fc.RunDetails<[unknown]>): string {
  const { errorInstance } = details;
  return errorInstance instanceof Error ? `\n${errorInstance.message}` : "";
}
