import { describe, expect, test } from "vitest";
import { backends } from "../devices.ts";
import { fuzz } from "./fuzz.ts";
import { openTargets } from "./targets.ts";

// Five minutes of graphs that nobody has seen: the seed is the day, so that a failure can be had again.

const seed = Math.floor(Date.now() / 86_400_000);

describe.each(await backends())("on %s", (name) => {
  test.each(name === "webgpu" ? [undefined, 8] : [undefined])(
    `graphs of seed ${seed}, bindings: %s`,
    async (bindings) => {
      const targets = await openTargets(name, bindings);
      const { faults } = await fuzz(targets, { seed, seconds: 100 });
      for (const { device } of targets) device.dispose();
      expect(faults.map(({ why, test: pasted }) => `${why}\n${pasted}`)).toEqual([]);
    },
    400_000,
  );
});
