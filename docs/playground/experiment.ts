import { ValueError } from "lorantz";
import * as gauge from "lorantz/gauge";

// An experiment as plain data, and its address: a link is an experiment.

export const tasks = ["linear", "picture", "language"] as const;
export const optimizers = ["sgd", "adam", "adamw"] as const;
export const multipliers = ["alpha/r", "alpha/sqrt(r)", "alpha"] as const;
export type TaskName = (typeof tasks)[number];
export type OptimizerName = (typeof optimizers)[number];
export type Multiplier = (typeof multipliers)[number];

/** The numbers of one run that a gauge moves. */
export interface Numbers {
  readonly alpha: number;
  readonly lrA: number;
  readonly lrB: number;
  /** A factor on the initial A. */
  readonly startA: number;
  readonly epsA: number;
  readonly epsB: number;
  readonly decayA: number;
  readonly decayB: number;
}
export type NumberName = keyof Numbers;

/** What both runs share, and the numbers of each. */
export interface Experiment {
  readonly task: TaskName;
  readonly seed: number;
  readonly rank: number;
  /** The rank of what is to be learned, in the linear task. */
  readonly teacher: number;
  readonly optimizer: OptimizerName;
  readonly multiplier: Multiplier;
  readonly x: Numbers;
  readonly y: Numbers;
}

export const runs = ["x", "y"] as const;
export type RunName = (typeof runs)[number];

/** What an optimizer starts from here; its eps is large enough to be seen. */
const rates: Readonly<Record<TaskName, Readonly<Record<OptimizerName, number>>>> = {
  linear: { sgd: 1, adam: 1 / 128, adamw: 1 / 128 },
  picture: { sgd: 0.25, adam: 1 / 128, adamw: 1 / 128 },
  language: { sgd: 0.25, adam: 1 / 128, adamw: 1 / 128 },
};

/** After so many updates something is to be seen of a task. */
export const updatesFor: Readonly<Record<TaskName, number>> = { linear: 150, picture: 150, language: 400 };

export function numbersFor(task: TaskName, optimizer: OptimizerName): Numbers {
  const lr = rates[task][optimizer];
  const decay = optimizer === "adamw" ? 0.01 : 0;
  return { alpha: 8, lrA: lr, lrB: lr, startA: 1, epsA: 1e-8, epsB: 1e-8, decayA: decay, decayB: decay };
}

/** The experiment that the page opens with: a run, and its partner at four times the alpha. */
export function opening(task: TaskName = "linear", optimizer: OptimizerName = "adam"): Experiment {
  const x = numbersFor(task, optimizer);
  const shared = { task, seed: 1, rank: 4, teacher: 4, optimizer, multiplier: "alpha/r" } as const;
  return withPartner({ ...shared, x, y: { ...x, alpha: 32 } });
}

/** The recipe of a run. */
export function recipeOf(experiment: Experiment, run: RunName): gauge.Recipe {
  const { rank: r, optimizer: name, multiplier } = experiment;
  const numbers = experiment[run];
  const { alpha, lrA, lrB, startA, epsA, epsB, decayA, decayB } = numbers;
  const adam = name !== "sgd";
  const group = (lr: number, eps: number, weightDecay: number) =>
    adam ? { lr, eps, weightDecay } : { lr, weightDecay };
  return {
    r,
    alpha: multiplier === "alpha" ? alpha * r : alpha,
    rsLora: multiplier === "alpha/sqrt(r)",
    initScale: { A: startA },
    optimizer: { name, ...group(lrA, epsA, decayA) },
    groups: { B: group(lrB, epsB, decayB) },
  } as gauge.Recipe; // one optimizer's name and its numbers
}

/** The gauge from X to the scaling and the start of Y. */
export function gaugeOf({ x, y }: Experiment): gauge.Gauge {
  const [k, a] = [y.alpha / x.alpha, y.startA / x.startA];
  return gauge.of({ a, b: 1 / (k * a) });
}

/** Y as the partner of X at Y's alpha and start: its rates, eps and decays follow. */
export function withPartner(experiment: Experiment): Experiment {
  const partner = gauge.apply(gaugeOf(experiment), recipeOf(experiment, "x"));
  type Group = { readonly lr?: number; readonly eps?: number; readonly weightDecay?: number };
  const common = partner.optimizer as Group;
  const groups = (partner.groups ?? {}) as { readonly A?: Group; readonly B?: Group };
  const of = (role: "A" | "B", field: keyof Group, otherwise: number) =>
    groups[role]?.[field] ?? common[field] ?? otherwise;
  const { x, y } = experiment;
  return {
    ...experiment,
    y: {
      alpha: y.alpha,
      startA: y.startA,
      lrA: of("A", "lr", x.lrA),
      lrB: of("B", "lr", x.lrB),
      epsA: of("A", "eps", x.epsA),
      epsB: of("B", "eps", x.epsB),
      decayA: of("A", "weightDecay", x.decayA),
      decayB: of("B", "weightDecay", x.decayB),
    },
  };
}

/** What two recipes have to do with each other, in words. */
export function explain(experiment: Experiment): gauge.Explanation {
  return gauge.explain(recipeOf(experiment, "x"), recipeOf(experiment, "y"));
}

/** A recipe in the two quantities that matter, and how they are made. */
export interface Place {
  readonly a: number;
  readonly b: number;
  readonly formulas: { readonly a: string; readonly b: string };
}

export function placeOf(recipe: gauge.Recipe): Place {
  const { invariants } = gauge.canonical(recipe);
  const find = (name: string) => invariants.find((invariant) => invariant.name === name)!;
  const [a, b] = [find("lr.A"), find("lr.B")];
  return {
    a: Number(a.value),
    b: Number(b.value),
    formulas: { a: a.formula, b: b.formula },
  };
}

// The address.

const limits: Readonly<Record<NumberName, readonly [least: number, most: number]>> = {
  alpha: [2 ** -10, 2 ** 16],
  lrA: [0, 1e3],
  lrB: [0, 1e3],
  startA: [2 ** -10, 2 ** 10],
  epsA: [0, 1e3],
  epsB: [0, 1e3],
  decayA: [0, 1e3],
  decayB: [0, 1e3],
};
export const numberNames = Object.keys(limits) as readonly NumberName[];

/** Why a number cannot be taken; undefined if it can. */
export function refusal(name: NumberName, value: number): string | undefined {
  const [least, most] = limits[name];
  if (value >= least && value <= most) return undefined;
  return `${name} is ${value}; it is a number from ${least} to ${most}.`;
}

/** The experiment as the part of an address behind `#`; numbers are written so that they come back to the bit. */
export function toAddress(experiment: Experiment): string {
  const { x, y, ...shared } = experiment;
  const entries = Object.entries(shared).map(([name, value]) => [name, String(value)]);
  for (const run of runs)
    for (const name of numberNames) entries.push([`${run}.${name}`, String({ x, y }[run][name])]);
  return new URLSearchParams(entries).toString();
}

/**
 * The experiment of an address; what is missing is as in the opening.
 *
 * @throws ValueError naming what cannot be read.
 */
export function fromAddress(address: string): Experiment {
  const given = new URLSearchParams(address);
  const oneOf = <T extends string>(name: string, values: readonly T[], otherwise: T): T => {
    const value = given.get(name) ?? otherwise;
    if ((values as readonly string[]).includes(value)) return value as T;
    throw new ValueError(`${name} is "${value}"; it is ${values.join(", ")}.`);
  };
  const integer = (name: string, least: number, most: number, otherwise: number): number => {
    const text = given.get(name) ?? String(otherwise);
    const value = Number(text);
    if (text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
    throw new ValueError(`${name} is "${text}"; it is a whole number from ${least} to ${most}.`);
  };
  const task = oneOf("task", tasks, "linear");
  const optimizer = oneOf("optimizer", optimizers, "adam");
  const start = opening(task, optimizer);
  const shared = {
    task,
    optimizer,
    seed: integer("seed", 0, 2 ** 31, start.seed),
    rank: integer("rank", 1, 32, start.rank),
    teacher: integer("teacher", 1, 32, start.teacher),
    multiplier: oneOf("multiplier", multipliers, start.multiplier),
  };
  const numbersOf = (run: RunName): Numbers => {
    const read = (name: NumberName): number => {
      const text = given.get(`${run}.${name}`);
      if (text === null) return start[run][name];
      const value = text.trim() === "" ? Number.NaN : Number(text);
      const why = refusal(name, value);
      if (why !== undefined) throw new ValueError(`${run}.${why}`);
      return value;
    };
    return Object.fromEntries(numberNames.map((name) => [name, read(name)])) as unknown as Numbers; // each of them
  };
  const known = new Set([
    ...Object.keys(shared),
    ...runs.flatMap((run) => numberNames.map((n) => `${run}.${n}`)),
  ]);
  const other = [...given.keys()].find((name) => !known.has(name));
  if (other !== undefined) throw new ValueError(`"${other}" means nothing here.`);
  const [x, y] = [numbersOf("x"), numbersOf("y")];
  return { ...shared, x, y };
}
