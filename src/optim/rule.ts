import { isPlainObject, show } from "../base/arguments.ts";
import { isFloat, isNarrow } from "../base/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../base/errors.ts";
import { sameShape } from "../base/shape.ts";
import { flattenTree, pathName } from "../base/tree.ts";
import { scalar, zerosLike } from "../tensor/creation.ts";
import { applied, wide } from "../tensor/precision.ts";
import type { Tensor } from "../tensor/tensor.ts";
import * as tree from "../tensor/tree.ts";
import { type Fields, type OptimizerOptions, resolve } from "./hyper.ts";
import type { HostNumber, Optimizer, OptimizerState, Schedule } from "./optimizer.ts";

/** State of one parameter by name. */
export type Slots = { readonly [slot: string]: Tensor | undefined };

/** The update of one parameter: what to add to it, and its next state. */
export type Step<S> = (gradient: Tensor, parameter: Tensor, slots: S) => readonly [update: Tensor, slots: S];

/** The power of c for each hyperparameter; both numbers of a pair have the same one. */
export type Powers<H> = { readonly [K in keyof H]-?: number };

/** Why no powers of c make an update rule follow a rescaled parameter. */
export interface NoRule {
  readonly none: string;
}

/**
 * How an update rule's numbers follow a parameter that is multiplied by c, its gradients then being divided by c:
 * each is multiplied by c to the power given here, and the parameter becomes c theta wherever it was theta.
 *
 * Why the powers are as they are: an update that is homogeneous of degree d in the gradient needs a learning rate
 * times c^(1+d); SGD has d = 1, Adam d = 0. What is added to the gradient must scale as it does, c^-1:
 * `weightDecay * p` when coupled. What is added to the root of a second moment must scale as that, c^-1: eps. What
 * is multiplied into the parameter must not scale: `lr * weightDecay` when decoupled. `gauge.discoverSymmetry`
 * finds the same powers by experiment.
 */
export interface RuleScaling<H> {
  /** The powers for the hyperparameters, which may depend on the form that they choose; or why there are none. */
  readonly hyper: (hyper: H) => Powers<H> | NoRule;
  /** The power for each slot of the state. */
  readonly state: (hyper: H) => Readonly<Record<string, number>>;
  /**
   * Whether the first update of a parameter other than 0 divides 0 by 0 where the gradient is 0: it is NaN then, in
   * every gauge.
   */
  readonly dividesZeroByZero: (hyper: H) => boolean;
  /** Whether updates depend on the size of the whole parameter, so that its square is computed. */
  readonly norms?: boolean;
  /** What parameters or gradients must be for the powers to be exact, where they are not for all. */
  readonly needs?: string;
}

/** What a rule's hyperparameters come to. */
export interface Essence {
  /** The computation: one name for rules that are the same one with these numbers, as Adam and AdamW without decay. */
  readonly rule: string;
  /** What an update depends on beside the state: gradients, their signs alone, or neither, where nothing moves. */
  readonly reads: "gradients" | "signs" | "nothing";
  /** The hyperparameters that have an effect: with the same ones updates are the same bits. */
  readonly hyper: Readonly<Record<string, unknown>>;
  /** Those among them that change roundings only. */
  readonly rounding?: readonly string[];
  /** Where several of them act through one number in exact arithmetic: that number, by its name. */
  readonly joint?: { readonly [name: string]: Joint };
  /** For factors of a pair, where the updates of the product are those of factors that grow and shrink. */
  readonly grows?: Growth;
  /** Whether a parameter that is 0 stays 0, since steps are a share of it. */
  readonly staysZero?: boolean;
}

/** One number in place of several hyperparameters, with the power of c by which it follows a rescaled parameter. */
export interface Joint {
  readonly of: readonly string[];
  readonly value: number;
  readonly power: number;
  /** The power of the constant of the other factor of a pair. Default 0. */
  readonly partner?: number;
  /** How it is made: `"lr_* wd_*"`, with a star for the parameter's name. */
  readonly symbol: string;
}

/**
 * A factor of a pair that may be multiplied by rho from each update to the next, the other being divided by it: its rate,
 * and 1 minus the share by which it shrinks, are multiplied by a power of rho.
 */
export interface Growth {
  /** That power. */
  readonly power: 1 | 2;
  /** The share by which an update shrinks the factor. */
  readonly decay: number;
  /** The numbers that stay, in place of those of which they are made; the rate among them. */
  readonly numbers: { readonly lr: Joint; readonly [name: string]: Joint };
}

/**
 * An update rule: all that tells one optimizer from another. Groups, schedules, state trees and checks are the
 * same for all (`makeOptimizer`).
 */
export interface Rule<H extends { readonly lr: number }, S extends Slots> {
  readonly name: string;
  readonly fields: Fields<H>;
  /** What is wrong with hyperparameters that are fine one by one, or undefined. */
  readonly conflict?: (hyper: H) => string | undefined;
  /** The state of a parameter before its first update. Neither it nor the step ever sees float16. */
  readonly slots: (parameter: Tensor, hyper: H) => S;
  /**
   * The update of the parameters of one group. `lr` is the group's rate times the schedule's `factor`, `t` counts
   * updates from 1. What depends on them alone is computed here, once a group and on the host. Hyperparameters
   * go through `scalar`, so that other values run the same program.
   */
  readonly step: (hyper: H, lr: HostNumber, t: HostNumber, factor: HostNumber) => Step<S>;
  /** How its numbers follow a rescaled parameter. */
  readonly scaling: RuleScaling<H>;
  /** What hyperparameters come to, once those without effect are left out. Default: all of them count. */
  readonly essence?: (hyper: H) => Essence;
}

/** The essence of what never moves. */
export const still: Essence = { rule: "none", reads: "nothing", hyper: {} };

/** Numbers without those that are 0 or false, for rules where such a one is as if it were not there. */
export function withoutZeros(numbers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(numbers).filter(([, value]) => value !== 0 && value !== false));
}

/** A decay that shrinks the parameter by `value` in each update, whatever its gradient. */
export function shrinking(value: number): { readonly [name: string]: Joint } {
  const of = ["weightDecay", "decayTimesLr", "decoupledWeightDecay"];
  return value === 0 ? {} : { decay: { of, value, power: 0, symbol: "lr_* wd_*" } };
}

/** The rate of a factor that may grow, over what an update leaves of it. */
export function rateThatGrows(lr: number, decay: number, power: number, partner: number): Joint {
  const of = ["lr", "weightDecay", "decoupledWeightDecay"];
  return { of, value: lr / (1 - decay), power, partner, symbol: "lr_* / (1 - lr_* wd_*)" };
}

const always: Schedule = () => scalar(1);

/**
 * What is kept of a float16 parameter beside the slots of a rule: how much of the sum so far its 16 bits lack, in
 * float32. It follows a rescaled parameter as the parameter does.
 */
const remainder = "remainder";

/** The powers of c of what is kept for every rule. */
export const commonPowers = { [remainder]: 1 } as const;

/** The optimizer of a rule with the given hyperparameters, groups and schedule. */
export function makeOptimizer<H extends { readonly lr: number }, S extends Slots>(
  rule: Rule<H, S>,
  options: OptimizerOptions<H>,
): Optimizer<H> {
  return assemble(rule, options, () => alone);
}

/** How a rule sees a parameter: turned, and beside which other one. */
export interface View {
  /** Into the form that the rule sees, and back: gradients, slots and updates as well. */
  readonly turn: (x: Tensor) => Tensor;
  readonly back: (x: Tensor) => Tensor;
  /** The path of the parameter beside it; none where each is by itself. */
  readonly partner?: string;
}

/** A rule of parameters that are seen beside a partner, in the form that the rule sees. */
export interface Beside<H extends { readonly lr: number }, S extends Slots>
  extends Pick<Rule<H, S>, "name" | "fields" | "conflict" | "essence"> {
  readonly slots: (parameter: Tensor, hyper: H, partner: Tensor) => S;
  readonly step: (
    ...args: Parameters<Rule<H, S>["step"]>
  ) => (
    gradient: Tensor,
    parameter: Tensor,
    slots: S,
    partner: Tensor,
  ) => readonly [update: Tensor, slots: S];
}

const alone: View = { turn: (x) => x, back: (x) => x };

/** The optimizer of a rule that sees parameters as `view` says; where that gives no partner, the rule asks for none. */
export function assemble<H extends { readonly lr: number }, S extends Slots>(
  rule: Beside<H, S>,
  options: OptimizerOptions<H>,
  view: (path: string, parameters: ReadonlyMap<string, Tensor>) => View,
): Optimizer<H> {
  const { name } = rule;
  const hypers = resolve(name, rule.fields, options, rule.conflict ?? (() => undefined));
  const schedule = options.schedule ?? always;
  const hyper = (path: string) => hypers.ofGroup(hypers.groupOf(path));

  function init(params: unknown): OptimizerState {
    if (params === undefined || params === null)
      throw new ValueError(`${name}: the parameters are ${show(params)}; they are a tree of tensors.`);
    const parameters = new Map(tree.entries(params));
    for (const [path, parameter] of parameters) {
      if (!isFloat(parameter.dtype)) {
        throw new DTypeError(
          `${name}: parameter ${path} is ${parameter}; only floats are trained. Split it off with tree.partition.`,
        );
      }
    }
    hypers.checkMatches([...parameters.keys()]);
    return { step: scalar(0), ...trees(params, (path, parameter) => slots(path, parameter, parameters)) };
  }

  function slots(path: string, parameter: Tensor, parameters: ReadonlyMap<string, Tensor>): Slots {
    const { turn, partner } = view(path, parameters);
    const beside = partner === undefined ? parameter : parameters.get(partner)!;
    const own = rule.slots(turn(wide(parameter)), hyper(path), turnOf(partner, parameters)(wide(beside)));
    return isNarrow(parameter.dtype) ? { ...own, [remainder]: zerosLike(wide(parameter)) } : own;
  }

  /** How a partner is turned. */
  function turnOf(partner: string | undefined, parameters: ReadonlyMap<string, Tensor>): View["turn"] {
    return partner === undefined ? alone.turn : view(partner, parameters).turn;
  }

  function update<P>(gradients: P, state: OptimizerState, params: P): [P, OptimizerState] {
    if (!isPlainObject(state))
      throw new ValueError(
        `${name}: the state is ${show(state)}; pass gradients, the state that init or update returned, and parameters.`,
      );
    const { step: done, ...kept } = state;
    const before = checkStep(name, done);
    const t = before.add(1);
    const factor = schedule(before);
    const steps = new Map<number, ReturnType<typeof rule.step>>();
    const stepOf = (path: string) => {
      const group = hypers.groupOf(path);
      const known = steps.get(group);
      if (known) return known;
      const own = hypers.ofGroup(group);
      const step = rule.step(own, scalar(own.lr).mul(factor), t, factor);
      steps.set(group, step);
      return step;
    };
    const there = slotsByPath(kept);
    const after = new Map<string, Slots>();
    const parameters = new Map(tree.entries(params));
    /** A parameter with what its 16 bits lack. */
    const whole = (path: string) => {
      const value = wide(parameters.get(path)!);
      const lacking = there.get(path)?.[remainder];
      return lacking ? value.add(lacking) : value;
    };
    const updates = tree.zip([params, gradients], ([parameter, gradient], path) => {
      checkGradient(name, path, gradient!, parameter!);
      const own = there.get(path) ?? {};
      checkSlots(name, path, own, slots(path, parameter!, parameters));
      const { [remainder]: lacking, ...rest } = own;
      const { turn, back, partner } = view(path, parameters);
      const [value, sum] = [wide(parameter!), whole(path)];
      const beside = partner === undefined ? sum : turnOf(partner, parameters)(whole(partner));
      // Slots were checked above.
      const [turned, next] = stepOf(path)(turn(wide(gradient!)), turn(sum), rest as S, beside);
      const change = back(turned);
      if (!lacking) {
        after.set(path, next);
        return change;
      }
      const due = sum.add(change);
      const moved = due.sub(value);
      after.set(path, { ...next, [remainder]: due.sub(wide(applied(parameter!, moved))) });
      return moved;
    });
    return [updates, { step: t, ...trees(params, (path) => after.get(path)!) }];
  }

  return { name, defaults: hypers.defaults, hyper, init, update };
}

/** One tree for each slot that any parameter has, of the structure of the parameters. */
function trees(
  params: unknown,
  slotsOf: (path: string, parameter: Tensor) => Slots,
): Record<string, unknown> {
  const all = new Map(tree.entries(params).map(([path, parameter]) => [path, slotsOf(path, parameter)]));
  const names = new Set([...all.values()].flatMap((slots) => Object.keys(slots)));
  const one = (slot: string) => tree.map(params, (_, path) => all.get(path)![slot]);
  return Object.fromEntries([...names].map((slot) => [slot, one(slot)]));
}

function slotsByPath(slots: { readonly [slot: string]: unknown }): Map<string, Record<string, Tensor>> {
  const result = new Map<string, Record<string, Tensor>>();
  for (const [slot, values] of Object.entries(slots)) {
    for (const { leaf, path } of flattenTree(values, isSlotValue)) {
      const own = result.get(pathName(path)) ?? {};
      own[slot] = typeof leaf === "number" ? scalar(leaf) : leaf;
      result.set(pathName(path), own);
    }
  }
  return result;
}

/** Numbers are host numbers that were saved and read back. */
function isSlotValue(value: unknown): value is Tensor | number {
  return typeof value === "number" || tree.isTensor(value);
}

/** The number of updates done, which is a host number; or of float32 where it depends on values (`skipNonFinite`). */
function checkStep(name: string, step: unknown): HostNumber {
  if (typeof step === "number" && Number.isSafeInteger(step) && step >= 0) return scalar(step);
  if (isHostNumber(step)) return step;
  throw new ValueError(
    `${name}: the state's step is ${show(step)}; it is the number of updates done, a host number. Of a state that was read back pass the number, step: await step.item().`,
  );
}

/** Whether a value goes where a host number does: one, or a float32 of rank 0. */
function isHostNumber(value: unknown): value is HostNumber {
  return (
    tree.isTensor(value) && (value.dtype === "number" || (value.dtype === "float32" && value.rank === 0))
  );
}

function checkGradient(name: string, path: string, gradient: Tensor, parameter: Tensor): void {
  if (!sameShape(gradient.shape, parameter.shape)) {
    throw new ShapeError(
      `${name}: the gradient of ${path} is ${gradient}, the parameter is ${parameter}; their shapes are equal.`,
    );
  }
  // A gradient of float16 may have been divided by a loss scale, in float32.
  if (gradient.dtype !== parameter.dtype && gradient.dtype !== wide(parameter).dtype) {
    throw new DTypeError(
      `${name}: the gradient of ${path} is ${gradient}, the parameter is ${parameter}. Cast it with .astype("${parameter.dtype}").`,
    );
  }
}

function checkSlots(name: string, path: string, given: Slots, expected: Slots): void {
  const [a, b] = [Object.keys(given).sort().join(", "), Object.keys(expected).sort().join(", ")];
  if (a !== b) {
    throw new ValueError(
      `${name}: the state of ${path} has ${a || "no slots"}, this optimizer keeps ${b || "none"}. Pass the state that its init or update returned.`,
    );
  }
  for (const [slot, wanted] of Object.entries(expected)) {
    const found = given[slot]!; // both have the same slots
    if (!sameShape(found.shape, wanted!.shape)) {
      throw new ShapeError(
        `${name}: ${slot} of ${path} is ${found}, this optimizer keeps ${wanted}. Pass the state of these parameters.`,
      );
    }
    if (wanted!.dtype === "number" ? isHostNumber(found) : found.dtype === wanted!.dtype) continue;
    throw new DTypeError(
      wanted!.dtype === "number"
        ? `${name}: ${slot} of ${path} is ${found}; it is a host number. Of a state that was read back pass the number, await ${slot}.item().`
        : `${name}: ${slot} of ${path} is ${found}, this optimizer keeps ${wanted}. Cast it with .astype("${wanted!.dtype}").`,
    );
  }
}
