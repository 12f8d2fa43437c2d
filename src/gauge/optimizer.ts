import { type Role, roleOf } from "../lora/roles.ts";
import { clipByGlobalNorm, clipByTensorNorm, clipByValue } from "../optim/clip.ts";
import { make, type OptimizerConfig } from "../optim/make.ts";
import type { Optimizer, Schedule } from "../optim/optimizer.ts";
import { partition } from "../tensor/tree.ts";
import { numberOf, type Recipe, trainedRoles } from "./recipe.ts";

export interface OptimizerOfOptions {
  /** A factor on all learning rates; a function, so no part of a recipe. Every gauge leaves it as it is. */
  readonly schedule?: Schedule;
}

/** Where the parameters of a role are, as optimizers match paths. */
const match: Readonly<Record<Role, string | ((path: string) => boolean)>> = {
  A: "loraA",
  B: "loraB",
  branchBias: "loraBias",
  magnitude: "loraMagnitude",
  base: (path) => roleOf(path) === "base",
};

/**
 * The optimizer of a recipe: clips gradients as the recipe says, and updates with each role's hyperparameters.
 * Pass it the trained parameters only, `gauge.trainable(recipe, params)[0]`.
 *
 * @throws ValueError as the optimizer does for hyperparameters it cannot take.
 * @example
 * const optimizer = gauge.optimizerOf(recipe, { schedule: optim.schedule.cosine({ tMax: 100 }) });
 */
export function optimizerOf(recipe: Recipe, { schedule }: OptimizerOfOptions = {}): Optimizer {
  const groups = trainedRoles(recipe).flatMap((role) => {
    const own = recipe.groups?.[role];
    return own && Object.keys(own).length > 0 ? [{ ...own, match: match[role] }] : [];
  });
  // One optimizer's name, hyperparameters and groups: the union of recipes keeps them together.
  const config = { ...recipe.optimizer, groups, ...(schedule && { schedule }) } as OptimizerConfig;
  const optimizer = make(config);
  return {
    ...optimizer,
    update: (gradients, state, params) => optimizer.update(clip(recipe, gradients), state, params),
  };
}

/**
 * Splits parameters into those that a recipe trains and the others, two trees of one structure with undefined
 * where a leaf went to the other one.
 */
export function trainable<P>(recipe: Recipe, params: P): [trained: P, frozen: P] {
  const roles = trainedRoles(recipe);
  return partition(params, (_, path) => roles.includes(roleOf(path)));
}

function clip<G>({ clip }: Recipe, gradients: G): G {
  if (!clip) return gradients;
  switch (clip.kind) {
    case "globalNorm": {
      const { maxNorm, eps, weights } = clip;
      const weight = weights && ((path: string) => weights[roleOf(path)] ?? 1);
      return clipByGlobalNorm(gradients, maxNorm, {
        ...(eps !== undefined && { eps }),
        ...(weight && { weight }),
      }).gradients;
    }
    case "tensorNorm": {
      const { maxNorm, eps } = clip;
      const own = eps !== undefined && ((path: string) => numberOf("clip.eps", eps, roleOf(path)));
      return clipByTensorNorm(
        gradients,
        (path) => numberOf("clip.maxNorm", maxNorm, roleOf(path)),
        own ? { eps: own } : {},
      );
    }
    case "value": {
      const { maxValue } = clip;
      return clipByValue(gradients, (path) => numberOf("clip.maxValue", maxValue, roleOf(path)));
    }
    default:
      return clip satisfies never;
  }
}
