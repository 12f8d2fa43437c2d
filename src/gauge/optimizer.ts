import { ValueError } from "../base/errors.ts";
import { adapterTensors } from "../lora/kinds/index.ts";
import { type Role, roleOf } from "../lora/roles.ts";
import { clipByGlobalNorm, clipByTensorNorm, clipByValue } from "../optim/clip.ts";
import type { Match } from "../optim/hyper.ts";
import { make, type OptimizerConfig } from "../optim/make.ts";
import type { Optimizer, Schedule } from "../optim/optimizer.ts";
import { make as makeSchedule, type ScheduleConfig } from "../optim/schedule.ts";
import { partition } from "../tensor/tree.ts";
import { escaped, type LayeredRecipe, layerOf } from "./layers.ts";
import { type Clip, expectRecipe, numberOf, type Recipe, trainedRoles } from "./recipe.ts";

export interface OptimizerOfOptions {
  /** A factor on all learning rates, where the recipe has no schedule of its own. */
  readonly schedule?: Schedule;
  /** How many updates the run has, for a schedule that ends with it. */
  readonly updates?: number;
}

/** Where the parameters of a role are, as optimizers match paths. */
const match = Object.fromEntries([
  ...adapterTensors.map(({ role, name }) => [role, name]),
  ["base", (path: string) => roleOf(path) === "base"],
]) as Readonly<Record<Role, string | ((path: string) => boolean)>>; // each role has a tensor, but for base

/**
 * The optimizer of a recipe: clips gradients as the recipe says, and updates with each role's hyperparameters.
 * Pass it the trained parameters only, `gauge.trainable(recipe, params)[0]`.
 *
 * @throws ValueError as the optimizer does for hyperparameters it cannot take.
 * @example
 * const optimizer = gauge.optimizerOf({ ...recipe, schedule: { kind: "cosine", tMax: 100 } });
 */
export function optimizerOf(recipe: Recipe, options: OptimizerOfOptions = {}): Optimizer {
  expectRecipe("gauge.optimizerOf", recipe);
  return optimizerOfLayers({ recipe, layers: {} }, options);
}

/**
 * The optimizer of a recipe of which some layers differ, see `applyLayers`. A global norm is one for all layers, with
 * each layer's weights; its threshold is that of `recipe`.
 *
 * @throws ValueError as `optimizerOf`, and in `init` for a layer without parameters.
 * @example
 * const optimizer = gauge.optimizerOfLayers(gauge.applyLayers({ fc1: gauge.onlyB(4) }, recipe));
 */
export function optimizerOfLayers(layered: LayeredRecipe, options: OptimizerOfOptions = {}): Optimizer {
  const { recipe, layers } = layered;
  if (recipe.eightBitStates)
    throw new ValueError(
      "gauge.optimizerOf: eightBitStates is true; states are kept in full here. Leave it out to train so, which is another run.",
    );
  const schedule = scheduleOf(recipe, options);
  const roles = trainedRoles(recipe);
  const groupsOf = ({ groups }: Recipe, of: readonly Role[], matchOf: (role: Role) => Match) =>
    of.flatMap((role) => {
      const own = groups?.[role];
      return own && Object.keys(own).length > 0 ? [{ ...own, match: matchOf(role) }] : [];
    });
  // No gauge moves what lies outside adapters.
  const inAdapters = roles.filter((role) => role !== "base");
  const groups = [
    ...Object.entries(layers).flatMap(([layer, own]) =>
      groupsOf(own, inAdapters, (role) => new RegExp(`^${escaped(layer)}\\.(.*\\.)?${String(match[role])}$`)),
    ),
    ...groupsOf(recipe, roles, (role) => match[role]),
  ];
  // One optimizer's name, hyperparameters and groups: the union of recipes keeps them together.
  const config = { ...recipe.optimizer, groups, ...(schedule && { schedule }) } as OptimizerConfig;
  const optimizer = make(config);
  const names = Object.keys(layers);
  const recipeAt = (path: string): Recipe => {
    const layer = layerOf(names, path);
    return layer === undefined ? recipe : layers[layer]!;
  };
  return {
    ...optimizer,
    update: (gradients, state, params) => optimizer.update(clip(recipe, recipeAt, gradients), state, params),
  };
}

function scheduleOf(
  { schedule: own }: Recipe,
  { schedule, updates }: OptimizerOfOptions,
): Schedule | undefined {
  if (!own) return schedule;
  if (schedule)
    throw new ValueError(
      `gauge.optimizerOf: the recipe has a schedule, ${own.kind}, and the options have one as well. Give one.`,
    );
  if (!("total" in own) || own.total !== "end") return makeSchedule(own as ScheduleConfig); // the line says so
  if (updates === undefined)
    throw new ValueError(
      `gauge.optimizerOf: the recipe's schedule, ${own.kind}, ends with the run. Give the number of updates.`,
    );
  return makeSchedule({ ...own, total: updates });
}

/**
 * Splits parameters into those that a recipe trains and the others, two trees of one structure with undefined
 * where a leaf went to the other one.
 */
export function trainable<P>(recipe: Recipe, params: P): [trained: P, frozen: P] {
  expectRecipe("gauge.trainable", recipe);
  const roles = trainedRoles(recipe);
  return partition(params, (_, path) => roles.includes(roleOf(path)));
}

/** Clips as `recipe` says, with the numbers of the recipe at each path. */
function clip<G>({ clip }: Recipe, recipeAt: (path: string) => Recipe, gradients: G): G {
  if (!clip) return gradients;
  /** The clipping at a path, of the same kind: gauges change its numbers only. */
  const at = <C extends Clip>(path: string) => recipeAt(path).clip as C;
  switch (clip.kind) {
    case "globalNorm": {
      const { maxNorm, eps, weights } = clip;
      const weight = weights && ((path: string) => at<typeof clip>(path).weights?.[roleOf(path)] ?? 1);
      return clipByGlobalNorm(gradients, maxNorm, {
        ...(eps !== undefined && { eps }),
        ...(weight && { weight }),
      }).gradients;
    }
    case "tensorNorm": {
      const eps = (path: string) => numberOf("clip.eps", at<typeof clip>(path).eps ?? 1e-6, roleOf(path));
      return clipByTensorNorm(
        gradients,
        (path) => numberOf("clip.maxNorm", at<typeof clip>(path).maxNorm, roleOf(path)),
        { eps },
      );
    }
    case "value":
      return clipByValue(gradients, (path) =>
        numberOf("clip.maxValue", at<typeof clip>(path).maxValue, roleOf(path)),
      );
    default:
      return clip satisfies never;
  }
}
