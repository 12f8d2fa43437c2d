import type { AdapterInit } from "../lora/config.ts";
import { scaling } from "../lora/scaling.ts";
import type { Gauge } from "./gauge.ts";
import type { Recipe } from "./recipe.ts";

/** The matrix that starts at zero, if one does. Embeddings start the other way round and are left aside here. */
export function zeroSide({ init = "standard" }: { readonly init?: AdapterInit }): "A" | "B" | undefined {
  if (init === "swapped") return "A";
  return init === "standard" || init === "gaussian" ? "B" : undefined;
}

/**
 * How large A and B start, in units that no gauge changes: the factors on their initial values, 0 for a side that
 * starts at zero. PiSSA divides its start by the root of the scaling, which counts here.
 */
export function starts(recipe: Recipe): { readonly A: number; readonly B: number } {
  const zero = zeroSide(recipe);
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
