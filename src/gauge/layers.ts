import { ValueError } from "../base/errors.ts";
import type { Pattern } from "../lora/targets.ts";
import type { OptimizerState } from "../optim/optimizer.ts";
import * as tree from "../tensor/tree.ts";
import { apply } from "./apply.ts";
import { explicit } from "./explicit.ts";
import type { Gauge } from "./gauge.ts";
import { expectRecipe, type Recipe } from "./recipe.ts";
import { applyParams, applyState } from "./trees.ts";

/** A gauge for each of some adapted layers, by the layer's path; the others stay as they are. */
export type LayerGauges = { readonly [layer: string]: Gauge };

/** A recipe of which some layers differ. */
export interface LayeredRecipe {
  /** That of all other layers. */
  readonly recipe: Recipe;
  readonly layers: { readonly [layer: string]: Recipe };
}

/**
 * The gauge partner of a recipe when each layer has a gauge of its own: train it with `optimizerOfLayers`, on a
 * model with `alphaPattern(partner)`, from `applyLayerParams` of the original parameters.
 *
 * Clipping by the global norm is written with weights, so it stays exact.
 *
 * @throws ValueError as `apply` does, naming the layer.
 * @example
 * const partner = applyLayers({ "layers.0.q": onlyB(4) }, recipe);
 * partner.layers["layers.0.q"].alpha; // 4 times recipe.alpha
 */
export function applyLayers(gauges: LayerGauges, recipe: Recipe): LayeredRecipe {
  expectRecipe("gauge.applyLayers", recipe);
  const full = explicit(recipe);
  const layers = Object.entries(gauges).map(([layer, g]): [string, Recipe] => {
    try {
      return [layer, apply(g, full)];
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
      throw new ValueError(`gauge.applyLayers: ${layer}: ${error.message}`);
    }
  });
  return { recipe: full, layers: Object.fromEntries(layers) };
}

/**
 * The alphas of the layers that differ, as `lora.inject` takes them.
 *
 * @example
 * lora.inject(model, { ...partner.recipe, targetModules: "all-linear", alphaPattern: alphaPattern(partner) });
 */
export function alphaPattern({ layers }: LayeredRecipe): Pattern {
  // Patterns match the end of a path; nothing may precede this one.
  return Object.fromEntries(
    Object.entries(layers).map(([layer, { alpha }]) => [`(?<!.)${escaped(layer)}`, alpha]),
  );
}

/**
 * Parameters with each layer under its own gauge; see `applyParams`.
 *
 * @throws ValueError for a layer that has no parameters.
 */
export function applyLayerParams<P>(gauges: LayerGauges, params: P): P {
  return byLayer("gauge.applyLayerParams", gauges, params, applyParams);
}

/**
 * The state of an optimizer with each layer under its own gauge; see `applyState`.
 *
 * @throws ValueError as `applyState` does.
 */
export function applyLayerState<S extends OptimizerState>(gauges: LayerGauges, state: S, recipe: Recipe): S {
  const { step, ...slots } = state;
  const moved = (g: Gauge, slots: object) => {
    const { step: _, ...rest } = applyState(g, { step, ...slots } as OptimizerState, recipe.optimizer);
    return rest;
  };
  return { step, ...byLayer("gauge.applyLayerState", gauges, slots, moved, true) } as S; // the same slots
}

/** The layer among `layers` that a parameter's path belongs to. */
export function layerOf(layers: readonly string[], path: string): string | undefined {
  return layers.find((layer) =>
    new RegExp(`^${escaped(layer)}(\\.|$)`).test(path.slice(0, path.lastIndexOf("."))),
  );
}

/** A path as a regular expression that matches it alone. */
export function escaped(path: string): string {
  return path.replaceAll(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

/** Applies each gauge to the parameters of its layer. */
function byLayer<T>(
  operation: string,
  gauges: LayerGauges,
  values: T,
  move: (g: Gauge, values: T) => T,
  /** Whether paths begin with the name of a slot. */
  slots = false,
): T {
  const layers = Object.keys(gauges);
  const layerAt = (path: string) => layerOf(layers, slots ? path.slice(path.indexOf(".") + 1) : path);
  const there = new Set(tree.entries(values).map(([path]) => layerAt(path)));
  const lost = slots ? undefined : layers.find((layer) => !there.has(layer));
  if (lost !== undefined)
    throw new ValueError(
      `${operation}: there are no parameters of a layer ${lost}. Parameters are ${tree
        .entries(values)
        .map(([path]) => path)
        .slice(0, 8)
        .join(", ")}.`,
    );
  return layers.reduce((all, layer) => {
    const [own, others] = tree.partition(all, (_, path) => layerAt(path) === layer);
    return tree.combine<T>(others, move(gauges[layer]!, own));
  }, values);
}
