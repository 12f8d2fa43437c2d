import { hyperOf, type Recipe } from "../gauge/index.ts";
import type { AnyOptimizerName } from "../optim/index.ts";

/**
 * The recipe with A and B in groups of their own, whether or not they differ, so that all recipes of an optimizer
 * run the same program.
 */
export function explicit(recipe: Recipe): Recipe {
  const [A, B] = (["A", "B"] as const).map((role) => hyperOf<AnyOptimizerName>(recipe, role));
  const groups = { ...recipe.groups, A, B };
  return { ...recipe, groups } as Recipe; // hyperparameters of the recipe's own optimizer
}
