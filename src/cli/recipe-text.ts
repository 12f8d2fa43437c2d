import { statSync } from "node:fs";
import {
  type FlatField,
  flatFields,
  type Grid,
  gridOfText,
  libraries,
  type Recipe,
  recipeOfText,
} from "../gauge/index.ts";
import { toolOf } from "../gauge/recipe-text.ts";
import { readFile } from "./input.ts";
import { asUsage, UsageError, usable } from "./usage.ts";

// Recipes on the command line: files or text, in JSON or as key=value, and settings of other tools. The keys are
// those of the schema of recipes.

const names = Object.keys(libraries);

/** What `givenRecipe` and `givenGrid` read, for help texts. */
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

/**
 * The recipe that an argument gives: a file's name, JSON, key=value, or the name of a tool with or without settings.
 *
 * @throws UsageError for anything else, and for a recipe that is none.
 */
export async function givenRecipe(what: string, argument: string): Promise<Recipe> {
  const theirs = toolOf(argument);
  if (theirs?.settings === "") return usable(() => recipeOfText(argument, what));
  // A file without settings has the defaults of its tool.
  const content = theirs
    ? `${theirs.tool}:\n${contentOf(what, theirs.settings, true).trimEnd() || "{}"}`
    : contentOf(what, argument);
  return usable(() => recipeOfText(content, what));
}

/**
 * The grid that an argument gives: a file's name or a text.
 *
 * @throws UsageError for anything else.
 */
export function givenGrid(what: string, argument: string): Grid {
  const text = contentOf(what, argument);
  return asUsage(() => gridOfText(text, what));
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
