import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import {
  type AnyOptimizerName,
  isPairOptimizerName,
  optimizerNames,
  pairRules,
  rules,
} from "../optim/make.ts";
import type { PairScaling } from "../optim/pair.ts";
import { commonPowers, type RuleScaling } from "../optim/rule.ts";
import { factor, type Gauge } from "./gauge.ts";

/** Powers by name: of the factor on the parameter itself, and of the one on the other matrix of its layer. */
export interface PowersOf {
  readonly own: Readonly<Record<string, number>>;
  /** Empty, except for optimizers of pairs. */
  readonly partner: Readonly<Record<string, number>>;
}

/** The exact rule of an optimizer in one form: the powers of c for its numbers, as its update rule declares them. */
export interface ExactRule {
  /** The power for each hyperparameter. */
  readonly hyper: Readonly<Record<string, number>>;
  /** The power for each slot of the state. */
  readonly state: Readonly<Record<string, number>>;
  /** For optimizers of pairs: the powers of the constant of the other matrix in the layer. */
  readonly partner?: Pick<ExactRule, "hyper" | "state">;
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
export function ruleOf(operation: string, optimizer: string, hyper: object): ExactRule {
  const scaling = scalingOf(operation, optimizer);
  const given = hyper as Readonly<Record<string, unknown>>; // what scalingOf takes
  const dividesZeroByZero = scaling.dividesZeroByZero(given);
  if ("mixes" in scaling) {
    const [powers, state] = [scaling.hyper(given), scaling.state(given)];
    return {
      hyper: withoutUnset(powers.own),
      state: state.own,
      partner: { hyper: withoutUnset(powers.partner), state: state.partner },
      dividesZeroByZero,
    };
  }
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
    dividesZeroByZero,
    ...(needs !== undefined && { needs }),
  };
}

/** The powers for hyperparameters. */
export function hyperPowers({ hyper, partner }: ExactRule): PowersOf {
  return { own: hyper, partner: partner?.hyper ?? {} };
}

/** What an optimizer needs of parameters for its rule to be exact, where it is not for all. */
export function needsOf(optimizer: AnyOptimizerName): string | undefined {
  return isPairOptimizerName(optimizer) ? undefined : rules[optimizer].scaling.needs;
}

/** Whether an optimizer computes squares of parameters. */
export function takesNorms(optimizer: AnyOptimizerName): boolean {
  return !isPairOptimizerName(optimizer) && rules[optimizer].scaling.norms === true;
}

/**
 * The powers for the slots of an optimizer's state. They are known also where the hyperparameters have no rule.
 *
 * @throws ValueError for an unknown optimizer.
 */
export function statePowers(operation: string, optimizer: string, hyper: object): PowersOf {
  const given = hyper as Readonly<Record<string, unknown>>; // what scalingOf takes
  const scaling = scalingOf(operation, optimizer);
  const { own, partner } =
    "mixes" in scaling ? scaling.state(given) : { own: scaling.state(given), partner: {} };
  return { own: { ...own, ...commonPowers }, partner };
}

type Given = Readonly<Record<string, unknown>>;

function scalingOf(operation: string, optimizer: string): RuleScaling<Given> | PairScaling<Given> {
  // Its hyperparameters are those of this optimizer: the optimizer made them.
  const all = { ...rules, ...pairRules } as unknown as { [name: string]: { scaling: RuleScaling<Given> } };
  if (Object.hasOwn(all, optimizer)) return all[optimizer]!.scaling;
  throw new ValueError(
    `${operation}: no exact rule is known for the optimizer ${JSON.stringify(optimizer)}. There are rules for ${optimizerNames.join(", ")}.`,
  );
}

function withoutUnset(powers: { readonly [hyper: string]: number | undefined }): Record<string, number> {
  return Object.fromEntries(
    Object.entries(powers).filter((entry): entry is [string, number] => entry[1] !== undefined),
  );
}

/** Whether a gauge acts on what an optimizer does to a role: on the parameter, or on the matrix beside it. */
export function reaches(g: Gauge, role: Role, optimizer: AnyOptimizerName): boolean {
  return factor(g, role) !== 1 || (isPairOptimizerName(optimizer) && beside(g, role) !== 1);
}

/** Whether gauges move what has that name. */
export function moves({ own, partner }: PowersOf, name: string): boolean {
  return (own[name] ?? 0) !== 0 || (partner[name] ?? 0) !== 0;
}

/** By what a gauge multiplies what has that name and belongs to a role. */
export function factorOn({ own, partner }: PowersOf, name: string, g: Gauge, role: Role): number {
  return power(factor(g, role), own[name] ?? 0) * power(beside(g, role), partner[name] ?? 0);
}

/** The constant of the matrix beside one in a layer. */
export function beside(g: Gauge, role: Role): number {
  return role === "A" ? g.b : role === "B" ? g.a : 1;
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
