import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CopyName, copies, copyOf } from "../../docs/playground/copy.ts";
import { Duel } from "../../docs/playground/duel.ts";
import {
  type Experiment,
  explain,
  fromAddress,
  multipliers,
  numberNames,
  opening,
  optimizers,
  placeOf,
  recipeOf,
  toAddress,
  withPartner,
} from "../../docs/playground/experiment.ts";
import { scale, ticks } from "../../docs/playground/svg.ts";
import { type Device, init } from "../../src/index.ts";

// What the page computes, without the page.

describe("experiments", () => {
  test("come back from their address to the bit", () => {
    const one: Experiment = { ...opening("picture", "adamw"), seed: 7, rank: 3, multiplier: "alpha/sqrt(r)" };
    const odd = withPartner({ ...one, x: { ...one.x, lrA: 0.1 + 0.2, alpha: 1e-3 } });
    expect(fromAddress(toAddress(odd))).toEqual(odd);
    expect(fromAddress("")).toEqual(opening());
  });

  test.each([
    ["task=chess", 'task is "chess"; it is linear'],
    ["rank=0", 'rank is "0"; it is a whole number from 1 to 32'],
    ["rank=2.5", 'rank is "2.5"'],
    ["x.alpha=-1", "x.alpha is -1"],
    ["y.lrB=NaN", "y.lrB is NaN"],
    ["x.lrA=", "x.lrA is NaN"],
    ["colour=red", '"colour" means nothing here'],
  ])("refuse the address %s", (address, words) => {
    expect(() => fromAddress(address)).toThrow(words);
  });

  test("partners are equal recipes, at one place of the plane", () => {
    for (const optimizer of optimizers)
      for (const multiplier of multipliers) {
        const experiment = withPartner({ ...opening("linear", optimizer), multiplier });
        expect(explain(experiment)).toMatchObject({ exact: true, bitwise: true });
        const [x, y] = [placeOf(recipeOf(experiment, "x")), placeOf(recipeOf(experiment, "y"))];
        expect(y).toEqual(x);
      }
  });

  test("are copied as text that says what it cannot", async () => {
    const experiment = opening();
    for (const name of copies)
      expect(await copyOf(name as CopyName, experiment, "x")).toMatch(/lr|learning_rate/);
    const scaled = { ...experiment, multiplier: "alpha/sqrt(r)" as const, rank: 5 };
    expect(await copyOf("MLX-LM", scaled, "x")).toMatch(/^# /);
  });
});

describe("axes", () => {
  test("have two to nine round numbers, whatever they reach over", () => {
    for (const log of [false, true])
      for (const from of [1e-9, 0.013, 0.7, 1, 9.9, 512])
        for (const ratio of [1.01, 1.3, 2, 5, 30, 1e3, 1e12]) {
          const found = ticks(scale([from, from * ratio], [0, 100], log));
          expect(found.length, `${log} ${from} ${ratio}`).toBeGreaterThan(1);
          expect(found.length).toBeLessThan(10);
          for (const value of found) {
            expect(value).toBeGreaterThanOrEqual(from * (1 - 1e-9));
            expect(value).toBeLessThanOrEqual(from * ratio * (1 + 1e-9));
          }
        }
  });
});

describe("two runs", () => {
  let device: Device;
  beforeAll(async () => {
    device = await init({ backend: "cpu" });
  });
  afterAll(() => device.dispose());

  const seenOf = async (experiment: Experiment, updates: number) => {
    const duel = await Duel.start(experiment, "");
    const seen = [];
    for (let i = 0; i < updates; i++) seen.push(await duel.step());
    const view = await duel.view();
    duel.dispose();
    return { seen, view };
  };

  test.each(optimizers)("of partners are the same bits, by %s", async (optimizer) => {
    const { seen, view } = await seenOf(opening("linear", optimizer), 30);
    expect(seen.every(({ same }) => same)).toBe(true);
    expect(seen.map(({ loss }) => loss.x)).toEqual(seen.map(({ loss }) => loss.y));
    expect(seen.at(-1)!.loss.x).toBeLessThan(0.8 * seen[0]!.loss.x);
    expect(view.spectra.x[""]![0]).toBeGreaterThan(0);
    expect(view.needed[""]).toHaveLength(4);
  });

  test.each(numberNames.filter((name) => !name.startsWith("decay")))(
    "differ once %s moves alone",
    async (name) => {
      const experiment = opening("linear", "adam");
      const y = { ...experiment.y, [name]: experiment.y[name] * 2 ** (name.startsWith("eps") ? 20 : 1) };
      const { seen } = await seenOf({ ...experiment, y }, 3);
      expect(seen.at(-1)!.same).toBe(false);
      expect(seen.at(-1)!.where).toMatch(/lora[AB]/);
      expect(seen.at(-1)!.gap).toBeGreaterThan(0);
    },
  );

  test("learn a picture, and show it", async () => {
    const { seen, view } = await seenOf(opening("picture"), 20);
    expect(seen.every(({ same }) => same)).toBe(true);
    expect(seen.at(-1)!.loss.x).toBeLessThan(0.7 * seen[0]!.loss.x);
    expect(view.looks!.x).toEqual(view.looks!.y);
    expect(view.looks!.x.picture!.pixels).toHaveLength(28 * 28 * 3);
  });
});
