import type { Tensor } from "../../tensor/tensor.ts";
import { valuesOf } from "./host.ts";
import type { Numbers } from "./numbers.ts";
import { type Problem, type Run, type Subject, slotsOf } from "./subject.ts";

/** Derivatives give powers; runs decide. Smooth functions differ by rounding, discovered irrational powers by more. */
const tolerance = 1e-9;

/** Powers of c to try: of the hyperparameters in update t, and of the slots. */
export interface Powers {
  readonly hyper: (name: string, t: number) => number;
  readonly state: (slot: string) => number;
}

/** An element that is not what the powers say. */
export interface Mismatch {
  /** The update, from 1; 0 for the initial state. */
  readonly update: number;
  /** "update", or the slot of the state. */
  readonly where: string;
  /** Row-major position in the tensor. */
  readonly element: number;
  /** The original run's number times its power of c. */
  readonly expected: number;
  readonly found: number;
}

export interface Verdict {
  readonly bitwise: boolean;
  /** Largest difference relative to the largest element of its tensor. */
  readonly deviation: number;
  /** The first difference above the tolerance. */
  readonly mismatch: Mismatch | undefined;
}

/** c to a power; exact for powers of two as long as the exponent of 2 is whole. */
function powerOf(c: number, exponent: number): number {
  const log = Math.log2(c);
  return Number.isInteger(log) ? 2 ** (log * exponent) : c ** exponent;
}

/** Runs the partner of a run at c, and compares every update and every state with it. */
export async function verify(
  subject: Subject,
  numbers: Numbers,
  problem: Problem,
  original: Run,
  powers: Powers,
  c: number,
): Promise<Verdict> {
  const scaled = new Map<number, Numbers>();
  const partnerAt = (t: number): Numbers => {
    const own = [...numbers].map(([name, value]): [string, number] => [
      name,
      value * powerOf(c, powers.hyper(name, t)),
    ]);
    const before = scaled.get(t) ?? scaled.get(t - 1);
    const same = before && own.every(([name, value]) => before.get(name) === value);
    scaled.set(t, same ? before : new Map(own));
    return scaled.get(t)!;
  };
  const { shape, start, gradients } = problem;
  const partner = await subject.run(
    { shape, start: start.map((x) => x * c), gradients: gradients.map((g) => g.map((x) => x / c)) },
    partnerAt,
  );
  let [bitwise, deviation] = [true, 0];
  let mismatch: Mismatch | undefined;
  const compare = (update: number, where: string, from: Tensor, to: Tensor | undefined, factor: number) => {
    const [a, b] = [valuesOf(from), to ? valuesOf(to) : []];
    let size = 0;
    for (let i = 0; i < a.length; i++) size = Math.max(size, Math.abs(a[i]! * factor));
    for (let i = 0; i < a.length; i++) {
      const [expected, found] = [a[i]! * factor, b[i] ?? Number.NaN];
      if (expected === found || (Number.isNaN(expected) && Number.isNaN(found))) continue;
      bitwise = false;
      const difference = Math.abs(expected - found) / size;
      if (!(difference <= deviation)) deviation = Number.isNaN(difference) ? Infinity : difference;
      if (!(difference <= tolerance)) mismatch ??= { update, where, element: i, expected, found };
    }
  };
  const compareStates = (update: number, from: Run["initial"], to: Run["initial"]) => {
    const others = slotsOf(to);
    for (const [slot, x] of slotsOf(from))
      compare(update, slot, x, others.get(slot), powerOf(c, powers.state(slot)));
  };
  compareStates(0, original.initial, partner.initial);
  for (const [i, moment] of original.moments.entries()) {
    compare(i + 1, "update", moment.update, partner.moments[i]!.update, c);
    compareStates(i + 1, moment.after, partner.moments[i]!.after);
  }
  return { bitwise, deviation, mismatch };
}
