import type { TopLevelSpec } from "vega-lite";

/** A figure in the grammar of Vega-Lite, which `run.mjs` draws. */
export type Picture = TopLevelSpec;

/** What an example comes to: numbers that a test can hold, and a picture where one would rather look. */
export interface Outcome {
  readonly figures: { readonly [name: string]: number | string | boolean };
  readonly picture?: Picture;
}
