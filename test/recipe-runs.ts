import fc from "fast-check";
import { expect } from "vitest";
import * as gauge from "../src/gauge/index.ts";
import { disguised, optimizerForms, randomRecipes, unchecked } from "./random-recipes.ts";
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
 * How far apart two runs are: as they are, or else with gradients of the size of eps 1e-8, where other constants show that
 * round away beside larger ones.
 */
async function shown(x: gauge.Recipe, y: gauge.Recipe, asTheyAre: number): Promise<number> {
  if (asTheyAre > 0) return asTheyAre;
  const strength = 2 ** -24;
  return apart(await losses(x, { strength }), await losses(y, { strength }));
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
      // Clipped steps are so small here that what else differs rounds away.
      else if (x.clip === undefined && deviations.some(({ field }) => field !== "clip"))
        expect(await shown(x, ran, apart(own, other))).toBeGreaterThan(0);
    }),
    { numRuns, ...(seed !== undefined && { seed }) },
  );
}
