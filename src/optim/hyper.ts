import {
  type Field,
  type Fields,
  field,
  fraction,
  functionOf,
  optional,
  readOptions,
  required,
  show,
} from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { isFound } from "../base/pattern.ts";
import type { Schedule } from "./optimizer.ts";

export {
  type Field,
  type Fields,
  flag,
  fraction,
  nonNegative,
  optional,
  required,
} from "../base/arguments.ts";

/** Two numbers, as `valid` wants them. */
export function pair(
  otherwise: Pair,
  valid: (first: number, second: number) => boolean,
  expected: string,
): Field<Pair> {
  return field(
    expected,
    (value) =>
      Array.isArray(value) &&
      value.length === 2 &&
      typeof value[0] === "number" &&
      typeof value[1] === "number" &&
      valid(value[0], value[1]),
    otherwise,
  );
}

/** The two decay rates of moments. */
export function betas(otherwise: Betas): Field<Betas> {
  const { valid } = fraction();
  return pair(otherwise, (b1, b2) => valid(b1) && valid(b2), "two numbers >= 0 and < 1");
}

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
  const { groups, schedule: _, ...own } = readOptions(optimizer, { ...fields, ...shared }, options);
  const defaults = agreeing(optimizer, own as unknown as H, check); // the fields' names are those of H
  const resolved = groups.map((group, i) => {
    const where = `${optimizer}: groups[${i}]`;
    // The names are those of H, and of what groups have beside.
    const known = { ...fields, ...ofGroups } as unknown as Fields<OfGroups>;
    const { match: _, lrScale, ...given } = readOptions(where, known, group, defaults as Partial<OfGroups>);
    const hyper = given as unknown as H;
    const lr = lrScale === undefined ? hyper.lr : scaled(where, group, defaults.lr);
    return agreeing(where, { ...hyper, lr }, check);
  });
  return {
    defaults,
    groupOf: (path) => groups.findIndex((group) => matches(group.match, path)),
    ofGroup: (index) => (index < 0 ? defaults : resolved[index]!),
    checkMatches: (paths) => {
      groups.forEach((group, i) => {
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
  return isFound(match, path);
}

const shared = {
  schedule: optional(functionOf<Schedule>("a function such as schedule.cosine({ tMax: 100 })")),
  groups: field<readonly Group<{ readonly lr: number }>[]>("a list of { match, ... }", Array.isArray, []),
};

type OfGroups = Pick<Group<{ readonly lr: number }>, "match" | "lrScale">;

const ofGroups: Fields<OfGroups> = {
  match: field<Match>(
    "a key of the parameter's path, a regular expression or a function of the path",
    (match) =>
      typeof match === "string" ? match !== "" : typeof match === "function" || match instanceof RegExp,
  ),
  lrScale: optional(required),
};

/** The learning rate of a group that scales the common one. */
function scaled(where: string, { lr, lrScale }: Group<{ readonly lr: number }>, common: number): number {
  if (lr !== undefined)
    throw new ValueError(
      `${where}: both lr ${show(lr)} and lrScale ${show(lrScale)} are given. Give one of them.`,
    );
  return common * lrScale!;
}

/** The hyperparameters, if they go together. */
function agreeing<H>(where: string, hyper: H, check: (hyper: H) => string | undefined): H {
  const conflict = check(hyper);
  if (conflict) throw new ValueError(`${where}: ${conflict}`);
  return hyper;
}

function listed(paths: readonly string[]): string {
  return paths.length > 8 ? `${paths.slice(0, 8).join(", ")} and ${paths.length - 8} more` : paths.join(", ");
}
