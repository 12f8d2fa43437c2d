import { expect, test } from "vitest";
import { discoverSymmetry, type NoSymmetry, type Symmetry, type Undecided } from "../src/gauge/index.ts";
import { type Animal, zoo } from "./zoo.ts";

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
