import { show } from "../base/arguments.ts";
import { table } from "../base/table.ts";
import {
  canonical,
  hyperOf,
  type Invariant,
  type Library,
  type LibraryName,
  libraries,
  type NamedRecipe,
  named,
  type Recipe,
} from "../gauge/index.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { print } from "./print.ts";
import { optionsHelp, parseArguments, UsageError } from "./usage.ts";

const options = {
  json: { type: "boolean", help: "Print the result as JSON" },
} as const;

const names = Object.keys(libraries) as LibraryName[];

const help = `Usage: lorantz recipes [NAME] [OPTIONS]

What other tools run by default, each with the settings that its documentation starts with, in one table of the two
quantities of theorem 2: lr_A / sigma and s sigma lr_B. Recipes with the same two, the same start and the same
optimizer are one run but for eps, decay, schedule and clipping, which lorantz explain compares. With a name: the
settings of that tool, their defaults and what they are, with where they were read.

  lorantz recipes
  lorantz recipes peft-trainer
  lorantz explain peft-trainer 'mlx-lm: learning_rate=5e-5 lora_parameters.scale=1'

Names are ${names.join(", ")}.

Options:
${optionsHelp(options)}

Exit codes: 0 done, 2 wrong usage.
`;

/** The command `recipes`; see its help. */
export async function recipes(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseArguments("recipes", args, options, help);
  const [name] = positionals;
  if (positionals.length > 1) throw new UsageError(`recipes: takes one name; given ${positionals.length}.`);
  const chosen = name === undefined ? names : names.filter((each) => each === name);
  if (chosen.length === 0)
    throw new UsageError(`recipes: there is no ${show(name)}. Names are ${names.join(", ")}.`);
  const all = chosen.map(named);
  if (values.json) {
    const result = all.map((each) => ({ ...each, canonical: canonical(each.recipe) }));
    print(`${JSON.stringify(result, undefined, 2)}\n`);
  } else {
    print(name === undefined ? overview(all) : `${overview(all)}\n${detail(all[0]!)}`);
  }
  return 0;
}

function overview(all: readonly NamedRecipe[]): string {
  const cells = (of: (recipe: Recipe) => unknown) => all.map(({ recipe }) => String(of(recipe) ?? ""));
  const right = { align: "right" } as const;
  const invariant = (name: string) => (recipe: Recipe) => numberOf(canonical(recipe).invariants, name);
  return `${table([
    { title: "name", cells: all.map(({ name }) => name) },
    { title: "r", cells: cells(({ r }) => r), ...right },
    { title: "alpha", cells: cells(({ alpha }) => alpha), ...right },
    { title: "start", cells: cells(({ init }) => init ?? "standard") },
    { title: "optimizer", cells: cells(({ optimizer }) => optimizer.name) },
    { title: "lr_A / sigma", cells: cells(invariant("lr.A")), ...right },
    { title: "s sigma lr_B", cells: cells(invariant("lr.B")), ...right },
    { title: "betas", cells: cells((recipe) => hyper(recipe, "betas")) },
    { title: "eps", cells: cells((recipe) => hyper(recipe, "eps")), ...right },
    { title: "decay", cells: cells((recipe) => hyper(recipe, "weightDecay")), ...right },
    { title: "schedule", cells: cells(({ schedule }) => schedule?.kind ?? "constant") },
    { title: "clip", cells: cells(({ clip }) => (clip?.kind === "globalNorm" ? clip.maxNorm : "none")) },
  ])}\n`;
}

function numberOf(invariants: readonly Invariant[], name: string): string {
  const value = invariants.find((each) => each.name === name)?.value;
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : "";
}

function hyper(recipe: Recipe, field: string): string {
  const own: Readonly<Record<string, unknown>> = { ...hyperOf<AnyOptimizerName>(recipe, "A") };
  const value = own[field];
  return value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value);
}

function detail({ name, title, version, settings }: NamedRecipe): string {
  const library: Library = libraries[name];
  const rows = Object.entries(library.settings);
  const text = [
    `${title}, version ${version}. Beside its defaults: ${JSON.stringify(settings)}`,
    table([
      { title: "setting", cells: rows.map(([place]) => place) },
      {
        title: "default",
        cells: rows.map(([, { field }]) =>
          field.otherwise === undefined ? (field.optional ? "" : "(give it)") : String(field.otherwise),
        ),
      },
      {
        title: "takes",
        cells: rows.map(([, { field, words }]) => (words ? Object.keys(words).join(", ") : field.expected)),
      },
      { title: "is", cells: rows.map(([, { says }]) => says) },
    ]),
    `Optimizers: ${Object.keys(library.optimizers).join(", ")}.`,
    library.notes.map((note) => `- ${note}`).join("\n"),
    `Read in: ${library.source.join("; ")}.`,
  ];
  return `${text.join("\n\n")}\n`;
}
