import { afterAll, beforeAll, test } from "vitest";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { degenerateForms, optimizerForms } from "../random-recipes.ts";
import {
  allPairs,
  anyPairs,
  convertedToLibrary,
  convertedToTarget,
  eachNumber,
  itselfInDisguise,
  otherByRate,
} from "../recipe-runs.ts";

// Recipes trained in pairs, many of them; a few run with every test.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

// The same recipes every time, so that a change is what makes this fail; another seed draws others.
const seed = Number(process.env.LORANTZ_FUZZ_SEED ?? 1);
const timeout = 1_200_000;

test("a recipe in disguise is the same run", () => itselfInDisguise(150, seed), timeout);
test("settings that are printed train as the conversion says", () => convertedToLibrary(150, seed), timeout);
test(
  "what is converted is the same run, and what is refused is another",
  () => convertedToTarget(150, seed),
  timeout,
);
test("a rate that counts makes another run", () => otherByRate(40, seed), timeout);

test(
  "two optimizers are one run where training shows it, and nowhere else",
  () => allPairs(degenerateForms),
  timeout,
);

test(
  "two recipes of any optimizers are one run where training shows it, and nowhere else",
  () => anyPairs(150, seed),
  timeout,
);

// The converse of theorem 2, number by number.
test.each(optimizerForms.map((form) => [JSON.stringify(form), form] as const))(
  "a number counts where explain says so, and nowhere else: %s",
  (_, form) => eachNumber(form),
  timeout,
);
