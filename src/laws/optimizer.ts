import fc from "fast-check";
import { ValueError } from "../base/errors.ts";
import { power as wholePower } from "../gauge/rules.ts";
import { make, type OptimizerConfig } from "../optim/make.ts";
import { applyUpdates } from "../optim/updates.ts";
import { tensor } from "../tensor/creation.ts";
import { factor, rough } from "./arbitrary/values.ts";
import { close, difference, identical, largest, untouched } from "./compare.ts";
import { type Awaitable, type Law, LawError, law } from "./law.ts";
import type { Matrix } from "./matrix.ts";

/** Elements of one tensor. */
export type Vector = readonly number[];

/** Hyperparameters by name: numbers, pairs of numbers and flags. */
export type Hyper = object;

/** Powers of c by name, whole or not; what is not named has power 0. */
export type Exponents = Readonly<Record<string, number>>;

/** An optimizer with hyperparameters. It must keep nothing between calls: all memory is in the state. */
export interface OptimizerInstance<S> {
  /** The state before the first update. */
  init(params: Vector): Awaitable<S>;
  update(
    gradient: Vector,
    state: S,
    params: Vector,
  ): Awaitable<{ readonly params: Vector; readonly state: S }>;
}

/** An optimizer under test, of any library, as it acts on one tensor. `S` is plain data. */
export interface OptimizerUnderTest<H extends Hyper, S> {
  /** Hyperparameters, or what draws them. Give large eps and decays too: small ones hide mistakes. */
  readonly hyper: H | fc.Arbitrary<H>;
  create(hyper: H): OptimizerInstance<S>;
  /**
   * How hyperparameters follow a tensor that is multiplied by c: each is multiplied by c to this power. Laws about
   * scaling are left out without it. `gauge.discoverSymmetry` finds it.
   */
  readonly exponents?: (hyper: H) => Exponents;
  /** The same for the entries of the state. */
  readonly stateExponents?: (hyper: H) => Exponents;
  /** Parameters must not start at zero, as for a trust ratio. Default false. */
  readonly nonzeroStart?: boolean;
  /**
   * The update jumps, as a sign does: then rounding may show, and only powers of two have an exact partner. Default
   * false.
   */
  readonly jumps?: boolean;
  /**
   * Whether it treats all elements alike, and up as down, so that it follows signed permutations. Not so: noise by position,
   * rounding downwards, a bound on one side. Default true.
   */
  readonly symmetric?: boolean;
  /**
   * How many updates the longest runs have. Default 32. What begins later, as after a warm-up, is only seen by more: 2000
   * cost seconds where an update is plain arithmetic.
   */
  readonly updates?: number;
  /**
   * Largest rounding error, as a share of the largest parameter of the run. Default 1e-9, and 2^-16 for a run whose
   * parameters, or a slot of whose state, are float32 numbers throughout.
   */
  readonly tolerance?: number;
  /**
   * Which optimizer it claims to be, in the terms of `optim.make`: then each update is compared with that of this
   * library, on the device of the latest `init`. Nothing else can find a missing bias correction, which is an
   * optimizer of its own with the same powers.
   */
  readonly is?: (hyper: H) => OptimizerConfig;
}

/** Laws hand states on, and look into them as data only. */
type Subject<H extends Hyper> = OptimizerUnderTest<H, unknown>;

interface Case<H> {
  readonly hyper: H;
  readonly params: Vector;
  /** One for each update. */
  readonly gradients: Matrix;
}

interface Trajectory {
  /** The parameters after each update. */
  readonly params: Matrix;
  readonly state: unknown;
}

/**
 * The laws of an optimizer: the same bits every time, nothing changed that it is given, a resumed run equal to the
 * unbroken one, a first step against the gradient, and, with `exponents`, Theorem 1's equivariance: from c theta with
 * gradients g / c and hyperparameters h c^p it goes to c times where it goes from theta, for c from 2^-200 to 2^200
 * (2^-30 to 2^30 in float32). Elements in another order and with other signs take the same steps. With `is`, each update is that of the optimizer that it claims to be.
 *
 * Runs have up to `updates` updates and gradients from 2^-20 to 2^5: what acts later, or beyond, is not looked at.
 *
 * @throws ValueError for `updates` that is no whole number of at least 10.
 * @example
 * for (const { name, property } of laws.optimizer(mine)) test(name, () => fc.assert(property));
 */
export function optimizer<H extends Hyper, S>(of: OptimizerUnderTest<H, S>): readonly Law[] {
  const subject: Subject<H> = of;
  const { updates = longest } = subject;
  if (!Number.isInteger(updates) || updates < shorter)
    throw new ValueError(`laws.optimizer: updates is ${updates}; it is a whole number >= ${shorter}.`);
  return [
    ...(subject.exponents ? equivariance(subject, subject.exponents) : []),
    ...(subject.symmetric === false ? [] : [symmetric(subject)]),
    deterministic(subject),
    pure(subject),
    resumed(subject),
    againstGradient(subject),
    ...(subject.is ? [isKnown(subject, subject.is)] : []),
  ];
}

function equivariance<H extends Hyper>(subject: Subject<H>, exponents: (hyper: H) => Exponents): Law[] {
  const { stateExponents, jumps = false } = subject;
  const both = async (
    { hyper, params, gradients }: Case<H>,
    factorFor: (whole: boolean, reach: number) => number,
  ) => {
    const powers = exponents(hyper);
    const one = await train(subject.create(hyper), params, gradients);
    // The squares of gradients have to stay in the range of normal numbers.
    const c = factorFor(Object.values(powers).every(Number.isInteger), isSingle(one) ? 30 : 200);
    const other = await train(
      subject.create(scaled(hyper, powers, c)),
      params.map((x) => c * x),
      gradients.map((row) => row.map((x) => x / c)),
    );
    const rule = `c = ${c}, powers ${JSON.stringify(powers)}`;
    return { c, one, other, rule, expected: one.params.map((row) => row.map((x) => c * x)) };
  };
  // A power of two to a half or a quarter is one again if it is a power of 16.
  const binary = (i: number) => (whole: boolean, reach: number) => {
    const power = Math.sign(i) * Math.min(Math.abs(i), reach);
    return 2 ** (whole ? power : 4 * (Math.round(power / 4) || 1));
  };
  const twoToThe = fc.record({
    run: cases(subject),
    i: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: -60, max: 60 }).map((i) => (i === 0 ? 1 : i)) },
      { weight: 1, arbitrary: fc.constantFrom(120, -120, 200, -200) },
    ),
  });
  const statement = "from c theta, with g / c and h c^p, the parameters are c theta";
  const bitwise = law(
    "equivariant under scaling, bitwise",
    `${statement} at every update to the last bit, c = 2^i`,
    twoToThe,
    async ({ run, i }) => {
      const { other, expected, rule } = await both(run, binary(i));
      identical(`a parameter (row: update) with ${rule}`, other.params, expected);
    },
  );
  const states = law(
    "state is equivariant under scaling",
    "entries of the state are those of the original run times c^p",
    twoToThe,
    async ({ run, i }) => {
      const { c, one, other, rule } = await both(run, binary(i));
      const due = scaled(one.state as Hyper, stateExponents?.(run.hyper) ?? {}, c); // plain data
      const at = difference(other.state, due);
      if (at !== undefined)
        throw new LawError(
          `state${at} is not that of the original run times its power of c, with ${rule}: ${JSON.stringify(other.state)}, expected ${JSON.stringify(due)}.`,
        );
    },
  );
  const generic = law(
    "equivariant under scaling",
    `${statement} at every update to rounding, any c`,
    fc.record({ run: cases(subject), factor: factor() }),
    async ({ run, factor }) => {
      const { c, one, other, expected, rule } = await both(run, (whole) => (whole ? factor : factor ** 4));
      const { tolerance = roundingOf(one) } = subject;
      const size = Math.max(largest(expected), largest([run.params]) * c);
      close(`a parameter (row: update) with ${rule}`, other.params, expected, { tolerance, size });
    },
  );
  return [bitwise, ...(stateExponents ? [states] : []), ...(jumps ? [] : [generic])];
}

/** Signs turned; and, where rounding cannot turn a step, elements in another order, in which sums round. */
function symmetric<H extends Hyper>(subject: Subject<H>): Law {
  const statement = "from S theta, with S g, it goes where S takes the parameters, S a signed permutation";
  const drawn = cases(subject).chain((run) => {
    const places = run.params.map((_, i) => i);
    const { length } = places;
    return fc.record({
      run: fc.constant(run),
      order: subject.jumps ? fc.constant(places) : fc.shuffledSubarray(places, { minLength: length }),
      signs: fc.array(fc.constantFrom(-1, 1), { minLength: length, maxLength: length }),
    });
  });
  return law("follows signed permutations", statement, drawn, async ({ run, order, signs }) => {
    const moved = (row: Vector) => order.map((place, i) => signs[i]! * row[place]!);
    const one = await train(subject.create(run.hyper), run.params, run.gradients);
    const other = await train(subject.create(run.hyper), moved(run.params), run.gradients.map(moved));
    const expected = one.params.map(moved);
    const { tolerance = roundingOf(one) } = subject;
    const size = Math.max(largest(expected), largest([run.params]));
    const what = `a parameter (row: update) with the order ${order.join(", ")} and signs ${signs.join(", ")}`;
    close(what, other.params, expected, { tolerance, size });
  });
}

function deterministic<H extends Hyper>(subject: Subject<H>): Law {
  return law(
    "deterministic",
    "the same arguments give the same bits, in one instance and in a fresh one",
    cases(subject),
    async ({ hyper, params, gradients }) => {
      const instance = subject.create(hyper);
      const first = await train(instance, params, gradients);
      const again = await train(instance, params, gradients);
      const fresh = await train(subject.create(hyper), params, gradients);
      identical("a parameter (row: update) of the second run", again.params, first.params);
      identical("a parameter (row: update) of a fresh instance", fresh.params, first.params);
    },
  );
}

function pure<H extends Hyper>(subject: Subject<H>): Law {
  return law(
    "arguments stay as they were",
    "update leaves hyperparameters, gradient, state and parameters as they were",
    cases(subject),
    async ({ hyper, params, gradients }) => {
      const instance = subject.create(hyper);
      let own: Vector = params;
      let state = await untouched({ hyper, params }, () => instance.init(params));
      for (const gradient of gradients) {
        const given = { hyper, gradient, state, params: own };
        ({ params: own, state } = await untouched(given, () => instance.update(gradient, state, own)));
      }
    },
  );
}

function resumed<H extends Hyper>(subject: Subject<H>): Law {
  return law(
    "a resumed run is the unbroken run",
    "parameters and state, copied into a fresh instance after any update, go on as if nothing had happened",
    cases(subject, 2).chain((run) =>
      fc.record({ run: fc.constant(run), at: fc.integer({ min: 1, max: run.gradients.length - 1 }) }),
    ),
    async ({ run: { hyper, params, gradients }, at }) => {
      const whole = await train(subject.create(hyper), params, gradients);
      const head = await train(subject.create(hyper), params, gradients.slice(0, at));
      const tail = await train(
        subject.create(hyper),
        head.params.at(-1) ?? params,
        gradients.slice(at),
        structuredClone(head.state),
      );
      identical(`a parameter (row: update after ${at})`, tail.params, whole.params.slice(at));
    },
  );
}

/** The first update that moves anything, under one gradient, from parameters that decay in the same direction. */
function againstGradient<H extends Hyper>(subject: Subject<H>): Law {
  return law(
    "goes against the gradient",
    "under a constant gradient g, from a positive multiple of g, the first update u that is not 0 has u . g < 0",
    cases(subject).chain(({ hyper, params }) =>
      fc.record({
        hyper: fc.constant(hyper),
        gradient: fc.constant(params.map((x) => (x === 0 ? 1 : x))),
        share: fc.constantFrom(1, 2 ** -10, ...(subject.nonzeroStart ? [] : [0])),
      }),
    ),
    async ({ hyper, gradient, share }) => {
      const start = gradient.map((g) => share * g);
      const { params } = await train(subject.create(hyper), start, Array<Vector>(10).fill(gradient));
      for (const [t, after] of params.entries()) {
        const before = params[t - 1] ?? start;
        const slope = after.reduce((sum, x, i) => sum + (x - before[i]!) * gradient[i]!, 0);
        if (slope < 0) return;
        if (after.some((x, i) => x !== before[i]))
          throw new LawError(
            `update ${t + 1} goes from ${JSON.stringify(before)} to ${JSON.stringify(after)} under the gradient ${JSON.stringify(gradient)}: uphill.`,
          );
      }
    },
  );
}

function isKnown<H extends Hyper>(subject: Subject<H>, is: (hyper: H) => OptimizerConfig): Law {
  return law(
    "is the optimizer that it claims to be",
    "each update is that of optim.make(is(hyper)), to rounding",
    cases(subject),
    async ({ hyper, params, gradients }) => {
      const { params: found, state } = await train(subject.create(hyper), params, gradients);
      const { tolerance = roundingOf({ params: found, state }) } = subject;
      const config = is(hyper);
      const known = make(config);
      let own = tensor([...params], { dtype: "float64" });
      let slots = known.init(own);
      const expected: number[][] = [];
      for (const gradient of gradients) {
        const [update, next] = known.update(tensor([...gradient], { dtype: "float64" }), slots, own);
        own = applyUpdates(own, update);
        slots = next;
        expected.push([...(await own.data())]);
      }
      const size = Math.max(largest(expected), largest([params]));
      close(`a parameter (row: update), compared with ${JSON.stringify(config)}`, found, expected, {
        tolerance,
        size,
      });
    },
  );
}

/** Whether parameters, or a slot of the state, are float32 numbers throughout. Whole numbers say nothing. */
function isSingle({ params, state }: Trajectory): boolean {
  const slots = typeof state === "object" && state !== null ? Object.values(state) : [];
  return [params, ...slots].some((slot) => {
    const values = numbersIn(slot).filter((x) => !Number.isInteger(x));
    return values.length > 0 && values.every((x) => Math.fround(x) === x);
  });
}

function roundingOf(run: Trajectory): number {
  return isSingle(run) ? 2 ** -16 : 1e-9;
}

function numbersIn(data: unknown): number[] {
  if (typeof data === "number") return [data];
  return typeof data === "object" && data !== null ? Object.values(data).flatMap(numbersIn) : [];
}

/** Parameters and gradients are copied first, so that an optimizer that writes into them spoils nothing else. */
async function train(
  instance: OptimizerInstance<unknown>,
  params: Vector,
  gradients: Matrix,
  from?: unknown,
): Promise<Trajectory> {
  let own: Vector = [...params];
  let state = from ?? (await instance.init(own));
  const seen: number[][] = [];
  for (const gradient of gradients) {
    ({ params: own, state } = await instance.update([...gradient], state, own));
    seen.push([...own]);
  }
  return { params: seen, state };
}

/** c to a power, exactly where c and the result are powers of two. */
function power(c: number, exponent: number): number {
  if (Number.isInteger(exponent)) return wholePower(c, exponent);
  const binary = Math.log2(c) * exponent;
  return Number.isInteger(Math.log2(c)) && Number.isInteger(binary) ? 2 ** binary : c ** exponent;
}

/** Plain data with the entries of each name times c to its power. */
function scaled<T extends object>(values: T, powers: Exponents, c: number): T {
  const entries = Object.entries(values).map(([name, value]): [string, unknown] => {
    const by = power(c, powers[name] ?? 0);
    return [name, by === 1 ? value : scaledBy(value, by)];
  });
  return Object.fromEntries(entries) as T; // the same names and kinds
}

/** Plain data with each number in it times a factor: also in typed arrays and records. */
function scaledBy(value: unknown, by: number): unknown {
  if (typeof value === "number") return value * by;
  if (typeof value !== "object" || value === null) return value;
  if (ArrayBuffer.isView(value)) return (value as Float64Array).map((x) => x * by); // of whatever type
  if (Array.isArray(value)) return value.map((x) => scaledBy(x, by));
  return Object.fromEntries(Object.entries(value).map(([name, x]) => [name, scaledBy(x, by)]));
}

/** Updates of the longest runs unless more are asked for; those of middle length have fewer than `shorter`. */
const longest = 32;
const shorter = 10;

/**
 * Gradients of very different sizes, down to where eps matters, and with zeros; a start that may be zero; and some
 * long runs, which go through a few gradients over and over, for what changes after a while.
 */
function cases<H extends Hyper>(
  { hyper, nonzeroStart = false, updates = longest }: Subject<H>,
  minSteps = 1,
): fc.Arbitrary<Case<H>> {
  const size = fc.constantFrom(1, 2 ** 4, 2 ** -6, 2 ** -20, 0);
  const gradient = fc.tuple(rough(), size).map(([x, size]) => (size === 0 ? 0 : x * size));
  const start = nonzeroStart ? rough() : fc.oneof(rough(), fc.constant(0));
  const vector = (value: fc.Arbitrary<number>, length: number) =>
    fc.array(value, { minLength: length, maxLength: length });
  return fc.constantFrom(1, 2, 3, 9).chain((length) => {
    const some = (minLength: number, maxLength: number) =>
      fc.array(vector(gradient, length), { minLength, maxLength });
    const over = (rows: Matrix) => Array.from({ length: updates }, (_, t) => rows[t % rows.length]!);
    return fc.record({
      hyper: isArbitrary(hyper) ? hyper : fc.constant(hyper),
      params: vector(start, length),
      gradients: fc.oneof(
        { weight: 5, arbitrary: some(minSteps, 4) },
        { weight: 2, arbitrary: some(6, shorter - 1) },
        { weight: 1, arbitrary: some(1, 32).map(over) },
      ),
    });
  });
}

function isArbitrary<T extends object>(value: T | fc.Arbitrary<T>): value is fc.Arbitrary<T> {
  return value instanceof fc.Arbitrary;
}
