import { isFloat, unitOf } from "../../base/dtype.ts";
import { generator } from "../../base/generator.ts";
import type { OptimizerState } from "../../optim/optimizer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Attempt, Powers } from "./attempts.ts";
import type { Counterexample, Looked, Mismatch, Range, Symmetry } from "./findings.ts";
import { lostIn, roundsIn, valuesOf } from "./host.ts";
import type { Numbers } from "./hyper.ts";
import { lateUpdates, type Problem, type Scenario, showShape } from "./problems.ts";
import { countersOf, Misuse, type Run, type Subject, setAhead, slotsOf } from "./subject.ts";

/** Relative to the largest element of a tensor: what rounding makes of powers of two, and of other factors. */
const tolerance = { exact: 1e-11, other: 1e-9 };
/** How much more than the optimizer's own rounding a difference may be, and how much at most to say anything. */
const amplified = 2 ** 10;
const telling = 1e-3;

/** A run in parts: from the start, and from each late update to which its counters are set ahead. */
interface Legs {
  readonly main: Run;
  readonly late: ReadonlyMap<number, Run>;
}

/** How a partner compares with its run. */
interface Verdict {
  readonly bitwise: boolean;
  /** Largest difference relative to the largest element of its tensor. */
  readonly deviation: number;
  /** The first difference above the tolerance. */
  readonly mismatch?: Mismatch;
  /** The first update that the run itself makes NaN or infinite. */
  readonly notFinite?: number;
  /** The optimizer's words, where it takes no such hyperparameters. */
  readonly refused?: string;
  /** Where a number left the range of its dtype: nothing follows from a mismatch then. */
  readonly lost?: string;
}

/** Where powers fail. */
export interface Failure {
  readonly scenario: Scenario;
  readonly c: number;
  readonly mismatch: Mismatch;
  /** How many runs agreed before. */
  readonly agreed: number;
}

/** How well powers hold, and under which conditions. */
export type Success = Pick<Symmetry, "bitwise" | "deviation" | "needs">;

/** An optimizer in every scenario; what is asked again is not run again. */
export class Experiments {
  readonly subject: Subject;
  /** The numbers to look at it with, and those that were given. */
  readonly numbers: Numbers;
  readonly given: Numbers;
  readonly scenarios: readonly Scenario[];
  readonly #legs = new Map<Scenario, Promise<Legs>>();
  readonly #sensitivities = new Map<Scenario, Promise<number>>();
  readonly #couples = new Map<string, Promise<boolean>>();
  readonly #extremes = {
    gradients: [Infinity, 0] as [number, number],
    parameters: [Infinity, 0] as [number, number],
    factors: [Infinity, 0] as [number, number],
  };
  readonly #limits = new Set<string>();
  readonly #late = new Set<number>();
  #updates = 0;

  constructor(subject: Subject, numbers: Numbers, given: Numbers, scenarios: readonly Scenario[]) {
    this.subject = subject;
    this.numbers = numbers;
    this.given = given;
    this.scenarios = scenarios;
  }

  /** The run of a scenario from its start. */
  async run(scenario: Scenario): Promise<Run> {
    return (await this.#original(scenario)).main;
  }

  /** Whether the optimizer rounds to whole numbers. */
  async rounds(): Promise<boolean> {
    const made = this.subject.make(this.numbers);
    for (const scenario of this.scenarios.filter(({ equations }) => equations > 0)) {
      const { tensors, moments } = await this.run(scenario);
      const { gradients, before, parameters } = moments[0]!;
      if (roundsIn(this.subject.update(made, tensors, gradients, before, parameters))) return true;
    }
    return false;
  }

  numbersOf({ given }: Scenario): Numbers {
    // Those that cannot move are not among the numbers: they are as the function has them.
    return given ? new Map([...this.given].filter(([name]) => this.numbers.has(name))) : this.numbers;
  }

  /** Experiments with some of the scenarios. */
  only(keep: (scenario: Scenario) => boolean): Experiments {
    return new Experiments(this.subject, this.numbers, this.given, this.scenarios.filter(keep));
  }

  /** What was looked at so far. */
  looked(): Pick<Looked, "updates" | "gradients" | "parameters" | "factors" | "limits" | "late"> {
    const { gradients, parameters, factors } = this.#extremes;
    return {
      updates: this.#updates,
      gradients: [...gradients] as Range,
      parameters: [...parameters] as Range,
      factors: [...factors] as Range,
      limits: [...this.#limits],
      late: [...this.#late],
    };
  }

  /** Tries powers on every scenario: by powers of two, and by others where rounding turns no sign. */
  async judge({ powers, unit }: Attempt): Promise<Success | { readonly failure: Failure }> {
    let [bitwise, deviation, verified] = [unit !== undefined, 0, 0];
    let refused: string | undefined;
    const needs = new Set<string>();
    if (await this.#anyCouples())
      needs.add("one factor c for all parameters, since a tensor's update depends on the others");
    for (const scenario of this.scenarios) {
      const exact = unit === undefined ? [] : exactFactors(scenario.exponents, unit);
      const others = otherFactors(scenario, unit);
      const stopped = new Set<boolean>();
      for (const c of [...exact, ...others]) {
        // Further on the same side more numbers would leave their range.
        if (stopped.has(c > 1)) continue;
        const verdict = await this.#verify(scenario, powers, c, exact.includes(c));
        if (verdict.refused !== undefined) {
          refused ??= verdict.refused;
          continue;
        }
        if (!verdict.bitwise && verdict.lost !== undefined) {
          this.#limits.add(`c = ${showFactor(c)}: ${verdict.lost} leaves its range`);
          stopped.add(c > 1);
          continue;
        }
        if (verdict.mismatch) {
          if (scenario.needs !== undefined) {
            needs.add(scenario.needs);
            break;
          }
          if (exact.includes(c) || !bitwise)
            return { failure: { scenario, c, mismatch: verdict.mismatch, agreed: verified } };
          needs.add(
            `a c that is a power of two, for which all bits agree: at c = ${c} numbers differ by ${verdict.deviation.toExponential(1)} of the largest, which rounding of the inputs does not explain`,
          );
          continue;
        }
        if (!verdict.bitwise && verdict.deviation > telling) {
          this.#limits.add(
            `c = ${showFactor(c)} for ${scenario.name}: rounding the inputs changes the run itself as much`,
          );
          continue;
        }
        verified++;
        if (exact.includes(c)) bitwise &&= verdict.bitwise;
        deviation = Math.max(deviation, verdict.deviation);
        await this.#note(scenario, c, verdict.notFinite);
      }
    }
    if (verified === 0)
      throw refused === undefined && this.#limits.size > 0
        ? new Misuse("is not finite", `no run says anything of powers: ${[...this.#limits][0]}`, this.numbers)
        : new Misuse("throws", refused ?? "no run with rescaled hyperparameters could be made", this.numbers);
    if (refused !== undefined) this.#limits.add(`some c: ${refused}`);
    return { bitwise, deviation, needs: [...needs] };
  }

  /** The failure as a counterexample; with a single element, if there is one. */
  async counterexample({ powers }: Attempt, { scenario, c, mismatch }: Failure): Promise<Counterexample> {
    const { tensors, start, gradients } = scenario.problem;
    const [tensor] = tensors;
    if (tensors.length === 1 && mismatch.update <= gradients.length) {
      const dims = tensor!.shape.map(() => 1);
      for (let i = 0; i < start[0]!.length; i++) {
        const one = (values: readonly Float64Array[]) => [values[0]!.slice(i, i + 1)];
        const problem: Problem = {
          tensors: [{ ...tensor!, shape: dims }],
          start: one(start),
          gradients: gradients.slice(0, mismatch.update).map(one),
        };
        const alone: Scenario = { ...scenario, problem, late: false };
        const { mismatch: single } = await this.#verify(alone, powers, c, true).catch(() => ({
          mismatch: undefined,
        }));
        if (single && single.update <= mismatch.update) return describe(alone, c, single);
      }
    }
    return describe(scenario, c, mismatch);
  }

  /** Compares the run of a scenario with its partner at c. */
  async #verify(scenario: Scenario, powers: Powers, c: number, exact: boolean): Promise<Verdict> {
    const original = await this.#original(scenario);
    const { problem } = scenario;
    const factors = problem.tensors.map(({ scaled }) => (scaled ? c : 1));
    const partnerProblem: Problem = {
      ...problem,
      start: problem.start.map((values, i) => values.map((x) => x * factors[i]!)),
      gradients: problem.gradients.map((own) => own.map((values, i) => values.map((x) => x / factors[i]!))),
    };
    const numbersAt = this.#partnerNumbers(scenario, powers, c);
    let partner: Legs;
    try {
      partner = await this.#run(
        partnerProblem,
        scenario.late ?? false,
        this.#partnerNumbers(scenario, powers, c),
      );
    } catch (error) {
      if (error instanceof Misuse) return { bitwise: true, deviation: 0, refused: error.message };
      throw error;
    }
    const comparison = new Comparison(powers, c, exact ? tolerance.exact : tolerance.other);
    comparison.runs(original.main, partner.main, factors, 0);
    for (const [t, run] of original.late) {
      const other = partner.late.get(t);
      if (other) comparison.runs(run, other, factors, t);
    }
    const { bitwise, deviation, mismatch, notFinite } = comparison;
    if (notFinite !== undefined && scenario.needs === undefined)
      this.#limits.add(`update ${notFinite} of ${scenario.name}, which the optimizer makes NaN or infinite`);
    const until = notFinite === undefined ? {} : { notFinite };
    if (bitwise) return { bitwise, deviation, ...until };
    // Cancellation amplifies rounding: as much as the run itself changes when its inputs are rounded.
    const rounding =
      mismatch && !exact && deviation <= amplified * (await this.#sensitivity(scenario)) ? true : !mismatch;
    // Where bits are lost at the end of the range, they say nothing of the powers.
    const far = Math.abs(Math.log2(c)) > 1.6 && (exact || !rounding);
    const last = mismatch?.update ?? problem.gradients.length;
    const lost = far ? await this.#lost(partner, numbersAt, last) : undefined;
    return {
      bitwise,
      deviation,
      ...until,
      ...(!rounding && mismatch && { mismatch }),
      ...(lost !== undefined && { lost }),
    };
  }

  #partnerNumbers(scenario: Scenario, powers: Powers, c: number): (t: number) => Numbers {
    let last: Numbers | undefined;
    return (t) => {
      const own = [...this.numbersOf(scenario)].map(([name, value]): [string, number] => [
        name,
        value * powerOf(c, powers.hyper(name, t)),
      ]);
      const same = last && own.every(([name, value]) => last!.get(name) === value);
      if (!same) last = new Map(own);
      return last!;
    };
  }

  #original(scenario: Scenario): Promise<Legs> {
    const known = this.#legs.get(scenario);
    if (known) return known;
    const numbers = this.numbersOf(scenario);
    const legs = this.#run(scenario.problem, scenario.late ?? false, () => numbers);
    this.#legs.set(scenario, legs);
    return legs;
  }

  async #run(problem: Problem, late: boolean, numbersAt: (t: number) => Numbers): Promise<Legs> {
    const main = await this.subject.run(problem, numbersAt);
    const legs = new Map<number, Run>();
    const counters = late ? countersOf(main) : [];
    const { after, parameters } = main.moments.at(-1)!;
    for (const t of counters.length > 0 ? lateUpdates : []) {
      const from: OptimizerState = setAhead(after, counters, t - main.moments.length);
      const ahead: Problem = {
        ...problem,
        start: parameters.map((x) => Float64Array.from(valuesOf(x))),
        gradients: problem.gradients.slice(0, 3),
      };
      try {
        legs.set(t, await this.subject.run(ahead, (i) => numbersAt(t + i), { from }));
      } catch (error) {
        if (!(error instanceof Misuse)) throw error; // a state that cannot be set ahead: not looked at
      }
    }
    return { main, late: legs };
  }

  /** How much a run changes when its inputs change in the last bit that its state keeps. */
  #sensitivity(scenario: Scenario): Promise<number> {
    const known = this.#sensitivities.get(scenario);
    if (known) return known;
    const measured = (async () => {
      const original = await this.#original(scenario);
      const draw = generator(7);
      const unit = narrowestUnit(original.main);
      const shaken = (values: Float64Array) => values.map((x) => x * (1 + (draw() < 0.5 ? -unit : unit)));
      const { problem } = scenario;
      const other = await this.#run(
        {
          ...problem,
          start: problem.start.map(shaken),
          gradients: problem.gradients.map((own) => own.map(shaken)),
        },
        false,
        () => this.numbersOf(scenario),
      );
      const comparison = new Comparison({ hyper: () => 0, state: () => 0 }, 1, Infinity);
      comparison.runs(
        original.main,
        other.main,
        problem.tensors.map(() => 1),
        0,
      );
      return comparison.deviation;
    })();
    this.#sensitivities.set(scenario, measured);
    return measured;
  }

  /** Where a run leaves the range of numbers, up to an update. */
  async #lost(
    { main, late }: Legs,
    numbersAt: (t: number) => Numbers,
    update: number,
  ): Promise<string | undefined> {
    for (const { tensors, moments } of [main, ...late.values()]) {
      for (const [i, { gradients, before, parameters }] of moments.slice(0, Math.max(1, update)).entries()) {
        const made = this.subject.make(numbersAt(i + 1));
        const lost = await lostIn(this.subject.update(made, tensors, gradients, before, parameters));
        if (lost !== undefined) return lost;
      }
    }
    return undefined;
  }

  async #anyCouples(): Promise<boolean> {
    for (const { problem } of this.scenarios) {
      if (problem.tensors.length > 1) continue;
      const shape = showShape(problem.tensors);
      const couples = this.#couples.get(shape) ?? this.#coupled(problem);
      this.#couples.set(shape, couples);
      if (await couples) return true;
    }
    return false;
  }

  /** Whether the update of a tensor depends on others that are trained with it. */
  async #coupled({ tensors, start, gradients }: Problem): Promise<boolean> {
    const updatesBeside = (factor: number) => {
      const beside = (values: readonly Float64Array[]) => [...values, values[0]!.map((x) => x * factor)];
      return this.subject.run(
        {
          tensors: [...tensors, { ...tensors[0]!, key: "beside" }],
          start: beside(start),
          gradients: gradients.slice(0, 3).map(beside),
        },
        () => this.numbers,
      );
    };
    try {
      const [small, large] = [await updatesBeside(1), await updatesBeside(1000)];
      return small.moments.some(({ updates }, t) => {
        const [x, y] = [valuesOf(updates[0]!), valuesOf(large.moments[t]!.updates[0]!)];
        return Array.from(x).some((value, i) => !Object.is(value, y[i]));
      });
    } catch (error) {
      if (error instanceof Misuse) return false; // it takes one tensor only
      throw error;
    }
  }

  async #note(scenario: Scenario, c: number, notFinite = Infinity): Promise<void> {
    const { gradients, parameters, factors } = this.#extremes;
    widen(factors, [c]);
    const { tensors, start, gradients: all } = scenario.problem;
    this.#updates = Math.max(this.#updates, Math.min(all.length, notFinite - 1));
    for (const [i, { scaled }] of tensors.entries()) {
      for (const by of scaled ? [1, c] : [1]) {
        for (const own of all) widen(gradients, own[i]!, 1 / by);
        widen(parameters, start[i]!, by);
      }
    }
    if (!scenario.late || notFinite <= all.length) return;
    for (const t of (await this.#original(scenario)).late.keys()) this.#late.add(t);
  }
}

/** Compares runs, update by update and slot by slot. */
class Comparison {
  bitwise = true;
  deviation = 0;
  mismatch: Mismatch | undefined;
  /** The first update that the original run itself makes NaN or infinite. */
  notFinite: number | undefined;
  readonly #powers: Powers;
  readonly #c: number;
  readonly #tolerance: number;

  constructor(powers: Powers, c: number, tolerance: number) {
    this.#powers = powers;
    this.#c = c;
    this.#tolerance = tolerance;
  }

  /** Runs whose updates are counted from `done`. */
  runs(original: Run, partner: Run, factors: readonly number[], done: number): void {
    if (done === 0) this.#states(0, original.initial, partner.initial);
    for (const [i, { updates, after }] of original.moments.entries()) {
      const other = partner.moments[i]!;
      const t = done + i + 1;
      if (updates.some((update) => Array.from(valuesOf(update)).some((x) => !Number.isFinite(x))))
        this.notFinite ??= t;
      updates.forEach((update, j) => {
        const where = updates.length > 1 ? `update of ${original.tensors[j]!.key}` : "update";
        this.#tensors(t, where, update, other.updates[j], factors[j]!);
      });
      this.#states(t, after, other.after);
    }
  }

  #states(t: number, from: OptimizerState, to: OptimizerState): void {
    const others = slotsOf(to);
    for (const [slot, x] of slotsOf(from)) {
      const power = this.#powers.state(slot);
      if (power !== undefined) this.#tensors(t, slot, x, others.get(slot), powerOf(this.#c, power));
    }
  }

  #tensors(update: number, where: string, from: Tensor, to: Tensor | undefined, factor: number): void {
    const [a, b] = [valuesOf(from), to ? valuesOf(to) : []];
    let size = 0;
    for (let i = 0; i < a.length; i++) size = Math.max(size, Math.abs(a[i]! * factor));
    for (let i = 0; i < a.length; i++) {
      const [expected, found] = [a[i]! * factor, b[i] ?? Number.NaN];
      if (expected === found || (Number.isNaN(expected) && Number.isNaN(found))) continue;
      this.bitwise = false;
      const difference = Math.abs(expected - found) / size;
      if (!(difference <= this.deviation)) this.deviation = Number.isNaN(difference) ? Infinity : difference;
      if (!(difference <= this.#tolerance)) this.mismatch ??= { update, where, element: i, expected, found };
    }
  }
}

/** c to a power; exact for powers of two as long as the exponent of 2 is whole. */
function powerOf(c: number, exponent: number): number {
  const log = Math.log2(c);
  return Number.isInteger(log) ? 2 ** (log * exponent) : c ** exponent;
}

/** Powers of two whose exponents are near the given ones, and multiples of a unit. */
function exactFactors(exponents: readonly number[], unit: number): number[] {
  const multiples = exponents.map((k) => {
    // Near ones are counted in units; far ones are rounded to them.
    const own = Math.abs(k) < 10 ? k * unit : Math.sign(k) * Math.round(Math.abs(k) / unit) * unit;
    return Math.abs(own) <= 260 || Math.abs(k) === 1 ? own : 0;
  });
  return [...new Set(multiples)].filter((k) => k !== 0).map((k) => 2 ** k);
}

function otherFactors({ generic, exponents }: Scenario, unit: number | undefined): number[] {
  if (unit !== undefined) return generic ? [3, 0.7] : [];
  return exponents.some((k) => Math.abs(k) > 10) ? [1e9, 1e-9, 1e30, 1e-30] : [3, 0.7];
}

/** The distance from 1 to the next number of the narrowest dtype in the state; of float64 where there is no state. */
function narrowestUnit({ moments }: Run): number {
  const dtypes = [...slotsOf(moments.at(-1)!.after).values()].map(({ dtype }) => dtype).filter(isFloat);
  return Math.max(2 ** -52, ...dtypes.map(unitOf));
}

function describe({ name, problem }: Scenario, c: number, mismatch: Mismatch): Counterexample {
  const { expected, found, update } = mismatch;
  const flat = (own: readonly Float64Array[]) => own.flatMap((values) => [...values]);
  return {
    ...mismatch,
    c,
    relative: Math.abs(found - expected) / Math.abs(expected),
    gradients: problem.gradients.slice(0, update).map(flat),
    scenario: `${name}, shape ${showShape(problem.tensors)}`,
  };
}

function widen(range: [number, number], values: ArrayLike<number>, factor = 1): void {
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]! * factor);
    if (size === 0) continue;
    if (size < range[0]) range[0] = size;
    if (size > range[1]) range[1] = size;
  }
}

/** 2^-7 for powers of two, else the number. */
export function showFactor(c: number): string {
  const log = Math.log2(c);
  return Number.isInteger(log) ? `2^${log}` : String(c);
}
