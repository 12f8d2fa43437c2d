import { hyperOf, type Recipe } from "../gauge/index.ts";
import type { OptimizerName } from "../optim/index.ts";

/**
 * The recipe with A and B in groups of their own, whether or not they differ, so that all recipes of an optimizer
 * run the same program.
 */
export function explicit(recipe: Recipe): Recipe {
  const groups = { A: hyperOf<OptimizerName>(recipe, "A"), B: hyperOf<OptimizerName>(recipe, "B") };
  return { ...recipe, groups } as Recipe; // hyperparameters of the recipe's own optimizer
}
