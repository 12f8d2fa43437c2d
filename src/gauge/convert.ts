import { ValueError } from "../base/errors.ts";
import type { Role } from "../lora/roles.ts";
import { scaling } from "../lora/scaling.ts";
import type { AnyOptimizerName } from "../optim/make.ts";
import { apply } from "./apply.ts";
import { type Approximation, approximate, type Deviation } from "./approximate.ts";
import { checkRecipe } from "./check.ts";
import { close } from "./close.ts";
import { equivalent, explain } from "./explain.ts";
import { explicit } from "./explicit.ts";
import { bitwise, type Gauge } from "./gauge.ts";
import { deviationsOf } from "./library/deviations.ts";
import { type Library, readWith } from "./library/library.ts";
import type { Settings } from "./library/places.ts";
import { readSettings } from "./library/read.ts";
import { type LibraryName, libraries, libraryOf } from "./library/tools.ts";
import { writeSettings } from "./library/write.ts";
import { statesFollow } from "./live.ts";
import { hyperOf, type Recipe, trainedRoles } from "./recipe.ts";
import { startsExactly } from "./start.ts";
import { alphaOf, gaugeToTarget, type Target } from "./target.ts";
import { show, showGauge } from "./words.ts";

/** A recipe in another form, what it cost, and what to set. */
export interface Conversion {
  readonly optimizer: AnyOptimizerName;
  readonly r: number;
  readonly alpha: number;
  readonly rsLora: boolean;
  /** The factor on the adapter's output, alpha / r or alpha / sqrt(r). */
  readonly scaling: number;
  /** Factors on the initial values; 1 also for a side that starts at zero. */
  readonly initScale: { readonly A: number; readonly B: number };
  /** All hyperparameters of each trained role. */
  readonly groups: { readonly [R in Role]?: { readonly [name: string]: unknown } };
  /** The same training run in exact arithmetic. */
  readonly exact: boolean;
  /** The same bits, as long as no number leaves the normal range. */
  readonly bitwise: boolean;
  readonly gauge: Gauge;
  /** Where it is not the same run, and what error that makes. */
  readonly deviations: readonly Deviation[];
  /** What to set, what cannot be set, and what follows, a sentence each. */
  readonly notes: readonly string[];
  /** The settings in the library's own names, when converted to a library. */
  readonly settings?: { readonly [name: string]: unknown };
  /** The result as a recipe, to train with, to compare or to convert again. */
  readonly recipe: Recipe;
}

export interface ConvertOptions {
  /**
   * Where the optimizer or the clipping has no exact rule in the recipe's form: `"refuse"` (default); `"rewrite"`
   * it to the form that has one (another rate for RAdam's first updates, a weighted norm);
   * `"anyway"`: keep the form, and state the expected error.
   */
  readonly inexact?: "refuse" | "rewrite" | "anyway";
}

/**
 * A recipe as the same training run in another form: at another alpha, with one learning rate, as LoRA+, or as a
 * library can be told; exact wherever the target can hold the numbers, and otherwise with what is lost.
 *
 * A target that is a library keeps the form of optimizer and clipping, as libraries have no other, and gets
 * deviations instead of a refusal.
 *
 * @throws ValueError for a bad recipe (`checkRecipe`), a target that is none or that no gauge reaches, an optimizer
 *   without an exact rule (see `inexact`), and numbers that leave the normal range of float32.
 * @example
 * const recipe = { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 2e-4 } } as const;
 * const { groups } = convert(recipe, { to: "alpha", alpha: 32 });
 * groups.B; // { lr: 1e-4, betas: [0.9, 0.999], eps: 2e-8, weightDecay: 0.02 }
 */
export function convert(
  recipe: Recipe,
  target: Target,
  { inexact = "refuse" }: ConvertOptions = {},
): Conversion {
  if (!["refuse", "rewrite", "anyway"].includes(inexact))
    throw new ValueError(
      `gauge.convert: inexact is ${JSON.stringify(inexact)}; it is refuse, rewrite or anyway.`,
    );
  const library = target.to === "library" ? libraryAt(target.library) : undefined;
  const form = inScalingOf(library, checkRecipe(recipe, "gauge.convert"));
  // What targets ask for, in the form where every number has a power.
  const g = gaugeToTarget(target.to === "library" ? explicit(form) : form, target);
  const partner = moved(g, inexact === "rewrite" ? explicit(form) : form, library ? "anyway" : inexact);
  const snapped = snap(partner.recipe, target, library);
  const { settings, run } = library ? told(library, snapped, form) : {};
  const result = run ?? snapped;
  const seen = run && explain(recipe, run);
  const exact = seen ? seen.exact : partner.deviations.length === 0;
  const deviations = exact ? [] : [...partner.deviations, ...(run ? deviationsOf(snapped, run) : [])];
  const sameForm = form === recipe || scaling(form).value === scaling(recipe).value;
  const bits = seen
    ? seen.bitwise
    : exact && bitwise(g) && startsExactly(form, g) && statesFollow(form, g) && sameForm;
  return {
    optimizer: result.optimizer.name,
    r: result.r,
    alpha: result.alpha,
    rsLora: result.rsLora ?? false,
    scaling: scaling(result).value,
    initScale: { A: result.initScale?.A ?? 1, B: result.initScale?.B ?? 1 },
    groups: Object.fromEntries(
      trainedRoles(result).map((role) => [role, { ...hyperOf<AnyOptimizerName>(result, role) }]),
    ),
    exact,
    bitwise: bits,
    gauge: g,
    deviations,
    notes: [
      ...describeResult(result, g, { exact, bits, groups: !library || library.groups === "any" }),
      ...deviations.map(sentence),
      // What makes another run is said, if not field by field.
      ...(seen && !exact && deviations.length === 0 ? seen.words : []),
      ...(library ? [...library.notes, readWith(library)] : []),
    ],
    ...(settings && { settings }),
    recipe: result,
  };
}

function libraryAt(name: LibraryName): Library | undefined {
  return Object.hasOwn(libraries, name) ? libraryOf(name) : undefined; // the target says what is wrong with others
}

/** The settings with which a library runs the recipe, or what is nearest, and what it runs with them, by its own defaults. */
function told(
  library: Library,
  recipe: Recipe,
  form: Recipe,
): { readonly settings: Settings; readonly run: Recipe } {
  const all = writeSettings(library, recipe).map((settings) => {
    const run = runOf(library, settings, form);
    return { settings, run, wrong: equivalent(recipe, run) ? 0 : deviationsOf(recipe, run).length || 1 };
  });
  return all.reduce((best, each) => (each.wrong < best.wrong ? each : best));
}

/** What a library runs with these settings, on the layers of the recipe as far as it adapts them. */
function runOf(library: Library, settings: Settings | undefined, { adapts }: Recipe): Recipe {
  const recipe = readSettings(library, settings, `gauge.convert: ${library.title}`);
  const kept = adapts?.filter((kind) => library.adapts.includes(kind)) ?? [];
  return kept.length > 0 && adapts ? { ...recipe, adapts: kept } : recipe;
}

/** The recipe with the scaling mode that a library has. */
function inScalingOf(library: Library | undefined, recipe: Recipe): Recipe {
  if (!library || !recipe.rsLora || Object.values(library.settings).some(({ is }) => is === "rsLora"))
    return recipe;
  const { rsLora: _, ...rest } = recipe;
  return { ...rest, alpha: recipe.alpha * Math.sqrt(recipe.r) } as Recipe; // corollary 5
}

function moved(g: Gauge, recipe: Recipe, inexact: "refuse" | "rewrite" | "anyway"): Approximation {
  return inexact === "anyway" ? approximate(g, recipe) : { recipe: apply(g, recipe), deviations: [] };
}

/** The number that was asked for, where the products are it but for their rounding. */
function snap(recipe: Recipe, target: Target, library: Library | undefined): Recipe {
  const oneRate = target.to === "commonRate" || library?.groups === "none";
  const [A, B] = [recipe.groups?.A, hyperOf<AnyOptimizerName>(recipe, "B")];
  const rate = hyperOf<AnyOptimizerName>(recipe, "A").lr;
  const equalised = oneRate && B.lr !== rate && close(B.lr, rate, 1e-12);
  const asked = "alpha" in target && target.alpha !== undefined ? alphaOf(recipe, target.alpha) : undefined;
  const nearAsked = asked !== undefined && close(asked, recipe.alpha, 1e-12);
  return {
    ...recipe,
    ...(nearAsked && { alpha: asked }),
    ...(equalised && { groups: { ...recipe.groups, ...(A && { A }), B: { ...recipe.groups?.B, lr: rate } } }),
  } as Recipe; // the same optimizer
}

function sentence({ role, error, field, needed, used }: Deviation): string {
  const of = role ? ` of ${role}` : "";
  const values = [used, needed].map((x) => (typeof x === "number" ? show(x) : JSON.stringify(x)));
  return `Not exact: ${field}${of} is ${values[0]} where ${values[1]} is needed; ${error}.`;
}

function describeResult(
  result: Recipe,
  g: Gauge,
  { exact, bits, groups }: { readonly exact: boolean; readonly bits: boolean; readonly groups: boolean },
): string[] {
  const lines = [`The gauge: ${showGauge(g)}.`];
  if (exact)
    lines.push(
      bits
        ? "The same run bit for bit, as long as no number leaves the normal range: all factors are powers of two."
        : `The same run up to rounding${result.eightBitStates || bitwise(g) ? "" : ": not all factors are powers of two"}.`,
    );
  if (result.eightBitStates) lines.push("The optimizer keeps its state in 8 bits, which rounds.");
  const { A = 1, B = 1 } = result.initScale ?? {};
  for (const [role, scale] of [
    ["A", A],
    ["B", B],
  ] as const) {
    if (scale !== 1) lines.push(`Multiply the initial ${role} by ${show(scale)} before training.`);
  }
  const roles = trainedRoles(result).filter((role) => role === "A" || role === "B");
  if (groups && roles.length === 2 && differ(result))
    lines.push("Give A and B groups of their own: their numbers differ.");
  if (result.clip?.kind === "globalNorm" && result.clip.weights)
    lines.push("Clip by the weighted global norm, sqrt(sum of weight^2 |g|^2), with the given weights.");
  return lines;
}

function differ(recipe: Recipe): boolean {
  const [A, B] = (["A", "B"] as const).map((role) => JSON.stringify(hyperOf<AnyOptimizerName>(recipe, role)));
  return A !== B;
}
