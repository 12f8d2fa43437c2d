import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import { checkRecipe } from "./check.ts";
import { derived, type Grid } from "./grid.ts";
import { named, recipeOfSettings } from "./library/named.ts";
import { flatten, type Settings } from "./library/places.ts";
import { settingsOf } from "./library/settings-text.ts";
import { type LibraryName, libraries, libraryOf } from "./library/tools.ts";
import type { Recipe } from "./recipe.ts";
import { flatFields } from "./schema.ts";

// Recipes as text: JSON, key=value, and settings of other tools. The keys are those of the schema of recipes.

type Fields = { readonly [name: string]: unknown };

const names = Object.keys(libraries) as LibraryName[];

/** Fields of a recipe that are not hyperparameters of its optimizer. */
const own = new Set(flatFields.filter(({ perRole }) => !perRole).map(({ key }) => key.split(".")[0]!));

/** Fields that are lists, of which one word is a list too. */
const lists = new Set(["adapts", "trained"]);

/** The tool whose settings a text has, `NAME` or `NAME: settings`, and these settings. */
export function toolOf(text: string): { readonly tool: LibraryName; readonly settings: string } | undefined {
  const tool = names.find((name) => text === name || text.startsWith(`${name}:`));
  // Lines of YAML keep their indentation.
  return (
    tool && {
      tool,
      settings: text
        .slice(tool.length + 1)
        .replace(/^(\s*\n|[ \t]+)/, "")
        .trimEnd(),
    }
  );
}

/**
 * The recipe of a text: `optimizer=adamw r=8 alpha=16 lr=2e-4 lr.B=4e-4`, JSON, what `lorantz convert --json` prints, the
 * name of a tool, or its name and settings, `mlx-lm: learning_rate=1e-4`, in JSON, YAML, TOML, flags or key=value. YAML
 * needs the package `yaml`.
 *
 * @throws ValueError for anything else, with what is wrong, and for a recipe that is none.
 * @example
 * (await gauge.recipeOfText("optimizer=adamw r=8 alpha=16 lr=2e-4")).alpha; // 16
 */
export async function recipeOfText(text: string, operation = "gauge.recipeOfText"): Promise<Recipe> {
  const theirs = toolOf(text.trim());
  if (theirs?.settings === "") return named(theirs.tool).recipe;
  if (theirs)
    return recipeOfSettings(theirs.tool, await settingsOf(operation, theirs.settings), operation).recipe;
  try {
    return ownRecipe(text, operation);
  } catch (error) {
    const tools = error instanceof ValueError ? await toolsOfText(text) : [];
    if (tools.length === 0) throw error;
    throw new ValueError(
      `${(error as ValueError).message} It looks like settings of ${tools.join(", ")}; put the name of the tool before them, as in ${tools[0]}: ${rateOf(tools[0]!)}=1e-4, or ${tools[0]}:FILE on the command line.`,
    );
  }
}

function ownRecipe(text: string, operation: string): Recipe {
  if (!/^\s*[{[]/.test(text)) return recipeOfFields(entriesOf(operation, text), operation);
  const value = parseJson(operation, text);
  if (!isPlainObject(value)) return checkRecipe(value, operation);
  // What convert prints has the recipe in it.
  const fields: Fields = value;
  if (Object.hasOwn(fields, "recipe") && Object.hasOwn(fields, "gauge"))
    return checkRecipe(fields.recipe, operation);
  return typeof fields.optimizer === "string"
    ? recipeOfFields(Object.entries(fields), operation)
    : checkRecipe(fields, operation);
}

/**
 * The tools whose settings a text looks like: those that have most of its names, of which none is a recipe's own.
 *
 * @example
 * await gauge.toolsOfText("network_dim=16 network_alpha=8"); // ["kohya"]
 */
export async function toolsOfText(text: string): Promise<LibraryName[]> {
  let settings: Settings;
  try {
    settings = await settingsOf("", text);
  } catch {
    return []; // no settings at all
  }
  const counts = names.map((name) => {
    const { settings: known, optimizers, pairs = {} } = libraryOf(name);
    const places = new Set([
      ...Object.keys(known),
      ...Object.values(optimizers).flatMap((each) => Object.values(each.places)),
    ]);
    return [...flatten(settings, pairs).keys()].filter(
      (place) =>
        places.has(place) &&
        !flatFields.some(
          ({ key }) => key === place || key.startsWith(`${place}.`) || `optimizer.${key}` === place,
        ),
    ).length;
  });
  const most = Math.max(1, ...counts);
  return names.filter((_, i) => counts[i] === most);
}

/** Where a tool's rate is set. */
function rateOf(name: LibraryName): string {
  return Object.values(libraryOf(name).optimizers)[0]!.places.lr!; // all have one
}

/** The recipe of separate fields, each by its key. */
export function recipeOfFields(
  fields: readonly (readonly [string, unknown])[],
  operation = "gauge.recipeOfFields",
): Recipe {
  return checkRecipe(assemble(operation, fields), operation);
}

/**
 * The grid of a text: JSON, a list of recipes or { recipe, vary }, or key=value with several values, `alpha=8,16,32`.
 * Cells are checked by `dedupe`.
 *
 * @throws ValueError for anything else.
 */
export function gridOfText(text: string, operation = "gauge.gridOfText"): Grid {
  if (/^\s*[{[]/.test(text)) return parseJson(operation, text) as Grid; // dedupe checks it
  const single: [string, unknown][] = [];
  const vary: Record<string, readonly unknown[]> = {};
  const entries = entriesOf(operation, text, true).map(
    ([key, values]) => [key, values as readonly unknown[]] as const,
  );
  const varies = (...keys: readonly string[]) =>
    entries.some(([key, values]) => keys.includes(key) && values.length > 1);
  const follows = (key: string, [value]: readonly unknown[]) =>
    key === "scaling" && varies("rsLora", ...(typeof value === "number" ? ["r", "alpha"] : []));
  for (const [key, values] of entries) {
    if (values.length > 1 || follows(key, values)) vary[pathOf(key)] = values;
    else single.push([key, values[0]]);
  }
  // A first value where all vary, so that the recipe is whole.
  const first = entries.flatMap(([key, values]): [string, unknown][] =>
    values.length > 1 && !derived.has(key) ? [[key, values[0]]] : [],
  );
  return { recipe: assemble(operation, [...single, ...first]) as unknown as Recipe, vary }; // dedupe checks it
}

/** Pairs of key=value; with `lists` each value is a list. A line may end in a comment after #. */
function entriesOf(what: string, text: string, lists = false): [string, unknown][] {
  const seen = new Set<string>();
  const words = text.replaceAll(/#.*$/gm, "").split(/\s+/).filter(Boolean);
  if (words.length === 0) throw new ValueError(`${what}: the recipe is empty. Give key=value or JSON.`);
  return words.map((word) => {
    const at = word.indexOf("=");
    const [key, value] = [word.slice(0, at), word.slice(at + 1)];
    if (at < 1 || value === "") throw new ValueError(`${what}: "${word}" is not of the form key=value.`);
    if (seen.has(key)) throw new ValueError(`${what}: ${key} is given twice. Give it once.`);
    seen.add(key);
    return [
      key,
      lists ? value.split(",").map((each) => scalarOf(what, key, each)) : scalarOf(what, key, value),
    ];
  });
}

/** A number, true, false, a pair of numbers, or a word. */
export function scalarOf(what: string, key: string, text: string): unknown {
  if (text === "true" || text === "false") return text === "true";
  if (lists.has(key)) return text.split(/[,:]/);
  if (text.includes(":")) return text.split(":").map((each) => scalarOf(what, key, each));
  if (/^[-+.\d]/.test(text) || /^(nan|[-+]?inf(inity)?)$/i.test(text)) {
    const number = Number(text);
    if (!Number.isFinite(number))
      throw new ValueError(
        `${what}: ${key} is "${text}"; it is a finite number${text.includes(",") ? `, or several as in ${text.replaceAll(",", ":")}` : ""}.`,
      );
    return number;
  }
  return text;
}

/** Where a key lies in a recipe. */
function pathOf(key: string): string {
  if (key === "optimizer") return "optimizer.name";
  if (key === "schedule" || key === "clip") return `${key}.kind`;
  const [name, role] = key.split(".") as [string, string?];
  if (derived.has(key) || own.has(name)) return key;
  if (key === "maxNorm") return "clip.maxNorm";
  return role === undefined ? `optimizer.${key}` : `groups.${role}.${name}`;
}

/** An object without a prototype, so that every name is one like another. */
function empty(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>; // fresh
}

/** A recipe of flat fields; what is wrong with their values is for `checkRecipe` to say. */
function assemble(what: string, fields: readonly (readonly [string, unknown])[]): Fields {
  const given = new Map(fields);
  const recipe = empty();
  const put = (path: readonly string[], value: unknown): void => {
    let node = recipe;
    for (const name of path.slice(0, -1)) {
      const inner = node[name];
      if (inner !== undefined && !isPlainObject(inner))
        throw new ValueError(
          `${what}: ${name} is ${show(inner)}, and ${path.join(".")} is given as well. Give one.`,
        );
      node = node[name] = inner ?? empty();
    }
    node[path.at(-1)!] = value;
  };
  for (const [key, value] of given) {
    if (key.split(".").length > 2) throw new ValueError(`${what}: there is no field ${key}.`);
    if (derived.has(key)) continue;
    if (key === "maxNorm") {
      put(["clip", "kind"], "globalNorm");
      put(["clip", "maxNorm"], value);
    } else if (["groups", "initScale", "schedule", "clip"].includes(key) && typeof value !== "string") {
      // A part in JSON, whole.
      if (isPlainObject(value)) for (const [part, own] of Object.entries(value)) put([key, part], own);
      else put([key], value);
    } else put(pathOf(key).split("."), value);
  }
  const { optimizer, groups } = recipe as {
    optimizer?: Fields;
    groups?: { readonly A?: Fields; readonly B?: Fields };
  };
  if (isPlainObject(optimizer ?? {}) && optimizer?.lr === undefined && groups?.A?.lr !== undefined)
    put(["optimizer", "lr"], groups.A.lr);
  setScaling(what, given.get("scaling"), recipe);
  if (given.has("ratio")) {
    const [ratio, lr] = [given.get("ratio"), groups?.A?.lr ?? optimizer?.lr];
    if (groups?.B?.lr !== undefined)
      throw new ValueError(`${what}: both ratio and lr.B are given; each sets the rate of B. Give one.`);
    if (typeof ratio !== "number" || !(ratio > 0))
      throw new ValueError(`${what}: ratio is ${show(ratio)}; it is a finite number > 0.`);
    put(["groups", "B", "lr"], typeof lr === "number" ? ratio * lr : lr);
  }
  if (recipe.optimizer === undefined) recipe.optimizer = empty();
  return recipe;
}

/** The mode of scaling by its name, or the multiplier itself. */
function setScaling(what: string, scaling: unknown, recipe: Record<string, unknown>): void {
  if (scaling === undefined) return;
  if (scaling === "lora" || scaling === "rslora") {
    const rsLora = scaling === "rslora";
    if (recipe.rsLora !== undefined && recipe.rsLora !== rsLora)
      throw new ValueError(
        `${what}: scaling is ${scaling}, but rsLora is ${String(recipe.rsLora)}. Give one.`,
      );
    if (rsLora) recipe.rsLora = true;
    return;
  }
  const { r } = recipe;
  if (typeof scaling !== "number" || !(scaling > 0) || typeof r !== "number")
    throw new ValueError(`${what}: scaling is ${show(scaling)}; it is lora, rslora or a number > 0.`);
  const divisor = recipe.rsLora === true ? Math.sqrt(r) : r;
  if (recipe.alpha === undefined) {
    recipe.alpha = scaling * divisor;
  } else if (typeof recipe.alpha === "number" && Math.abs(recipe.alpha / divisor / scaling - 1) > 1e-12) {
    throw new ValueError(
      `${what}: scaling is ${scaling}, but alpha ${recipe.alpha} and r ${r} make it ${recipe.alpha / divisor}. Give one of them.`,
    );
  }
}
