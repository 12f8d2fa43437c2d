import { describe, expect, test } from "vitest";
import { backends } from "../devices.ts";
import { fuzz } from "./fuzz.ts";
import { openTargets } from "./targets.ts";

// Five minutes of graphs at most. The seed and their number are fixed, so that a change is what makes this fail; new
// graphs come from `npm run fuzz`, or from LORANTZ_FUZZ_SEED here, which has no limit but the time.

const given = process.env.LORANTZ_FUZZ_SEED;
const seed = given === undefined ? 1 : Number(given);

describe.each(await backends())("on %s", (name) => {
  test.each(name === "webgpu" ? [undefined, 8] : [undefined])(
    `graphs of seed ${seed}, bindings: %s`,
    async (bindings) => {
      const targets = await openTargets(name, bindings);
      const graphs = name === "webgpu" ? 250 : 2000;
      const limits = { seed, seconds: 100, ...(given === undefined && { graphs }) };
      const { faults } = await fuzz(targets, limits);
      for (const { device } of targets) device.dispose();
      expect(faults.map(({ why, test: pasted }) => `${why}\n${pasted}`)).toEqual([]);
    },
    400_000,
  );
});
