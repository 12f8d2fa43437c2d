// The table of elementwise operations. A new one is a row of functions.ts and a documented method or function in
// src/tensor: both backends, gradients and tests read the row.
export * from "./functions.ts";
export * from "./primitives.ts";
