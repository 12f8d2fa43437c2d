import fc from "fast-check";
import { ValueError } from "../base/errors.ts";
import { factor, powerOfTwo } from "./arbitrary/values.ts";
import { type Awaitable, type Law, LawError, law } from "./law.ts";

/** The learning rate of an update, counted from 0. */
export type RateAt = (step: number) => Awaitable<number>;

/** A learning-rate schedule under test, of any library. */
export interface ScheduleUnderTest {
  /** The schedule of a run whose learning rate is `lr`. Called once for each run. */
  create(lr: number): RateAt;
  /** Updates that the laws look at. */
  readonly steps: number;
  /** The first rate as a share of `lr`, where it is promised: 0 for the usual warm-up. */
  readonly first?: number;
  /** The rate at update `steps` as a share of `lr`, where it is promised: the floor of a decay. */
  readonly last?: number;
  /** Largest rounding error, as a share of `lr`. Default 1e-9. */
  readonly tolerance?: number;
}

/**
 * The laws of a schedule: every rate is a number at least 0; a run with c times the learning rate has c times the
 * rate at each update, floor included (without that no gauge is exact); the rate depends on the update alone, not
 * on what was asked before; the ends are as promised.
 *
 * @throws ValueError for a number of steps that is not an integer >= 1.
 * @example
 * for (const { name, property } of laws.schedule(mine)) test(name, () => fc.assert(property));
 */
export function schedule(subject: ScheduleUnderTest): readonly Law[] {
  const { steps, tolerance = 1e-9 } = subject;
  if (!Number.isInteger(steps) || steps < 1)
    throw new ValueError(`laws.schedule: steps is ${String(steps)}; it is an integer >= 1.`);
  const lr = fc.constantFrom(1, 0.1, 3e-4);
  const at = fc.nat({ max: steps });

  const finite = law("finite", "0 <= rate(t) < infinity", fc.record({ lr, t: at }), async ({ lr, t }) => {
    const rate = await subject.create(lr)(t);
    if (!(rate >= 0 && rate < Infinity)) throw new LawError(`rate(${t}) is ${rate}.`);
  });

  const proportional = (name: string, statement: string, c: fc.Arbitrary<number>, allowed: number) =>
    law(name, statement, fc.record({ lr, t: at, c }), async ({ lr, t, c }) => {
      const expected = c * (await subject.create(lr)(t));
      const found = await subject.create(c * lr)(t);
      if (!(Math.abs(found - expected) <= allowed * c * lr))
        throw new LawError(
          `rate(${t}) is ${found} with lr ${c * lr}, expected ${expected}, ${c} times that of lr ${lr}.`,
        );
    });

  const pure = law(
    "depends on the step alone",
    "rate(t) is the same whatever was asked before, and in a fresh schedule",
    fc.record({ lr, asked: fc.array(at, { minLength: 1, maxLength: 4 }), t: at }),
    async ({ lr, asked, t }) => {
      const expected = await subject.create(lr)(t);
      const used = subject.create(lr);
      for (const before of asked) await used(before);
      const found = await used(t);
      if (!Object.is(found, expected))
        throw new LawError(
          `rate(${t}) is ${found} after ${asked.join(", ")}, and ${expected} when asked first.`,
        );
    },
  );

  const end = (name: string, t: number, share: number) =>
    law(name, `rate(${t}) = ${share} lr`, lr, async (lr) => {
      const found = await subject.create(lr)(t);
      if (!(Math.abs(found - share * lr) <= tolerance * lr))
        throw new LawError(`rate(${t}) is ${found} with lr ${lr}, expected ${share * lr}.`);
    });

  return [
    finite,
    proportional(
      "proportional to lr, bitwise",
      "rate(t; c lr) = c rate(t; lr) to the last bit, c = 2^i",
      powerOfTwo(40),
      0,
    ),
    proportional("proportional to lr", "rate(t; c lr) = c rate(t; lr)", factor(), tolerance),
    pure,
    ...(subject.first === undefined ? [] : [end("first rate", 0, subject.first)]),
    ...(subject.last === undefined ? [] : [end("last rate", steps, subject.last)]),
  ];
}
