import type { Role } from "../../lora/roles.ts";
import { scaling } from "../../lora/scaling.ts";
import type { AnyOptimizerName } from "../../optim/make.ts";
import { liveRoles } from "../live.ts";
import { hyperOf, type Recipe, trainedRoles } from "../recipe.ts";
import type { Library, Meaning, TheirOptimizer } from "./library.ts";
import { nest, type Settings } from "./places.ts";
import { groupNames } from "./read.ts";

type Hypers = { readonly [R in Role]?: Readonly<Record<string, unknown>> };

/**
 * A recipe as settings, as far as the library has them: what it cannot be told is left out here, and shows when the
 * settings are read back. Settings are written also where they are the default.
 */
export function writeSettings(library: Library, recipe: Recipe): Settings {
  const values = new Map<string, unknown>();
  const { A = 1 } = recipe.initScale ?? {};
  const { kind = "constant", ...schedule } = recipe.schedule ?? {};
  const { warmup = 0, total } = schedule as { readonly warmup?: number; readonly total?: number | "end" };
  const first = liveRoles(recipe)[0] ?? trainedRoles(recipe)[0]!; // a recipe trains something
  const { name, theirs, hypers } = chosen(library, recipe);
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
    warmup,
    warmupShare: 0,
    ...(typeof total === "number" && { total }),
    maxNorm: recipe.clip?.kind === "globalNorm" ? recipe.clip.maxNorm : 0,
  };
  for (const [place, { is, words, field }] of Object.entries(library.settings)) {
    if (is === "hyper") continue;
    const meant = meanings[is];
    if (meant === undefined) continue;
    const value = words && is !== "optimizer" ? wordFor(words, meant) : meant;
    if (value !== undefined && field.valid(value)) values.set(place, value);
    else if (is === "warmup") values.set(place, 1); // the shortest there is
  }
  if (theirs) {
    for (const [place, value] of placed(theirs, hypers[first]!)) values.set(place, value);
    if (library.groups === "any")
      for (const role of trainedRoles(recipe)) {
        const group = groupNames[role];
        if (!group || role === first || !hasRole(library, role)) continue;
        for (const [place, value] of placed(theirs, hypers[role]!))
          if (String(value) !== String(values.get(place))) values.set(`${group}.${place}`, value);
      }
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

/** The library's optimizer that is the recipe's, in the recipe's own words or in others for the same rule. */
function chosen(
  library: Library,
  recipe: Recipe,
): {
  readonly name: string | undefined;
  readonly theirs: TheirOptimizer | undefined;
  readonly hypers: Hypers;
} {
  const entries = Object.entries(library.optimizers);
  for (const [is, hypers] of spellings(recipe)) {
    const holds = ({ fixed = {}, places }: TheirOptimizer) =>
      Object.entries(fixed).every(([field, value]) =>
        Object.values(hypers).every(
          (hyper) => (hyper[field] ?? false) === value || places[field] !== undefined,
        ),
      );
    const fits = entries.filter(([, each]) => each.is === is && holds(each));
    const asShort = ([, { eightBitStates = false }]: (typeof entries)[number]) =>
      eightBitStates === (recipe.eightBitStates ?? false);
    const found = fits.find(asShort) ?? fits[0];
    if (found) return { name: found[0], theirs: found[1], hypers };
  }
  const [first] = entries;
  const [[, hypers]] = spellings(recipe) as [[string, Hypers]];
  return { name: first?.[0], theirs: first?.[1], hypers };
}

/** The recipe's optimizer, and others that make the same updates with these numbers. */
function spellings(recipe: Recipe): readonly [AnyOptimizerName, Hypers][] {
  const { name } = recipe.optimizer;
  const roles = trainedRoles(recipe);
  // A library may correct no bias where nothing is said.
  const implied = name === "adam" || name === "adamw" ? { biasCorrection: true } : {};
  const own = Object.fromEntries(
    roles.map((role) => [
      role,
      { ...implied, ...hyperOf<AnyOptimizerName>(recipe, role) } as Record<string, unknown>,
    ]),
  ) as { [R in Role]: Record<string, unknown> };
  const all = Object.values(own);
  const each = (change: (hyper: Record<string, unknown>) => Record<string, unknown>): Hypers =>
    Object.fromEntries(Object.entries(own).map(([role, hyper]) => [role, change(hyper)]));
  const undecayed = all.every(({ weightDecay = 0 }) => weightDecay === 0);
  const result: [AnyOptimizerName, Hypers][] = [[name, own]];
  switch (name) {
    case "adam":
      if (undecayed) result.push(["adamw", own]);
      break;
    case "adamw":
      if (all.some(({ decayTimesLr }) => decayTimesLr === false) && all.every(({ lr }) => lr !== 0)) {
        const multiplied = each(({ decayTimesLr, ...hyper }) =>
          decayTimesLr === false
            ? { ...hyper, weightDecay: Number(hyper.weightDecay) / Number(hyper.lr) }
            : hyper,
        );
        result[0] = ["adamw", multiplied];
      }
      if (undecayed) result.push(["adam", own]);
      break;
    case "sgd":
      // Without momentum both decays are one, and none are where there is no decay.
      if (undecayed || all.every(({ momentum }) => momentum === 0))
        result.unshift(["sgd", each((hyper) => ({ ...hyper, decoupledWeightDecay: false }))]);
      break;
    case "adadelta":
      // Two eps are one, and another rate.
      result[0] = [
        "adadelta",
        each(({ lr, rho, eps, epsGradient = eps, epsUpdate = eps, weightDecay }) => ({
          lr:
            epsUpdate === epsGradient ? lr : Number(lr) * Math.sqrt(Number(epsUpdate) / Number(epsGradient)),
          rho,
          eps: epsGradient,
          weightDecay,
        })),
      ];
      break;
    case "signSgd":
      result.push([
        "lion",
        each(({ lr, momentum }) => ({ lr, betas: [momentum, momentum], weightDecay: 0 })),
      ]);
      break;
    case "lion":
      if (undecayed && all.every(({ betas }) => Array.isArray(betas) && betas[0] === betas[1]))
        result.push(["signSgd", each(({ lr, betas }) => ({ lr, momentum: (betas as number[])[0] }))]);
      break;
    default:
  }
  return result;
}
