import { statSync } from "node:fs";
import { isPlainObject, show } from "../base/arguments.ts";
import { parseJson } from "../base/json.ts";
import {
  checkRecipe,
  type FlatField,
  flatFields,
  type Grid,
  type LibraryName,
  libraries,
  named,
  type Recipe,
  recipeOfSettings,
} from "../gauge/index.ts";
import { readFile } from "./input.ts";
import { asUsage, settingsOf } from "./settings-text.ts";
import { UsageError } from "./usage.ts";

// Recipes on the command line: files or text, in JSON or as key=value, and settings of other tools. The keys are
// those of the schema of recipes.

const names = Object.keys(libraries) as LibraryName[];

/** What `givenRecipe` and `gridOf` read, for help texts. */
export const recipeHelp = `A recipe is a file or inline text, in JSON
  '{ "r": 8, "alpha": 16, "optimizer": { "name": "adamw", "lr": 2e-4 }, "groups": { "B": { "lr": 4e-4 } } }'
or as key=value
  'optimizer=adamw r=8 alpha=16 lr=2e-4 lr.B=4e-4 eps=1e-8 weightDecay=0.01'
Keys are the options of lorantz convert in the names of the library: r, alpha, initScale.A, weightDecay, schedule,
schedule.warmup and so on, each hyperparameter also with .A or .B for one of the two; scaling (lora, rslora, or the
multiplier), ratio (the rate of B over that of A), maxNorm (clipping by the plain global norm). A pair is written
betas=0.9:0.999. What convert --json prints is a recipe too.
Settings of another tool are read with the tool's own defaults: NAME alone, or NAME: before a file or text, in JSON,
YAML, TOML, flags or key=value, as 'mlx-lm: learning_rate=1e-4' or peft-trainer:adapter_config.json. Names are
${names.slice(0, 7).join(", ")},
${names.slice(7).join(", ")}; lorantz recipes shows them.`;

type Fields = { readonly [name: string]: unknown };

/** Fields of a recipe that are not hyperparameters of its optimizer. */
const own = new Set(flatFields.filter(({ perRole }) => !perRole).map(({ key }) => key.split(".")[0]!));

/**
 * The recipe that an argument gives: a file's name, JSON, key=value, or the name of a tool with or without settings.
 *
 * @throws UsageError for anything else, and for a recipe that is none.
 */
export function givenRecipe(what: string, argument: string): Recipe {
  const tool = names.find((name) => argument === name || argument.startsWith(`${name}:`));
  if (tool !== undefined) {
    if (argument === tool) return named(tool).recipe;
    const settings = settingsOf(what, contentOf(what, argument.slice(tool.length + 1).trim(), true));
    return asUsage(() => recipeOfSettings(tool, settings, what).recipe);
  }
  const text = contentOf(what, argument);
  return asUsage(() => {
    if (!/^\s*[{[]/.test(text)) return checkRecipe(assemble(what, entriesOf(what, text)), what);
    const value = parseJson(what, text);
    if (!isPlainObject(value)) return checkRecipe(value, what);
    // What convert prints has the recipe in it.
    const fields: Fields = value;
    if (Object.hasOwn(fields, "recipe") && Object.hasOwn(fields, "gauge"))
      return checkRecipe(fields.recipe, what);
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

function contentOf(what: string, argument: string, flags = false): string {
  if (/^\s*[{[]/.test(argument)) return argument;
  if (isFile(argument))
    return new TextDecoder().decode(readFile(`${what}:`, argument, "a recipe in JSON or as key=value"));
  if (argument.includes("=") || (flags && /^--\w|:\s/.test(argument))) return argument;
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
  if (key === "schedule" || key === "clip") return `${key}.kind`;
  const [name, role] = key.split(".") as [string, string?];
  if (key === "ratio" || own.has(name)) return key;
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
        throw new UsageError(
          `${what}: ${name} is ${show(inner)}, and ${path.join(".")} is given as well. Give one.`,
        );
      node = node[name] = inner ?? empty();
    }
    node[path.at(-1)!] = value;
  };
  for (const [key, value] of given) {
    if (key.split(".").length > 2) throw new UsageError(`${what}: there is no field ${key}.`);
    if (key === "ratio" || key === "scaling") continue;
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
      throw new UsageError(`${what}: both ratio and lr.B are given; each sets the rate of B. Give one.`);
    if (typeof ratio !== "number" || !(ratio > 0))
      throw new UsageError(`${what}: ratio is ${show(ratio)}; it is a finite number > 0.`);
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
      throw new UsageError(
        `${what}: scaling is ${scaling}, but rsLora is ${String(recipe.rsLora)}. Give one.`,
      );
    if (rsLora) recipe.rsLora = true;
    return;
  }
  const { r } = recipe;
  if (typeof scaling !== "number" || !(scaling > 0) || typeof r !== "number")
    throw new UsageError(`${what}: scaling is ${show(scaling)}; it is lora, rslora or a number > 0.`);
  const divisor = recipe.rsLora === true ? Math.sqrt(r) : r;
  if (recipe.alpha === undefined) {
    recipe.alpha = scaling * divisor;
  } else if (typeof recipe.alpha === "number" && Math.abs(recipe.alpha / divisor / scaling - 1) > 1e-12) {
    throw new UsageError(
      `${what}: scaling is ${scaling}, but alpha ${recipe.alpha} and r ${r} make it ${recipe.alpha / divisor}. Give one of them.`,
    );
  }
}

/** An option of the command line for each field of a recipe, with the key that it sets. */
export const recipeOptions: readonly {
  readonly option: string;
  readonly key: string;
  readonly help: string;
  readonly hidden: boolean;
}[] = [
  ...flatFields.flatMap(({ key, perRole, ...field }) => [
    { option: optionOf(key), key, help: helpOf(field), hidden: false },
    ...(perRole ? ["A", "B"] : []).map((role) => ({
      option: optionOf(`${key}.${role}`),
      key: `${key}.${role}`,
      help: "",
      hidden: true,
    })),
  ]),
  {
    option: "scaling",
    key: "scaling",
    help: "lora (alpha/r, default), rslora (alpha/sqrt(r)), or the multiplier",
    hidden: false,
  },
  { option: "ratio", key: "ratio", help: "The rate of B over that of A (LoRA+)", hidden: false },
  { option: "max-norm", key: "maxNorm", help: "Clipping by the plain global norm", hidden: false },
];

function optionOf(key: string): string {
  return key
    .replaceAll(".", "-")
    .replaceAll(
      /[A-Z]/g,
      (letter, at: number) => `${at > 0 && key[at - 1] !== "." ? "-" : ""}${letter.toLowerCase()}`,
    );
}

function helpOf({ says, expected, otherwise }: Pick<FlatField, "says" | "expected" | "otherwise">): string {
  return `${says}: ${expected.replaceAll('"', "")}${otherwise === "" ? "" : `; default ${otherwise}`}`;
}
