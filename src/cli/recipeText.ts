import { statSync } from "node:fs";
import { ValueError } from "../base/errors.ts";
import { parseJson } from "../base/json.ts";
import type { Recipe } from "../gauge/index.ts";
import { checkRecipe, type Grid } from "../gauge/index.ts";
import { readFile } from "./input.ts";
import { UsageError } from "./usage.ts";

// Recipes on the command line: files or text, in JSON or as key=value.

/** What `recipeOf` and `gridOf` read, for help texts. */
export const recipeHelp = `A recipe is a file or inline text, in JSON
  '{ "r": 8, "alpha": 16, "optimizer": { "name": "adamw", "lr": 2e-4 }, "groups": { "B": { "lr": 4e-4 } } }'
or as key=value
  'optimizer=adamw r=8 alpha=16 lr=2e-4 lr.B=4e-4 eps=1e-8 weightDecay=0.01'
Keys are r, alpha, scaling (lora or rslora), init (standard, swapped, random), initScale.A, initScale.B, dropout,
optimizer, its hyperparameters (for all, or with .A or .B for one), ratio (the rate of B over that of A), and
maxNorm (clipping by the plain global norm). A pair is written betas=0.9:0.999. What convert --json prints is a
recipe too.`;

type Fields = { readonly [name: string]: unknown };

/** Fields of a recipe that are not hyperparameters of its optimizer. */
const own = ["r", "alpha", "rsLora", "dropout", "init", "branchBias", "trained", "clip"];

/**
 * The recipe that an argument gives: a file's name, JSON or key=value.
 *
 * @throws UsageError for anything else, and for a recipe that is none.
 */
export function recipeOf(what: string, argument: string): Recipe {
  const text = contentOf(what, argument);
  return asUsage(() => {
    if (!/^\s*[{[]/.test(text)) return checkRecipe(assemble(what, entriesOf(what, text)), what);
    const value = parseJson(what, text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) return checkRecipe(value, what);
    // What convert prints has the recipe in it.
    const fields = value as Fields;
    if (typeof fields.recipe === "object" && "gauge" in fields) return checkRecipe(fields.recipe, what);
    return checkRecipe(
      typeof fields.optimizer === "string" ? assemble(what, Object.entries(fields)) : fields,
      what,
    );
  });
}

/** The recipe of separate fields, as options of a command give them. */
export function recipeOfFields(what: string, fields: readonly (readonly [string, unknown])[]): Recipe {
  return asUsage(() => checkRecipe(assemble(what, fields), what));
}

/**
 * The grid that an argument gives: JSON, a list of recipes or { recipe, vary }, or key=value with several values,
 * `alpha=8,16,32`. Cells are checked by `gauge.dedupe`.
 *
 * @throws UsageError for anything else.
 */
export function gridOf(what: string, argument: string): Grid {
  const text = contentOf(what, argument);
  if (/^\s*[{[]/.test(text)) return asUsage(() => parseJson(what, text)) as Grid; // dedupe checks it
  const single: [string, unknown][] = [];
  const vary: Record<string, readonly unknown[]> = {};
  const entries = entriesOf(what, text, true).map(
    ([key, values]) => [key, values as readonly unknown[]] as const,
  );
  for (const [key, values] of entries) {
    if (values.length === 1) single.push([key, values[0]]);
    else vary[pathOf(key)] = values;
  }
  // A first value where all vary, so that the recipe is whole.
  const first = entries.flatMap(([key, values]): [string, unknown][] =>
    values.length > 1 && key !== "ratio" ? [[key, values[0]]] : [],
  );
  if ("scaling" in vary)
    throw new UsageError(`${what}: scaling has several values; vary alpha, which says the same.`);
  return { recipe: assemble(what, [...single, ...first]) as unknown as Recipe, vary }; // dedupe checks it
}

/** Runs what works on the user's input: a bad value is wrong usage. */
export function asUsage<T>(f: () => T): T {
  try {
    return f();
  } catch (error) {
    if (error instanceof ValueError) throw new UsageError(error.message);
    throw error;
  }
}

function contentOf(what: string, argument: string): string {
  if (/^\s*[{[]/.test(argument)) return argument;
  if (isFile(argument))
    return new TextDecoder().decode(readFile(`${what}:`, argument, "a recipe in JSON or as key=value"));
  if (argument.includes("=")) return argument;
  throw new UsageError(`${what}: "${argument}" is no file, no JSON and no text of key=value.`);
}

/** Pipes count, for results of one command in another. */
function isFile(path: string): boolean {
  try {
    return !statSync(path).isDirectory();
  } catch {
    return false; // not there, or no name of a file: long text, for one
  }
}

/** Pairs of key=value; with `lists` each value is a list. A line may end in a comment after #. */
function entriesOf(what: string, text: string, lists = false): [string, unknown][] {
  const seen = new Set<string>();
  const words = text.replaceAll(/#.*$/gm, "").split(/\s+/).filter(Boolean);
  if (words.length === 0) throw new UsageError(`${what}: the recipe is empty. Give key=value or JSON.`);
  return words.map((word) => {
    const at = word.indexOf("=");
    const [key, value] = [word.slice(0, at), word.slice(at + 1)];
    if (at < 1 || value === "") throw new UsageError(`${what}: "${word}" is not of the form key=value.`);
    if (seen.has(key)) throw new UsageError(`${what}: ${key} is given twice. Give it once.`);
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
  if (text.includes(":")) return text.split(":").map((each) => scalarOf(what, key, each));
  if (/^[-+.\d]/.test(text) || /^(nan|[-+]?inf(inity)?)$/i.test(text)) {
    const number = Number(text);
    if (!Number.isFinite(number))
      throw new UsageError(`${what}: ${key} is "${text}"; it is a finite number.`);
    return number;
  }
  return text;
}

/** Where a key lies in a recipe. */
function pathOf(key: string): string {
  if (key === "optimizer") return "optimizer.name";
  const [name, role] = key.split(".");
  if (key === "ratio" || name === "initScale" || own.includes(key)) return key;
  if (key === "maxNorm") return "clip.maxNorm";
  return role === undefined ? `optimizer.${key}` : `groups.${role}.${name}`;
}

/** A recipe of flat fields; what is wrong with their values is for `checkRecipe` to say. */
function assemble(what: string, fields: readonly (readonly [string, unknown])[]): Fields {
  const given = new Map(fields);
  // Without a prototype, every name is one for `checkRecipe` to know or not.
  const bare = <T>(): Record<string, T> => Object.create(null) as Record<string, T>;
  const recipe = bare<unknown>();
  const optimizer = bare<unknown>();
  const groups = bare<Fields>();
  const scales = bare<unknown>();
  for (const [key, value] of given) {
    const [name, role, ...more] = key.split(".") as [string, ...string[]];
    if (more.length > 0) throw new UsageError(`${what}: there is no field ${key}.`);
    if (key === "ratio" || key === "scaling") continue;
    if (key === "optimizer") optimizer.name = value;
    else if (key === "groups" || key === "initScale") {
      if (typeof value !== "object" || value === null || Array.isArray(value)) recipe[key] = value;
      else Object.assign(key === "groups" ? groups : scales, value);
    } else if (own.includes(key)) recipe[key] = value;
    else if (key === "maxNorm") recipe.clip = { kind: "globalNorm", maxNorm: value };
    else if (role === undefined) optimizer[key] = value;
    else if (name === "initScale") scales[role] = value;
    else groups[role] = { ...groups[role], [name]: value };
  }
  if (optimizer.lr === undefined && groups.A?.lr !== undefined) optimizer.lr = groups.A.lr;
  setScaling(what, given.get("scaling"), recipe);
  if (given.has("ratio")) {
    const [ratio, lr] = [given.get("ratio"), groups.A?.lr ?? optimizer.lr];
    if (groups.B?.lr !== undefined)
      throw new UsageError(`${what}: both ratio and lr.B are given; each sets the rate of B. Give one.`);
    if (typeof ratio !== "number" || !(ratio > 0))
      throw new UsageError(`${what}: ratio is ${JSON.stringify(ratio)}; it is a finite number > 0.`);
    groups.B = { ...groups.B, lr: typeof lr === "number" ? ratio * lr : lr };
  }
  return {
    ...recipe,
    ...(Object.keys(scales).length > 0 && { initScale: scales }),
    ...(Object.keys(groups).length > 0 && { groups }),
    optimizer,
  };
}

/** The mode of scaling by its name, or the multiplier itself. */
function setScaling(what: string, scaling: unknown, recipe: Record<string, unknown>): void {
  if (scaling === undefined) return;
  if (scaling === "lora" || scaling === "rslora") {
    const rsLora = scaling === "rslora";
    if (recipe.rsLora !== undefined && recipe.rsLora !== rsLora)
      throw new UsageError(
        `${what}: scaling is ${scaling}, but rsLora is ${String(recipe.rsLora)}. Give one.`,
      );
    if (rsLora) recipe.rsLora = true;
    return;
  }
  const { r } = recipe;
  if (typeof scaling !== "number" || !(scaling > 0) || typeof r !== "number")
    throw new UsageError(
      `${what}: scaling is ${JSON.stringify(scaling)}; it is lora, rslora or a number > 0.`,
    );
  const divisor = recipe.rsLora === true ? Math.sqrt(r) : r;
  if (recipe.alpha === undefined) {
    recipe.alpha = scaling * divisor;
  } else if (typeof recipe.alpha === "number" && Math.abs(recipe.alpha / divisor / scaling - 1) > 1e-12) {
    throw new UsageError(
      `${what}: scaling is ${scaling}, but alpha ${recipe.alpha} and r ${r} make it ${recipe.alpha / divisor}. Give one of them.`,
    );
  }
}
