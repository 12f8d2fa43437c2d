import { ValueError } from "../../base/errors.ts";
import type { Recipe } from "../recipe.ts";
import { nest, type Settings } from "./places.ts";
import { readSettings } from "./read.ts";
import { type LibraryName, libraries, libraryOf } from "./tools.ts";

/** What a library runs by its defaults, and the example that fills in what has none. */
export interface NamedRecipe {
  readonly name: LibraryName;
  readonly title: string;
  readonly version: string;
  /** The settings beside the defaults: those of the library's documentation. */
  readonly settings: { readonly [name: string]: unknown };
  readonly recipe: Recipe;
}

/**
 * The recipe that a library runs with settings in its own names, as its configuration has them; what is not set is
 * what the library's defaults are.
 *
 * @throws ValueError naming the setting, its value and what to do: for unknown settings, those of other versions,
 *   values that the library does not take or that no recipe can say, and what has no default.
 * @example
 * recipeOfSettings("mlx-lm", { lora_parameters: { rank: 8, scale: 2 } }).recipe.alpha; // 16
 */
export function recipeOfSettings(
  library: LibraryName,
  settings: unknown,
  operation = "gauge.recipeOfSettings",
): { readonly recipe: Recipe } {
  if (!Object.hasOwn(libraries, library))
    throw new ValueError(
      `${operation}: library is ${JSON.stringify(library)}; it is one of ${Object.keys(libraries).join(", ")}.`,
    );
  return { recipe: readSettings(libraryOf(library), settings, operation) };
}

/**
 * The recipe that a library's documentation starts with.
 *
 * @throws ValueError for a name that is none.
 * @example
 * named("tinker").recipe.alpha; // 32
 */
export function named(name: LibraryName): NamedRecipe {
  const { recipe } = recipeOfSettings(name, exampleOf(name), "gauge.named");
  const { title, version } = libraryOf(name);
  return { name, title, version, settings: exampleOf(name), recipe };
}

function exampleOf(name: LibraryName): Settings {
  if (!Object.hasOwn(libraries, name)) return {};
  const { example, pairs = {} } = libraryOf(name);
  return nest(new Map(Object.entries(example)), pairs);
}
