import { ValueError } from "../base/errors.ts";
import type { Shape } from "../base/shape.ts";
import type { Optimizer } from "../optim/optimizer.ts";
import { type Attempt, attempts } from "./discovery/attempts.ts";
import { type Experiment, equationsOf, thresholdEquations } from "./discovery/equations.ts";
import { type Explored, explore } from "./discovery/explore.ts";
import type { Looked, NoSymmetry, Symmetry, Undecided } from "./discovery/findings.ts";
import type { Rounding } from "./discovery/host.ts";
import { givenOf } from "./discovery/hyper.ts";
import { scenarios, showShape, type Trained, trainedOf } from "./discovery/problems.ts";
import { type Equation, Unknowns } from "./discovery/solve.ts";
import { checkAlone, checkSound } from "./discovery/sound.ts";
import { countersOf, Misuse, Subject, slotsOf } from "./discovery/subject.ts";
import { Experiments, type Failure, type Success } from "./discovery/verify.ts";
import { describeNone, describeSymmetry, foundPowers, undecided } from "./discovery/words.ts";

export interface DiscoverOptions<H extends object> {
  /**
   * The hyperparameters with the values to try around; passed to the function that makes the optimizer. Numbers,
   * also those inside lists and objects, get a power; whatever else is in it is left alone. Where a value is 0, or
   * does nothing, another is tried, since the powers do not depend on it.
   */
  readonly hyper: H;
  /** Hyperparameters whose power may differ from update to update, as a schedule's can. Default none. */
  readonly perUpdate: readonly (keyof H & string)[];
  /** Updates from which powers are worked out; at least 2, default 12. */
  readonly updates: number;
  /** Updates over which runs are compared, and so the last that is looked at in a row. Default 200. */
  readonly horizon: number;
  /**
   * Shapes of the tensor; of loraA for a pair. Default [2,3], [3,2] and [4], as optimizers may treat wide and tall
   * matrices and vectors each in its own way.
   */
  readonly shapes: readonly Shape[];
  /**
   * For rules that update loraA and loraB of a layer together: which of them is multiplied by c, the other one
   * staying as it is. Default: the rule is one of single tensors.
   */
  readonly pair: "A" | "B";
}

const shapes: readonly Shape[] = [[2, 3], [3, 2], [4]];
const pairShapes: readonly Shape[] = [
  [2, 3],
  [3, 4],
];

/**
 * Finds by experiment how an optimizer's hyperparameters and state must scale, h' = c^p h, for it to make c theta
 * out of gradients g / c wherever it made theta out of g; or that no powers do that. It looks at nothing but what
 * `init` and `update` return: no declared rule. It needs no device.
 *
 * The update and the next state are homogeneous functions with a weight for each input exactly if Euler's identity
 * holds, which is linear in the weights. So the powers solve a linear system made of derivatives, measured by
 * differences at every element of some updates, and of the places where thresholds act. Then runs of the optimizer
 * and its partner are compared, state and all, bit by bit for powers of two and up to rounding for others: with
 * random gradients, persistent ones, gradients of all sizes, zeros in gradients and parameters, for c from 2^-250 to
 * 2^250 so that constants show, over many updates and late ones. What was looked at is in the result.
 *
 * Pass an optimizer of the library without groups and schedule, or a function from hyperparameters to any
 * optimizer, with the hyperparameters to look at.
 *
 * @returns What was found; `exists` is undefined for an optimizer of which nothing can be said, since it throws,
 *   changes its inputs, depends on the time or on random numbers, keeps state outside, or gives NaN or infinities.
 * @throws ValueError for options that are none, and an optimizer that is not of the library and no function.
 * @example
 * const found = await discoverSymmetry(adamw({ lr: 1e-3 }));
 * found.exists && found.hyper; // { lr: 1, eps: -1, weightDecay: -1, betas: 0 }
 * const mine = await discoverSymmetry((hyper) => myOptimizer(hyper), { hyper: { lr: 0.1, floor: 1e-3 } });
 * console.log(mine.text);
 */
export async function discoverSymmetry<H extends object>(
  optimizer: Optimizer | ((hyper: H) => Optimizer),
  options: Partial<DiscoverOptions<H>> = {},
): Promise<Symmetry | NoSymmetry | Undecided> {
  const { updates = 12, perUpdate = [], pair } = options;
  const horizon = Math.max(options.horizon ?? 200, updates);
  checkOptions(options);
  const given = givenOf(optimizer, options.hyper);
  for (const name of perUpdate) {
    if (![...given.numbers.keys()].some((own) => own === name || own.startsWith(`${name}.`)))
      throw new ValueError(
        `discoverSymmetry: perUpdate names ${name}, which is no number among the hyperparameters ${[...given.numbers.keys()].join(", ")}.`,
      );
  }
  const subject = new Subject(given);
  try {
    const { taken, refusedShapes } = await shapesTaken(subject, given.numbers, options);
    const all = taken.map((tensors, i) => scenarios(tensors, { updates, horizon, first: i === 0 }));
    if (typeof optimizer !== "function")
      await checkAlone(optimizer, subject, given.numbers, all[0]![0]!.problem);
    for (const own of all) await checkSound(subject, finite(given.numbers), own);
    // What is usual and what is wide, for each shape.
    const problems = all.flatMap(([usual, , widely]) => [usual!.problem, widely!.problem]);
    const explored = await explore(subject, given.numbers, problems);
    const experiments = new Experiments(subject, explored.tried, finite(given.numbers), all.flat());
    const search = new Search(explored, given.others, { shapes: taken.map(showShape), refusedShapes });
    const found = await search.among(experiments, perUpdate, updates);
    if (found.exists || perUpdate.length > 0) return found;
    return await search.elsewhere(experiments, found, { updates, pair, taken });
  } catch (error) {
    if (error instanceof Misuse) return undecided(subject.name, error);
    throw error;
  }
}

type Extent = Partial<Pick<DiscoverOptions<object>, "updates" | "horizon" | "shapes" | "pair">>;

function checkOptions(options: Extent): void {
  for (const name of ["updates", "horizon"] as const) {
    const value = options[name];
    if (value !== undefined && (!Number.isInteger(value) || value < 2))
      throw new ValueError(`discoverSymmetry: ${name} is ${String(value)}; it is an integer >= 2.`);
  }
  if (options.pair !== undefined && options.pair !== "A" && options.pair !== "B")
    throw new ValueError(
      `discoverSymmetry: pair is ${String(options.pair)}; it is "A" or "B", the factor that is scaled.`,
    );
  const isShape = (shape: unknown) =>
    Array.isArray(shape) &&
    shape.every((n) => Number.isInteger(n) && n > 0) &&
    (!options.pair || shape.length === 2);
  const { shapes } = options;
  if (shapes !== undefined && !(Array.isArray(shapes) && shapes.length > 0 && shapes.every(isShape)))
    throw new ValueError(
      `discoverSymmetry: shapes is ${JSON.stringify(shapes)}; it is a list of shapes such as [[2, 3], [4]]${options.pair ? ", each [r, n] of loraA" : ""}.`,
    );
}

/** Infinite numbers, which turn something off, left out. */
function finite(numbers: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  return new Map([...numbers].filter(([, value]) => Number.isFinite(value)));
}

/** The tensors that the optimizer takes, and what it says of the others. */
async function shapesTaken(
  subject: Subject,
  numbers: ReadonlyMap<string, number>,
  { shapes: asked, pair, updates = 12 }: Extent,
): Promise<{
  readonly taken: readonly (readonly Trained[])[];
  readonly refusedShapes: Record<string, string>;
}> {
  const taken: (readonly Trained[])[] = [];
  const refusedShapes: Record<string, string> = {};
  for (const shape of asked ?? (pair ? pairShapes : shapes)) {
    const tensors = trainedOf(shape, pair);
    const [usual] = scenarios(tensors, { updates, horizon: updates, first: true });
    const answer = await subject.takes(usual!.problem, numbers);
    if (answer === true) taken.push(tensors);
    else refusedShapes[showShape(tensors)] = answer;
  }
  const [first] = Object.values(refusedShapes);
  if (taken.length === 0) {
    // The fault itself, rather than its words.
    const [usual] = scenarios(trainedOf((asked ?? shapes)[0]!, pair), {
      updates,
      horizon: updates,
      first: true,
    });
    await subject.run(usual!.problem, () => numbers);
    throw new Misuse("throws", first ?? "nothing was taken", numbers);
  }
  return { taken, refusedShapes };
}

/** The search for powers, with what the findings say beside them. */
class Search {
  readonly #explored: Explored;
  readonly #about: Pick<Looked, "shapes" | "refusedShapes">;
  readonly #untried: Readonly<Record<string, string>>;
  readonly #measured = new Map<Experiments, Map<Rounding, Promise<Equation[][]>>>();

  constructor(
    explored: Explored,
    others: Readonly<Record<string, string>>,
    about: Pick<Looked, "shapes" | "refusedShapes">,
  ) {
    this.#explored = explored;
    this.#about = about;
    this.#untried = { ...others, ...explored.untried };
  }

  /** The first attempt that all runs confirm; else the last, with what speaks against it. */
  async among(
    experiments: Experiments,
    perUpdate: readonly string[],
    updates: number,
  ): Promise<Symmetry | NoSymmetry> {
    const unknowns = await this.#unknowns(experiments, perUpdate, updates);
    const equations = await this.#equations(experiments, unknowns, "never");
    const unrounded = async () =>
      (await experiments.rounds()) ? this.#equations(experiments, unknowns, "whole") : [];
    let last: { readonly attempt: Attempt; readonly failure: Failure } | undefined;
    for await (const attempt of attempts(equations, unrounded, unknowns)) {
      const verdict = await experiments.judge(attempt);
      if (!("failure" in verdict)) return this.#symmetry(experiments, unknowns, attempt, verdict);
      const { agreed, mismatch } = verdict.failure;
      const before = last?.failure;
      // The closest: where most runs agree, and the first that does not does so latest.
      if (
        !before ||
        agreed > before.agreed ||
        (agreed === before.agreed && mismatch.update >= before.mismatch.update)
      )
        last = { attempt, failure: verdict.failure };
    }
    return this.#none(experiments, unknowns, last!.attempt, last!.failure);
  }

  /** What holds where nothing holds for all: with a power for each update, or for one shape. */
  async elsewhere(
    experiments: Experiments,
    found: NoSymmetry,
    {
      updates,
      pair,
      taken,
    }: {
      readonly updates: number;
      readonly pair: "A" | "B" | undefined;
      readonly taken: readonly (readonly Trained[])[];
    },
  ): Promise<NoSymmetry> {
    const { update } = found.counterexample;
    // A change that was seen late is explained by powers up to then.
    const longer = update > updates && update <= 60 ? update + 5 : updates;
    let own = experiments;
    if (longer > updates) {
      const all = taken.map((tensors, i) =>
        scenarios(tensors, { updates: longer, horizon: longer, first: i === 0 }),
      );
      own = new Experiments(experiments.subject, experiments.numbers, experiments.given, all.flat());
    }
    for (const name of this.#explored.tried.keys()) {
      const phased = await this.among(own, [name], longer);
      if (!phased.exists) continue;
      const text = `${found.text}\nIf ${name} may change from update to update, there is an exact rule:\n${phased.text}`;
      return { ...found, perUpdate: phased, text };
    }
    if (taken.length < 2) return found;
    const perShape: Record<string, Symmetry> = {};
    for (const tensors of taken) {
      const shape = showShape(tensors);
      const alone = experiments.only(({ problem }) => showShape(problem.tensors) === shape);
      const one = new Search(this.#explored, this.#untried, { ...this.#about, shapes: [shape] });
      const holds = await one.among(alone, [], updates);
      if (holds.exists) perShape[shape] = holds;
    }
    if (Object.keys(perShape).length === 0) return found;
    const texts = Object.entries(perShape).map(
      ([shape, { text }]) =>
        `For ${pair ? "the pair" : "shape"} ${shape} alone there is an exact rule:\n${text}`,
    );
    return { ...found, perShape, text: [found.text, ...texts].join("\n") };
  }

  async #unknowns(
    experiments: Experiments,
    perUpdate: readonly string[],
    updates: number,
  ): Promise<Unknowns> {
    const slots = new Set<string>();
    for (const scenario of experiments.scenarios.filter((own) => own.equations > 0)) {
      const run = await experiments.run(scenario);
      const counters = countersOf(run);
      for (const state of [run.initial, ...run.moments.slice(0, updates).map(({ after }) => after)])
        for (const slot of slotsOf(state).keys()) if (!counters.includes(slot)) slots.add(slot);
    }
    // Where powers may be traded for one another, the learning rate keeps its value: it comes last.
    const isRate = (name: string) => Number(/(^|\.)lr$/.test(name));
    const hyper = [...experiments.numbers.keys()].sort((a, b) => isRate(a) - isRate(b));
    return new Unknowns([...slots], hyper, updates, perUpdate);
  }

  /** By update: those of all scenarios that the powers must fit. Measured once, whatever may differ by update. */
  async #equations(experiments: Experiments, unknowns: Unknowns, rounding: Rounding): Promise<Equation[][]> {
    const each = new Unknowns(unknowns.slots, unknowns.hyper, unknowns.updates, unknowns.hyper);
    const known = this.#measured.get(experiments) ?? new Map<Rounding, Promise<Equation[][]>>();
    const measured = known.get(rounding) ?? this.#measure(experiments, each, rounding);
    this.#measured.set(experiments, known.set(rounding, measured));
    return (await measured).map((equations, i) => {
      const names = new Map(unknowns.hyper.map((name) => [each.at(name, i + 1), unknowns.at(name, i + 1)]));
      return equations.map((equation) => ({
        ...equation,
        coefficients: new Map(
          [...equation.coefficients].map(([name, coefficient]) => [names.get(name) ?? name, coefficient]),
        ),
      }));
    });
  }

  async #measure(experiments: Experiments, unknowns: Unknowns, rounding: Rounding): Promise<Equation[][]> {
    const { subject, numbers, scenarios } = experiments;
    const all: Equation[][] = Array.from({ length: unknowns.updates }, () => []);
    const told = scenarios.filter(({ equations }) => equations > 0);
    for (const scenario of told) {
      const experiment: Experiment = { subject, numbers, run: await experiments.run(scenario), rounding };
      const own = await equationsOf(experiment, unknowns, scenario.equations);
      for (const [i, equations] of own.entries()) all[i]!.push(...equations);
    }
    for (const [name, between] of this.#explored.thresholds) {
      for (const scenario of told.filter((_, i) => i % 3 !== 1)) {
        const experiment: Experiment = { subject, numbers, run: await experiments.run(scenario), rounding };
        for (const { t, equation } of await thresholdEquations(experiment, unknowns, name, between, 2))
          all[t - 1]?.push(equation);
      }
    }
    return all;
  }

  #looked(experiments: Experiments): Looked {
    return {
      ...this.#about,
      ...experiments.looked(),
      tried: Object.fromEntries(this.#explored.tried),
      untried: this.#untried,
    };
  }

  #symmetry(experiments: Experiments, unknowns: Unknowns, attempt: Attempt, success: Success): Symmetry {
    const result = {
      exists: true,
      optimizer: experiments.subject.name,
      ...foundPowers(attempt, unknowns),
      ...success,
      open: attempt.open,
      looked: this.#looked(experiments),
    } as const;
    return { ...result, text: describeSymmetry(result) };
  }

  async #none(
    experiments: Experiments,
    unknowns: Unknowns,
    attempt: Attempt,
    failure: Failure,
  ): Promise<NoSymmetry> {
    const result = {
      exists: false,
      optimizer: experiments.subject.name,
      closest: foundPowers(attempt, unknowns),
      counterexample: await experiments.counterexample(attempt, failure),
      looked: this.#looked(experiments),
    } as const;
    return { ...result, text: describeNone(result) };
  }
}
