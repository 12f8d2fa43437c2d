import type { OptimizerState } from "../../optim/optimizer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { type Rounding, sameValues, scaledBy, type Values, valuesIn } from "./host.ts";
import type { Numbers } from "./hyper.ts";
import type { Problem, Trained } from "./problems.ts";
import { type Equation, slotUnknown, type Unknowns } from "./solve.ts";
import { Misuse, type Run, type Subject, slotsOf, withSlots } from "./subject.ts";

// How outputs respond when one input is multiplied by 1 + delta. The update u(g, theta, state, h) follows c exactly
// if u(g/c, c theta, c^q state, c^p h) = c u, and likewise for each slot of the next state. The derivative at c = 1
// is one linear equation in p and q for each element (Euler's identity for weighted homogeneous functions). A
// threshold has no derivative, but the place where it acts has one: it moves with c as the threshold must.

const delta = 2 ** -17;
/** Above this, the derivatives from the left and from the right differ: a corner or a jump. */
const corner = 1e-2;
/** How far inputs move to see where a threshold goes: such places are monomials, whose logarithms are straight. */
const wide = 2 ** -6;

/** What one update is computed from. */
interface Point {
  readonly numbers: Numbers;
  readonly gradients: readonly Tensor[];
  readonly parameters: readonly Tensor[];
  /** Undefined for the initial state, which is made of the parameters. */
  readonly before?: OptimizerState;
}

/** Outputs of an update by name: `updateOf` a tensor, and slots. */
type Outputs = ReadonlyMap<string, Values>;

const updateOf = (tensor: number) => `update of tensor ${tensor}`;

/** An input that can be multiplied by a factor: by c to an unknown power, or to a known one. */
interface Variable {
  readonly power: string | number;
  readonly move: (point: Point, factor: number) => Point;
}

export interface Experiment {
  readonly subject: Subject;
  readonly run: Run;
  readonly numbers: Numbers;
  readonly rounding: Rounding;
}

/** The equations of the initial state and of the first updates, in order. */
export async function equationsOf(
  experiment: Experiment,
  unknowns: Unknowns,
  updates: number,
): Promise<Equation[][]> {
  const { run } = experiment;
  const all: Equation[][] = [];
  for (let t = 1; t <= Math.min(updates, run.moments.length); t++) {
    const own = await pointEquations(experiment, unknowns, pointOf(experiment, t), t);
    const first = t === 1 ? await pointEquations(experiment, unknowns, pointOf(experiment, 0), 1) : [];
    all.push([...first, ...own]);
  }
  return all;
}

function pointOf({ run, numbers }: Experiment, t: number): Point {
  const { gradients, parameters, before } = run.moments[Math.max(t, 1) - 1]!;
  return { numbers, gradients, parameters, ...(t > 0 && { before }) };
}

function variablesOf(
  { tensors }: Run,
  unknowns: Unknowns,
  { numbers, before }: Point,
  t: number,
): Variable[] {
  const scaled = (values: readonly Tensor[], factor: number) =>
    values.map((x, i) => (tensors[i]!.scaled ? scaledBy(x, factor) : x));
  return [
    ...(before ? [...slotsOf(before).keys()] : []).map((slot) => ({
      power: slotUnknown(slot),
      move: (point: Point, factor: number) => ({
        ...point,
        before: withSlots(point.before!, (x, name) => (name === slot ? scaledBy(x, factor) : x)),
      }),
    })),
    ...[...numbers.keys()].map((name) => ({
      power: unknowns.at(name, t),
      move: (point: Point, factor: number) => ({ ...point, numbers: times(point.numbers, name, factor) }),
    })),
    { power: -1, move: (point, factor) => ({ ...point, gradients: scaled(point.gradients, factor) }) },
    { power: 1, move: (point, factor) => ({ ...point, parameters: scaled(point.parameters, factor) }) },
  ];
}

/** Every output at a point; of the initial state only slots. */
async function outputsAt({ subject, run, rounding }: Experiment, point: Point): Promise<Outputs> {
  const { numbers, gradients, parameters, before } = point;
  const made = subject.make(numbers);
  if (before) {
    const { updates, after } = subject.update(made, run.tensors, gradients, before, parameters);
    return valuesOfOutputs(updates, after, rounding);
  }
  return valuesOfOutputs([], await subject.init(made, run.tensors, parameters), rounding);
}

async function valuesOfOutputs(
  updates: readonly Tensor[],
  after: OptimizerState,
  rounding: Rounding,
): Promise<Outputs> {
  const slots = [...slotsOf(after)];
  const values = await valuesIn([updates, slots.map(([, x]) => x)], rounding);
  return new Map([
    ...updates.map((_, i): [string, Values] => [updateOf(i), values[i]!]),
    ...slots.map(([slot], i): [string, Values] => [slot, values[updates.length + i]!]),
  ]);
}

interface Derivative {
  readonly slope: Float64Array;
  readonly bend: Float64Array;
}

async function derivatives(
  experiment: Experiment,
  base: Outputs,
  point: Point,
  { move }: Variable,
): Promise<ReadonlyMap<string, Derivative>> {
  const [up, down] = [
    await outputsAt(experiment, move(point, 1 + delta)),
    await outputsAt(experiment, move(point, 1 - delta)),
  ];
  return new Map(
    [...base].map(([name, at]) => {
      const [right, left] = [up.get(name) ?? [], down.get(name) ?? []];
      const slope = Float64Array.from(at, (_, i) => (right[i]! - left[i]!) / (2 * delta));
      const bend = Float64Array.from(at, (x, i) => (right[i]! + left[i]! - 2 * x) / (2 * delta));
      return [name, { slope, bend }];
    }),
  );
}

/** Whether there is neither a corner nor a jump. An element that is 0 and stays 0 has neither. */
function isSmooth(value: number, slope: number, bend: number, size: number): boolean {
  if (Math.abs(slope) * delta > corner * size) return false; // noise, such as another seed gives
  return Math.abs(bend) <= corner * Math.max(Math.abs(value), Math.abs(slope));
}

async function pointEquations(
  experiment: Experiment,
  unknowns: Unknowns,
  point: Point,
  t: number,
): Promise<Equation[]> {
  const base = await outputsAt(experiment, point);
  const responses: { power: string | number; at: ReadonlyMap<string, Derivative> }[] = [];
  for (const variable of variablesOf(experiment.run, unknowns, point, t))
    responses.push({ power: variable.power, at: await derivatives(experiment, base, point, variable) });
  const equations: Equation[] = [];
  for (const [output, values] of base) {
    const largestValue = largest(values);
    const weight = weightOf(experiment.run.tensors, output);
    for (let i = 0; i < values.length; i++) {
      const coefficients = new Map<string, number>();
      const value = values[i]!;
      let [smooth, size] = [true, Math.abs(value)];
      let right = weight === undefined ? 0 : weight * value;
      for (const { power, at } of responses) {
        const { slope, bend } = at.get(output)!;
        if (!isSmooth(value, slope[i]!, bend[i]!, largestValue)) smooth = false;
        size = Math.max(size, Math.abs(slope[i]!));
        if (typeof power === "number") right -= power * slope[i]!;
        else coefficients.set(power, (coefficients.get(power) ?? 0) + slope[i]!);
      }
      if (weight === undefined) {
        const own = slotUnknown(output);
        coefficients.set(own, (coefficients.get(own) ?? 0) - value);
      }
      if (smooth && Number.isFinite(size)) equations.push({ coefficients, right, size });
    }
  }
  return equations;
}

/** The power of c of an update; undefined for a slot. */
function weightOf(tensors: readonly Trained[], output: string): number | undefined {
  const i = tensors.findIndex((_, i) => updateOf(i) === output);
  return i < 0 ? undefined : Number(tensors[i]!.scaled);
}

/** How much the outputs of the first updates respond to a number, relative to their size. */
export async function responseTo(experiment: Experiment, name: string, updates: number): Promise<number> {
  const variable: Variable = {
    power: name,
    move: (point, factor) => ({ ...point, numbers: times(point.numbers, name, factor) }),
  };
  let most = 0;
  for (let t = 0; t <= Math.min(updates, experiment.run.moments.length); t++) {
    const point = pointOf(experiment, t);
    const base = await outputsAt(experiment, point);
    for (const [output, { slope, bend }] of await derivatives(experiment, base, point, variable)) {
      const values = base.get(output)!;
      const size = largest(values);
      for (let i = 0; i < values.length && size > 0; i++)
        if (isSmooth(values[i]!, slope[i]!, bend[i]!, size))
          most = Math.max(most, Math.abs(slope[i]!) / size);
    }
  }
  return most;
}

/** Why a number cannot move as far as derivatives need, within what the optimizer takes; undefined where it can. */
export async function whyFixed(
  subject: Subject,
  problem: Problem,
  numbers: Numbers,
  name: string,
): Promise<string | undefined> {
  for (const factor of [1, 1 + delta, 1 - delta]) {
    const answer = await subject.takes(problem, times(numbers, name, factor));
    if (answer !== true) return answer;
  }
  return undefined;
}

/** Equations of the places where a threshold acts, between two of its values: at most `most` of them, by update. */
export async function thresholdEquations(
  experiment: Experiment,
  unknowns: Unknowns,
  name: string,
  [from, to]: readonly [number, number],
  most: number,
): Promise<{ readonly t: number; readonly equation: Equation; readonly place: number }[]> {
  const found: { t: number; equation: Equation; place: number }[] = [];
  const near = to / from > 1 ? 1 - 10 * wide : 1 / (1 - 10 * wide);
  for (let t = 1; t <= experiment.run.moments.length && found.length < most; t++) {
    const point = pointOf(experiment, t);
    const place = await placeBetween(experiment, point, name, from, to);
    if (place === undefined) continue;
    const coefficients = new Map([[unknowns.at(name, t), 1]]);
    let right = 0;
    for (const { power, move } of variablesOf(experiment.run, unknowns, point, t)) {
      if (power === unknowns.at(name, t)) continue;
      const moved = [];
      for (const factor of [1 + wide, 1 - wide])
        moved.push(await placeBetween(experiment, move(point, factor), name, place * near, place / near));
      const [up, down] = moved;
      if (up === undefined || down === undefined) continue; // it went out of sight: no part of it is taken
      const slope = Math.log(up / down) / Math.log((1 + wide) / (1 - wide));
      if (typeof power === "number") right += power * slope;
      else coefficients.set(power, (coefficients.get(power) ?? 0) - slope);
    }
    found.push({ t, place, equation: { coefficients, right, size: 1 } });
  }
  return found;
}

/** The value of a number, nearest to the first one, at which the outputs cease to be those at the first one. */
async function placeBetween(...args: Parameters<typeof searchPlace>): Promise<number | undefined> {
  try {
    return await searchPlace(...args);
  } catch (error) {
    // Where the optimizer takes no such value, no place is seen.
    if (error instanceof Misuse) return undefined;
    throw error;
  }
}

async function searchPlace(
  experiment: Experiment,
  point: Point,
  name: string,
  from: number,
  to: number,
): Promise<number | undefined> {
  const at = (value: number) =>
    outputsAt(experiment, { ...point, numbers: new Map(point.numbers).set(name, value) });
  const base = await at(from);
  const same = (other: Outputs) =>
    [...base].every(([key, values]) => sameValues(values, other.get(key) ?? []));
  if (same(await at(to))) return undefined;
  let [near, far] = [from, to];
  for (let i = 0; i < 64 && Math.abs(far / near - 1) > 1e-13; i++) {
    const middle =
      near / far > 0.5 && near / far < 2 ? (near + far) / 2 : Math.sign(near) * Math.sqrt(near * far);
    if (same(await at(middle))) near = middle;
    else far = middle;
  }
  return (near + far) / 2;
}

function times(numbers: Numbers, name: string, factor: number): Numbers {
  return new Map(numbers).set(name, numbers.get(name)! * factor);
}

function largest(x: Values): number {
  let most = 0;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]!));
  return most;
}
