import { ownerOf } from "./hyper.ts";

/** The name of the power of a slot among the unknowns; hyperparameters go by their own names. */
export const slotUnknown = (slot: string) => `state ${slot}`;

/** The powers to find: one for each slot, and for each hyperparameter one in all or one in each update. */
export class Unknowns {
  readonly slots: readonly string[];
  /** Names of hyperparameters. Where powers may be traded for one another, the last ones are left at 0. */
  readonly hyper: readonly string[];
  readonly updates: number;
  readonly #perUpdate: readonly string[];

  constructor(
    slots: readonly string[],
    hyper: readonly string[],
    updates: number,
    perUpdate: readonly string[],
  ) {
    this.slots = slots;
    this.hyper = hyper;
    this.updates = updates;
    this.#perUpdate = perUpdate;
  }

  /** Whether the power of a hyperparameter may differ from update to update. */
  varies(name: string): boolean {
    return this.#perUpdate.some((own) => own === name || own === ownerOf(name) || name.startsWith(`${own}.`));
  }

  /** The unknown of a hyperparameter in update t, from 1; after the last one that of the last. */
  at(name: string, t: number): string {
    return this.varies(name) ? `${name} in update ${Math.min(t, this.updates)}` : name;
  }

  /** All unknowns of a hyperparameter. */
  of(name: string): readonly string[] {
    return this.varies(name) ? Array.from({ length: this.updates }, (_, i) => this.at(name, i + 1)) : [name];
  }

  /** All unknowns, in the order in which they are solved for. */
  get names(): readonly string[] {
    return [...this.slots.map(slotUnknown), ...this.hyper.flatMap((name) => this.of(name))];
  }
}

/** A linear equation: the sum of coefficient times unknown is `right`. */
export interface Equation {
  readonly coefficients: ReadonlyMap<string, number>;
  readonly right: number;
  /** The largest of the numbers that the equation is the sum of: what remains of it may be rounding. */
  readonly size: number;
}

/** The unknowns that fit equations best. */
export interface Solution {
  readonly values: ReadonlyMap<string, number>;
  /** Unknowns that the equations leave open, 0 here: each with those that must change along with it. */
  readonly open: ReadonlyMap<string, readonly string[]>;
  /** Whether all equations hold, up to the accuracy of differences. */
  readonly consistent: boolean;
}

// Equations are scaled to coefficients of at most 1, which differences give to about 1e-10.
const noEffect = 1e-8;
const dependent = 1e-6;
const agreement = 1e-5;

/**
 * Least squares by the modified Gram-Schmidt process, column by column in the order of `unknowns`: a column that
 * depends on earlier ones is left open.
 */
export function solve(equations: readonly Equation[], unknowns: readonly string[]): Solution {
  const rows = equations.filter(({ size }) => size > 0 && Number.isFinite(size));
  const column = (name: string) =>
    Float64Array.from(rows, ({ coefficients, size }) => (coefficients.get(name) ?? 0) / size);
  const basis: { name: string; direction: Float64Array; parts: Map<string, number>; length: number }[] = [];
  const open = new Map<string, Map<string, number>>();
  for (const name of unknowns) {
    const rest = column(name);
    const before = norm(rest);
    const parts = new Map<string, number>();
    for (const { name: other, direction } of basis) parts.set(other, removePart(rest, direction));
    const length = norm(rest);
    if (largest(column(name)) < noEffect || length < dependent * before) open.set(name, parts);
    else basis.push({ name, direction: rest.map((x) => x / length), parts, length });
  }
  const right = Float64Array.from(rows, (row) => row.right / row.size);
  const projections = basis.map(({ direction }) => removePart(right, direction));
  const values = backSubstitute(basis, projections);
  const along = [...open].map(([name, parts]): [string, string[]] => {
    const weights = backSubstitute(
      basis,
      basis.map((b) => parts.get(b.name) ?? 0),
    );
    return [name, [...weights].flatMap(([other, weight]) => (Math.abs(weight) > agreement ? [other] : []))];
  });
  for (const name of open.keys()) values.set(name, 0);
  return { values, open: new Map(along), consistent: largest(right) < agreement };
}

/** Below this, an equation holds as well as its rounding allows. */
const negligible = 1e-7;

/**
 * The unknowns that fit most equations: the sum of the deviations is least, not that of their squares, so that a few
 * equations that are wrong altogether have no say. By least squares with weights, again and again.
 */
export function solveMost(equations: readonly Equation[], unknowns: readonly string[]): Solution {
  const rows = equations.filter(({ size }) => size > 0 && Number.isFinite(size));
  let solution = solve(rows, unknowns);
  for (let i = 0; i < 20; i++) {
    const weighted = rows.map((row) => {
      const { coefficients, right, size } = row;
      let rest = right;
      for (const [name, coefficient] of coefficients) rest -= coefficient * (solution.values.get(name) ?? 0);
      return { ...row, size: size * Math.sqrt((Math.abs(rest) / size + negligible) / negligible) };
    });
    solution = solve(weighted, unknowns);
  }
  return solution;
}

function backSubstitute(
  basis: readonly {
    readonly name: string;
    readonly parts: ReadonlyMap<string, number>;
    readonly length: number;
  }[],
  projections: readonly number[],
): Map<string, number> {
  const values = new Map<string, number>();
  for (let i = basis.length - 1; i >= 0; i--) {
    const { name, length } = basis[i]!;
    let rest = projections[i]!;
    for (const later of basis.slice(i + 1)) rest -= later.parts.get(name)! * values.get(later.name)!;
    values.set(name, rest / length);
  }
  return values;
}

/** Subtracts the part of `x` along a direction of length 1, and returns how much it was. */
function removePart(x: Float64Array, direction: Float64Array): number {
  let part = 0;
  for (let i = 0; i < x.length; i++) part += x[i]! * direction[i]!;
  for (let i = 0; i < x.length; i++) x[i]! -= part * direction[i]!;
  return part;
}

function norm(x: Float64Array): number {
  return Math.hypot(...x);
}

function largest(x: Float64Array): number {
  return x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}

/** The simplest fraction near a number, with a denominator up to 12; the number itself where there is none. */
export function simplest(x: number): { readonly value: number; readonly denominator: number | undefined } {
  for (let denominator = 1; denominator <= 12; denominator++) {
    const numerator = Math.round(x * denominator);
    if (Math.abs(x - numerator / denominator) < agreement)
      return { value: numerator === 0 ? 0 : numerator / denominator, denominator };
  }
  return { value: x, denominator: undefined };
}
