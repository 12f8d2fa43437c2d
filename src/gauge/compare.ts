import type { Canonical, Invariant } from "./canonical.ts";
import { close } from "./close.ts";
import type { Comparison, FixedDifference } from "./explanation.ts";

// The one relation by which recipes are equal, used by equivalent, explain and dedupe: their canonical forms agree,
// names and flags as they are, numbers up to a relative difference.

/** What two canonical forms have to do with each other. */
export interface Compared {
  /** What no gauge changes and what differs there, or is in one form only. */
  readonly fixed: readonly FixedDifference[];
  readonly invariants: readonly Comparison[];
}

/**
 * Compares canonical forms. A constant that only one of them has, such as an eps or a decay, is 0 in the other;
 * any other number that only one has makes them forms of another kind.
 */
export function compare(x: Canonical, y: Canonical, tolerance: number): Compared {
  const fixed: FixedDifference[] = [];
  if (x.rule !== y.rule) fixed.push({ name: "optimizer", x: x.rule, y: y.rule });
  for (const name of new Set([...Object.keys(x.fixed), ...Object.keys(y.fixed)]))
    if (!alike(x.fixed[name], y.fixed[name], tolerance))
      fixed.push({ name, x: x.fixed[name], y: y.fixed[name] });
  const [ofX, ofY] = [byName(x), byName(y)];
  const invariants: Comparison[] = [];
  for (const name of new Set([...ofX.keys(), ...ofY.keys()])) {
    const [one, other] = [ofX.get(name), ofY.get(name)];
    const there = (one ?? other)!; // the name is of one of them
    if (one && other) invariants.push(compared(there, one.value, other.value, tolerance));
    else if (x.rule !== y.rule) continue;
    else if (there.kind === "constant")
      invariants.push(compared(there, one?.value ?? 0, other?.value ?? 0, tolerance));
    else fixed.push({ name: there.formula, x: one?.value, y: other?.value });
  }
  return { fixed, invariants };
}

/** Whether nothing differs. */
export function same({ fixed, invariants }: Compared): boolean {
  return fixed.length === 0 && invariants.every(({ equal }) => equal);
}

/** All that `compare` looks at, by name, with pairs taken apart: numbers, and other values as text. */
export function flatten({ rule, fixed, invariants }: Canonical): Map<string, number | string> {
  const result = new Map<string, number | string>([["optimizer", rule]]);
  const put = (name: string, value: unknown): void => {
    if (typeof value === "number") result.set(name, value);
    else if (Array.isArray(value)) for (const [i, each] of value.entries()) put(`${name}.${i}`, each);
    else result.set(name, String(value));
  };
  for (const [name, value] of Object.entries(fixed)) put(name, value);
  for (const { name, value } of invariants) put(name, value);
  return result;
}

function byName({ invariants }: Canonical): ReadonlyMap<string, Invariant> {
  return new Map(invariants.map((each) => [each.name, each]));
}

function alike(x: unknown, y: unknown, tolerance: number): boolean {
  if (typeof x === "number" && typeof y === "number") return close(x, y, tolerance);
  if (Array.isArray(x) && Array.isArray(y))
    return x.length === y.length && x.every((each, i) => alike(each, y[i], tolerance));
  return x === y;
}

function compared(
  { name, formula, kind }: Invariant,
  x: Invariant["value"],
  y: Invariant["value"],
  tolerance: number,
): Comparison {
  const [xs, ys] = [[x].flat(), [y].flat()];
  const equal = xs.length === ys.length && xs.every((value, i) => close(value, ys[i]!, tolerance));
  const ratios = xs.map((value, i) => (equal ? 1 : ys[i]! / value));
  const one = ratios.every((ratio) => ratio > 0 && ratio < Infinity && close(ratio, ratios[0]!, tolerance));
  return { name, formula, kind, x, y, ratio: one ? ratios[0]! : null, equal };
}
