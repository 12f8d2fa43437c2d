import { ValueError } from "../base/errors.ts";
import { checkAdapterConfig } from "../lora/config.ts";
import type { Role } from "../lora/roles.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { explicit } from "./explicit.ts";
import { checked, factor, type Gauge } from "./gauge.ts";
import { clipActs, liveOf, liveRoles, pinsOf } from "./live.ts";
import { normal } from "./range.ts";
import {
  type Clip,
  expectRecipe,
  hyperOf,
  numberOf,
  type PerRole,
  type Recipe,
  trainedRoles,
} from "./recipe.ts";
import {
  type ExactRule,
  factorOn,
  hyperPowers,
  moves,
  needsOf,
  reaches,
  ruleOf,
  scaleHyper,
} from "./rules.ts";
import { alwaysZero, startFactors, starts } from "./start.ts";

const operation = "gauge.apply";

/**
 * The gauge partner of a recipe: alpha times k, the initial A and B times a and b, and every hyperparameter of A
 * and B by its optimizer's exact rule. Started from the same key, or from `applyParams(g, params)`, the partner
 * has the same losses and outputs at every step, and its parameters are `applyParams` of the original ones: bit
 * for bit if `bitwise(g)` and no number leaves the normal range, up to rounding otherwise.
 *
 * What needs no change stays as it is: schedules (factors on the learning rate), dropout, data order, the
 * optimizer's betas and momentum.
 *
 * @throws ValueError where no exact rule exists, with the reason and what to do: an optimizer without a rule
 *   in its form; one that needs nonzero parameters, for a matrix that starts at zero; clipping by the plain global norm when trained parameters scale differently; eps = 0 under Adam and its kind
 *   for a matrix whose first gradient is zero; a result outside the normal range of float32.
 * @example
 * const reference = { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 } } as const;
 * gauge.apply(gauge.onlyB(4), reference); // alpha 64; group B: lr 2.5e-4, eps 4e-8, weightDecay 0.04
 */
export function apply<R extends Recipe>(g: Gauge, recipe: R): Recipe<R["optimizer"]["name"]> {
  checked(operation, g);
  expectRecipe(operation, recipe);
  checkAdapterConfig(recipe);
  for (const problem of startProblems(g, recipe)) throw new ValueError(`${operation}: ${problem.message}`);
  return transformed(g, recipe);
}

/** `apply` without a look at what starts at zero: exact from nonzero matrices. */
export function transformed<R extends Recipe>(g: Gauge, recipe: R): Recipe<R["optimizer"]["name"]> {
  const groups: { [R in Role]?: object } = { ...recipe.groups };
  const acting = liveRoles(recipe);
  for (const role of trainedRoles(recipe)) {
    const { name } = recipe.optimizer;
    if (!reaches(g, role, name) || !acting.includes(role)) continue;
    const hyper = hyperOf<AnyOptimizerName>(recipe, role);
    groups[role] = scaleAll(ruleOf(operation, name, hyper), hyper, g, role);
  }
  const alpha = normal(operation, "alpha", recipe.alpha * g.k);
  const initScale = scaleInit(g, recipe);
  const clip = recipe.clip && clipActs(recipe) && scaleClip(g, recipe, recipe.clip);
  const own = Object.keys(groups).length > 0 && { groups };
  const partner = { ...recipe, alpha, ...own, ...(initScale && { initScale }), ...(clip && { clip }) };
  return partner as unknown as Recipe<R["optimizer"]["name"]>; // the same optimizer with other numbers
}

function scaleAll(rule: ExactRule, hyper: object, g: Gauge, role: Role): Record<string, unknown> {
  const powers = hyperPowers(rule);
  const scaled = Object.entries(hyper).map(([name, value]: [string, unknown]): [string, unknown] => {
    if (!moves(powers, name)) return [name, value];
    const by = (x: number) => normal(operation, `${name} of ${role}`, x * factorOn(powers, name, g, role));
    return [name, scaleHyper(value, by)];
  });
  return Object.fromEntries(scaled);
}

/** A side that starts at zero in every kind of layer needs no factor. */
function scaleInit(g: Gauge, recipe: Recipe): Recipe["initScale"] {
  const { initScale } = recipe;
  const by = startFactors(recipe, g);
  const moved = (["A", "B"] as const).filter((role) => !alwaysZero(recipe, role) && by[role] !== 1);
  if (moved.length === 0) return initScale;
  const scaled = moved.map((role) => [
    role,
    normal(operation, `initScale.${role}`, (initScale?.[role] ?? 1) * by[role]),
  ]);
  return { ...initScale, ...Object.fromEntries(scaled) };
}

/** Something that starts at zero, and that makes a gauge inexact. */
export interface StartProblem {
  readonly kind: "zero over zero" | "pinned";
  readonly role: Role;
  /** The hyperparameter that would have to be positive. */
  readonly field?: string;
  readonly message: string;
}

/** What zero starts make inexact: a division of 0 by 0, and a trust ratio, which holds the scale of a zero tensor. */
export function startProblems(g: Gauge, recipe: Recipe): readonly StartProblem[] {
  const { optimizer } = recipe;
  const problems: StartProblem[] = [];
  for (const live of liveOf(recipe)) {
    const start = starts(recipe, live.kind);
    const zero = start.A === 0 ? "A" : start.B === 0 ? "B" : undefined;
    // The gradient of A is a product with B, and the other way round.
    const still = zero === "B" ? "A" : "B";
    const pins = pinsOf(recipe, live);
    const where = live.kind === "linear" ? "" : " in embeddings";
    const hyper = hyperOf<AnyOptimizerName>(explicit(recipe), still);
    if (zero && live.roles.includes(still) && ruleOf(operation, optimizer.name, hyper).dividesZeroByZero) {
      const field = "reg" in hyper && hyper.reg === 0 ? "reg" : "eps";
      problems.push({
        kind: "zero over zero",
        role: still,
        field,
        message: `${field} of ${still} is 0 and ${zero} starts at zero${where}, so that ${optimizer.name} divides 0 by 0 in its first update. Use ${field} > 0, or init "random".`,
      });
    }
    if (zero && pins[zero] && factor(g, zero) !== 1)
      problems.push({
        kind: "pinned",
        role: zero,
        message: `${zero} starts at zero${where} and is scaled by ${factor(g, zero)}, but ${optimizer.name} needs ${needsOf(optimizer.name)}. Use init "random", or a gauge that leaves ${zero} alone.`,
      });
    if (pins.k && factor(g, "branchBias") !== 1)
      problems.push({
        kind: "pinned",
        role: "branchBias",
        message: `the branch bias starts at zero and is scaled by ${factor(g, "branchBias")}, but ${optimizer.name} needs ${needsOf(optimizer.name)}. Use a gauge that leaves alpha alone, or branchBias false.`,
      });
  }
  return problems;
}

function scaleClip(g: Gauge, recipe: Recipe, clip: Clip): Clip {
  const roles = trainedRoles(recipe);
  /** A threshold on gradients: divided by c. */
  const threshold = (name: string, value: PerRole): PerRole =>
    Object.fromEntries(
      roles.map((role) => [
        role,
        normal(operation, `${name} of ${role}`, numberOf(name, value, role) / factor(g, role)),
      ]),
    );
  switch (clip.kind) {
    case "value":
      return { ...clip, maxValue: threshold("clip.maxValue", clip.maxValue) };
    case "tensorNorm":
      return {
        ...clip,
        maxNorm: threshold("clip.maxNorm", clip.maxNorm),
        eps: threshold("clip.eps", clip.eps ?? defaultClipEps),
      };
    case "globalNorm": {
      const { weights, maxNorm, eps = defaultClipEps } = clip;
      if (weights) {
        const scaled = roles.map((role) => [
          role,
          normal(operation, `clip.weights.${role}`, (weights[role] ?? 1) * factor(g, role)),
        ]);
        return { ...clip, weights: Object.fromEntries(scaled) };
      }
      const counted = [...new Set(liveOf(recipe).flatMap((live) => live.counted))];
      const factors = new Set(counted.map((role) => factor(g, role)));
      if (factors.size > 1) {
        const list = counted.map((role) => `${role} by ${factor(g, role)}`).join(", ");
        throw new ValueError(
          `${operation}: clipping by the plain global norm has no exact partner, since the gauge scales ${list}, and the norm mixes them. ` +
            "Give clip.weights (all 1 is the same norm), and they follow the gauge; or clip by tensorNorm or value.",
        );
      }
      const [c = 1] = factors;
      return {
        ...clip,
        maxNorm: normal(operation, "clip.maxNorm", maxNorm / c),
        eps: normal(operation, "clip.eps", eps / c),
      };
    }
    default:
      return clip satisfies never;
  }
}

/** PyTorch's, as in optim. */
const defaultClipEps = 1e-6;
