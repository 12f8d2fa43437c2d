import { ValueError } from "../base/errors.ts";
import type { Schedule } from "./optimizer.ts";

/** One hyperparameter: its value when none is given, which values it takes, and how messages say so. */
export interface Field<T> {
  /** Missing where the caller must give a value. */
  readonly otherwise?: T;
  readonly valid: (value: unknown) => value is T;
  readonly expected: string;
  /** May be left out, and then the hyperparameters do not have it. */
  readonly optional?: boolean;
}

/** A field for each hyperparameter of a rule. */
export type Fields<H> = { readonly [K in keyof H]-?: Field<Exclude<H[K], undefined>> };

const isAtLeastZero = (value: unknown): value is number =>
  typeof value === "number" && value >= 0 && value < Infinity;
const isFraction = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < 1;

/** A finite number >= 0, which must be given. */
export const required: Field<number> = { valid: isAtLeastZero, expected: "a finite number >= 0" };

/** A finite number >= 0. */
export function nonNegative(otherwise: number): Field<number> {
  return { ...required, otherwise };
}

/** A number >= 0 and < 1, such as the share of an average that stays. */
export function fraction(otherwise: number): Field<number> {
  return { otherwise, valid: isFraction, expected: "a number >= 0 and < 1" };
}

/** Two numbers, as `valid` wants them. */
export function pair(
  otherwise: Pair,
  valid: (first: number, second: number) => boolean,
  expected: string,
): Field<Pair> {
  return {
    otherwise,
    valid: (value): value is Pair =>
      Array.isArray(value) &&
      value.length === 2 &&
      typeof value[0] === "number" &&
      typeof value[1] === "number" &&
      valid(value[0], value[1]),
    expected,
  };
}

/** The two decay rates of moments. */
export function betas(otherwise: Betas): Field<Betas> {
  return pair(otherwise, (b1, b2) => isFraction(b1) && isFraction(b2), "two numbers >= 0 and < 1");
}

/** A field that may be left out. */
export function optional<T>({ valid, expected }: Field<T>): Field<T> {
  return { valid, expected, optional: true };
}

/** A boolean, false by default. */
export const flag: Field<boolean> = {
  otherwise: false,
  valid: (value) => typeof value === "boolean",
  expected: "true or false",
};

export type Pair = readonly [first: number, second: number];
export type Betas = Pair;

/**
 * Which parameters a group is for: one key of the path or several in a row (`"fc1"` and `"fc1.loraB"`
 * match `layers.fc1.loraB`, `"fc"` does not), a regular expression that is found in the path, or a predicate.
 */
export type Match = string | RegExp | ((path: string) => boolean);

/** Parameters with hyperparameters of their own; what is left out is as at the top level. */
export type Group<H> = Partial<H> & {
  readonly match: Match;
  /** A factor on the top level's `lr`, in place of an `lr` of the group's own. */
  readonly lrScale?: number;
};

/** What makes an optimizer, beside its name: the learning rate and what differs from the defaults. */
export type OptimizerOptions<H extends { readonly lr: number }> = Partial<Omit<H, "lr">> & {
  /** Learning rate of the parameters that no group matches. */
  readonly lr: number;
  /** The first group that matches a parameter's path gives its hyperparameters. */
  readonly groups?: readonly Group<H>[];
  /** A factor on the learning rates of all groups. Default 1. */
  readonly schedule?: Schedule;
};

/** Hyperparameters by path: the groups in order, and the rest. */
export interface Resolved<H> {
  readonly defaults: H;
  /** The index of the group of a path, or -1. */
  groupOf(path: string): number;
  /** The hyperparameters of a group; of the rest for -1. */
  ofGroup(index: number): H;
  /** Throws unless each group matches one of the paths. */
  checkMatches(paths: readonly string[]): void;
}

/**
 * Checks options against the fields of a rule and fills in what is left out.
 *
 * @throws ValueError naming the optimizer, the field and the value.
 */
export function resolve<H extends { readonly lr: number }>(
  optimizer: string,
  fields: Fields<H>,
  options: OptimizerOptions<H>,
  check: (hyper: H) => string | undefined,
): Resolved<H> {
  checkNames(optimizer, options, [...Object.keys(fields), "groups", "schedule"]);
  if (options.schedule !== undefined && typeof options.schedule !== "function") {
    throw new ValueError(
      `${optimizer}: schedule is ${show(options.schedule)}; it is a function such as schedule.cosine({ tMax: 100 }).`,
    );
  }
  const groups = options.groups ?? [];
  if (!Array.isArray(groups))
    throw new ValueError(`${optimizer}: groups is ${show(groups)}; it is a list of { match, ... }.`);
  const defaults = fill(optimizer, fields, options, check, undefined);
  const resolved = groups.map((group: Group<H>, i) => {
    const where = `${optimizer}: groups[${i}]`;
    checkNames(where, group, [...Object.keys(fields), "match", "lrScale"]);
    checkMatch(where, group.match);
    return fill(where, fields, scaledRate(where, group, defaults.lr), check, defaults);
  });
  return {
    defaults,
    groupOf: (path) => groups.findIndex((group: Group<H>) => matches(group.match, path)),
    ofGroup: (index) => (index < 0 ? defaults : resolved[index]!),
    checkMatches: (paths) => {
      groups.forEach((group: Group<H>, i) => {
        if (paths.some((path) => matches(group.match, path))) return;
        throw new ValueError(
          `${optimizer}: groups[${i}] matches no parameter: match is ${show(group.match)}, the parameters are ${listed(paths)}. ` +
            "Correct it or leave the group out.",
        );
      });
    },
  };
}

/** Whether a group's `match` takes a path. */
export function matches(match: Match, path: string): boolean {
  if (typeof match === "string") return `.${path}.`.includes(`.${match}.`);
  if (typeof match === "function") return match(path);
  return path.search(match) >= 0; // unlike test, search ignores the state of a global expression
}

function checkMatch(where: string, match: unknown): void {
  if (typeof match === "string" ? match !== "" : typeof match === "function" || match instanceof RegExp)
    return;
  throw new ValueError(
    `${where}: match is ${show(match)}; it is a key of the parameter's path, a regular expression or a function of the path.`,
  );
}

function checkNames(where: string, given: unknown, known: readonly string[]): void {
  if (typeof given !== "object" || given === null)
    throw new ValueError(`${where}: takes an object of options; given ${show(given)}.`);
  for (const name of Object.keys(given)) {
    if (!known.includes(name))
      throw new ValueError(`${where}: there is no option ${name}. The options are ${known.join(", ")}.`);
  }
}

/** A group with its `lrScale` turned into `lr`. */
function scaledRate<H extends { readonly lr: number }>(
  where: string,
  group: Group<H>,
  lr: number,
): Partial<H> {
  if (group.lrScale === undefined) return group;
  if (group.lr !== undefined)
    throw new ValueError(
      `${where}: both lr ${show(group.lr)} and lrScale ${show(group.lrScale)} are given. Give one of them.`,
    );
  if (!isAtLeastZero(group.lrScale))
    throw new ValueError(`${where}: lrScale is ${show(group.lrScale)}; it is a finite number >= 0.`);
  return { ...group, lr: lr * group.lrScale };
}

function fill<H>(
  where: string,
  fields: Fields<H>,
  given: object,
  check: (hyper: H) => string | undefined,
  defaults: H | undefined,
): H {
  const hyper: Partial<H> = {};
  const values = given as { readonly [name: string]: unknown }; // whatever the caller wrote; checked below
  // The table's keys are the names of H.
  for (const name of Object.keys(fields) as (keyof H & string)[]) {
    const { otherwise, valid, expected, optional } = fields[name];
    const value = values[name] ?? (defaults ? defaults[name] : otherwise);
    if (value === undefined && optional) continue;
    if (!valid(value)) {
      throw new ValueError(
        `${where}: ${name} is ${value === undefined ? "missing" : show(value)}; it is ${expected}.`,
      );
    }
    hyper[name] = value;
  }
  const complete = hyper as H; // the loop gave every field
  const conflict = check(complete);
  if (conflict) throw new ValueError(`${where}: ${conflict}`);
  return complete;
}

function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(show).join(", ")}]`;
  if (typeof value === "object" && value !== null && !(value instanceof RegExp)) return "an object";
  return typeof value === "function" ? "a function" : String(value);
}

function listed(paths: readonly string[]): string {
  return paths.length > 8 ? `${paths.slice(0, 8).join(", ")} and ${paths.length - 8} more` : paths.join(", ");
}
