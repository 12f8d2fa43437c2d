import {
  type Field,
  field,
  flag,
  fraction,
  integer,
  nonNegative,
  oneOf,
  optional,
  positive,
  required,
} from "../base/arguments.ts";
import { floatDTypes } from "../base/dtype.ts";
import type { AdapterConfig, AdapterInit } from "../lora/config.ts";
import { type KindOptions, kinds } from "../lora/kinds/index.ts";
import { roles } from "../lora/roles.ts";
import { type AnyOptimizerName, anyRule, optimizerNames } from "../optim/make.ts";
import type { ScheduleConfig } from "../optim/schedule.ts";
import type { AdaptedKind, Clip, Recipe } from "./recipe.ts";

// The one description of a recipe: every field with its name, what it takes, its default and a sentence. Checks
// (`check.ts`), recipes as text (`recipe-text.ts`), the options and help of the command line and the table in
// docs/guide-practitioner.md follow from it; TypeScript holds its names and types against those of `Recipe`.

/** One field of a recipe. */
export interface RecipeField<T> extends Field<T> {
  readonly says: string;
}

/** A field for each name of an object type. */
type RecipeFields<H> = { readonly [K in keyof H]-?: RecipeField<Exclude<H[K], undefined>> };

const inits: { readonly [I in AdapterInit]: string } = {
  standard: "A at random, B = 0 (embeddings the other way round)",
  swapped: "A = 0, B at random",
  random: "both at random",
  gaussian: "A normal with standard deviation 1/r, B = 0",
  orthogonal: "orthogonal halves",
  pissa: "singular vectors of the weight",
  olora: "columns of its QR decomposition",
};

function said<T>(says: string, of: Field<T>): RecipeField<T> {
  return { ...of, says };
}

/** A list that names each of some words at most once, and at least one. */
function listOf<T extends string>(words: readonly T[]): Field<readonly T[]> {
  return field(
    `a list that names each at most once of ${words.join(", ")}`,
    (value) =>
      Array.isArray(value) &&
      value.length > 0 &&
      new Set(value).size === value.length &&
      value.every((each) => (words as readonly unknown[]).includes(each)),
  );
}

const kindFields = Object.fromEntries(
  kinds.map(({ option: { name, says } }) => [name, said(says, flag)]),
) as RecipeFields<KindOptions>; // one for each

/** The fields of the adapter, and which layers and parameters are concerned. */
export const adapterFields: RecipeFields<
  Omit<AdapterConfig, "initScale"> & Pick<Recipe, "adapts" | "trained" | "eightBitStates">
> = {
  r: said("The rank", integer(1)),
  alpha: said("The multiplier is alpha / r", positive()),
  rsLora: said("The multiplier is alpha / sqrt(r)", flag),
  dropout: said(
    "The probability with which an entry of the adapter's input is zeroed in training",
    fraction(0),
  ),
  init: said(
    `How A and B start: ${Object.entries(inits)
      .map(([name, says]) => `${name} (${says})`)
      .join(", ")}`,
    oneOf(Object.keys(inits) as AdapterInit[], "standard"),
  ),
  ...kindFields,
  dtype: said(
    "What the adapter's parameters are stored in, which rounds; by default as the weight, float32 where that is shorter",
    optional(oneOf(floatDTypes)),
  ),
  adapts: said("The kinds of layers that have adapters", {
    ...listOf<AdaptedKind>(["linear", "embedding"]),
    otherwise: ["linear"],
  }),
  trained: said("Which parameters are trained; by default those of the adapter", optional(listOf(roles))),
  eightBitStates: said("The optimizer's state is rounded to 8 bits; not trained here", flag),
};

/** Factors on initial values. */
export const initScaleFields: RecipeFields<NonNullable<AdapterConfig["initScale"]>> = {
  A: said("A factor on the initial A", positive(1)),
  B: said("A factor on the initial B", positive(1)),
};

type OfKind<U extends { readonly kind: string }, K> = U extends unknown
  ? K extends U["kind"]
    ? Omit<U, "kind">
    : never
  : never;
const end: Field<number | "end"> = field(
  'a whole number >= 1, or "end", the last update of the run',
  (value) => value === "end" || (Number.isSafeInteger(value) && (value as number) >= 1),
);
const warmup = said("Updates of the warm-up", required);
const total = said("Updates until the rate is 0", end);
const etaMinFraction = said("The last factor", nonNegative(0));

/** The fields of each kind of schedule. */
export const scheduleFields: {
  readonly [K in ScheduleConfig["kind"]]: RecipeFields<OfKind<NonNullable<Recipe["schedule"]>, K>>;
} = {
  constant: {},
  cosine: { tMax: said("Updates of half a cosine", integer(1)), etaMinFraction },
  cosineRestarts: {
    period: said("Updates of the first half cosine", integer(1)),
    multiplier: said("By how much the next ones are longer", integer(1, Infinity, 1)),
    etaMinFraction,
  },
  warmupConstant: { warmup },
  warmupLinear: { warmup, total },
  warmupCosine: { warmup, total },
  step: {
    stepSize: said("Updates of a step", integer(1)),
    gamma: said("The factor from step to step", required),
  },
  exponential: { gamma: said("The factor from update to update", required) },
  oneCycle: {
    totalSteps: said("Updates of the cycle", integer(1)),
    pctStart: said("The share in which the rate rises", fraction(0.3)),
    divFactor: said("The first factor is 1 over this", positive(25)),
    finalDivFactor: said("The last one is this much smaller", positive(1e4)),
    annealing: said("The shape", oneOf(["cos", "linear"], "cos")),
    threePhase: said("Come down as slowly as up", flag),
  },
};

/** The fields of each kind of clipping; those in `perRole` take a number for each role as well. */
export const clipFields: {
  readonly [K in Clip["kind"]]: { readonly [name: string]: RecipeField<number> };
} = {
  globalNorm: {
    maxNorm: said("The threshold of the norm of all gradients", positive()),
    eps: said("Added to the norm", nonNegative(1e-6)),
  },
  tensorNorm: {
    maxNorm: said("The threshold of each gradient's norm", positive()),
    eps: said("Added to the norm", nonNegative(1e-6)),
  },
  value: { maxValue: said("The largest element", positive()) },
};

/** What the hyperparameters of optimizers are; what they take is for each optimizer to say. */
const hyperSays: { readonly [name: string]: string } = {
  lr: "The learning rate",
  betas: "The decay rates of the moments",
  eps: "Added to the root of the second moment",
  weightDecay:
    "The decay: added to the gradient, or decoupled in adamw, lion, lamb, adafactor, scaledAdamw, loraRite and loraMuon",
  momentum: "The share of the velocity that stays",
  dampening: "The velocity takes 1 - dampening of each gradient",
  nesterov: "Look ahead",
  decoupledWeightDecay: "Decay leaves the gradient alone",
  amsgrad: "Divide by the largest second moment so far",
  epsInsideRoot: "Add eps before the root is taken",
  biasCorrection: "Divide the moments by 1 - beta^t",
  decayTimesLr: "Decay is multiplied by the rate",
  momentumDecay: "How fast the momentum rises",
  lrUnrectified: "The rate of RAdam's first updates",
  alpha: "The decay rate of the second moment",
  centered: "Divide by the root of the variance",
  lrDecay: "The rate of update t is lr / (1 + (t - 1) lrDecay)",
  initialAccumulatorValue: "What the sums of squares start from",
  rho: "The decay rate of both averages",
  epsGradient: "Added to squared gradients or to their average",
  epsParameter: "The least size of a parameter that the step is a share of",
  decayRate: "Averages of update t forget the share t^-decayRate",
  clipThreshold: "Updates with a larger root of the mean square are shortened to it",
  scaleParameter: "The step is a share of the parameter's size",
  epsUpdate: "Added to the average of squared updates",
  etas: "Factors on a step that turns, and on one that does not",
  stepSizes: "The least and the largest step",
  reg: "Added to the diagonal of the Gram matrix of the other factor",
};

/** The name of an optimizer. */
export const optimizerName: RecipeField<AnyOptimizerName> = said("The optimizer", oneOf([...optimizerNames]));

/** The hyperparameters of an optimizer. */
export function hyperFields(name: AnyOptimizerName): { readonly [hyper: string]: RecipeField<unknown> } {
  const fields = anyRule(name).fields as { readonly [hyper: string]: Field<unknown> };
  return Object.fromEntries(
    Object.entries(fields).map(([hyper, of]) => [hyper, said(hyperSays[hyper] ?? hyper, of)]),
  );
}

/** One field in the flat form of recipes, as text and options have it. */
export interface FlatField {
  /** `"alpha"`, `"lr"`, `"initScale.A"`, `"schedule.warmup"`. */
  readonly key: string;
  readonly expected: string;
  readonly otherwise: string;
  readonly says: string;
  /** Whether it may be given for a role alone, `lr.A`. */
  readonly perRole: boolean;
}

/** The fields of all recipes in their flat form, in the order in which they are shown. */
export const flatFields: readonly FlatField[] = (() => {
  const rows: FlatField[] = [];
  const row = (key: string, { expected, otherwise, says }: RecipeField<unknown>, perRole = false) =>
    rows.push({ key, expected, says, perRole, otherwise: otherwise === undefined ? "" : shown(otherwise) });
  row("optimizer", optimizerName);
  for (const [key, each] of Object.entries(adapterFields)) row(key, each);
  for (const [role, each] of Object.entries(initScaleFields)) row(`initScale.${role}`, each);
  const hypers = new Map<string, RecipeField<unknown>>();
  for (const name of optimizerNames)
    for (const [hyper, each] of Object.entries(hyperFields(name))) {
      const known = hypers.get(hyper) ?? each;
      // A default that differs is none of all.
      const { otherwise, ...bare } = known;
      const same = shown(otherwise) === shown(each.otherwise);
      const says = `${hyperSays[hyper]}; the default depends on the optimizer`;
      hypers.set(hyper, same ? known : { ...bare, says });
    }
  hypers.delete("alpha"); // RMSprop's, in JSON only: alpha is the adapter's
  for (const [hyper, each] of hypers) row(hyper, each, true);
  const nested = (
    prefix: string,
    says: string,
    kinds: { readonly [kind: string]: { readonly [name: string]: RecipeField<unknown> } },
  ) => {
    row(prefix, said(says, oneOf(Object.keys(kinds))));
    const all = new Map(Object.values(kinds).flatMap((fields) => Object.entries(fields)));
    for (const [name, each] of all) row(`${prefix}.${name}`, each);
  };
  nested("schedule", "The kind of schedule", scheduleFields);
  nested("clip", "The kind of clipping", clipFields);
  return rows;
})();

function shown(value: unknown): string {
  return value === undefined ? "" : Array.isArray(value) ? value.join(", ") : String(value);
}

/** The fields as a table in Markdown, for the docs. */
export function fieldTable(): string {
  const cell = (text: string) => text.replaceAll("|", "\\|");
  return [
    "| key | takes | default | what it is |",
    "| --- | --- | --- | --- |",
    ...flatFields.map(
      ({ key, expected, otherwise, says }) =>
        `| \`${key}\` | ${cell(expected)} | ${otherwise === "" ? "" : `\`${otherwise}\``} | ${cell(says)} |`,
    ),
  ].join("\n");
}
