import type { AdapterInit } from "../lora/config.ts";
import { scaling } from "../lora/scaling.ts";
import type { Gauge } from "./gauge.ts";
import { type AdaptedKind, adapts, type Recipe } from "./recipe.ts";

/**
 * The matrix that starts at zero in a kind of layer, if one does: embeddings start the other way round than linear
 * layers, except for "random" and the decompositions.
 */
export function zeroSide(
  { init = "standard" }: { readonly init?: AdapterInit },
  kind: AdaptedKind = "linear",
): "A" | "B" | undefined {
  const linear = kind === "linear";
  if (init === "swapped") return linear ? "A" : "B";
  if (init === "standard" || init === "gaussian") return linear ? "B" : "A";
  return undefined;
}

/** Whether a matrix starts at zero in every kind of layer, so that no factor on its start has an effect. */
export function alwaysZero(recipe: Pick<Recipe, "init" | "adapts">, role: "A" | "B"): boolean {
  return adapts(recipe).every((kind) => zeroSide(recipe, kind) === role);
}

/**
 * How large A and B start in a kind of layer, in units that no gauge changes: the factors on their initial values, 0
 * for a side that starts at zero. PiSSA divides its start by the root of the scaling, which counts here.
 */
export function starts(
  recipe: Recipe,
  kind: AdaptedKind = "linear",
): { readonly A: number; readonly B: number } {
  const zero = zeroSide(recipe, kind);
  const own = recipe.init === "pissa" ? 1 / Math.sqrt(scaling(recipe).value) : 1;
  const { A = 1, B = 1 } = recipe.initScale ?? {};
  return { A: zero === "A" ? 0 : own * A, B: zero === "B" ? 0 : own * B };
}

/** The factors on `initScale` that a gauge needs; PiSSA's start has divided by the root of k already. */
export function startFactors(
  { init }: Recipe,
  { a, b, k }: Gauge,
): { readonly A: number; readonly B: number } {
  const back = init === "pissa" ? Math.sqrt(k) : 1;
  return { A: a * back, B: b * back };
}

/** Whether initial values follow a gauge by powers of two without rounding. */
export function startsExactly({ init }: Recipe, { k }: Gauge): boolean {
  return init !== "pissa" || Number.isInteger(Math.log2(k) / 2);
}
