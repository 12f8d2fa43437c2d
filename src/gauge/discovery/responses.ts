import type { Tensor } from "../../tensor/tensor.ts";
import { scaledBy, valuesOf } from "./host.ts";
import type { Numbers } from "./numbers.ts";
import type { Equation } from "./solve.ts";
import { type Moment, type Run, type Subject, slotsOf, withSlots } from "./subject.ts";
import { slotUnknown, type Unknowns } from "./unknowns.ts";

// How outputs respond when one input is multiplied by 1 + delta. The update u(g, theta, state, h) follows c exactly
// if u(g/c, c theta, c^q state, c^p h) = c u, and likewise for each slot of the next state. The derivative at c = 1
// is one linear equation in p and q for each element (Euler's identity for weighted homogeneous functions).

const delta = 2 ** -17;
/** Above this, the derivatives from the left and from the right differ: a corner or a jump. */
const corner = 1e-2;

/** Whether a number can move as far as the derivatives need, within what the optimizer takes. */
export function canMove(subject: Subject, numbers: Numbers, name: string): boolean {
  try {
    for (const factor of [1, 1 + delta, 1 - delta]) subject.make(times(numbers, name, factor));
    return true;
  } catch {
    return false;
  }
}

/** Every output of an update, by slot; the update itself is "". */
type Outputs = ReadonlyMap<string, ArrayLike<number>>;
type Derivative = ReadonlyMap<string, { readonly slope: Float64Array; readonly bend: Float64Array }>;

/** An optimizer with given numbers, and a run of it. */
export interface Experiment {
  readonly subject: Subject;
  readonly numbers: Numbers;
  readonly run: Run;
}

/** The equations of the initial state and of each update, in order. */
export async function equationsOf(experiment: Experiment, unknowns: Unknowns): Promise<Equation[][]> {
  const first = await initialEquations(experiment, unknowns);
  const all: Equation[][] = [];
  for (const [i, moment] of experiment.run.moments.entries()) {
    const own = await momentEquations(experiment, unknowns, moment, i + 1);
    all.push(i === 0 ? [...first, ...own] : own);
  }
  return all;
}

async function initialEquations(
  { subject, numbers, run }: Experiment,
  unknowns: Unknowns,
): Promise<Equation[]> {
  const theta = run.moments[0]!.parameter;
  const base = outputs(undefined, run.initial);
  const init = async (given: Numbers, parameter: Tensor) =>
    outputs(undefined, await subject.init(subject.make(given), parameter));
  const responses = new Map<string, Derivative>();
  for (const name of numbers.keys())
    responses.set(
      unknowns.at(name, 1),
      await derivative(base, (factor) => init(times(numbers, name, factor), theta)),
    );
  const ofTheta = await derivative(base, (factor) => init(numbers, scaledBy(theta, factor)));
  return assemble(base, responses, [{ derivative: ofTheta, weight: 1 }]);
}

async function momentEquations(
  { subject, numbers }: Experiment,
  unknowns: Unknowns,
  moment: Moment,
  t: number,
): Promise<Equation[]> {
  const { gradient, parameter, before } = moment;
  const optimizer = subject.make(numbers);
  const base = outputs(moment.update, moment.after);
  const update = async (...args: Parameters<Subject["update"]>) => {
    const { update, after } = await subject.update(...args);
    return outputs(update, after);
  };
  const responses = new Map<string, Derivative>();
  for (const slot of slotsOf(before).keys()) {
    const ofSlot = await derivative(base, (factor) => {
      const state = withSlots(before, (x, name) => (name === slot ? scaledBy(x, factor) : x));
      return update(optimizer, gradient, state, parameter);
    });
    responses.set(slotUnknown(slot), ofSlot);
  }
  for (const name of numbers.keys()) {
    const ofNumber = await derivative(base, (factor) =>
      update(subject.make(times(numbers, name, factor)), gradient, before, parameter),
    );
    responses.set(unknowns.at(name, t), ofNumber);
  }
  const ofGradient = await derivative(base, (f) =>
    update(optimizer, scaledBy(gradient, f), before, parameter),
  );
  const ofTheta = await derivative(base, (f) => update(optimizer, gradient, before, scaledBy(parameter, f)));
  return assemble(base, responses, [
    { derivative: ofGradient, weight: -1 },
    { derivative: ofTheta, weight: 1 },
  ]);
}

/** How much the outputs of a run respond to a number, relative to their size. */
export async function responseTo({ subject, numbers, run }: Experiment, name: string): Promise<number> {
  let most = 0;
  const take = async (base: Outputs, f: (factor: number) => Promise<Outputs>) => {
    for (const [output, { slope, bend }] of await derivative(base, f)) {
      const values = base.get(output)!;
      const size = largest(values);
      for (let i = 0; i < values.length && size > 0; i++)
        if (isSmooth(values[i]!, slope[i]!, bend[i]!)) most = Math.max(most, Math.abs(slope[i]!) / size);
    }
  };
  const moved = (factor: number) => subject.make(times(numbers, name, factor));
  const theta = run.moments[0]!.parameter;
  await take(outputs(undefined, run.initial), async (factor) =>
    outputs(undefined, await subject.init(moved(factor), theta)),
  );
  for (const { gradient, before, parameter, update, after } of run.moments) {
    await take(outputs(update, after), async (factor) => {
      const next = await subject.update(moved(factor), gradient, before, parameter);
      return outputs(next.update, next.after);
    });
  }
  return most;
}

function times(numbers: Numbers, name: string, factor: number): Numbers {
  return new Map(numbers).set(name, numbers.get(name)! * factor);
}

function outputs(update: Tensor | undefined, state: Run["initial"]): Outputs {
  const slots = [...slotsOf(state)].map(([name, x]): [string, ArrayLike<number>] => [name, valuesOf(x)]);
  return new Map([...(update ? [["", valuesOf(update)] as const] : []), ...slots]);
}

async function derivative(base: Outputs, f: (factor: number) => Promise<Outputs>): Promise<Derivative> {
  const [up, down] = [await f(1 + delta), await f(1 - delta)];
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
function isSmooth(value: number, slope: number, bend: number): boolean {
  return Math.abs(bend) <= corner * Math.max(Math.abs(value), Math.abs(slope));
}

/** The unknowns' part on the left; the known weights of gradient, parameter and update on the right. */
function assemble(
  base: Outputs,
  responses: ReadonlyMap<string, Derivative>,
  given: readonly { readonly derivative: Derivative; readonly weight: number }[],
): Equation[] {
  const equations: Equation[] = [];
  for (const [output, values] of base) {
    for (let i = 0; i < values.length; i++) {
      const coefficients = new Map<string, number>();
      const value = Math.abs(values[i]!);
      let [smooth, size] = [true, value];
      const take = (all: Derivative): number => {
        const { slope, bend } = all.get(output)!;
        if (!isSmooth(value, slope[i]!, bend[i]!)) smooth = false;
        size = Math.max(size, Math.abs(slope[i]!));
        return slope[i]!;
      };
      for (const [unknown, response] of responses) coefficients.set(unknown, take(response));
      let right = output === "" ? values[i]! : 0;
      for (const { derivative, weight } of given) right -= weight * take(derivative);
      if (output !== "") {
        const own = slotUnknown(output);
        coefficients.set(own, (coefficients.get(own) ?? 0) - values[i]!);
      }
      if (smooth) equations.push({ coefficients, right, size });
    }
  }
  return equations;
}

function largest(x: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]!));
  return most;
}
