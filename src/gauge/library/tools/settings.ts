import { field, fraction, integer, nonNegative, positive, required } from "../../../base/arguments.ts";
import type { Setting } from "../library.ts";

// Settings that tools have in common.

export const either = (otherwise: boolean) =>
  field<unknown>("true or false", (value) => typeof value === "boolean", otherwise);
export const word = (otherwise?: string) =>
  field<unknown>("a text", (value) => typeof value === "string", otherwise);
export const dropout = (otherwise: number): Setting => ({
  is: "dropout",
  field: fraction(otherwise),
  says: "the probability with which an entry of the adapter's input is zeroed",
});
export const rank = (otherwise?: number): Setting => ({
  is: "r",
  field: integer(1, Infinity, otherwise),
  says: "the rank",
});
export const alphaOver = (divisor: string, otherwise?: number): Setting => ({
  is: "alpha",
  field: positive(otherwise),
  says: `alpha; the multiplier is alpha / ${divisor}`,
});
export const hyper = (otherwise: number | undefined, says: string): Setting => ({
  is: "hyper",
  field: otherwise === undefined ? required : nonNegative(otherwise),
  says,
});
export const norm = (otherwise: number): Setting => ({
  is: "maxNorm",
  field: nonNegative(otherwise),
  says: "the threshold of the global norm; 0 for no clipping",
});
