import type { OpenPower } from "./findings.ts";
import { type Equation, type Solution, simplest, solve } from "./solve.ts";
import { slotUnknown, type Unknowns } from "./unknowns.ts";
import type { Powers } from "./verify.ts";

/** Powers that runs have to confirm. */
export interface Attempt {
  readonly powers: Powers;
  /** The least exponent of 2 for which c to every power is a power of two; undefined if there is none. */
  readonly unit: number | undefined;
  /** What could as well have another power. */
  readonly open: readonly OpenPower[];
}

/** Powers of hyperparameters that are thresholds. */
type Guess = ReadonlyMap<string, number>;

const noGuess: Guess = new Map();
const openPowers = [1, -1, 2, -2, 3, -3, 4, -4];
const thresholdPowers = [0, 1, -1, 2, -2, 0.5, -0.5, 3, -3];

/** Attempts, the likeliest first, from the equations of each update; the last one fits the most updates. */
export function* attempts(
  equations: readonly (readonly Equation[])[],
  unknowns: Unknowns,
  thresholds: readonly string[],
): Generator<Attempt> {
  const solved = (rows: readonly Equation[]) => solve(rows, unknowns.names);
  const all = equations.flat();
  const whole = solved(all);

  // Thresholds have no derivative: try powers in turn, simplest first.
  for (const guess of guesses(thresholds))
    yield { ...attemptOf(whole, unknowns, guess), open: openOf(whole, unknowns, guess) };

  // What the equations leave open, runs may decide: they go where derivatives did not look.
  for (const { name } of openOf(whole, unknowns, noGuess)) {
    for (const power of openPowers) {
      const coefficients = new Map([[unknowns.at(name, 1), 1]]);
      const fixed = { coefficients, right: power, size: Math.abs(power) };
      yield attemptOf(solved([...all, fixed]), unknowns);
    }
  }

  let longest = whole;
  for (let updates = unknowns.updates - 1; updates > 0 && !longest.consistent; updates--)
    longest = solved(equations.slice(0, updates).flat());
  yield toHalves(attemptOf(longest, unknowns));
}

/** Every combination of powers for thresholds, those with small ones first. */
function guesses(thresholds: readonly string[]): readonly Guess[] {
  let all = [noGuess];
  // More than two would take too long; the others get 0.
  for (const name of thresholds.slice(0, 2))
    all = all.flatMap((guess) => thresholdPowers.map((power) => new Map(guess).set(name, power)));
  const size = (guess: Guess) => [...guess.values()].reduce((sum, power) => sum + Math.abs(power), 0);
  return all.sort((a, b) => size(a) - size(b));
}

function attemptOf({ values, open }: Solution, unknowns: Unknowns, guess = noGuess): Attempt {
  const simple = new Map([...values].map(([name, value]) => [name, simplest(value)]));
  const guessed = [...guess.values()].map(simplest);
  const unit = [...simple.values(), ...guessed].reduce<number | undefined>(
    (multiple, { denominator: d }) =>
      multiple === undefined || d === undefined ? undefined : leastCommonMultiple(multiple, d),
    1,
  );
  /** Where an update says nothing of a hyperparameter, the power of the nearest one that does. */
  const nearest = (name: string, t: number): string => {
    for (let distance = 0; distance < unknowns.updates; distance++) {
      for (const other of [t - distance, t + distance]) {
        const unknown = unknowns.at(name, other);
        if (other >= 1 && other <= unknowns.updates && !open.has(unknown)) return unknown;
      }
    }
    return unknowns.at(name, t);
  };
  return {
    powers: {
      hyper: (name, t) => guess.get(name) ?? simple.get(nearest(name, t))?.value ?? 0,
      state: (slot) => simple.get(slotUnknown(slot))?.value ?? 0,
    },
    unit,
    open: [],
  };
}

/** Powers of a fit that does not hold, as the nearest half: c to them is exact. */
function toHalves(attempt: Attempt): Attempt {
  const { powers, unit } = attempt;
  if (unit !== undefined) return attempt;
  const half = (x: number) => Math.round(2 * x) / 2;
  return {
    ...attempt,
    powers: { hyper: (name, t) => half(powers.hyper(name, t)), state: (slot) => half(powers.state(slot)) },
    unit: 2,
  };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

/** Hyperparameters, but those of the guess, that the equations leave open in every update. */
function openOf({ open }: Solution, unknowns: Unknowns, guess: Guess): OpenPower[] {
  return unknowns.hyper
    .filter((name) => !guess.has(name))
    .flatMap((name) => {
      const own = unknowns.of(name);
      return own.every((unknown) => open.has(unknown)) ? [{ name, along: open.get(own[0]!)! }] : [];
    });
}
