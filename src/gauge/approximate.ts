import type { Role } from "../lora/roles.ts";
import type { AnyHyperOf, AnyOptimizerName } from "../optim/make.ts";
import { startProblems, transformed } from "./apply.ts";
import { checkRecipe } from "./check.ts";
import { explicit, standInOf, writtenOut } from "./explicit.ts";
import { checked, factor, type Gauge } from "./gauge.ts";
import { type Clip, hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { show } from "./words.ts";

/** A number that is not what the exact partner needs, and what comes of it. */
export interface Deviation {
  /** `"eps"`, `"lr"`, `"clip"`, ... */
  readonly field: string;
  readonly role?: Role;
  readonly needed: unknown;
  readonly used: unknown;
  /** What comes of it, in words; how much it is depends on the problem. */
  readonly error: string;
}

/** A gauge partner as far as it goes, and where it is none. */
export interface Approximation {
  readonly recipe: Recipe;
  /** Empty where the partner is exact. */
  readonly deviations: readonly Deviation[];
}

/**
 * Applies a gauge also where `apply` refuses, keeping the recipe's form, and says what that costs: RAdam with one
 * rate, a trust ratio from B = 0, eps = 0 from B = 0, clipping by the plain global norm.
 *
 * For RAdam and the plain norm there is an exact partner in another form of the same run: it is
 * `apply(g, explicit(recipe))`.
 *
 * @throws ValueError for a bad recipe or gauge, and for numbers that leave the normal range.
 * @example
 * const { deviations } = approximate(onlyB(4), { r: 8, alpha: 16, optimizer: { name: "radam", lr: 1e-3 } });
 * deviations.length; // 1: the rate of the first updates of B
 */
export function approximate(g: Gauge, recipe: Recipe): Approximation {
  checked("gauge.approximate", g);
  const full = explicit(checkRecipe(recipe, "gauge.approximate"));
  const roles = trainedRoles(full);
  const deviations: Deviation[] = [];

  const partner = transformed(g, full);
  deviations.push(...startDeviations(g, full));

  const [groups, ofForm] = inOwnForm(g, recipe, partner);
  deviations.push(...ofForm);
  const clip = clipInOwnForm(g, recipe, partner, roles);
  if (clip?.deviation) deviations.push(clip.deviation);
  const { groups: own, ...withoutGroups } = partner;
  const result = {
    ...withoutGroups,
    ...((own || Object.keys(groups).length > 0) && { groups }),
    ...(clip && { clip: clip.clip }),
  };
  return { recipe: result as Recipe, deviations }; // the same optimizer with other numbers
}

function startDeviations(g: Gauge, recipe: Recipe): Deviation[] {
  return startProblems(g, recipe).map(({ kind, role, field = "eps" }): Deviation => {
    const c = factor(g, role);
    return kind === "pinned"
      ? {
          field: "start",
          role,
          needed: `a first update of ${role} times ${show(c)}`,
          used: "a trust ratio of 1, as for every zero tensor",
          error: `the first update of ${role} is ${show(1 / c)} times what it has to be, and the trust ratio keeps the excess; a gauge that leaves ${role} alone is exact`,
        }
      : {
          field,
          role,
          needed: "a number > 0",
          used: 0,
          error: `${role}'s first update divides 0 by 0, here as in the recipe itself`,
        };
  });
}

/** Takes back what was written out: one rate, or one eps, as the recipe had it. */
function inOwnForm(g: Gauge, recipe: Recipe, partner: Recipe): [Recipe["groups"] & object, Deviation[]] {
  const groups: { [R in Role]?: object } = { ...partner.groups };
  const deviations: Deviation[] = [];
  for (const role of trainedRoles(recipe)) {
    const given = hyperOf<AnyOptimizerName>(recipe, role) as Readonly<Record<string, unknown>> &
      AnyHyperOf["sgd"];
    const missing = writtenOut(recipe.optimizer.name).filter((name) => given[name] === undefined);
    if (missing.length === 0) continue;
    const needed = hyperOf<AnyOptimizerName>(partner, role) as unknown as Readonly<Record<string, number>>;
    const own = { ...groups[role] } as Record<string, unknown>;
    for (const name of missing) delete own[name];
    groups[role] = own;
    if (factor(g, role) === 1) continue;
    for (const field of missing) {
      const early = show(1 / factor(g, role));
      deviations.push({
        field,
        role,
        needed: needed[field],
        used: needed[standInOf(recipe.optimizer.name, field)],
        error: `the first updates, plain momentum, are ${early} times what they have to be (five of them with betas of 0.9 and 0.999); later ones are exact`,
      });
    }
  }
  return [groups as Recipe["groups"] & object, deviations];
}

function clipInOwnForm(
  g: Gauge,
  { clip }: Recipe,
  partner: Recipe,
  roles: readonly Role[],
): { readonly clip: Clip; readonly deviation?: Deviation } | undefined {
  if (clip?.kind !== "globalNorm" || clip.weights || partner.clip?.kind !== "globalNorm") return undefined;
  const [c = 1, ...others] = new Set(roles.map((role) => factor(g, role)));
  if (others.length === 0)
    return { clip: { ...clip, maxNorm: clip.maxNorm / c, eps: (clip.eps ?? 1e-6) / c } };
  return {
    clip,
    deviation: {
      field: "clip",
      needed: { weights: partner.clip.weights, maxNorm: clip.maxNorm },
      used: { maxNorm: clip.maxNorm },
      error:
        "the plain global norm weighs A against B differently, so that clipped steps are scaled by another factor; none where no step is clipped",
    },
  };
}
