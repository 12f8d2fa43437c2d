import { describe, expect, test } from "vitest";
import { discoverSymmetry, type NoSymmetry, type Symmetry, type Undecided } from "../../src/gauge/index.ts";
import * as optim from "../../src/optim/index.ts";
import { type Animal, zoo } from "../zoo.ts";

// Discovery among optimizers that it never met: exact rules are found, whatever they are, and none is claimed where a
// constant, a shape, a late phase or the world outside breaks it.

function checkPowers(found: Symmetry, { powers = {}, state = {} }: Animal): void {
  expect(found.hyper).toMatchObject(powers);
  expect(found.state).toMatchObject(state);
}

function checkNone(found: NoSymmetry, { at, perShape = {} }: Animal): void {
  if (at !== undefined) expect(found.counterexample.update).toBe(at);
  for (const [shape, powers] of Object.entries(perShape))
    expect(found.perShape?.[shape]?.hyper).toMatchObject(powers);
}

test.each(Object.entries(zoo))(
  "%s",
  async (_, animal) => {
    const { make, hyper, none, fault, says } = animal;
    const found: Symmetry | NoSymmetry | Undecided = await discoverSymmetry(make, { hyper: hyper as never }); // numbers, and what is nested
    if (says) expect(found.text).toMatch(says);
    if (found.exists === undefined) expect(found.fault, found.text).toBe(fault);
    else if (found.exists) {
      expect(none, found.text).toBeUndefined();
      checkPowers(found, animal);
    } else {
      expect(none, found.text).toBe(true);
      checkNone(found, animal);
    }
    expect(found.exists === undefined, found.text).toBe(fault !== undefined);
  },
  60_000,
);

// Rules of both factors, with numbers for each; the quicker ones are in test/optim/pair-optimizers.test.ts.
describe.each(["A", "B"] as const)("pairs, %s scaled", (pair) => {
  type Own = Readonly<Record<string, number>>;
  const rules: Readonly<Record<"loraMuon" | "loraRite", Own>> = {
    loraMuon: { lr: 0.02, reg: 0.1, weightDecay: 0.1 },
    loraRite: { lr: 0.02, reg: 0.1, eps: 1e-2, weightDecay: 0.1 },
  };
  test.each(Object.entries(rules))(
    "%s",
    async (name, hyper) => {
      const make = ({ A, B }: { A: Own; B: Own }): optim.Optimizer =>
        optim.make({ name, ...A, groups: [{ match: "loraB", ...B }] } as unknown as optim.OptimizerConfig);
      const { scaling } = optim.pairRules[name as "loraMuon"];
      const { own, partner } = scaling.hyper({ lr: 1, momentum: 0, weightDecay: 0, reg: 0 }) as {
        own: Own;
        partner: Own;
      };
      const both = { A: hyper, B: hyper };
      const few = { updates: 2, horizon: 3, shapes: [[2, 3]] };
      const found = await discoverSymmetry(make, { hyper: both, pair, ...few });
      if (!found.exists) throw new Error(found.text);
      const other = pair === "A" ? "B" : "A";
      for (const key of Object.keys(hyper)) {
        expect(found.hyper[`${pair}.${key}`], key).toBe(own[key] ?? 0);
        expect(found.hyper[`${other}.${key}`], key).toBe(partner[key] ?? 0);
      }
    },
    300_000,
  );
});
