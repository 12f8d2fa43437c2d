import type { Target } from "../src/compile/target.ts";

/** A device of few bindings, for programs that are only looked at. */
export const target = (maxBindings: number): Target => ({
  name: "test",
  floats: ["float32", "float64"],
  maxBindings,
  maxBuffer: Infinity,
  longReduction: 4096,
  fewThreads: 256,
  busyResults: 0,
  sumsVectorProducts: false,
  sharesRows: true,
  maxRow: 16384,
  reach: 0,
});
