import type { Role } from "../../lora/roles.ts";
import { scaling } from "../../lora/scaling.ts";
import { anyRule } from "../../optim/make.ts";
import { liveRoles, scheduleOf } from "../live.ts";
import { type Recipe, trainedRoles } from "../recipe.ts";
import type { Library, Meaning, TheirOptimizer } from "./library.ts";
import { nest, type Settings } from "./places.ts";
import { groupNames } from "./read.ts";
import { type Hypers, spelt } from "./spellings.ts";

/**
 * A recipe as settings, as far as the library has them, once for each of its optimizers that may be the recipe's: what it
 * cannot be told is left out here, and shows when the settings are read back. Settings are written also where they are
 * the default.
 */
export function writeSettings(library: Library, recipe: Recipe): readonly Settings[] {
  return candidates(library, recipe).map((each) => settingsWith(library, recipe, each));
}

function settingsWith(
  library: Library,
  recipe: Recipe,
  [name, theirs, hypers]: readonly [string, TheirOptimizer, Hypers],
): Settings {
  const values = new Map<string, unknown>();
  const { A = 1 } = recipe.initScale ?? {};
  const { kind = "constant", ...schedule } = scheduleOf(recipe) ?? {};
  const { warmup = 0, total } = schedule as { readonly warmup?: number; readonly total?: number | "end" };
  const first = liveRoles(recipe)[0] ?? trainedRoles(recipe)[0]!; // a recipe trains something
  const rate = (role: Role) => Number(hypers[role]?.lr);
  const meanings: { readonly [M in Meaning]?: unknown } = {
    r: recipe.r,
    alpha: recipe.alpha,
    scale: scaling(recipe).value,
    rsLora: recipe.rsLora ?? false,
    dropout: recipe.dropout ?? 0,
    init: recipe.init ?? "standard",
    ...(recipe.init === "gaussian" && { initStd: A / recipe.r }),
    dora: recipe.dora ?? false,
    branchBias: recipe.branchBias ?? false,
    optimizer: name,
    ratio: hypers.A && hypers.B ? ratioOf(rate("A"), rate("B")) : 1,
    schedule: kind,
    // Parts of an update are taken for a share of all.
    warmup: warmup > 0 ? Math.max(1, Math.trunc(warmup)) : 0,
    warmupShare: 0,
    ...(typeof total === "number" && { total }),
    maxNorm: recipe.clip?.kind === "globalNorm" ? recipe.clip.maxNorm : 0,
  };
  for (const [place, { value }] of Object.entries(library.needs ?? {})) values.set(place, value);
  for (const [place, { is, words, field }] of Object.entries(library.settings)) {
    if (is === "hyper") continue;
    const meant = meanings[is];
    if (meant === undefined) continue;
    const value = words && is !== "optimizer" ? wordFor(words, meant) : meant;
    if (value !== undefined && field.valid(value)) values.set(place, value);
    else if (is === "warmup") values.set(place, 1); // the shortest there is
  }
  for (const [place, value] of placed(theirs, hypers[first]!)) values.set(place, value);
  if (library.groups === "any")
    for (const role of trainedRoles(recipe)) {
      const group = groupNames[role];
      if (!group || role === first || !hasRole(library, role)) continue;
      for (const [place, value] of placed(theirs, hypers[role]!))
        if (String(value) !== String(values.get(place))) values.set(`${group}.${place}`, value);
    }
  return nest(values, library.pairs ?? {});
}

function hasRole(library: Library, role: Role): boolean {
  const needs = ({ branchBias: "branchBias", magnitude: "dora" } as { readonly [R in Role]?: Meaning })[role];
  return needs === undefined || Object.values(library.settings).some(({ is }) => is === needs);
}

function ratioOf(a: number, b: number): number {
  const ratio = a === b ? 1 : b / a;
  return ratio > 0 && ratio < Infinity ? ratio : 1;
}

function wordFor(words: { readonly [theirs: string]: unknown }, meant: unknown): unknown {
  const word = Object.keys(words).find((each) => words[each] === meant);
  return word === "true" ? true : word === "false" ? false : word;
}

/** The values of an optimizer's hyperparameters by their places. */
function placed(theirs: TheirOptimizer, hyper: Readonly<Record<string, unknown>>): [string, unknown][] {
  return Object.entries(theirs.places).flatMap(([field, place]): [string, unknown][] => {
    const [name, index] = field.split(".") as [string, string?];
    const own = hyper[name];
    const value = index === undefined ? own : (own as readonly unknown[] | undefined)?.[Number(index)];
    // Flags that are off are as if they were not there.
    return value === undefined || (value === false && place.includes(":")) ? [] : [[place, value]];
  });
}

/** Whether an optimizer takes these numbers beside those that the library has fixed: Nesterov's needs a momentum. */
function canRun({ is, fixed }: TheirOptimizer, hypers: Hypers): boolean {
  const { conflict } = anyRule(is);
  return Object.values(hypers).every(
    (hyper) => conflict?.({ ...hyper, ...fixed } as { readonly lr: number }) === undefined, // all are spelt out
  );
}

/**
 * The library's optimizers that may be the recipe's, each with the numbers to give it; one that is another, where there is none.
 */
function candidates(library: Library, recipe: Recipe): readonly [string, TheirOptimizer, Hypers][] {
  const entries = Object.entries(library.optimizers);
  const all = spelt(recipe);
  const found = all.flatMap(([is, hypers]) =>
    entries
      .filter(([, each]) => each.is === is && canRun(each, hypers))
      .map(([name, each]): [string, TheirOptimizer, Hypers] => [name, each, hypers]),
  );
  // Of names for one thing, the first.
  const things = new Map(found.map((each) => [JSON.stringify(each.slice(1)), each] as const).reverse());
  if (found.length > 0) return [...things.values()].reverse();
  return entries.slice(0, 1).map(([name, theirs]) => [name, theirs, all[0]![1]]);
}
