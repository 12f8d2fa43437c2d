import { type LoraConfig, scalingOf } from "../arbitrary/lora.ts";
import { type CloseOptions, largest } from "../compare.ts";
import { LawError } from "../law.ts";
import { type Matrix, map, multiply, plus, times, transpose } from "../matrix.ts";
import type { LoraParams } from "./layer.ts";

/** What a layer has to return. */
export function output({ weight, A, B }: LoraParams, x: Matrix, scaling: number): Matrix {
  const branch = multiply(multiply(x, transpose(A)), transpose(B));
  return plus(multiply(x, transpose(weight)), times(scaling, branch));
}

/** The largest sum of the sizes of the terms of an output: what rounding errors are in proportion to. */
export function sizeOf(params: LoraParams, x: Matrix, scaling: number): number {
  const size = (m: Matrix) => map(m, Math.abs);
  const sizes = { weight: size(params.weight), A: size(params.A), B: size(params.B) };
  return largest(output(sizes, size(x), Math.abs(scaling)));
}

/** How to compare outputs, with a guess at the scale that was applied. */
export function options(tolerance: number, config: LoraConfig, params: LoraParams, x: Matrix): CloseOptions {
  const base = multiply(x, transpose(params.weight)).flat();
  const expected = output(params, x, scalingOf(config)).flat();
  return {
    tolerance,
    size: sizeOf(params, x, scalingOf(config)),
    hint: (found, due) => {
      const share = expected.indexOf(due);
      const branch = (due - (base[share] ?? 0)) / scalingOf(config);
      return branch === 0 || share < 0 ? "" : guess((found - base[share]!) / branch, config);
    },
  };
}

/** Throws unless a layer that says its scaling says the right one. */
export function checkScaling(found: number | undefined, config: LoraConfig, tolerance: number): void {
  const expected = scalingOf(config);
  if (found === undefined || Math.abs(found - expected) <= tolerance * Math.abs(expected)) return;
  throw new LawError(`scaling is ${found}, expected ${expected}.${guess(found, config)}`);
}

/** Which known mistake a scaling looks like. */
function guess(scaling: number, { alpha, r, rsLora }: LoraConfig): string {
  const known: readonly (readonly [value: number, meaning: string])[] = [
    [0, "the adapter is left out"],
    [1, "no scaling is applied"],
    [1 / r, "alpha is ignored"],
    [alpha, "alpha is not divided"],
    [rsLora ? alpha / r : alpha / Math.sqrt(r), rsLora ? "rsLoRA is ignored" : "alpha is divided by sqrt(r)"],
    [scalingOf({ alpha, r, rsLora }) ** 2, "the scaling is applied twice"],
    [-scalingOf({ alpha, r, rsLora }), "its sign is lost"],
  ];
  const match = known.find(([value]) => Math.abs(scaling - value) <= 1e-4 * Math.max(1, Math.abs(value)));
  return match ? ` The scaling in effect is ${scaling}: ${match[1]}.` : "";
}
