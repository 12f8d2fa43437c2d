import fc from "fast-check";
import { expect } from "vitest";
import { ValueError } from "../src/base/errors.ts";
import * as gauge from "../src/gauge/index.ts";
import {
  degenerateRecipes,
  disguised,
  optimizerForms,
  randomRecipes,
  targets,
  unchecked,
} from "./random-recipes.ts";
import { apart, losses } from "./tiny.ts";

// Properties of recipes that are trained to see them, for any number of draws.

/** A recipe in other words, or moved by a gauge, is the same run to the bit. */
export function itselfInDisguise(numRuns: number, seed?: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(randomRecipes(), disguised, async (x, disguise) => {
      const y = disguise(x);
      expect(gauge.explain(x, y)).toMatchObject({ exact: true, bitwise: true });
      expect(await losses(y)).toEqual(await losses(x));
    }),
    { numRuns, ...(seed !== undefined && { seed }) },
  );
}

/** A rate that counts, half as large again, makes another run. */
export function otherByRate(numRuns: number, seed?: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...optimizerForms),
      fc.constantFrom("A" as const, "B" as const),
      fc.constantFrom("standard", "swapped", "random"),
      async (form, role, init) => {
        const x = unchecked({ r: 2, alpha: 4, init, optimizer: { lr: 0.01, ...form } });
        const { lr } = gauge.hyperOf(x as gauge.Recipe<"adam">, role);
        const y = unchecked({ ...x, groups: { [role]: { lr: lr * 1.5 } } });
        expect(gauge.equivalent(x, y)).toBe(false);
        expect(apart(await losses(x), await losses(y))).toBeGreaterThan(1e-6);
      },
    ),
    { numRuns, ...(seed !== undefined && { seed }) },
  );
}

/**
 * That two runs differ in float64, where nothing rounds away: as they are, or else with gradients of the size of eps 1e-8,
 * where other constants count, or large ones, which are clipped, or after more updates, for signs to turn. What differs at all does so by more than roundings.
 */
async function expectAnother(x: gauge.Recipe, y: gauge.Recipe): Promise<void> {
  let most = 0;
  for (const [strength, updates] of [
    [1, 8],
    [2 ** -24, 8],
    [2 ** 10, 8],
    [1, 64],
  ] as const) {
    const options = { strength, updates, dtype: "float64" } as const;
    most = Math.max(most, apart(await losses(x, options), await losses(y, options)));
    if (most > 1e-12) return;
  }
  expect(most).toBeGreaterThan(1e-12);
}

/**
 * Each number of each matrix, changed alone: explain calls it another run where training shows one, and the same where it
 * shows none.
 */
export async function eachNumber(form: object): Promise<void> {
  const x = unchecked({ r: 2, alpha: 4, optimizer: { lr: 0.02, ...form } });
  const wide = { dtype: "float64" } as const;
  const own = await losses(x, wide);
  for (const role of ["A", "B"] as const) {
    const numbers = Object.entries(gauge.hyperOf(x as gauge.Recipe<"adam">, role)) as [string, unknown][];
    for (const [field, value] of numbers) {
      // An eps counts where it is not far below the gradients.
      const other = (number: unknown): unknown =>
        typeof number === "number" ? number * (/^eps/.test(field) ? 4096 : 0.75) : number;
      const changed = Array.isArray(value) ? [0.75 * value[0], 0.9 * value[1]] : other(value);
      if (changed === value) continue;
      const y = unchecked({ ...x, groups: { [role]: { [field]: changed } } });
      if (gauge.equivalent(x, y)) expect(apart(own, await losses(y, wide)), field).toBeLessThan(1e-12);
      else await expectAnother(x, y);
    }
  }
}

/** Of recipes that differ in the optimizer alone, explain calls those one run, and no others, that training shows to be one. */
export async function allPairs(forms: readonly object[]): Promise<void> {
  const all = [];
  for (const optimizer of forms) {
    const recipe = unchecked({ r: 2, alpha: 4, init: "random", optimizer });
    const seen = await losses(recipe, { dtype: "float64", updates: 14 });
    all.push({ recipe, seen, rounded: await losses(recipe) });
  }
  for (const [i, x] of all.entries())
    for (const y of all.slice(0, i)) {
      const { exact, bitwise } = gauge.explain(x.recipe, y.recipe);
      const both = JSON.stringify([x.recipe.optimizer, y.recipe.optimizer]);
      expect(exact, both).toBe(apart(x.seen, y.seen) < 1e-11);
      if (bitwise) expect(x.rounded, both).toEqual(y.rounded);
    }
}

/** Of that many random recipes, explain calls those one run, and no others, that training shows to be one. */
export async function anyPairs(count: number, seed: number): Promise<void> {
  const wide = { dtype: "float64", updates: 10 } as const;
  const all = [];
  for (const recipe of fc.sample(degenerateRecipes(), { numRuns: count, seed })) {
    // Small gradients show constants.
    const seen = [await losses(recipe, wide), await losses(recipe, { ...wide, strength: 2 ** -20 })];
    all.push({ recipe, seen, rounded: await losses(recipe) });
  }
  let same = 0;
  for (const [i, x] of all.entries())
    for (const y of all.slice(0, i)) {
      const { exact, bitwise } = gauge.explain(x.recipe, y.recipe);
      const both = JSON.stringify([x.recipe, y.recipe]);
      const difference = Math.max(...x.seen.map((seen, k) => apart(seen, y.seen[k]!)));
      expect(exact, both).toBe(difference < 1e-11);
      if (bitwise) expect(x.rounded, both).toEqual(y.rounded);
      if (exact) same++;
    }
  expect(same).toBeGreaterThan(0);
}

/** Targets that no gauge reaches, whatever is given up. */
const unreached =
  /no gauge changes the ratio of the learning rates|exists only where both are above 0|is 0, and|no exact rule/;

/**
 * A recipe converted to another alpha, other starts, one rate or a ratio of rates: what comes back is the same run, to the bit
 * where the conversion says so; and where it refuses, what would have come back is another one.
 */
export function convertedToTarget(numRuns: number, seed?: number): Promise<void> {
  return fc.assert(
    fc.asyncProperty(randomRecipes(), targets, async (x, target) => {
      const to = (inexact: "refuse" | "anyway") => {
        try {
          return gauge.convert(x, target, { inexact });
        } catch (error) {
          expect(error).toBeInstanceOf(ValueError);
          return (error as ValueError).message;
        }
      };
      const [found, anyway] = [to("refuse"), to("anyway")];
      if (typeof found !== "string") {
        const { recipe, exact, bitwise } = found;
        expect(exact).toBe(true);
        const [own, other] = [await losses(x), await losses(recipe)];
        if (bitwise) expect(other).toEqual(own);
        else expect(apart(own, other)).toBeLessThan(1e-3);
      } else if (typeof anyway === "string") expect(anyway).toMatch(unreached);
      else {
        expect(anyway.exact).toBe(false);
        await expectAnother(x, anyway.recipe);
      }
    }),
    { numRuns, ...(seed !== undefined && { seed }) },
  );
}

/**
 * A recipe converted to a library: what the printed settings run, read with the library's own defaults, is the recipe
 * exactly where the conversion says so, and to the bit where it says that; otherwise it differs.
 */
export function convertedToLibrary(numRuns: number, seed?: number): Promise<void> {
  const names = Object.keys(gauge.libraries) as gauge.LibraryName[];
  return fc.assert(
    fc.asyncProperty(randomRecipes(), fc.constantFrom(...names), async (x, library) => {
      const { settings, exact, bitwise, deviations, recipe } = gauge.convert(x, { to: "library", library });
      const read = gauge.recipeOfSettings(library, JSON.parse(JSON.stringify(settings))).recipe;
      const kinds = x.adapts!.filter((kind) =>
        (gauge.libraries[library].adapts as readonly string[]).includes(kind),
      );
      const ran = kinds.length > 0 ? { ...read, adapts: kinds } : read;
      expect(gauge.explain(ran, recipe)).toMatchObject({ exact: true, bitwise: true });
      expect(deviations.length > 0).toBe(!exact);
      const [own, other] = [await losses(x), await losses(ran)];
      if (bitwise) expect(other).toEqual(own);
      else if (exact) expect(apart(own, other)).toBeLessThan(1e-3);
      else await expectAnother(x, ran);
    }),
    { numRuns, ...(seed !== undefined && { seed }) },
  );
}
