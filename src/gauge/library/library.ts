import type { Field } from "../../base/arguments.ts";
import type { Role } from "../../lora/roles.ts";
import type { AnyOptimizerName } from "../../optim/make.ts";
import type { AdaptedKind } from "../recipe.ts";

// A library described as data: which settings it has, what each of them is in a recipe, and what it is when nobody
// sets it. Writing and reading settings are one function each for all libraries (`write.ts`, `read.ts`).

/** What a setting is in a recipe. */
export type Meaning =
  | "r"
  | "alpha"
  /** The multiplier itself, alpha / r. */
  | "scale"
  | "rsLora"
  | "dropout"
  | "init"
  /** The standard deviation of a gaussian A. */
  | "initStd"
  | "dora"
  | "branchBias"
  /** The optimizer, by the library's name for it. */
  | "optimizer"
  /** The rate of B over that of A. */
  | "ratio"
  /** The kind of schedule, the updates of its warm-up, and all updates. */
  | "schedule"
  | "warmup"
  /** The share of all updates that the warm-up takes, where `warmup` is 0. */
  | "warmupShare"
  | "total"
  /** Epochs, which decide how many updates there are where they are given. */
  | "epochs"
  /** The threshold of the plain global norm; 0 where nothing is clipped. */
  | "maxNorm"
  /** A hyperparameter, where the optimizer that is chosen reads it. */
  | "hyper";

export interface Setting {
  readonly is: Meaning;
  /** Which values it takes, and the one that it has when it is left out. */
  readonly field: Field<unknown>;
  /** Values of the library that are other ones here; a value that is not among them cannot be said in a recipe. */
  readonly words?: { readonly [theirs: string]: unknown };
  /** What null is, where it is not the default: a norm of null does not clip. */
  readonly nullIs?: unknown;
  readonly says: string;
}

/** How a library makes a number of updates of what is said of its warm-up. */
export interface WarmupRule {
  /** How a share of all updates is rounded. */
  readonly rounds: "floor" | "ceil";
  /** Whether updates below 1 are a share. */
  readonly below1?: true;
  /** Whether a share acts only where no updates are given, not even 0. */
  readonly unlessGiven?: true;
  /** The most updates that the share makes which is the default. */
  readonly most?: number;
  /** Updates that are other ones. */
  readonly instead?: { readonly [updates: number]: number };
  /** Whether a constant schedule takes no warm-up beside it; otherwise it has no effect there. */
  readonly notConstant?: true;
}

/** An optimizer of a library. */
export interface TheirOptimizer {
  readonly is: AnyOptimizerName;
  /** Hyperparameters that it has for good. */
  readonly fixed?: { readonly [hyper: string]: unknown };
  /**
   * Where each hyperparameter is set: `"betas.0": "adam_beta1"`. A place `"optim_args:momentum"` is one of the pairs
   * in a setting that holds pairs. What is not named here is not read.
   */
  readonly places: { readonly [hyper: string]: string };
  /** Values at places that have none in `settings`, such as pairs, when they are left out. */
  readonly defaults?: { readonly [place: string]: unknown };
  /** Whether it keeps its state in 8 bits. */
  readonly eightBitStates?: boolean;
}

/** A library, or a tool, as far as recipes are concerned. */
export interface Library {
  readonly title: string;
  /** The version whose defaults these are, and where they were read. */
  readonly version: string;
  readonly source: readonly string[];
  /** The setting that says which version wrote the others, and since which version these defaults hold. */
  readonly written?: { readonly at: string; readonly since: string };
  /** Its settings by their place, `"lora_parameters.rank"`. */
  readonly settings: { readonly [place: string]: Setting };
  readonly warmup?: WarmupRule;
  /** Settings that hold pairs: as one text `a=1,b=2`, or as a list of such texts. */
  readonly pairs?: { readonly [place: string]: "text" | "list" };
  /** Its optimizers by their names; the first one of an `is` is written. */
  readonly optimizers: { readonly [name: string]: TheirOptimizer };
  /** Whether it takes the names of optimizers in any case. */
  readonly anyCase?: boolean;
  /** Which hyperparameters A and B may have of their own: all, in code of the user; the rate, as a ratio; none. */
  readonly groups: "any" | "ratio" | "none";
  /** Roles that get no decay, whatever is set. */
  readonly noDecay?: readonly Role[];
  /** What it has for good, in a recipe: how A starts, alpha. */
  readonly fixed?: { readonly [field: string]: unknown };
  /** The kind of schedule that it has for good. */
  readonly schedule?: "warmupCosine";
  readonly adapts: readonly AdaptedKind[];
  /** Settings without which it does something else, with their values, and what it does. */
  readonly needs?: { readonly [place: string]: { readonly value: unknown; readonly otherwise: string } };
  /** Settings that have nothing to do with a recipe: names, or beginnings of names that end in a star. */
  readonly others: readonly string[];
  /** Settings of other versions and those that mislead, with what to do. */
  readonly refused: { readonly [place: string]: string };
  /** Values at which the setting of that name is passed over: `{ bias: "none" }`; others cannot be said in a recipe. */
  readonly only?: { readonly [place: string]: readonly unknown[] };
  /** Settings beside the defaults that make a whole recipe, as its documentation shows them. */
  readonly example: { readonly [place: string]: unknown };
  readonly notes: readonly string[];
}

/** By what defaults settings are read, for readers. */
export function readWith({ title, version }: Library): string {
  return `Read with the defaults of ${title}, version ${version}.`;
}
