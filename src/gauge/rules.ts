import { ValueError } from "../base/errors.ts";
import { isOptimizerName, rules } from "../optim/make.ts";
import { commonPowers, type Scaling } from "../optim/rule.ts";

/** The exact rule of an optimizer in one form: the powers of c for its numbers, as its update rule declares them. */
export interface Rule {
  /** The power for each hyperparameter. */
  readonly hyper: Readonly<Record<string, number>>;
  /** The power for each slot of the state. */
  readonly state: Readonly<Record<string, number>>;
  /** Whether the first update divides 0 by 0 where the gradient is 0. */
  readonly dividesZeroByZero: boolean;
  /** What parameters must be for the rule to be exact, where it is not for all. */
  readonly needs?: string;
}

/**
 * The rule of an optimizer with the given hyperparameters, all of them (`make(config).defaults`).
 *
 * @throws ValueError for an unknown optimizer, or one that has no exact rule in that form, with the reason.
 * @example
 * ruleOf("gauge", "adamw", adamw({ lr: 1e-3 }).defaults).hyper.eps; // -1
 */
export function ruleOf(operation: string, optimizer: string, hyper: object): Rule {
  const scaling = scalingOf(operation, optimizer);
  const given = hyper as Readonly<Record<string, unknown>>; // what scalingOf takes
  const powers = scaling.hyper(given);
  if ("none" in powers) {
    throw new ValueError(
      `${operation}: no exact rule is known for ${optimizer} in this form: ${powers.none}.`,
    );
  }
  const { needs } = scaling;
  return {
    hyper: powers,
    state: scaling.state(given),
    dividesZeroByZero: scaling.dividesZeroByZero(given),
    ...(needs !== undefined && { needs }),
  };
}

/**
 * The power of c for each slot of an optimizer's state. They are known also where the hyperparameters have no rule.
 *
 * @throws ValueError for an unknown optimizer.
 */
export function statePowers(operation: string, optimizer: string, hyper: object): Rule["state"] {
  const given = hyper as Readonly<Record<string, unknown>>; // what scalingOf takes
  return { ...scalingOf(operation, optimizer).state(given), ...commonPowers };
}

function scalingOf(operation: string, optimizer: string) {
  if (!isOptimizerName(optimizer)) {
    throw new ValueError(
      `${operation}: no exact rule is known for the optimizer ${JSON.stringify(optimizer)}. There are rules for ${Object.keys(rules).join(", ")}.`,
    );
  }
  // Its hyperparameters are those of this optimizer: the optimizer made them.
  return rules[optimizer].scaling as unknown as Scaling<Readonly<Record<string, unknown>>>;
}

/** A hyperparameter times a factor: a number, or each of a pair. Flags have no factor. */
export function scaleHyper(value: unknown, factor: (x: number) => number): unknown {
  if (typeof value === "number") return factor(value);
  return Array.isArray(value) ? value.map((x) => scaleHyper(x, factor)) : value;
}

/** c to a whole power by multiplications and one division, which are exact for powers of two. */
export function power(c: number, exponent: number): number {
  let product = 1;
  for (let i = 0; i < Math.abs(exponent); i++) product *= c;
  return exponent < 0 ? 1 / product : product;
}
