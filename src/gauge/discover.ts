import { ValueError } from "../base/errors.ts";
import { isOptimizerName, make, type OptimizerConfig } from "../optim/make.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { valuesOf } from "./discovery/host.ts";
import { type Scenario, scenarios } from "./discovery/problems.ts";
import { canMove, equationsOf, responseTo, slotUnknown } from "./discovery/responses.ts";
import { type Equation, type Solution, simplest, solve } from "./discovery/solve.ts";
import { type Numbers, type Run, Subject, slotsOf } from "./discovery/subject.ts";
import { type Mismatch, type Powers, type Verdict, verify } from "./discovery/verify.ts";

export interface DiscoverOptions<H extends object> {
  /**
   * The hyperparameters with the values to try around; passed to the function that makes the optimizer. Numbers,
   * also those of pairs, get a power; whatever else is in it is left alone. Where a value is 0, or does nothing,
   * another is tried, since the powers do not depend on it.
   */
  readonly hyper: H;
  /** Hyperparameters whose power may differ from update to update, as a schedule's can. Default none. */
  readonly perUpdate: readonly (keyof H & string)[];
  /** Updates to look at; at least 2, default 12. What happens later only is not seen. */
  readonly updates: number;
}

/** A power that holds for some updates in a row. */
export interface Phase {
  readonly from: number;
  readonly to: number;
  readonly power: number;
}

/** A hyperparameter whose power the experiments leave open; 0 will do. */
export interface OpenPower {
  readonly name: string;
  /** Others that must change along with it if it is not 0; none where the hyperparameter has no effect. */
  readonly along: readonly string[];
}

/** The powers of c found for hyperparameters and state. */
export interface FoundPowers {
  /** By name; the two of a pair as one where they agree, else as `stepSizes.0` and `stepSizes.1`. */
  readonly hyper: Readonly<Record<string, number>>;
  /** For the names in `perUpdate`, which are not in `hyper`. */
  readonly phases: Readonly<Record<string, readonly Phase[]>>;
  /** By slot. */
  readonly state: Readonly<Record<string, number>>;
}

/** An optimizer that follows c theta exactly if its hyperparameters and state are multiplied by powers of c. */
export interface Symmetry extends FoundPowers {
  readonly exists: true;
  readonly optimizer: string;
  /** Whether every bit agreed for powers of two; else rounding differs, by `deviation` at most. */
  readonly bitwise: boolean;
  /** Largest difference for any c, relative to the largest element of the tensor. */
  readonly deviation: number;
  /** What parameters or gradients must be, where it does not hold for all. */
  readonly needs: readonly string[];
  readonly open: readonly OpenPower[];
  /** Values at which hyperparameters were tried. */
  readonly tried: Readonly<Record<string, number>>;
  /** All of it in words. */
  readonly text: string;
}

/** A run and its partner at c that part ways. */
export interface Counterexample extends Mismatch {
  readonly c: number;
  /** The gradients of the original run up to that update: all elements, one row for each update. */
  readonly gradients: readonly (readonly number[])[];
  /** |found - expected| / |expected|. */
  readonly relative: number;
  /** What kind of gradients these are. */
  readonly scenario: string;
}

/** An optimizer that no powers of c make follow c theta. */
export interface NoSymmetry {
  readonly exists: false;
  readonly optimizer: string;
  /** The powers that hold longest. */
  readonly closest: FoundPowers;
  /** How the run with these powers fails. */
  readonly counterexample: Counterexample;
  /** What does hold if one hyperparameter may have a power of its own in each update. */
  readonly perUpdate?: Symmetry;
  readonly tried: Readonly<Record<string, number>>;
  readonly text: string;
}

/** Derivatives give powers; runs decide. Smooth functions differ by rounding, discovered irrational powers by more. */
const tolerance = 1e-9;
const wholeTensor = [2, 3] as const;

/**
 * Finds by experiment how an optimizer's hyperparameters and state must scale, h' = c^p h, for it to make c theta
 * out of gradients g / c wherever it made theta out of g; or that no powers do that. It looks at nothing but what
 * `init` and `update` return: no declared rule. It needs no device.
 *
 * The update and the next state are homogeneous functions with a weight for each input exactly if Euler's identity
 * holds, which is linear in the weights. So the powers solve a linear system made of derivatives, measured by
 * differences at every element of some updates. Thresholds, which have no derivative, are searched for. Then runs
 * of the optimizer and its partner are compared, state and all, bit by bit for powers of two and up to rounding
 * for others, with random gradients, persistent ones, gradients of all sizes, and zeros in gradients and
 * parameters.
 *
 * Pass an optimizer of the library without groups and schedule, or a function from hyperparameters to any optimizer, with the hyperparameters
 * to look at.
 *
 * @throws ValueError for an optimizer that changes its inputs, is not deterministic, returns NaN or infinities, or
 *   is not of the library and no function; and what the function throws for the hyperparameters as they are.
 * @example
 * const found = await discoverSymmetry(adamw({ lr: 1e-3 }));
 * found.exists && found.hyper; // { lr: 1, eps: -1, weightDecay: -1, betas: 0 }
 * const mine = await discoverSymmetry((hyper) => myOptimizer(hyper), { hyper: { lr: 0.1, floor: 1e-3 } });
 * console.log(mine.text);
 */
export async function discoverSymmetry<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  options: Partial<DiscoverOptions<H>> = {},
): Promise<Symmetry | NoSymmetry> {
  const { updates = 12, perUpdate = [] } = options;
  if (!Number.isInteger(updates) || updates < 2)
    throw new ValueError(`discoverSymmetry: updates is ${String(updates)}; it is an integer >= 2.`);
  const { subject, numbers } = subjectOf(optimizer, options.hyper);
  for (const name of perUpdate) {
    if (![...numbers.keys()].some((own) => ownerOf(own) === name))
      throw new ValueError(
        `discoverSymmetry: perUpdate names ${name}, which is no number among the hyperparameters ${[...numbers.keys()].join(", ")}.`,
      );
  }
  const all = scenarios(updates, wholeTensor);
  if (typeof optimizer !== "function") await checkAlone(optimizer, subject, numbers, all[0]!);
  await checkSound(subject, numbers, all);
  const { tried, thresholds } = await responsive(subject, numbers, all);
  const search = new Search(subject, tried, thresholds, all);
  const found = await search.find(perUpdate);
  if (found.exists || perUpdate.length > 0) return found;
  for (const name of tried.keys()) {
    const phased = await search.find([name]);
    if (!phased.exists) continue;
    const text = `${found.text}\nIf ${name} may change from update to update, there is an exact rule:\n${phased.text}`;
    return { ...found, perUpdate: phased, text };
  }
  return found;
}

// Hyperparameters.

function subjectOf<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  given: H | undefined,
): { readonly subject: Subject; readonly numbers: Numbers } {
  if (typeof optimizer === "function") {
    if (typeof given !== "object" || given === null)
      throw new ValueError(
        "discoverSymmetry: given a function, it also takes the hyperparameters: { hyper: { lr: 0.1, ... } }.",
      );
    const { name } = optimizer(withNumbers(given, new Map()));
    return {
      subject: new Subject((numbers) => optimizer(withNumbers(given, numbers)), name),
      numbers: numbersOf(given),
    };
  }
  const { name, defaults } = optimizer;
  if (!isOptimizerName(name)) {
    throw new ValueError(
      `discoverSymmetry: ${JSON.stringify(name)} is no optimizer of the library. Pass a function that makes it, and the hyperparameters: discoverSymmetry((hyper) => optimizer(hyper), { hyper: { lr: 0.1 } }).`,
    );
  }
  const hyper = { ...(defaults as object), ...given };
  const of = (numbers: Numbers) =>
    make({ name, ...withNumbers(hyper, numbers) } as unknown as OptimizerConfig) as Optimizer; // its own defaults
  return { subject: new Subject(of, name), numbers: numbersOf(hyper) };
}

function numbersOf(hyper: object): Numbers {
  const found = new Map<string, number>();
  for (const [name, value] of Object.entries(hyper) as [string, unknown][]) {
    if (typeof value === "number") found.set(name, value);
    else if (Array.isArray(value))
      value.forEach((x: unknown, i) => {
        if (typeof x === "number") found.set(`${name}.${i}`, x);
      });
  }
  for (const [name, value] of found) {
    if (!Number.isFinite(value))
      throw new ValueError(
        `discoverSymmetry: the hyperparameter ${name} is ${value}; it is a finite number.`,
      );
  }
  return found;
}

/** The hyperparameters with other numbers; a copy, so that the function may do with it as it likes. */
function withNumbers<H extends object>(hyper: H, numbers: Numbers): H {
  const entries = Object.entries(hyper).map(([name, value]: [string, unknown]) => [
    name,
    Array.isArray(value)
      ? value.map((x: unknown, i) => numbers.get(`${name}.${i}`) ?? x)
      : (numbers.get(name) ?? value),
  ]);
  return Object.fromEntries(entries) as H; // the same names
}

function ownerOf(name: string): string {
  return name.replace(/\.\d+$/, "");
}

// Soundness.

/** An optimizer of the library is made again for other numbers, so nothing else may act on it. */
async function checkAlone(
  optimizer: Optimizer,
  subject: Subject,
  numbers: Numbers,
  { problem }: Scenario,
): Promise<void> {
  const given = new Subject(() => optimizer, optimizer.name);
  const expected = await subject.run(problem, () => numbers);
  const found = await given.run(problem, () => numbers).catch(() => undefined);
  if (found && sameRun(found, expected)) return;
  throw new ValueError(
    `discoverSymmetry: the optimizer is not ${optimizer.name} with its hyperparameters alone: groups, a schedule or a wrapper act on it too. Pass a function that makes all of it, and the hyperparameters: discoverSymmetry((hyper) => ..., { hyper }).`,
  );
}

async function checkSound(subject: Subject, numbers: Numbers, all: readonly Scenario[]): Promise<void> {
  const { name } = subject;
  for (const { problem, name: scenario, generic } of all) {
    if (!generic) continue;
    const run = await subject.run(problem, () => numbers);
    for (const [i, { update, after }] of run.moments.entries()) {
      for (const [where, x] of [["update", update] as const, ...slotsOf(after)]) {
        const at = Array.from(valuesOf(x)).findIndex((value) => !Number.isFinite(value));
        if (at >= 0)
          throw new ValueError(
            `discoverSymmetry: update ${i + 1} of ${name} returns ${valuesOf(x)[at]} at element ${at} of ${where === "update" ? "the update" : `the state ${where}`}, for ${scenario}. Use hyperparameters with which it is finite.`,
          );
      }
    }
    const optimizer = subject.make(numbers);
    const [first, again] = [
      await subject.run(problem, () => numbers),
      await subject.run(problem, () => numbers),
    ];
    const { gradient, before, parameter, ...once } = run.moments.at(-1)!;
    const twice = [];
    for (let i = 0; i < 2; i++) twice.push(await subject.update(optimizer, gradient, before, parameter));
    const same = [first, again].every((other) => sameRun(run, other));
    const differs = twice.some((other) => !sameValues(other.update, once.update));
    if (!same || differs)
      throw new ValueError(
        `discoverSymmetry: ${name} is not deterministic: the same gradients, state and parameters gave different results. Keep all that changes in the state, and draw random numbers from a key in it.`,
      );
  }
}

function sameRun(a: Run, b: Run): boolean {
  return a.moments.every(({ update }, i) => sameValues(update, b.moments[i]!.update));
}

function sameValues(a: Run["moments"][number]["update"], b: typeof a): boolean {
  const [x, y] = [valuesOf(a), valuesOf(b)];
  return Array.from(x).every((value, i) => Object.is(value, y[i]));
}

// Values at which every hyperparameter has an effect.

const insteadOfZero = [0.1, 0.5, 0.01, 1];
/** A response that differences resolve well. */
const wellSeen = 1e-2;

async function responsive(
  subject: Subject,
  numbers: Numbers,
  all: readonly Scenario[],
): Promise<{ readonly tried: Numbers; readonly thresholds: readonly string[] }> {
  const { problem } = all[0]!;
  let tried = numbers;
  const thresholds: string[] = [];
  const fixed: string[] = [];
  const runOf = async (candidate: Numbers, name: string): Promise<Run | undefined> => {
    if (!canMove(subject, candidate, name)) return undefined;
    const run = await subject.run(problem, () => candidate);
    const finite = run.moments.every(({ update }) => Array.from(valuesOf(update)).every(Number.isFinite));
    return finite ? run : undefined;
  };
  for (const [name, value] of numbers) {
    const starts = value === 0 ? insteadOfZero : [value];
    let best: { candidate: Numbers; response: number } | undefined;
    let threshold: { candidate: Numbers; run: Run; differs: boolean } | undefined;
    let movable = false;
    for (const start of starts) {
      for (let i = 0; i <= 30 && !(best && best.response > wellSeen); i++) {
        // 1, 8, 1/8, 64, 1/64, ...
        const candidate = new Map(tried).set(name, start * 8 ** (i % 2 ? (i + 1) / 2 : -i / 2));
        const run = await runOf(candidate, name);
        if (!run) continue;
        movable = true;
        const response = await responseTo({ subject, run, numbersAt: () => candidate }, name);
        if (!best || response > best.response) best = { candidate, response };
        if (threshold && !threshold.differs && !sameRun(threshold.run, run))
          threshold = { candidate, run, differs: true };
        threshold ??= { candidate, run, differs: false };
      }
      if (movable) break;
    }
    if (!movable) fixed.push(name);
    else if (best && best.response > 0) tried = best.candidate;
    else if (threshold?.differs) {
      tried = threshold.candidate;
      thresholds.push(name);
    }
  }
  const kept = [...tried].filter(([name]) => !fixed.includes(name));
  return { tried: new Map(kept), thresholds };
}

// The search.

const openPowers = [1, -1, 2, -2, 3, -3, 4, -4];
const thresholdPowers = [0, 1, -1, 2, -2, 0.5, -0.5, 3, -3];

interface Attempt {
  readonly powers: Powers;
  /** The least exponent of 2 for which c to every power is a power of two; undefined if there is none. */
  readonly unit: number | undefined;
}

interface Failure {
  readonly scenario: Scenario;
  readonly c: number;
  readonly mismatch: Mismatch;
}

class Search {
  readonly #subject: Subject;
  readonly #numbers: Numbers;
  readonly #thresholds: readonly string[];
  readonly #scenarios: readonly Scenario[];
  readonly #runs = new Map<Scenario, Promise<Run>>();
  readonly #hyper: readonly string[];

  constructor(subject: Subject, numbers: Numbers, thresholds: readonly string[], all: readonly Scenario[]) {
    this.#subject = subject;
    this.#numbers = numbers;
    this.#thresholds = thresholds;
    this.#scenarios = all;
    // Where powers may be traded for one another, the learning rate keeps its value: it comes last, and what comes
    // last is left at 0.
    this.#hyper = [...numbers.keys()].sort((a, b) => Number(a === "lr") - Number(b === "lr"));
  }

  async find(perUpdate: readonly string[]): Promise<Symmetry | NoSymmetry> {
    const unknownOf = (name: string, t: number) =>
      perUpdate.includes(ownerOf(name)) ? `${name} in update ${t}` : name;
    const equations = await this.#equations(unknownOf);
    const slots = [...slotsOf((await this.#run(this.#scenarios[0]!)).initial).keys()];
    const unknowns = [
      ...slots.map(slotUnknown),
      ...this.#hyper.flatMap((name) => [...new Set(equations.map((_, i) => unknownOf(name, i + 1)))]),
    ];
    const solved = (updates: number) => solve(equations.slice(0, updates).flat(), unknowns);
    const whole = solved(equations.length);
    const found = (attempt: Attempt) => this.#powers(attempt, slots, perUpdate, equations.length);

    // Thresholds have no derivative: try powers in turn, simplest first.
    for (const guess of guesses(this.#thresholds)) {
      const attempt = attemptOf(whole, unknownOf, guess, equations.length);
      const verdict = await this.#judge(attempt);
      if ("failure" in verdict) continue;
      return this.#symmetry(
        found(attempt),
        verdict,
        openOf(whole, this.#hyper, guess, unknownOf, equations.length),
      );
    }

    // What the equations leave open, runs may decide: they go where derivatives did not look.
    for (const name of openOf(whole, this.#hyper, new Map(), unknownOf, equations.length).map(
      (open) => open.name,
    )) {
      for (const power of openPowers) {
        const fixed = {
          coefficients: new Map([[unknownOf(name, 1), 1]]),
          right: power,
          size: Math.abs(power),
        };
        const attempt = attemptOf(
          solve([...equations.flat(), fixed], unknowns),
          unknownOf,
          new Map(),
          equations.length,
        );
        const verdict = await this.#judge(attempt);
        if (!("failure" in verdict)) return this.#symmetry(found(attempt), verdict, []);
      }
    }

    let updates = equations.length;
    while (updates > 1 && !solved(updates).consistent) updates--;
    const attempt = rounded(attemptOf(solved(updates), unknownOf, new Map(), equations.length));
    const verdict = await this.#judge(attempt);
    if (!("failure" in verdict)) return this.#symmetry(found(attempt), verdict, []);
    return this.#none(found(attempt), attempt, verdict.failure);
  }

  #run(scenario: Scenario): Promise<Run> {
    const known = this.#runs.get(scenario);
    if (known) return known;
    const run = this.#subject.run(scenario.problem, () => this.#numbers);
    this.#runs.set(scenario, run);
    return run;
  }

  /** By update: those of all scenarios that the powers must fit. */
  async #equations(unknownOf: (name: string, t: number) => string): Promise<Equation[][]> {
    const sets: Equation[][][] = [];
    for (const scenario of this.#scenarios.filter(({ needs }) => needs === undefined)) {
      const run = await this.#run(scenario);
      sets.push(
        await equationsOf({ subject: this.#subject, run, numbersAt: () => this.#numbers, unknownOf }),
      );
    }
    return sets[0]!.map((_, t) => sets.flatMap((set) => set[t]!));
  }

  /** Tries powers on every scenario: by powers of two, and by others where rounding turns no sign. */
  async #judge(
    attempt: Attempt,
  ): Promise<{ bitwise: boolean; deviation: number; needs: string[] } | { failure: Failure }> {
    const { powers, unit } = attempt;
    let [bitwise, deviation] = [unit !== undefined, 0];
    const coupled = await this.#subject.couples(this.#scenarios[0]!.problem, this.#numbers);
    const needs = coupled
      ? ["one factor c for all parameters, since a tensor's update depends on the others"]
      : [];
    for (const scenario of this.#scenarios) {
      const exact = unit === undefined ? [] : [unit, -unit, 5 * unit, -7 * unit].map((k) => 2 ** k);
      const others = scenario.generic || unit === undefined ? [3, 0.7] : [];
      for (const c of [...exact, ...others]) {
        const verdict = await this.#verify(scenario, powers, c);
        if (verdict.mismatch) {
          if (scenario.needs === undefined) return { failure: { scenario, c, mismatch: verdict.mismatch } };
          needs.push(scenario.needs);
          break;
        }
        if (exact.includes(c)) bitwise &&= verdict.bitwise;
        deviation = Math.max(deviation, verdict.deviation);
      }
    }
    return { bitwise, deviation, needs };
  }

  async #verify(scenario: Scenario, powers: Powers, c: number): Promise<Verdict> {
    const run = await this.#run(scenario);
    return verify(this.#subject, scenario.problem, () => this.#numbers, run, powers, c, tolerance);
  }

  #powers(
    { powers }: Attempt,
    slots: readonly string[],
    perUpdate: readonly string[],
    updates: number,
  ): FoundPowers {
    const hyper: Record<string, number> = {};
    const phases: Record<string, readonly Phase[]> = {};
    for (const name of this.#hyper) {
      if (perUpdate.includes(ownerOf(name))) phases[name] = phasesOf((t) => powers.hyper(name, t), updates);
      else hyper[name] = powers.hyper(name, 1);
    }
    return {
      hyper: joined(hyper),
      phases,
      state: Object.fromEntries(slots.map((slot) => [slot, powers.state(slot)])),
    };
  }

  #symmetry(
    found: FoundPowers,
    verdict: { readonly bitwise: boolean; readonly deviation: number; readonly needs: readonly string[] },
    open: readonly OpenPower[],
  ): Symmetry {
    const optimizer = this.#subject.name;
    const tried = Object.fromEntries(this.#numbers);
    const result = { exists: true, optimizer, ...found, ...verdict, open, tried } as const;
    return { ...result, text: describeSymmetry(result) };
  }

  async #none(closest: FoundPowers, attempt: Attempt, failure: Failure): Promise<NoSymmetry> {
    const optimizer = this.#subject.name;
    const counterexample = await this.#smallest(attempt, failure);
    const tried = Object.fromEntries(this.#numbers);
    const result = { exists: false, optimizer, closest, counterexample, tried } as const;
    return { ...result, text: describeNone(result) };
  }

  /** The failure with a single element, if there is one. */
  async #smallest({ powers }: Attempt, { scenario, c, mismatch }: Failure): Promise<Counterexample> {
    const { start, gradients } = scenario.problem;
    for (let i = 0; i < start.length; i++) {
      const alone: Scenario = {
        ...scenario,
        problem: {
          shape: [1, 1],
          start: start.slice(i, i + 1),
          gradients: gradients.map((gradient) => gradient.slice(i, i + 1)),
        },
      };
      const { mismatch: single } = await this.#verify(alone, powers, c);
      if (single && single.update <= mismatch.update) return counterexampleOf(alone, c, single);
    }
    return counterexampleOf(scenario, c, mismatch);
  }
}

function counterexampleOf({ name, problem }: Scenario, c: number, mismatch: Mismatch): Counterexample {
  const { expected, found, update } = mismatch;
  return {
    ...mismatch,
    c,
    relative: Math.abs(found - expected) / Math.abs(expected),
    gradients: problem.gradients.slice(0, update).map((gradient) => [...gradient]),
    scenario: name,
  };
}

/** Every combination of powers for thresholds, those with small ones first. */
function guesses(thresholds: readonly string[]): ReadonlyMap<string, number>[] {
  let all: ReadonlyMap<string, number>[] = [new Map()];
  // More than two would take too long; the others get 0.
  for (const name of thresholds.slice(0, 2))
    all = all.flatMap((guess) => thresholdPowers.map((power) => new Map(guess).set(name, power)));
  const size = (guess: ReadonlyMap<string, number>) =>
    [...guess.values()].reduce((sum, power) => sum + Math.abs(power), 0);
  return all.sort((a, b) => size(a) - size(b));
}

function attemptOf(
  { values, open }: Solution,
  unknownOf: (name: string, t: number) => string,
  guess: ReadonlyMap<string, number>,
  updates: number,
): Attempt {
  const simple = new Map([...values].map(([name, value]) => [name, simplest(value)]));
  const denominators = [...simple.values()].map(({ denominator }) => denominator);
  for (const power of guess.values()) denominators.push(simplest(power).denominator);
  const unit = denominators.reduce(
    (multiple, d) =>
      multiple === undefined || d === undefined ? undefined : leastCommonMultiple(multiple, d),
    1,
  );
  /** Where an update says nothing of a hyperparameter, the power of the nearest one that does. */
  const nearest = (name: string, t: number): string => {
    for (let distance = 0; distance < updates; distance++) {
      for (const other of [t - distance, t + distance]) {
        const unknown = unknownOf(name, other);
        if (other >= 1 && other <= updates && !open.has(unknown)) return unknown;
      }
    }
    return unknownOf(name, t);
  };
  return {
    powers: {
      hyper: (name, t) => guess.get(name) ?? simple.get(nearest(name, t))?.value ?? 0,
      state: (slot) => simple.get(slotUnknown(slot))?.value ?? 0,
    },
    unit,
  };
}

/** Powers of a fit that does not hold, as the nearest half: c to them is exact. */
function rounded({ powers, unit }: Attempt): Attempt {
  if (unit !== undefined) return { powers, unit };
  const half = (x: number) => Math.round(2 * x) / 2;
  return {
    powers: { hyper: (name, t) => half(powers.hyper(name, t)), state: (slot) => half(powers.state(slot)) },
    unit: 2,
  };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  return (a / x) * b;
}

function openOf(
  { open }: Solution,
  hyper: readonly string[],
  guess: ReadonlyMap<string, number>,
  unknownOf: (name: string, t: number) => string,
  updates: number,
): OpenPower[] {
  return hyper
    .filter((name) => !guess.has(name))
    .flatMap((name) => {
      const own = Array.from({ length: updates }, (_, i) => unknownOf(name, i + 1));
      return own.every((unknown) => open.has(unknown)) ? [{ name, along: open.get(own[0]!)! }] : [];
    });
}

function phasesOf(powerAt: (t: number) => number, updates: number): Phase[] {
  const phases: Phase[] = [];
  for (let t = 1; t <= updates; t++) {
    const last = phases.at(-1);
    if (last && last.power === powerAt(t)) phases[phases.length - 1] = { ...last, to: t };
    else phases.push({ from: t, to: t, power: powerAt(t) });
  }
  return phases;
}

/** The numbers of a pair as one where they agree. */
function joined(powers: Readonly<Record<string, number>>): Record<string, number> {
  const result: Record<string, number> = {};
  for (const [name, power] of Object.entries(powers)) {
    const owner = ownerOf(name);
    const all = Object.entries(powers).filter(([other]) => ownerOf(other) === owner);
    result[all.every(([, other]) => other === power) ? owner : name] = power;
  }
  return result;
}

// Words.

function describePowers({ hyper, phases, state }: FoundPowers): string {
  const lines = Object.entries(hyper).map(([name, power]) => `  ${name}${times(power)}`);
  for (const [name, list] of Object.entries(phases)) {
    for (const { from, to, power } of list)
      lines.push(
        `  ${name}${times(power)} in ${from === to ? `update ${from}` : `updates ${from} to ${to}`}`,
      );
  }
  for (const [slot, power] of Object.entries(state)) lines.push(`  state ${slot}${times(power)}`);
  return lines.join("\n");
}

function times(power: number): string {
  if (power === 0) return " unchanged";
  const { value, denominator } = simplest(power);
  if (denominator === undefined) return ` times c^${power.toFixed(6)}`;
  if (denominator > 1) return ` times c^(${Math.round(value * denominator)}/${denominator})`;
  return power === 1 ? " times c" : ` times c^${power}`;
}

function describeSymmetry(found: Omit<Symmetry, "text">): string {
  const { optimizer, bitwise, deviation, needs, open } = found;
  const how = bitwise
    ? "bit for bit for powers of two, up to rounding for others"
    : `up to rounding (${deviation.toExponential(1)})`;
  const lines = [
    `${optimizer}: a parameter times c, with gradients divided by c, is followed exactly, ${how}, by`,
  ];
  lines.push(describePowers(found));
  for (const { name, along } of open)
    lines.push(
      along.length > 0
        ? `${name} may have any power, if ${along.join(", ")} change along with it.`
        : `${name} had no effect, so its power is open.`,
    );
  for (const need of needs) lines.push(`It needs ${need}.`);
  return lines.join("\n");
}

function describeNone({ optimizer, closest, counterexample }: Omit<NoSymmetry, "text">): string {
  const { update, where, element, expected, found, relative, c, scenario } = counterexample;
  const when = update === 0 ? "in the initial state" : `in update ${update}`;
  const what = where === "update" ? `element ${element}` : `element ${element} of the state ${where}`;
  return [
    `${optimizer}: no powers of c make it follow a parameter times c, with gradients divided by c. The closest are`,
    describePowers(closest),
    `and with them, for c = ${c} and ${scenario}, ${what} ${when} is ${found} where ${expected} was due, a relative difference of ${relative.toExponential(1)}.`,
  ].join("\n");
}
