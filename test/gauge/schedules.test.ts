import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as gauge from "../../src/gauge/index.ts";
import type { Device } from "../../src/runtime/device.ts";
import { init } from "../../src/runtime/init.ts";
import { unchecked } from "../random-recipes.ts";
import { apart, losses } from "../tiny.ts";

// Schedules that are one course in other words, or not, for all updates or for as many as are told: explain says what
// training that many shows.

let device: Device;
beforeAll(async () => {
  device = await init({ backend: "cpu" });
});
afterAll(() => device.dispose());

type Form = readonly [schedule: gauge.RecipeSchedule | undefined, numbers?: object];

const of = ([schedule, numbers]: Form) =>
  unchecked({
    r: 2,
    alpha: 4,
    optimizer: { name: "adamw", lr: 0.02, ...numbers },
    ...(schedule && { schedule }),
  });

/** More updates than any of these schedules needs to come to its end. */
const many = 32;

async function expectPair(equal: boolean, x: Form, y: Form, updates?: number): Promise<void> {
  const told = updates === undefined ? {} : { updates };
  const result = gauge.explain(of(x), of(y), told);
  expect(result.words.join("\n")).toContain(equal ? "are the same run" : "are not the same run");
  expect(result).toMatchObject({ exact: equal, updates: updates ?? null });
  expect(gauge.equivalent(of(y), of(x), told)).toBe(equal);
  expect(gauge.dedupe([of(x), of(y)], told).runs).toHaveLength(equal ? 1 : 2);
  const wide = { dtype: "float64", updates: updates ?? many } as const;
  const difference = apart(await losses(of(x), wide), await losses(of(y), wide));
  if (equal) expect(difference).toBeLessThan(1e-12);
  else expect(difference).toBeGreaterThan(1e-9);
}

const once = { kind: "exponential", gamma: 0 } as const;
const rise = (warmup: number) => ({ kind: "warmupConstant", warmup }) as const;
const line = (warmup: number, total: number | "end") => ({ kind: "warmupLinear", warmup, total }) as const;
const arc = (warmup: number, total: number | "end") => ({ kind: "warmupCosine", warmup, total }) as const;

describe("for all updates", () => {
  test.each<[string, Form, Form]>([
    ["a line over one update, and a power of 0", [line(0, 1)], [once]],
    ["a step of one update down to 0", [{ kind: "step", stepSize: 1, gamma: 0 }], [line(0, 1)]],
    ["half a cosine of one update", [{ kind: "cosine", tMax: 1 }], [arc(0, 1)]],
    ["a cosine down to 1", [{ kind: "cosine", tMax: 5, etaMinFraction: 1 }], [undefined]],
    [
      "a cosine and restarts of two values",
      [{ kind: "cosine", tMax: 1, etaMinFraction: 0.5 }],
      [{ kind: "cosineRestarts", period: 2 }],
    ],
    ["no warm-up", [rise(0)], [undefined]],
    ["warm-ups of one update and of half of one", [rise(0.5)], [rise(1)]],
    ["a warm-up that is the run, and a rate of 0", [line(0.5, 1)], [undefined, { lr: 0 }]],
    ["a peak between updates, and a smaller rate", [line(0.5, 2)], [line(1, 2), { lr: (0.02 * 2) / 3 }]],
    [
      "a cycle in three phases, the last one flat",
      [{ kind: "oneCycle", totalSteps: 20, finalDivFactor: 1, threePhase: true }],
      [{ kind: "oneCycle", totalSteps: 11, pctStart: 6 / 11, finalDivFactor: 1 }],
    ],
    [
      "shapes of phases that no update is in, or one in the middle",
      [{ kind: "oneCycle", totalSteps: 4, pctStart: 0.5 }],
      [{ kind: "oneCycle", totalSteps: 4, pctStart: 0.5, annealing: "linear" }],
    ],
    [
      "a fall that goes nowhere, and its length",
      [{ kind: "oneCycle", totalSteps: 20, pctStart: 0.2, finalDivFactor: 1 / 25 }],
      [{ kind: "oneCycle", totalSteps: 40, pctStart: 0.1, finalDivFactor: 1 / 25 }],
    ],
    [
      "a line and a cosine of Rprop, which has none",
      [line(0, 9), { name: "rprop" }],
      [arc(0, 9), { name: "rprop" }],
    ],
  ])("%s: one run", (_, x, y) => expectPair(true, x, y));

  test.each<[string, Form, Form]>([
    ["a warm-up of one update and none", [rise(1)], [undefined]],
    ["a cosine that comes back and a rate that stays 0", [{ kind: "cosine", tMax: 1 }], [once]],
    ["ends one update apart", [line(2, 12)], [line(2, 13)]],
    [
      "shapes of a phase with two updates in it",
      [{ kind: "oneCycle", totalSteps: 5, pctStart: 0.4 }],
      [{ kind: "oneCycle", totalSteps: 5, pctStart: 0.4, annealing: "linear" }],
    ],
    [
      "powers a millionth apart",
      [{ kind: "exponential", gamma: 0.9 }],
      [{ kind: "exponential", gamma: 0.900001 }],
    ],
    ["a step far away", [{ kind: "step", stepSize: 30, gamma: 0.5 }], [undefined]],
    [
      "restarts that are longer each time",
      [{ kind: "cosineRestarts", period: 1, multiplier: 2 }],
      [undefined],
    ],
  ])("%s: two runs", (_, x, y) => expectPair(false, x, y));
});

describe("for a number of updates", () => {
  test.each<[string, Form, Form, number]>([
    ["a cosine that would come back", [{ kind: "cosine", tMax: 1 }], [once], 2],
    ["a step that is not reached", [{ kind: "step", stepSize: 30, gamma: 0.5 }], [undefined], 30],
    ["an end with the run, and a number", [line(2, "end")], [line(2, 12)], 12],
    ["a line and a cosine of two updates", [arc(0, "end")], [line(0, "end")], 2],
    ["a run within the warm-up", [line(12, 20)], [rise(12)], 12],
    ["a warm-up twice as long and half the rate", [rise(3)], [rise(6), { lr: 0.04 }], 3],
    [
      "with a decay that the schedule multiplies",
      [rise(3), { decayTimesLr: false }],
      [rise(6), { lr: 0.04, decayTimesLr: false, weightDecay: 0.02 }],
      3,
    ],
    ["a first update at rate 0", [rise(5)], [undefined, { lr: 0 }], 1],
    ["restarts that do not come", [{ kind: "cosineRestarts", period: 8 }], [{ kind: "cosine", tMax: 8 }], 8],
  ])("%s: one run", async (_, x, y, updates) => {
    await expectPair(true, x, y, updates);
    expect(gauge.explain(of(x), of(y), { updates }).words.at(-1)).toBe(
      `Of schedules the first ${updates} updates count.`,
    );
    expect(gauge.equivalent(of(x), of(y))).toBe(false);
  });

  test.each<[string, Form, Form, number]>([
    ["one update more", [{ kind: "cosine", tMax: 1 }], [once], 3],
    ["a step that is reached", [{ kind: "step", stepSize: 30, gamma: 0.5 }], [undefined], 31],
    ["an end with a shorter run", [line(2, "end")], [line(2, 12)], 11],
    ["a line and a cosine of four updates", [arc(0, 4)], [line(0, 4)], 4],
    [
      "a decay that goes with the rate alone",
      [rise(3), { weightDecay: 0.5, decayTimesLr: false }],
      [rise(6), { lr: 0.04, weightDecay: 0.5, decayTimesLr: false }],
      3,
    ],
    ["a warm-up that ends", [rise(3)], [rise(6), { lr: 0.04 }], 5],
  ])("%s: two runs", (_, x, y, updates) => expectPair(false, x, y, updates));

  test("says what it does not know, and refuses what is no run", () => {
    const [x, y] = [of([line(2, "end")]), of([line(2, 12)])];
    expect(gauge.explain(x, y).words.at(-1)).toContain("give the number of updates");
    expect(() => gauge.explain(x, y, { updates: 0 })).toThrow("updates is 0; it is a whole number >= 1");
    expect(() => gauge.dedupe([x, y], { updates: 1.5 })).toThrow("updates is 1.5");
    expect(() => gauge.explain(x, y, { updates: 2 })).toThrow("total 2 is not more than warmup 2");
  });

  test("a gauge may grow where a schedule stays constant for as long", async () => {
    const grown = (rho: number, stepSize: number) =>
      unchecked({
        r: 2,
        alpha: 4,
        init: "random",
        optimizer: { name: "scaledSgd", lr: 1, reg: 0 },
        groups: {
          A: { lr: 0.1 * rho, weightDecay: (1 - 0.9 * rho) / (0.1 * rho) },
          B: { lr: 0.1 / rho, weightDecay: (1 - 0.9 / rho) / (0.1 / rho) },
        },
        schedule: { kind: "step", stepSize, gamma: 0.5 },
      });
    const [x, y] = [grown(1, 8), grown(1.02, 8)];
    expect(gauge.explain(x, y, { updates: 8 })).toMatchObject({ exact: true });
    expect(gauge.explain(x, y, { updates: 8 }).growth).toBeCloseTo(1.02, 12);
    expect(gauge.equivalent(x, y, { updates: 9 })).toBe(false);
    expect(gauge.equivalent(x, y)).toBe(false);
    const [one, other] = [
      await losses(x, { dtype: "float64", updates: 10 }),
      await losses(y, { dtype: "float64", updates: 10 }),
    ];
    expect(apart(one.slice(0, 9), other.slice(0, 9))).toBeLessThan(1e-12);
    expect(apart(one, other)).toBeGreaterThan(1e-6);
  });
});
