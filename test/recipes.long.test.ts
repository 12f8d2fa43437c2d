import { afterAll, beforeAll, test } from "vitest";
import type { Device } from "../src/runtime/device.ts";
import { init } from "../src/runtime/init.ts";
import { convertedToLibrary, itselfInDisguise, otherByRate } from "./recipe-runs.ts";

// Recipes trained in pairs, many of them; a few run with every test.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

const timeout = 3_600_000;

test("a recipe in disguise is the same run", () => itselfInDisguise(300), timeout);
test("settings that are printed train as the conversion says", () => convertedToLibrary(400), timeout);
test("a rate that counts makes another run", () => otherByRate(100), timeout);
