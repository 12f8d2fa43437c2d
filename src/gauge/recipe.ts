import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import type { AdapterConfig } from "../lora/config.ts";
import type { KindOptions } from "../lora/kinds/index.ts";
import { type Role, rolesOf } from "../lora/roles.ts";
import type { AnyHyperOf, AnyOptimizerName } from "../optim/make.ts";
import { make, type OptimizerConfig } from "../optim/make.ts";
import type { ScheduleConfig } from "../optim/schedule.ts";

/** A number for all parameters, or one for each role that is trained. */
export type PerRole = number | { readonly [R in Role]?: number };

/** What is done to gradients before the optimizer sees them. */
export type Clip =
  /**
   * All gradients times `min(1, maxNorm / (norm + eps))`. With `weights` the norm is
   * `sqrt(sum of weight^2 |g|^2)`, a role that is not named having weight 1; weights of 1 are the plain norm.
   */
  | {
      readonly kind: "globalNorm";
      readonly maxNorm: number;
      readonly eps?: number;
      readonly weights?: { readonly [R in Role]?: number };
    }
  /** Each gradient times `min(1, maxNorm / (its norm + eps))`. */
  | { readonly kind: "tensorNorm"; readonly maxNorm: PerRole; readonly eps?: PerRole }
  /** Every element from `-maxValue` to `maxValue`. */
  | { readonly kind: "value"; readonly maxValue: PerRole };

/**
 * All numbers of a LoRA fine-tuning that a gauge acts on, as plain data: the adapter, the optimizer with what
 * differs by role, and clipping. Optimizers of pairs, such as "scaledSgd", train A and B of each layer and nothing else. Fit for `lora.inject(model, { ...recipe, targetModules })` and for
 * `gauge.optimizerOf(recipe)`.
 */
export type Recipe<N extends AnyOptimizerName = AnyOptimizerName> = {
  readonly [K in N]: RecipeOf<K>;
}[N];

type Ending = "warmupLinear" | "warmupCosine";

/** A schedule as plain data; one that comes down to 0 may do so at the end of the run, whenever that is. */
export type RecipeSchedule =
  | Exclude<ScheduleConfig, { readonly kind: Ending }>
  | { readonly kind: Ending; readonly warmup: number; readonly total: number | "end" };

/** The kinds of layers that adapters are put on; a convolution is like a linear one. */
export type AdaptedKind = "linear" | "embedding";

export interface RecipeOf<N extends AnyOptimizerName> extends AdapterConfig {
  /**
   * The kinds of layers that have adapters; an embedding starts with A = 0 and B random, the other way round than a
   * linear layer. Default `["linear"]`.
   */
  readonly adapts?: readonly AdaptedKind[];
  /** The optimizer's name, `lr`, and other hyperparameters where they differ from the optimizer's defaults. */
  readonly optimizer: { readonly name: N; readonly lr: number } & Partial<Omit<AnyHyperOf[N], "lr">>;
  /** Hyperparameters of a role where they differ from `optimizer`. */
  readonly groups?: { readonly [R in Role]?: Partial<AnyHyperOf[N]> };
  /** How the learning rate goes, as plain data. Default constant. Every gauge leaves it as it is. */
  readonly schedule?: RecipeSchedule;
  /** Which parameters are trained. Default those of the adapter: A and B, a branch bias, the magnitudes of DoRA. */
  readonly trained?: readonly Role[];
  readonly clip?: Clip;
  /**
   * The optimizer keeps its state in 8 bits, rounded block by block, as bitsandbytes does. A run of its own: such recipes are
   * compared and converted, not trained here. Default false.
   */
  readonly eightBitStates?: boolean;
}

/** Checks that a value is a recipe by its look; `checkRecipe` reads every field. */
export function expectRecipe(operation: string, value: unknown): void {
  const { optimizer } = (value ?? {}) as { readonly optimizer?: unknown }; // whatever it is
  const { name } = (optimizer ?? {}) as { readonly name?: unknown };
  if (typeof name === "string") return;
  const given =
    typeof value === "object" && value !== null
      ? `its optimizer is ${show(optimizer)}`
      : `given ${show(value)}`;
  throw new ValueError(
    `${operation}: takes a recipe such as { r: 8, alpha: 16, optimizer: { name: "adamw", lr: 2e-4 } }; ${given}.`,
  );
}

/** The roles that a recipe trains. */
export function trainedRoles({
  trained,
  ...options
}: Pick<Recipe, "trained" | keyof KindOptions>): readonly Role[] {
  return trained ?? rolesOf(options);
}

/** The kinds of layers that a recipe puts adapters on. */
export function adapts({ adapts = ["linear"] }: Pick<Recipe, "adapts">): readonly AdaptedKind[] {
  return adapts;
}

/**
 * All hyperparameters of a role, defaults filled in.
 *
 * @throws ValueError as the optimizer does.
 * @example
 * hyperOf({ r: 8, alpha: 16, optimizer: { name: "adamw", lr: 1e-3 }, groups: { B: { lr: 1e-2 } } }, "B").lr; // 0.01
 */
export function hyperOf<N extends AnyOptimizerName>(recipe: RecipeOf<N>, role: Role): AnyHyperOf[N] {
  // One name and the numbers of that name: the union of recipes keeps them together.
  const config = { ...recipe.optimizer, ...recipe.groups?.[role] } as OptimizerConfig;
  return make(config).defaults as AnyHyperOf[N];
}

/**
 * The number of a role.
 *
 * @throws ValueError if the role has none.
 */
export function numberOf(name: string, value: PerRole, role: Role): number {
  const own = typeof value === "number" ? value : value[role];
  if (own === undefined)
    throw new ValueError(
      `gauge: ${name} has no number for ${role}, which is trained. Give one for each trained role, or one number for all.`,
    );
  return own;
}
