import { test } from "vitest";
import type { BackendName } from "../src/runtime/init.ts";
import { thorough } from "./thorough.ts";

/** A test that takes long for what it adds to others: it is there where every case is wanted, as in `npm run test:all`. */
export const long: (name: string, run: () => Promise<void> | void, milliseconds?: number) => void = thorough
  ? test
  : () => {};

/** A test whose kernels a software driver compiles for long: it is always there on the CPU. */
export const longOn = (backend: BackendName): typeof long => (backend === "cpu" ? test : long);
