import { messageOf } from "../../base/errors.ts";
import type { Optimizer, OptimizerState } from "../../optim/optimizer.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import * as tree from "../../tensor/tree.ts";
import type { Fault } from "./findings.ts";
import {
  computed,
  held,
  mapTensors,
  numbersIn,
  type Outside,
  outside,
  sameValues,
  tensorsIn,
  valuesOf,
} from "./host.ts";
import type { Given, Numbers } from "./hyper.ts";
import type { Problem, Trained } from "./problems.ts";

/** One update: what went in and what came out, computed. Gradients, parameters and updates by tensor. */
export interface Moment {
  readonly gradients: readonly Tensor[];
  readonly parameters: readonly Tensor[];
  readonly before: OptimizerState;
  readonly updates: readonly Tensor[];
  readonly after: OptimizerState;
}

export interface Run {
  readonly tensors: readonly Trained[];
  readonly initial: OptimizerState;
  readonly moments: readonly Moment[];
}

/** Whether two runs made the same updates, to the last bit. */
export function sameUpdates(a: Run, b: Run): boolean {
  return a.moments.every(({ updates }, t) =>
    updates.every((update, i) => sameValues(valuesOf(update), valuesOf(b.moments[t]!.updates[i]!))),
  );
}

/** What an optimizer does that keeps it from being looked at. */
export class Misuse extends Error {
  readonly fault: Fault;
  readonly hyper: Readonly<Record<string, number>>;

  constructor(fault: Fault, message: string, numbers: Numbers) {
    super(message);
    this.fault = fault;
    this.hyper = Object.fromEntries(numbers);
  }
}

/** The number of an update, for messages, and what the optimizer finds outside. */
interface When {
  readonly t?: number;
  readonly around?: Outside | undefined;
}

/** An optimizer made with some numbers. */
export interface Made {
  readonly optimizer: Optimizer;
  readonly numbers: Numbers;
}

/** An optimizer under investigation: as a function of its numbers, with the misuse that it may commit caught. */
export class Subject {
  readonly #given: Given;
  #name: string;

  constructor(given: Given) {
    this.#given = given;
    this.#name = given.name;
  }

  /** The optimizer's own name, once it was made. */
  get name(): string {
    return this.#name;
  }

  /** @throws Misuse where it throws for these numbers, or returns no optimizer. */
  make(numbers: Numbers): Made {
    const optimizer = this.#call("making it", numbers, () => this.#given.make(numbers)) as
      | Partial<Optimizer>
      | undefined;
    if (typeof optimizer?.init !== "function" || typeof optimizer.update !== "function")
      throw new Misuse(
        "is no optimizer",
        `the function returns ${typeof optimizer === "object" ? "an object without init and update" : String(optimizer)}, which is no optimizer`,
        numbers,
      );
    if (typeof optimizer.name === "string") this.#name = optimizer.name;
    return { optimizer: optimizer as Optimizer, numbers };
  }

  /** Whether it is made and makes its first update with these numbers. */
  async takes(problem: Problem, numbers: Numbers): Promise<true | string> {
    try {
      await this.run({ ...problem, gradients: problem.gradients.slice(0, 1) }, () => numbers);
      return true;
    } catch (error) {
      if (error instanceof Misuse) return error.message;
      throw error;
    }
  }

  /** A run with, in each update, the numbers of that update, from 1; from a given state if there is one. */
  async run(
    { tensors, start, gradients }: Problem,
    numbersAt: (t: number) => Numbers,
    options: { readonly made?: Made; readonly around?: Outside; readonly from?: OptimizerState } = {},
  ): Promise<Run> {
    let parameters = start.map((values, i) => held(values, like(tensors[i]!)));
    const { around } = options;
    let made = options.made ?? outside(around, () => this.make(numbersAt(1)));
    // Up to its first await, and so in what the optimizer does, `init` runs at once.
    const initial = options.from ?? (await outside(around, () => this.init(made, tensors, parameters)));
    let state = initial;
    const moments: Moment[] = [];
    for (const [i, values] of gradients.entries()) {
      const numbers = numbersAt(i + 1);
      if (numbers !== made.numbers && !options.made) made = outside(around, () => this.make(numbers));
      const given = values.map((own, j) => held(own, like(tensors[j]!)));
      const moment = await this.moment(made, tensors, given, state, parameters, { t: i + 1, around });
      moments.push(moment);
      parameters = parameters.map((parameter, j) => {
        const [p, u] = [valuesOf(parameter), valuesOf(moment.updates[j]!)];
        return held(
          Float64Array.from(u, (x, k) => p[k]! + x),
          parameter,
        );
      });
      state = moment.after;
    }
    return { tensors, initial, moments };
  }

  async init(
    made: Made,
    tensors: readonly Trained[],
    parameters: readonly Tensor[],
  ): Promise<OptimizerState> {
    const params = treeOf(tensors, parameters);
    const before = identities(params);
    const state = this.#call("init", made.numbers, () => made.optimizer.init(params));
    this.#checkUntouched("init", "parameters", made.numbers, before, params);
    this.#checkState("init", made.numbers, state);
    return computed(state);
  }

  /** An update, computed. */
  async moment(
    made: Made,
    tensors: readonly Trained[],
    gradients: readonly Tensor[],
    before: OptimizerState,
    parameters: readonly Tensor[],
    when: When = {},
  ): Promise<Moment> {
    const lazy = this.update(made, tensors, gradients, before, parameters, when);
    return { gradients, parameters, before, ...(await computed(lazy)) };
  }

  /** What an update returns, not yet computed. */
  update(
    { optimizer, numbers }: Made,
    tensors: readonly Trained[],
    gradients: readonly Tensor[],
    state: OptimizerState,
    parameters: readonly Tensor[],
    { t, around }: When = {},
  ): { readonly updates: readonly Tensor[]; readonly after: OptimizerState } {
    const which = t === undefined ? "update" : `update ${t}`;
    const inputs: [string, unknown][] = [
      ["gradients", treeOf(tensors, gradients)],
      ["state", state],
      ["parameters", treeOf(tensors, parameters)],
    ];
    const before = inputs.map(([, input]) => identities(input));
    const result: unknown = this.#call(which, numbers, () =>
      outside(around, () => optimizer.update(inputs[0]![1], state, inputs[2]![1])),
    );
    for (const [i, [what, input]] of inputs.entries())
      this.#checkUntouched("update", what, numbers, before[i]!, input);
    if (typeof (result as Promise<unknown> | undefined)?.then === "function")
      throw new Misuse(
        "is no optimizer",
        `${which} returns a promise; it returns updates and state at once`,
        numbers,
      );
    const [tree_, after] = Array.isArray(result) ? (result as unknown[]) : [result, undefined];
    const updates = tensors.map(({ key, shape }) => {
      const update = (tree_ as Record<string, unknown> | undefined)?.[key];
      if (tree.isTensor(update) && String(update.shape) === String(shape)) return update;
      throw new Misuse(
        "is no optimizer",
        `update returns ${String(update)} for a parameter of shape [${shape.join(",")}]. It returns a tree of updates of the structure and shapes of the parameters, and the next state`,
        numbers,
      );
    });
    this.#checkState(which, numbers, after);
    return { updates, after: after as OptimizerState };
  }

  #call<T>(what: string, numbers: Numbers, f: () => T): T {
    try {
      return f();
    } catch (error) {
      const message = messageOf(error);
      throw new Misuse("throws", `${what} throws ${JSON.stringify(message)}`, numbers);
    }
  }

  #checkState(call: string, numbers: Numbers, state: unknown): void {
    if (typeof state === "object" && state !== null && !tree.isTensor(state)) return;
    throw new Misuse(
      "is no optimizer",
      `${call} returns the state ${String(state)}; a state is a tree of tensors`,
      numbers,
    );
  }

  #checkUntouched(
    call: string,
    what: string,
    numbers: Numbers,
    before: ReadonlyMap<string, unknown>,
    input: unknown,
  ): void {
    const now = identities(input);
    for (const path of new Set([...before.keys(), ...now.keys()])) {
      if (before.get(path) === now.get(path)) continue;
      throw new Misuse(
        "changes its inputs",
        `${call} changed its ${what} in place, at ${path.replaceAll("/", ".")}. Leave the inputs as they are and return new trees`,
        numbers,
      );
    }
  }
}

const like = ({ shape }: Trained) => ({ shape, dtype: "float64" }) as const;

function treeOf(tensors: readonly Trained[], values: readonly Tensor[]): Record<string, Tensor> {
  return Object.fromEntries(tensors.map(({ key }, i) => [key, values[i]!]));
}

/** What a tree holds where: tensors and other values by their path; objects of classes are one value. */
function identities(input: unknown): Map<string, unknown> {
  const found = new Map<string, unknown>();
  const visit = (value: unknown, path: string): void => {
    if (!isPlain(value) && !Array.isArray(value) && !ArrayBuffer.isView(value)) found.set(path, value);
    else for (const [key, child] of Object.entries(value)) visit(child, path ? `${path}/${key}` : key);
  };
  visit(input, "");
  return found;
}

function isPlain(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

const isStep = (path: string) => /(^|\.)step$/.test(path);

/** The floats of a state that may scale, by slot: all but a number `step`, without the key of a single parameter. */
export function slotsOf(state: OptimizerState): Map<string, Tensor> {
  return new Map(
    tensorsIn(state)
      .map(([path, leaf]): [string, Tensor] => [slotName(path), leaf])
      .filter(
        ([path, { dtype, size }]) =>
          !(isStep(path) && size === 1) && (dtype.startsWith("float") || dtype === "number"),
      ),
  );
}

/** The state with each slot replaced. */
export function withSlots(
  state: OptimizerState,
  replace: (slot: Tensor, name: string) => Tensor,
): OptimizerState {
  const scaling = slotsOf(state);
  return mapTensors(state, (leaf, path) => {
    const name = slotName(path);
    return scaling.get(name) === leaf ? replace(leaf, name) : leaf;
  });
}

/** The places of a state that count updates, by path: they grew by 1 in each of the last updates of a run. */
export function countersOf({ moments }: Run): string[] {
  if (moments.length < 3) return [];
  const grew = ({ before, after }: Moment, path: string) => {
    const [from, to] = [countsOf(before).get(path), countsOf(after).get(path)];
    return from !== undefined && to !== undefined && to - from === 1;
  };
  const paths = [...countsOf(moments.at(-1)!.after).keys()];
  return paths.filter((path) => moments.slice(-3).every((moment) => grew(moment, path)));
}

/** What may be a counter: single numbers, by path. */
function countsOf(state: OptimizerState): Map<string, number> {
  const single = tensorsIn(state).filter(([, { size }]) => size === 1);
  return new Map([
    ...numbersIn(state),
    ...single.map(([path, leaf]): [string, number] => [path, valuesOf(leaf)[0]!]),
  ]);
}

/** The state with its counters set ahead. */
export function setAhead(state: OptimizerState, counters: readonly string[], by: number): OptimizerState {
  const visit = (value: unknown, path: string): unknown => {
    if (counters.includes(path))
      return tree.isTensor(value) ? held([valuesOf(value)[0]! + by], value) : (value as number) + by;
    if (Array.isArray(value)) return value.map((child, i) => visit(child, path ? `${path}.${i}` : String(i)));
    if (!isPlain(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, child]) => [key, visit(child, path ? `${path}.${key}` : key)]),
    );
  };
  return visit(state, "") as OptimizerState; // the structure is kept
}

function slotName(path: string): string {
  return path
    .split(".")
    .filter((part) => part !== "theta")
    .join(".");
}
