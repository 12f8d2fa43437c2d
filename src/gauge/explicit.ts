import type { Role } from "../lora/roles.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { type Clip, expectRecipe, hyperOf, type Recipe, trainedRoles } from "./recipe.ts";

/** Hyperparameters that are another one when left out, though they follow a gauge by another power. */
const standIns: { readonly [N in AnyOptimizerName]?: Readonly<Record<string, string>> } = {
  radam: { lrUnrectified: "lr" },
};

/**
 * The same run with everything written out that a gauge has to move on its own: RAdam's rate of the first
 * updates, the weights of a global norm. A recipe that `apply` refuses for one number in
 * two places has an exact partner in this form.
 *
 * @example
 * explicit({ r: 8, alpha: 16, optimizer: { name: "radam", lr: 1e-3 } }).groups; // { A: { lrUnrectified: 1e-3 }, B: ... }
 */
export function explicit(recipe: Recipe): Recipe {
  expectRecipe("gauge.explicit", recipe);
  const { optimizer, clip } = recipe;
  const roles = trainedRoles(recipe);
  const stands = standIns[optimizer.name];
  const groups: { [R in Role]?: object } = { ...recipe.groups };
  if (stands) {
    for (const role of roles) {
      const hyper: Readonly<Record<string, unknown>> = { ...hyperOf<AnyOptimizerName>(recipe, role) };
      const missing = Object.entries(stands).filter(([name]) => hyper[name] === undefined);
      if (missing.length === 0) continue;
      groups[role] = {
        ...groups[role],
        ...Object.fromEntries(missing.map(([name, of]) => [name, hyper[of]])),
      };
    }
  }
  return {
    ...recipe,
    ...(Object.keys(groups).length > 0 && { groups }),
    ...(clip?.kind === "globalNorm" && { clip: { ...clip, weights: weightsOf(clip, roles) } }),
  } as Recipe; // the same optimizer, with more of its own hyperparameters
}

/** The names of what `explicit` writes out for an optimizer. */
export function writtenOut(optimizer: AnyOptimizerName): readonly string[] {
  return Object.keys(standIns[optimizer] ?? {});
}

/** What is in place of such a number where it is left out. */
export function standInOf(optimizer: AnyOptimizerName, field: string): string {
  return standIns[optimizer]?.[field] ?? field;
}

/** The weight of each trained role in a global norm. */
export function weightsOf(
  { weights = {} }: Clip & { readonly kind: "globalNorm" },
  roles: readonly Role[],
): { readonly [R in Role]?: number } {
  return Object.fromEntries(roles.map((role) => [role, weights[role] ?? 1]));
}
