import { checkArgument, type Field, isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { checkAdapterConfig } from "../lora/config.ts";
import { type KindOptions, kindFor, kinds } from "../lora/kinds/index.ts";
import { type Role, roles } from "../lora/roles.ts";
import { isPairOptimizerName, make } from "../optim/make.ts";
import { make as makeSchedule, type ScheduleConfig } from "../optim/schedule.ts";
import { type Recipe, trainedRoles } from "./recipe.ts";
import {
  adapterFields,
  clipFields,
  hyperFields,
  initScaleFields,
  optimizerName,
  scheduleFields,
} from "./schema.ts";
import { alwaysZero } from "./start.ts";

type Plain = Readonly<Record<string, unknown>>;
type Table = { readonly [name: string]: Field<unknown> };

const parts = ["initScale", "optimizer", "groups", "schedule", "clip"];

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
  const contradiction = (text: string): never => {
    throw new ValueError(`${operation}: ${text}`);
  };
  const recipe = object(operation, "the recipe", value, [...Object.keys(adapterFields), ...parts]);
  checkFields(operation, "", recipe, adapterFields as unknown as Table);
  checkFields(operation, "initScale", part("initScale"), initScaleFields as unknown as Table);
  // Its fields were checked one by one.
  const { r, init = "standard", initScale = {}, adapts, trained } = recipe as unknown as Recipe;
  const options = Object.fromEntries(
    kinds.map(({ option: { name } }) => [name, recipe[name] ?? false]),
  ) as KindOptions;
  if (init === "orthogonal" && r % 2 !== 0)
    contradiction(
      `init is orthogonal and r ${r}; A and B get half of the dimensions each, so r is even. Use r ${r + 1}.`,
    );
  prefixed(operation, () => checkAdapterConfig({ r, alpha: Number(recipe.alpha), init, ...options }));
  const kind = kindFor(options);
  const others = adapts?.filter((layer) => !kind.adapts.includes(layer)) ?? [];
  const [other] = others;
  if (other && (!kind.plainOn?.includes(other) || others.length === adapts!.length))
    contradiction(
      `${kind.option?.name} is true and adapts has ${other}; ${kind.title} adapts ${kind.adapts.join(", ")} layers. Leave one of them out.`,
    );
  const zeros = { init, ...(adapts && { adapts }) };
  for (const role of ["A", "B"] as const) {
    if ((initScale[role] ?? 1) === 1 || !alwaysZero(zeros, role)) continue;
    contradiction(
      `initScale.${role} is ${show(initScale[role])}, but init ${show(init)} starts ${role} at zero, where a factor changes nothing. Leave it out, or use another init.`,
    );
  }

  const optimizer = object(
    operation,
    "optimizer",
    recipe.optimizer,
    undefined,
    'such as { name: "adamw", lr: 2e-4 }',
  );
  const name = checkArgument(operation, "optimizer.name", optimizer.name, optimizerName);
  const known = hyperFields(name);
  checkNames(operation, "optimizer", optimizer, ["name", ...Object.keys(known)]);
  prefixed(`${operation}: optimizer`, () => make(optimizer as unknown as Parameters<typeof make>[0]));

  const own = trainedRoles({
    ...(trained && { trained }),
    ...options,
  });
  if (isPairOptimizerName(name) && !(own.length === 2 && own.includes("A") && own.includes("B")))
    contradiction(
      `optimizer.name is ${show(name)}, which updates A and B together and nothing else, but trained are ${own.join(", ")}. Set trained to A and B, or use another optimizer.`,
    );
  for (const { option, tensors } of kinds)
    for (const { role } of tensors)
      if (own.includes(role as Role) && kind.option !== option)
        contradiction(`trained has ${role}, but ${option.name} is not true: there is no such parameter.`);
  const groups = object(operation, "groups", part("groups"), roles);
  for (const role of Object.keys(groups) as Role[]) {
    const group = object(operation, `groups.${role}`, groups[role], Object.keys(known));
    if (!own.includes(role))
      contradiction(`groups.${role} is given, but ${role} is not trained; trained are ${own.join(", ")}.`);
    // What is left out is as in the optimizer.
    const all = { ...optimizer, ...group } as unknown as Parameters<typeof make>[0];
    prefixed(`${operation}: groups.${role}`, () => make(all));
  }
  if (recipe.schedule !== undefined) checkSchedule(operation, recipe.schedule);
  if (recipe.clip !== undefined) checkClip(operation, recipe.clip, own);
  return value as Recipe; // every field was checked

  function part(name: string): unknown {
    return recipe[name] === undefined ? {} : recipe[name];
  }
}

function checkSchedule(operation: string, given: unknown): void {
  const [kind, own] = kindOf(operation, "schedule", given, scheduleFields as unknown as Kinds);
  checkFields(
    operation,
    "schedule",
    own,
    scheduleFields[kind as keyof typeof scheduleFields] as unknown as Table,
  );
  // What is wrong with the numbers together: a warm-up longer than the run.
  const { total } = own;
  const config = { ...own, ...(total === "end" && { total: Number.MAX_SAFE_INTEGER }) };
  prefixed(`${operation}: schedule`, () => makeSchedule(config as unknown as ScheduleConfig));
}

function checkClip(operation: string, given: unknown, own: readonly Role[]): void {
  const [kind, clip] = kindOf(operation, "clip", given, clipFields, ["weights"]);
  for (const [name, of] of Object.entries(clipFields[kind as keyof typeof clipFields])) {
    const value = clip[name];
    if (value === undefined && of.otherwise !== undefined) continue;
    if (kind === "globalNorm" || !isPlainObject(value)) {
      checkArgument(operation, `clip.${name}`, value, of);
      continue;
    }
    const numbers = object(operation, `clip.${name}`, value, roles);
    for (const role of new Set([...own, ...(Object.keys(numbers) as Role[])]))
      checkArgument(operation, `clip.${name}.${role}`, numbers[role], of);
  }
  if (clip.weights === undefined) return;
  const weights = object(operation, "clip.weights", clip.weights, roles);
  for (const [role, weight] of Object.entries(weights))
    checkArgument(operation, `clip.weights.${role}`, weight, initScaleFields.A);
}

type Kinds = { readonly [kind: string]: { readonly [name: string]: unknown } };

/** The kind of an object that has one, and the object, with the fields of that kind only. */
function kindOf(
  operation: string,
  path: string,
  given: unknown,
  kinds: Kinds,
  more: readonly string[] = [],
): [kind: string, object: Plain] {
  const own = object(operation, path, given, undefined, `with kind, one of ${Object.keys(kinds).join(", ")}`);
  const { kind } = own;
  if (typeof kind !== "string" || !Object.hasOwn(kinds, kind))
    throw new ValueError(
      `${operation}: ${path}.kind is ${kind === undefined ? "missing" : show(kind)}; it is one of ${Object.keys(kinds).join(", ")}.`,
    );
  checkNames(operation, path, own, [
    "kind",
    ...Object.keys(kinds[kind]!),
    ...(kind === "globalNorm" ? more : []),
  ]);
  return [kind, own];
}

/** Checks the fields that are given, and those that must be. */
function checkFields(operation: string, path: string, given: unknown, fields: Table): void {
  const own =
    path === "" ? (given as Plain) : object(operation, path, given, ["kind", ...Object.keys(fields)]);
  for (const [name, of] of Object.entries(fields)) {
    if (own[name] === undefined && (of.optional || of.otherwise !== undefined)) continue;
    checkArgument(operation, path === "" ? name : `${path}.${name}`, own[name], of);
  }
}

/** An object that was written as one, with none but the known names. */
function object(
  operation: string,
  path: string,
  given: unknown,
  names?: readonly string[],
  which = names ? `with some of ${names.join(", ")}` : "",
): Plain {
  if (!isPlainObject(given))
    throw new ValueError(
      `${operation}: ${path} is ${given === undefined ? "missing" : show(given)}; it is an object ${which}.`,
    );
  if (names) checkNames(operation, path, given, names);
  return given;
}

function checkNames(operation: string, path: string, given: Plain, names: readonly string[]): void {
  for (const name of Object.keys(given)) {
    if (names.includes(name)) continue;
    const where = path === "the recipe" ? "" : `${path} has `;
    throw new ValueError(`${operation}: ${where}the unknown field ${name}. Fields are ${names.join(", ")}.`);
  }
}

/** Errors of an optimizer or a schedule, with where its numbers stood. */
function prefixed(where: string, f: () => unknown): void {
  try {
    f();
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new ValueError(`${where}: ${error.message}`);
  }
}
