import { table } from "../base/table.ts";
import {
  type Alpha,
  type Conversion,
  convert as convertRecipe,
  libraries,
  type Recipe,
  type Target,
} from "../gauge/index.ts";
import { recipeOfFields, scalarOf } from "../gauge/recipe-text.ts";
import { print } from "./print.ts";
import { givenRecipe, recipeHelp, recipeOptions } from "./recipe-text.ts";
import {
  asUsage,
  type Options,
  oneOf,
  optionsHelp,
  parseArguments,
  UsageError,
  type Values,
} from "./usage.ts";

const targetOptions = {
  "to-alpha": { type: "string", value: "N", help: "Another alpha, a number, or r for alpha = r" },
  gauge: {
    type: "string",
    value: "NAME",
    help: "With --to-alpha: b (only B changes, default), common (A and B alike), a",
  },
  a: {
    type: "string",
    value: "N",
    help: "With --b: the gauge that multiplies A and B by these; alpha follows",
  },
  b: { type: "string", value: "N", help: "" },
  "to-common-rate": {
    type: "string",
    value: "BY",
    help: "One learning rate for A and B, by alpha, or by initScale (with --to-alpha: at that alpha)",
  },
  "to-lora-plus": {
    type: "boolean",
    help: "Usual initial values and a ratio of rates, at --to-alpha (default r)",
  },
  "to-ratio": { type: "string", value: "N", help: "The same with the given ratio; alpha follows" },
  to: {
    type: "string",
    value: "LIBRARY",
    help: `What a library can be told: ${Object.keys(libraries).join(", ")}`,
  },
} as const;

const options = {
  ...targetOptions,
  rewrite: { type: "boolean", help: "Where no rule is exact in this form, use the form that has one" },
  anyway: {
    type: "boolean",
    help: "Where no rule is exact, convert all the same and state the expected error",
  },
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

/** An option for each field of a recipe. */
const fieldOptions: Options = Object.fromEntries(
  recipeOptions.map(({ option, help, hidden }) => [option, { type: "string", value: "V", help, hidden }]),
);

const help = `Usage: lorantz convert [RECIPE] [OPTIONS]

The same training run with other settings: at another alpha, with one learning rate, as LoRA+, or as a library can
be told. Prints what to set, whether it is the same run exactly and bit for bit, and what is not.

  lorantz convert --optimizer adamw --r 8 --alpha 16 --lr 2e-4 --to-alpha 32

${recipeHelp}

Options of the conversion:
${optionsHelp(options)}

Options of the recipe, in place of one; each hyperparameter also for one of the two, --lr-a, --eps-b:
${optionsHelp(fieldOptions, {})}

Exit codes: 0 done, 2 wrong usage, a bad recipe, or a conversion that does not exist.
`;

/** The command `convert`; see its help. */
export async function convert(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("convert", args, { ...fieldOptions, ...options }, help);
  if (values.rewrite && values.anyway)
    throw new UsageError("convert: --rewrite and --anyway exclude each other.");
  const recipe = await given(values as Values<Options>, positionals);
  const target = targetOf(values);
  const inexact = values.anyway ? "anyway" : values.rewrite ? "rewrite" : "refuse";
  const result = asUsage(() => convertRecipe(recipe, target, { inexact }));
  print(values.json ? `${JSON.stringify(result, undefined, 2)}\n` : describe(result));
  return 0;
}

type Given = { readonly [N in keyof typeof options]: string | boolean | undefined };

async function given(values: Values<Options>, positionals: readonly string[]): Promise<Recipe> {
  const fields = recipeOptions.flatMap(({ option, key }): [string, unknown][] => {
    const value = values[option];
    return typeof value === "string" ? [[key, asUsage(() => scalarOf("convert", `--${option}`, value))]] : [];
  });
  if (positionals.length > 1)
    throw new UsageError(
      `convert: takes one recipe; given ${positionals.length}. Quote key=value text as one argument.`,
    );
  const [argument] = positionals;
  if (argument === undefined) {
    if (fields.length === 0) throw new UsageError("convert: no recipe is given. See lorantz convert --help.");
    return asUsage(() => recipeOfFields(fields, "convert"));
  }
  if (fields.length > 0)
    throw new UsageError(
      `convert: both a recipe and ${fields.map(([key]) => key).join(", ")} as options are given. Give one of them.`,
    );
  return givenRecipe("convert", argument);
}

function targetOf(values: Given): Target {
  const number = (name: "a" | "b" | "to-ratio"): number | undefined => {
    const text = values[name];
    if (typeof text !== "string") return undefined;
    const value = Number(text);
    if (text === "" || !Number.isFinite(value))
      throw new UsageError(`--${name} is "${text}"; it is a finite number.`);
    return value;
  };
  const text = (name: keyof Given) => (typeof values[name] === "string" ? values[name] : undefined);
  const alphaText = text("to-alpha");
  const alpha: Alpha | undefined =
    alphaText === undefined || alphaText === "r" ? alphaText : Number(alphaText || Number.NaN);
  if (typeof alpha === "number" && !(alpha > 0 && alpha < Infinity))
    throw new UsageError(`--to-alpha is "${alphaText}"; it is a finite number > 0, or r.`);
  const gauge = oneOf("gauge", text("gauge"), ["b", "common", "a"] as const);
  const [a, b, ratio] = [number("a"), number("b"), number("to-ratio")];
  const by = oneOf("to-common-rate", text("to-common-rate"), ["alpha", "initScale"] as const);
  const names = Object.keys(libraries) as (keyof typeof libraries)[];
  const library = oneOf("to", text("to"), names);
  const withAlpha = alpha === undefined ? {} : { alpha };

  const chosen = [
    ...(library ? ["--to"] : []),
    ...(by ? ["--to-common-rate"] : []),
    ...(values["to-lora-plus"] || ratio !== undefined ? ["--to-lora-plus"] : []),
    ...(a !== undefined || b !== undefined ? ["--a and --b"] : []),
  ];
  if (chosen.length > 1) throw new UsageError(`convert: ${chosen.join(" and ")} are given. Give one target.`);
  if (gauge && (chosen.length > 0 || alpha === undefined))
    throw new UsageError("convert: --gauge goes with --to-alpha alone.");
  if (library) return { to: "library", library, ...withAlpha };
  if (by) return { to: "commonRate", by, ...withAlpha };
  if (values["to-lora-plus"] || ratio !== undefined)
    return { to: "loraPlus", ...withAlpha, ...(ratio !== undefined && { ratio }) };
  if (a !== undefined || b !== undefined) {
    if (a === undefined || b === undefined || alpha !== undefined)
      throw new UsageError("convert: --a and --b are given together, and alpha follows from them.");
    return { to: "gauge", a, b };
  }
  if (alpha === undefined)
    throw new UsageError(
      "convert: no target is given. Give --to-alpha, --to-common-rate, --to-lora-plus, --to-ratio, --a with --b, or --to.",
    );
  return { to: "alpha", alpha, ...(gauge && { gauge }) };
}

function describe(result: Conversion): string {
  const { optimizer, r, alpha, rsLora, scaling, initScale, groups, settings, notes, exact, bitwise } = result;
  const roles = Object.entries(groups);
  const names = Object.keys(roles[0]?.[1] ?? {});
  const cell = (value: unknown) => (Array.isArray(value) ? value.join(", ") : String(value));
  const columns = [
    { title: "", cells: roles.map(([role]) => role) },
    ...names.map((name) => ({ title: name, cells: roles.map(([, hyper]) => cell(hyper[name])) })),
    { title: "initScale", cells: roles.map(([role]) => cell(initScale[role as "A" | "B"] ?? "")) },
  ];
  const verdict = exact
    ? bitwise
      ? "the same run, bit for bit"
      : "the same run, up to rounding"
    : "NOT the same run";
  const blocks = [
    `${optimizer}, r ${r}, alpha ${alpha}, scaling ${rsLora ? "alpha/sqrt(r)" : "alpha/r"} = ${scaling}: ${verdict}`,
    table(columns),
    ...(settings ? [`Settings: ${JSON.stringify(settings, undefined, 2)}`] : []),
    notes.map((note) => `- ${note}`).join("\n"),
  ];
  return `${blocks.join("\n\n")}\n`;
}
