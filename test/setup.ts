import fc from "fast-check";
import { expect } from "vitest";
import { thorough } from "./thorough.ts";

/**
 * Every run of the tests draws the same examples, so that what passes on one machine passes on the next. `FC_SEED=7
 * npm test` draws others, `FC_SEED=random` those of chance, whose seed a failure prints.
 */
const seed = process.env.FC_SEED ?? "1";
if (seed !== "random") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(seed) });

/**
 * Mesa's software driver compiles kernels for vectors of 128 bits in two thirds of the time that those of 256 take.
 * Subgroups are then of four: what looks at the kernels themselves keeps those of eight, and so does `test:all`.
 */
const looksAtKernels = /\/test\/(backend|browser|compile)\//.test(expect.getState().testPath ?? "");
if (!thorough && !looksAtKernels) process.env.LP_NATIVE_VECTOR_WIDTH = "128";
