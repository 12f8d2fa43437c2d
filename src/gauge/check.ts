import { ValueError } from "../base/errors.ts";
import { checkAdapterConfig } from "../lora/config.ts";
import type { Role } from "../lora/roles.ts";
import { isOptimizerName, make, rules } from "../optim/make.ts";
import { type Adapted, type Recipe, trainedRoles } from "./recipe.ts";
import { alwaysZero } from "./start.ts";

const roles: readonly Role[] = ["A", "B", "branchBias", "magnitude", "base"];

const fields = [
  "r",
  "alpha",
  "rsLora",
  "dropout",
  "init",
  "initScale",
  "branchBias",
  "dora",
  "adapts",
  "optimizer",
  "groups",
  "trained",
  "clip",
] as const;

/** What each kind of clipping takes: a positive number for every role, or one for each. */
const clipFields = {
  globalNorm: ["maxNorm", "eps", "weights"],
  tensorNorm: ["maxNorm", "eps"],
  value: ["maxValue"],
} as const;

type Plain = { readonly [name: string]: unknown };

/**
 * Returns a value, such as a parsed file, if it is a recipe that can be compared and converted.
 *
 * Stricter than training is: alpha and `initScale` are positive, since a gauge is (a negative alpha is the run
 * with B negated), and nothing is given that has no effect.
 *
 * @throws ValueError naming the field, its value and what it may be: for missing, unknown, non-finite, negative
 *   or contradictory fields.
 * @example
 * const recipe = checkRecipe(JSON.parse('{ "r": 8, "alpha": 16, "optimizer": { "name": "adamw", "lr": 1e-3 } }'));
 */
export function checkRecipe(value: unknown, operation = "gauge.checkRecipe"): Recipe {
  const fail = (field: string, given: unknown, expected: string): never => {
    throw new ValueError(
      `${operation}: ${field} is ${given === undefined ? "missing" : show(given)}; it is ${expected}.`,
    );
  };
  const object = (field: string, given: unknown, names: readonly string[], what: string): Plain => {
    if (typeof given !== "object" || given === null || Array.isArray(given)) return fail(field, given, what);
    for (const name of Object.keys(given)) {
      if (!names.includes(name))
        throw new ValueError(
          `${operation}: ${field === "the recipe" ? "" : `${field} has `}the unknown field ${name}. Fields are ${names.join(", ")}.`,
        );
    }
    return given as Plain; // a plain object
  };
  const positive = (field: string, given: unknown): void => {
    if (!(typeof given === "number" && given > 0 && given < Infinity))
      fail(field, given, "a finite number > 0");
  };
  const boolean = (field: string, given: unknown): void => {
    if (given !== undefined && typeof given !== "boolean") fail(field, given, "true or false");
  };
  const contradiction = (text: string): never => {
    throw new ValueError(`${operation}: ${text}`);
  };

  const recipe = object("the recipe", value, fields, "an object with r, alpha and optimizer");
  const {
    r,
    alpha,
    rsLora,
    dropout = 0,
    init = "standard",
    initScale = {},
    branchBias,
    dora,
    trained,
    clip,
  } = recipe;
  if (!(typeof r === "number" && Number.isInteger(r) && r >= 1)) fail("r", r, "a rank, an integer >= 1");
  positive("alpha", alpha);
  boolean("rsLora", rsLora);
  boolean("branchBias", branchBias);
  boolean("dora", dora);
  if (typeof dropout !== "number" || !(dropout >= 0 && dropout < 1))
    fail("dropout", dropout, "a probability from 0 to below 1");
  const scales = object("initScale", initScale, ["A", "B"], "an object with factors A and B");
  for (const [name, factor] of Object.entries(scales)) positive(`initScale.${name}`, factor);
  // The configuration is checked, but for the names of starts.
  const start = { init: init as NonNullable<Recipe["init"]> };
  checkAdapterConfig({
    r: Number(r),
    alpha: Number(alpha),
    ...start,
    branchBias: branchBias === true,
    dora: dora === true,
  });
  const kinds: unknown = recipe.adapts ?? ["linear"];
  if (
    !Array.isArray(kinds) ||
    kinds.length === 0 ||
    kinds.some((kind) => kind !== "linear" && kind !== "embedding") ||
    new Set(kinds).size !== kinds.length
  )
    fail("adapts", kinds, 'a list of one or both of "linear" and "embedding"');
  const adapted = kinds as readonly Adapted[]; // just checked
  if (dora === true && adapted.includes("embedding"))
    contradiction("dora is true and adapts has embedding; DoRA adapts linear layers. Leave one of them out.");
  for (const role of ["A", "B"] as const) {
    if ((scales[role] ?? 1) === 1 || !alwaysZero({ ...start, adapts: adapted }, role)) continue;
    contradiction(
      `initScale.${role} is ${show(scales[role])}, but init ${show(init)} starts ${role} at zero, where a factor changes nothing. Leave it out, or use another init.`,
    );
  }

  const optimizer = recipe.optimizer;
  if (typeof optimizer !== "object" || optimizer === null || Array.isArray(optimizer))
    return fail("optimizer", optimizer, 'an object such as { name: "adamw", lr: 2e-4 }');
  const { name, ...hyper } = optimizer as Plain;
  if (typeof name !== "string" || !isOptimizerName(name))
    return fail("optimizer.name", name, `one of ${Object.keys(rules).join(", ")}`);
  const known = Object.keys(rules[name].fields);
  object("optimizer", hyper, known, "an object");
  prefixed(`${operation}: optimizer`, () => make({ name, ...hyper } as Parameters<typeof make>[0]));

  if (trained !== undefined) {
    const valid =
      Array.isArray(trained) && trained.length > 0 && trained.every((role) => roles.includes(role));
    if (!valid) fail("trained", trained, `a list of ${roles.join(", ")}`);
    if (new Set(trained as readonly Role[]).size < (trained as readonly Role[]).length)
      fail("trained", trained, "a list that names each role once");
  }
  const own = trainedRoles({
    ...(trained !== undefined && { trained: trained as readonly Role[] }), // checked above
    ...(branchBias === true && { branchBias }),
    ...(dora === true && { dora }),
  });
  if (own.includes("branchBias") && branchBias !== true)
    contradiction("trained has branchBias, but branchBias is not true: there is no such parameter.");
  if (own.includes("magnitude") && dora !== true)
    contradiction("trained has magnitude, but dora is not true: there is no such parameter.");
  const groups = object("groups", recipe.groups ?? {}, roles, "an object with hyperparameters by role");
  for (const [role, group] of Object.entries(groups)) {
    object(`groups.${role}`, group, known, "an object");
    if (!own.includes(role as Role))
      // one of the names above
      contradiction(`groups.${role} is given, but ${role} is not trained; trained are ${own.join(", ")}.`);
    const all = { name, ...hyper, ...(group as object) } as Parameters<typeof make>[0];
    prefixed(`${operation}: groups.${role}`, () => make(all));
  }
  if (clip !== undefined) checkClip(clip);
  return value as Recipe; // every field was checked

  function checkClip(given: unknown): void {
    const kind = (given as { kind?: unknown } | null)?.kind;
    const kinds = Object.keys(clipFields) as (keyof typeof clipFields)[];
    const names =
      clipFields[
        kinds.find((each) => each === kind) ?? fail("clip.kind", kind, `one of ${kinds.join(", ")}`)
      ];
    const fields = object("clip", given, ["kind", ...names], "an object");
    for (const name of names) {
      const field = fields[name];
      if (field === undefined && (name === "eps" || name === "weights")) continue;
      const perRole = kind === "globalNorm" ? name === "weights" : typeof field === "object";
      if (!perRole) {
        if (name === "eps" && field === 0) continue;
        positive(`clip.${name}`, field);
        continue;
      }
      const numbers = object(`clip.${name}`, field, roles, "an object with a number for each trained role");
      for (const [role, number] of Object.entries(numbers)) positive(`clip.${name}.${role}`, number);
      if (name === "weights") continue; // 1 where missing
      for (const role of own) if (numbers[role] === undefined) positive(`clip.${name}.${role}`, undefined);
    }
  }
}

/** Errors of an optimizer, with where its hyperparameters stood. */
function prefixed(where: string, f: () => unknown): void {
  try {
    f();
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new ValueError(`${where}: ${error.message}`);
  }
}

function show(value: unknown): string {
  if (typeof value === "number") return String(value); // JSON has no NaN
  return JSON.stringify(value) ?? String(value);
}
