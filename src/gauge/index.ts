export { apply } from "./apply.ts";
export { type Approximation, approximate, type Deviation } from "./approximate.ts";
export {
  type BitwiseRange,
  type BitwiseRangeOptions,
  bitwiseRange,
  type Limit,
  type Magnitudes,
  magnitudes,
  type Observed,
  type Sizes,
} from "./bitwise-range.ts";
export { type Canonical, canonical, type Invariant } from "./canonical.ts";
export { checkRecipe } from "./check.ts";
export { type Conversion, type ConvertOptions, convert } from "./convert.ts";
export { type DiscoverOptions, discoverSymmetry } from "./discover.ts";
export type {
  Counterexample,
  Fault,
  FoundPowers,
  Looked,
  NoSymmetry,
  OpenPower,
  Phase,
  Range,
  Symmetry,
  Undecided,
} from "./discovery/findings.ts";
export { type ExplainOptions, equivalent, explain } from "./explain.ts";
export type { Comparison, Explanation, FixedDifference, LoraPlusForm } from "./explanation.ts";
export { explicit } from "./explicit.ts";
export { bitwise, common, factor, type Gauge, inverse, of, onlyB } from "./gauge.ts";
export {
  type DedupeOptions,
  dedupe,
  type Grid,
  type GridCell,
  gridCells,
  gridSize,
  type Knob,
  type Line,
  type SameRun,
  type SweepPlan,
} from "./grid.ts";
export {
  alphaPattern,
  applyLayerParams,
  applyLayerState,
  applyLayers,
  type LayeredRecipe,
  type LayerGauges,
} from "./layers.ts";
export type { Library, Meaning, Setting, TheirOptimizer } from "./library/library.ts";
export { type NamedRecipe, named, recipeOfSettings } from "./library/named.ts";
export { type LibraryName, libraries } from "./library/tools.ts";
export {
  type Generator,
  type LieAlgebra,
  type LieAlgebraOptions,
  lieAlgebra,
  type NullSpace,
} from "./lie-algebra.ts";
export { applyMatrix, type MatrixGauge, type MatrixKind, matrix, matrixRefusal } from "./matrix.ts";
export { type OptimizerOfOptions, optimizerOf, optimizerOfLayers, trainable } from "./optimizer.ts";
export {
  type AdaptedKind,
  type Clip,
  hyperOf,
  type PerRole,
  type Recipe,
  type RecipeOf,
  type RecipeSchedule,
  trainedRoles,
} from "./recipe.ts";
export { gridOfText, recipeOfText, toolsOfText } from "./recipe-text.ts";
export { type ExactRule, ruleOf } from "./rules.ts";
export { type FlatField, flatFields } from "./schema.ts";
export type { Alpha, Target } from "./target.ts";
export { applyGradients, applyParams, applyState } from "./trees.ts";
