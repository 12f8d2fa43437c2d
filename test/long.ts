import { test } from "vitest";
import { thorough } from "./thorough.ts";

/** A test that takes long for what it adds to others: it is there where every case is wanted, as in `npm run test:all`. */
export const long: (name: string, run: () => Promise<void> | void, milliseconds?: number) => void = thorough
  ? test
  : () => {};
