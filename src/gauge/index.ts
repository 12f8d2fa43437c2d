export { apply } from "./apply.ts";
export {
  type Counterexample,
  type DiscoverOptions,
  discoverSymmetry,
  type FoundPowers,
  type NoSymmetry,
  type OpenPower,
  type Phase,
  type Symmetry,
} from "./discover.ts";
export { bitwise, common, factor, type Gauge, inverse, of, onlyB } from "./gauge.ts";
export { type OptimizerOfOptions, optimizerOf, trainable } from "./optimizer.ts";
export { type Clip, hyperOf, type PerRole, type Recipe, type RecipeOf, trainedRoles } from "./recipe.ts";
export { type Rule, ruleOf } from "./rules.ts";
export { applyParams, applyState } from "./trees.ts";
