import { ValueError } from "../../base/errors.ts";
import type { Optimizer, OptimizerState } from "../../optim/optimizer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import { computed, held, sameValues, valuesOf } from "./host.ts";
import type { Numbers } from "./numbers.ts";

/** The key of the one parameter, which no slot is likely to have. */
const key = "theta";

/** Gradients and the parameter that an experiment starts from, one tensor of that shape. */
export interface Problem {
  readonly shape: readonly [number, number];
  readonly start: Float64Array;
  readonly gradients: readonly Float64Array[];
}

/** One update: what went in and what came out, computed. */
export interface Moment {
  readonly gradient: Tensor;
  readonly parameter: Tensor;
  readonly before: OptimizerState;
  readonly update: Tensor;
  readonly after: OptimizerState;
}

export interface Run {
  readonly initial: OptimizerState;
  readonly moments: readonly Moment[];
}

/** Whether two runs made the same updates, to the last bit. */
export function sameUpdates(a: Run, b: Run): boolean {
  return a.moments.every(({ update }, i) => sameValues(update, b.moments[i]!.update));
}

/** An optimizer under investigation: as a function of its numbers, with the misuse that it may commit caught. */
export class Subject {
  readonly #make: (numbers: Numbers) => Optimizer;
  readonly name: string;

  constructor(make: (numbers: Numbers) => Optimizer, name: string) {
    this.#make = make;
    this.name = name;
  }

  /** Throws what the optimizer throws for numbers that it does not take. */
  make(numbers: Numbers): Optimizer {
    return this.#make(numbers);
  }

  /** A run with, in each update, the numbers of that update, from 1. */
  async run(problem: Problem, numbersAt: (t: number) => Numbers): Promise<Run> {
    const like = { shape: problem.shape, dtype: "float64" } as const;
    let parameter = held(problem.start, like);
    const initial = await this.init(this.make(numbersAt(1)), parameter);
    let state = initial;
    const moments: Moment[] = [];
    let current = { numbers: numbersAt(1), optimizer: this.make(numbersAt(1)) };
    for (const [i, values] of problem.gradients.entries()) {
      const numbers = numbersAt(i + 1);
      if (numbers !== current.numbers) current = { numbers, optimizer: this.make(numbers) };
      const gradient = held(values, like);
      const { update, after } = await this.update(current.optimizer, gradient, state, parameter);
      moments.push({ gradient, parameter, before: state, update, after });
      const [p, u] = [valuesOf(parameter), valuesOf(update)];
      parameter = held(
        Float64Array.from(u, (x, j) => p[j]! + x),
        like,
      );
      state = after;
    }
    return { initial, moments };
  }

  /** Whether the update of a tensor depends on others that are trained with it. */
  async couples({ shape, start, gradients }: Problem, numbers: Numbers): Promise<boolean> {
    const like = { shape, dtype: "float64" } as const;
    const optimizer = this.make(numbers);
    const updatesBeside = async (factor: number): Promise<Tensor[]> => {
      const params = {
        [key]: held(start, like),
        beside: held(
          start.map((x) => x * factor),
          like,
        ),
      };
      let state = await computed(optimizer.init(params));
      const seen: Tensor[] = [];
      for (const values of gradients.slice(0, 3)) {
        const given = {
          [key]: held(values, like),
          beside: held(
            values.map((x) => x * factor),
            like,
          ),
        };
        const [update, next] = await computed(optimizer.update(given, state, params));
        state = next;
        seen.push(update[key]!);
      }
      return seen;
    };
    const [small, large] = [await updatesBeside(1), await updatesBeside(1000)];
    return small.some((update, t) => !sameValues(update, large[t]!));
  }

  async init(optimizer: Optimizer, parameter: Tensor): Promise<OptimizerState> {
    const params = { [key]: parameter };
    const before = identities(params);
    const state = optimizer.init(params);
    this.#checkUntouched("init", "parameters", before, params);
    return computed(state);
  }

  async update(
    optimizer: Optimizer,
    gradient: Tensor,
    state: OptimizerState,
    parameter: Tensor,
  ): Promise<{ readonly update: Tensor; readonly after: OptimizerState }> {
    const [gradients, params] = [{ [key]: gradient }, { [key]: parameter }];
    const inputs: [string, unknown][] = [
      ["gradients", gradients],
      ["state", state],
      ["parameters", params],
    ];
    const before = inputs.map(([, input]) => identities(input));
    const [updates, next] = optimizer.update(gradients, state, params);
    for (const [i, [what, input]] of inputs.entries())
      this.#checkUntouched("update", what, before[i]!, input);
    const update: unknown = updates[key];
    if (!tree.isTensor(update) || String(update.shape) !== String(parameter.shape)) {
      throw new ValueError(
        `discoverSymmetry: update of ${this.name} returned ${String(update)} for the parameter ${parameter}. It returns a tree of updates of the structure and shapes of the parameters, and the next state.`,
      );
    }
    const done = await computed({ update, after: next });
    return { update: done.update, after: done.after };
  }

  #checkUntouched(call: string, what: string, before: ReadonlyMap<string, unknown>, input: unknown): void {
    const now = identities(input);
    for (const path of new Set([...before.keys(), ...now.keys()])) {
      if (before.get(path) === now.get(path)) continue;
      throw new ValueError(
        `discoverSymmetry: ${call} of ${this.name} changed its ${what} in place, at ${path.replaceAll("/", ".")}. Leave the inputs as they are and return new trees.`,
      );
    }
  }
}

/** What a tree holds where: tensors and other values by their path. */
function identities(input: unknown): Map<string, unknown> {
  const found = new Map<string, unknown>();
  const visit = (value: unknown, path: string): void => {
    if (tree.isTensor(value) || typeof value !== "object" || value === null) found.set(path, value);
    else for (const [key, child] of Object.entries(value)) visit(child, path ? `${path}/${key}` : key);
  };
  visit(input, "");
  return found;
}

/** The floats of a state that may scale, by slot: all but `step` and integers, without the parameter's own key. */
export function slotsOf(state: OptimizerState): Map<string, Tensor> {
  const slots = tree
    .entries(state)
    .filter(([path, { dtype }]) => path !== "step" && (dtype === "float64" || dtype === "number"))
    .map(([path, leaf]): [string, Tensor] => [slotName(path), leaf]);
  return new Map(slots.filter(([name]) => !/(^|\.)step$/.test(name)));
}

/** The state with each scaling slot replaced. */
export function withSlots(
  state: OptimizerState,
  replace: (slot: Tensor, name: string) => Tensor,
): OptimizerState {
  const scaling = slotsOf(state);
  return tree.map(state, (leaf, path) => {
    const name = slotName(path);
    return scaling.get(name) === leaf ? replace(leaf, name) : leaf;
  });
}

function slotName(path: string): string {
  return path
    .split(".")
    .filter((part) => part !== key)
    .join(".");
}
