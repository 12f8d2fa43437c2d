import type { OpenPower } from "./findings.ts";
import {
  type Equation,
  type Solution,
  simplest,
  slotUnknown,
  solve,
  solveMost,
  type Unknowns,
} from "./solve.ts";

/** Powers of c: of the hyperparameters in update t, and of the slots; undefined for a slot that nothing is known of. */
export interface Powers {
  readonly hyper: (name: string, t: number) => number;
  readonly state: (slot: string) => number | undefined;
}

/** Powers that runs have to confirm. */
export interface Attempt {
  readonly powers: Powers;
  /** The least exponent of 2 for which c to every power is a power of two; undefined if there is none. */
  readonly unit: number | undefined;
  /** What could as well have another power. */
  readonly open: readonly OpenPower[];
}

const openPowers = [1, -1, 2, -2, 3, -3, 4, -4];

/**
 * Attempts, the likeliest first, from the equations of each update; the last one fits the most updates. Equations of
 * the optimizer without rounding to whole numbers, which a quantised state needs, are asked for where the others fail.
 */
export async function* attempts(
  equations: readonly (readonly Equation[])[],
  unrounded: () => Promise<readonly (readonly Equation[])[]>,
  unknowns: Unknowns,
): AsyncGenerator<Attempt> {
  const seen = new Set<string>();
  const fresh = (all: readonly Attempt[]) =>
    all.filter((attempt) => {
      const text = textOf(attempt, unknowns);
      return seen.has(text) ? false : seen.add(text);
    });
  const whole = solve(equations.flat(), unknowns.names);
  yield* fresh(attemptsOf(equations.flat(), whole, unknowns));

  // What the equations leave open, runs may decide: they go where derivatives did not look.
  for (const { name } of openOf(whole, unknowns)) {
    for (const power of openPowers) {
      const coefficients = new Map([[unknowns.at(name, 1), 1]]);
      const fixed = { coefficients, right: power, size: Math.abs(power) };
      yield* fresh([attemptOf(solve([...equations.flat(), fixed], unknowns.names), unknowns)]);
    }
  }

  const others = (await unrounded()).flat();
  if (others.length > 0) yield* fresh(attemptsOf(others, solve(others, unknowns.names), unknowns));

  let longest = whole;
  for (let updates = unknowns.updates - 1; updates > 0 && !longest.consistent; updates--)
    longest = solve(equations.slice(0, updates).flat(), unknowns.names);
  yield toHalves(attemptOf(longest, unknowns));
}

/** What fits all equations best, what fits most of them, and both to the nearest half. */
function attemptsOf(equations: readonly Equation[], best: Solution, unknowns: Unknowns): Attempt[] {
  const open = openOf(best, unknowns);
  const exact = { ...attemptOf(best, unknowns), open };
  if (best.consistent && exact.unit !== undefined) return [exact];
  const most = { ...attemptOf(solveMost(equations, unknowns.names), unknowns), open };
  return best.consistent ? [exact, toHalves(exact)] : [most, toHalves(most), exact, toHalves(exact)];
}

function textOf({ powers }: Attempt, unknowns: Unknowns): string {
  const hyper = unknowns.hyper.flatMap((name) => unknowns.of(name).map((_, i) => powers.hyper(name, i + 1)));
  return [...hyper, ...unknowns.slots.map(powers.state)].join();
}

function attemptOf({ values, open }: Solution, unknowns: Unknowns): Attempt {
  const simple = new Map([...values].map(([name, value]) => [name, simplest(value)]));
  const unit = [...simple.values()].reduce<number | undefined>(
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
      hyper: (name, t) => simple.get(nearest(name, Math.min(t, unknowns.updates)))?.value ?? 0,
      state: (slot) => simple.get(slotUnknown(slot))?.value ?? siblingPower(slot, simple),
    },
    unit,
    open: [],
  };
}

/** The power of the other items of a list that grew: one, if all have the same. */
function siblingPower(
  slot: string,
  powers: ReadonlyMap<string, { readonly value: number }>,
): number | undefined {
  const pattern = listPattern(slotUnknown(slot));
  const own = [...powers].filter(([name]) => listPattern(name) === pattern).map(([, { value }]) => value);
  return own.every((value) => value === own[0]) ? own[0] : undefined;
}

/** A path with a star for each index. */
export function listPattern(path: string): string {
  return path.replace(/(^|\.)\d+(?=\.|$)/g, "$1*");
}

/** Powers of a fit that does not hold, as the nearest half: c to them is exact. */
function toHalves(attempt: Attempt): Attempt {
  const { powers, unit } = attempt;
  if (unit !== undefined && unit <= 2) return attempt;
  const half = (x: number) => Math.round(2 * x) / 2;
  return {
    ...attempt,
    powers: {
      hyper: (name, t) => half(powers.hyper(name, t)),
      state: (slot) => {
        const power = powers.state(slot);
        return power === undefined ? undefined : half(power);
      },
    },
    unit: 2,
  };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

/** Hyperparameters that the equations leave open in every update. */
function openOf({ open }: Solution, unknowns: Unknowns): OpenPower[] {
  return unknowns.hyper.flatMap((name) => {
    const own = unknowns.of(name);
    return own.every((unknown) => open.has(unknown)) ? [{ name, along: open.get(own[0]!)! }] : [];
  });
}
