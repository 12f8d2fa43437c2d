import type { Role } from "../lora/roles.ts";
import { type AnyHyperOf, type AnyOptimizerName, anyRule } from "../optim/make.ts";
import type { Essence, Growth } from "../optim/rule.ts";
import { decoupled } from "../optim/sgd.ts";
import { sameCourse } from "./course.ts";
import type { Gauge } from "./gauge.ts";
import {
  type AdaptedKind,
  adapts,
  hyperOf,
  type Recipe,
  type RecipeSchedule,
  trainedRoles,
} from "./recipe.ts";
import { needsOf } from "./rules.ts";
import { scheduleFields } from "./schema.ts";
import { starts, zeroSide } from "./start.ts";

// What of a recipe has an effect. A parameter whose rate is 0 is frozen, whatever its other numbers are; a product
// B A whose zero side is frozen stays zero, whatever the other side does; signs are not changed by clipping. Numbers
// that are dead in this sense belong to no comparison of runs.

/** What an optimizer does to the parameters of a role; nothing to those that are not trained. */
export function essenceOf(recipe: Recipe, role: Role): Essence {
  if (!trainedRoles(recipe).includes(role)) return { rule: "none", reads: "nothing", hyper: {} };
  const { name } = recipe.optimizer;
  const rule = anyRule(name);
  const hyper = hyperOf<AnyOptimizerName>(recipe, role);
  const descends = (name === "sgd" || name === "scaledSgd") && scheduleOf(recipe) === undefined;
  const other = descends && decoupled(hyper as AnyHyperOf["sgd"]); // the name says so
  const essence: Essence = rule.essence?.((other || hyper) as typeof hyper) ?? {
    rule: rule.name,
    reads: "gradients",
    hyper: { ...hyper },
  };
  if (!other) return essence;
  const order = { order: "decay in the gradient" };
  return {
    ...essence,
    hyper: { ...essence.hyper, ...order },
    rounding: [...(essence.rounding ?? []), "order"],
  };
}

/** What acts in the layers of one kind, and what does not. */
export interface Live {
  readonly kind: AdaptedKind;
  /** B A stays zero for ever: the adapter's rank, start and dropout have no effect. */
  readonly inert: boolean;
  /** The trained roles whose numbers have an effect. */
  readonly roles: readonly Role[];
  /** The trained roles whose gradients are not all zero, and so enter a global norm. */
  readonly counted: readonly Role[];
}

/** What acts in the adapted layers of each kind; the base's own parameters are reported with the first kind. */
export function liveOf(recipe: Recipe): readonly Live[] {
  const trained = trainedRoles(recipe);
  const reads = (role: Role) => essenceOf(recipe, role).reads;
  const zeroOf = (kind: AdaptedKind) => {
    const { A, B } = starts(recipe, kind);
    return A === 0 ? "A" : B === 0 ? "B" : undefined;
  };
  const stays = (role: Role) => essenceOf(recipe, role).staysZero === true;
  const isInert = (kind: AdaptedKind) => {
    const zero = zeroOf(kind);
    return zero !== undefined && (reads(zero) === "nothing" || stays(zero));
  };
  /** Whether a global norm changes what is updated outside of products that stay zero. */
  const normed =
    recipe.clip?.kind === "globalNorm" &&
    trained.some(
      (role) =>
        reads(role) === "gradients" && !((role === "A" || role === "B") && adapts(recipe).every(isInert)),
    );
  return adapts(recipe).map((kind, i) => {
    const zero = zeroOf(kind);
    const inert = isInert(kind);
    // The gradient of a zero side that is trained at rate 0 is a product with the other side, and enters the norm.
    const seen = normed && zero !== undefined && trained.includes(zero);
    const there = trainedRoles(recipe).filter((role) => {
      if (role === "base") return i === 0;
      return kind === "linear" || role === "A" || role === "B"; // embeddings have the two matrices only
    });
    return {
      kind,
      inert,
      roles: there.filter(
        (role) =>
          essenceOf(recipe, role).rule !== "none" &&
          !((role === zero || role === "branchBias") && stays(role)) &&
          !(inert && (role === "A" || role === "B") && !(seen && role !== zero)),
      ),
      // The gradient of a matrix is a product with the other one.
      counted: there.filter((role) => !(inert && (role === "A" || role === "B") && role !== zero)),
    };
  });
}

/** Whether clipping has an effect: whether any update depends on more than the signs of gradients. */
export function clipActs(recipe: Recipe): boolean {
  return (
    recipe.clip !== undefined &&
    liveOf(recipe).some(({ roles }) => roles.some((role) => essenceOf(recipe, role).reads === "gradients"))
  );
}

/** Whether a state of the optimizer is rounded to 8 bits. */
export function roundsStates(recipe: Recipe): boolean {
  return (
    recipe.eightBitStates === true &&
    liveRoles(recipe).some((role) => {
      const { rule, hyper } = essenceOf(recipe, role);
      return !(rule === "none" || rule === "decay" || (/sgd/i.test(rule) && !hyper.momentum));
    })
  );
}

/** Whether what is kept of a run follows a gauge to the bit: how others round to 8 bits is not vouched for. */
export function statesFollow(recipe: Recipe, { a, b, k }: Gauge): boolean {
  return !roundsStates(recipe) || (a === 1 && b === 1 && k === 1);
}

/** Whether the scaling has an effect: in a branch that is not zero for ever, or in gradients that a norm counts. */
export function scaled(recipe: Recipe): boolean {
  const normed = recipe.clip?.kind === "globalNorm" && clipActs(recipe);
  return liveOf(recipe).some(
    ({ inert, roles, counted }) =>
      !inert ||
      roles.includes("branchBias") ||
      (normed && counted.some((role) => role === "A" || role === "B")),
  );
}

const constants = new WeakMap<object, boolean>();

function isConstant(schedule: RecipeSchedule): boolean {
  const known = constants.get(schedule) ?? sameCourse(schedule);
  constants.set(schedule, known);
  return known;
}

/**
 * The schedule with its defaults, where it has an effect, in one form for those that are one up to rounding: undefined for a
 * constant one, and for Rprop.
 */
export function scheduleOf({ schedule, optimizer }: Recipe): Readonly<Record<string, unknown>> | undefined {
  if (!schedule || optimizer.name === "rprop" || isConstant(schedule)) return undefined;
  const fields = scheduleFields[schedule.kind] as {
    readonly [name: string]: { readonly otherwise?: unknown };
  };
  const own = schedule as unknown as Readonly<Record<string, unknown>>;
  const { kind, ...all }: Record<string, unknown> = { kind: schedule.kind };
  for (const [name, { otherwise }] of Object.entries(fields)) all[name] = own[name] ?? otherwise;
  // One update, and no others.
  if (/^(step|exponential)$/.test(schedule.kind) && (all.stepSize ?? 1) === 1)
    return all.gamma === 0
      ? { kind: "warmupLinear", warmup: 0, total: 1 }
      : { kind: "exponential", gamma: all.gamma };
  if (kind === "cosine" && all.etaMinFraction === 0)
    return { kind: "warmupCosine", warmup: 0, total: all.tMax };
  // The first factor is 0, the second 1.
  if (kind === "warmupConstant" && Number(all.warmup) < 1) return { kind, warmup: 1 };
  return { kind, ...all };
}

/**
 * How A and B may grow against each other from update to update, where the product does not show it: two rules that let
 * them, at one rate throughout, from matrices that are both not 0, and nothing that measures gradients beside.
 */
export function growthOf(recipe: Recipe): { readonly A: Growth; readonly B: Growth } | undefined {
  const [A, B] = (["A", "B"] as const).map((role) => essenceOf(recipe, role).grows);
  if (!A || !B || clipActs(recipe) || roundsStates(recipe)) return undefined;
  if (adapts(recipe).some((kind) => zeroSide(recipe, kind) !== undefined)) return undefined;
  const schedule = scheduleOf(recipe);
  // An update at rate 0 leaves the matrices alone, but no average of gradients.
  const pauses = schedule?.kind === "warmupConstant" && schedule.warmup === 1;
  const averages = [A, B].some(({ numbers }) => numbers.momentum !== undefined);
  return schedule === undefined || (pauses && !averages) ? { A, B } : undefined;
}

/** The trained roles that act in any layer. */
export function liveRoles(recipe: Recipe): readonly Role[] {
  const live = new Set(liveOf(recipe).flatMap(({ roles }) => roles));
  return trainedRoles(recipe).filter((role) => live.has(role));
}

/** What no gauge may change, since it starts at zero under an optimizer that then holds its scale. */
export interface Pins {
  readonly A: boolean;
  readonly B: boolean;
  /** The branch bias: it starts at zero, and its factor is 1 / k. */
  readonly k: boolean;
}

/** The pins of a kind of layer. */
export function pinsOf(recipe: Recipe, { kind, roles }: Live): Pins {
  const needs = needsOf(recipe.optimizer.name) !== undefined;
  const start = starts(recipe, kind);
  return {
    A: needs && start.A === 0 && roles.includes("A"),
    B: needs && start.B === 0 && roles.includes("B"),
    k: needs && roles.includes("branchBias"),
  };
}
