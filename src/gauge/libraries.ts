import { scaling } from "../lora/scaling.ts";
import type { HyperOf, OptimizerName } from "../optim/make.ts";
import { hyperOf, type Recipe } from "./recipe.ts";

/** What a library's training can be told, as far as recipes are concerned. */
export interface Library {
  readonly title: string;
  /** `alpha`: s = alpha / r; `raw`: s itself is the setting. */
  readonly multiplier: "alpha" | "raw";
  /** Whether it also divides by sqrt(r). */
  readonly rsLora: boolean;
  /** Whether alpha is a whole number by its type. */
  readonly wholeAlpha?: boolean;
  /** Which hyperparameters A and B may have of their own: all; the learning rate, as a ratio; none. */
  readonly groups: "any" | "ratio" | "none";
  /** Whether its Adam divides the moments by 1 - beta^t. */
  readonly biasCorrection: boolean;
  /** Whether its Adam takes a decay that is added to the gradient. */
  readonly coupledDecay: boolean;
  /** How clipping is set, if at all: the plain global norm. */
  readonly clips?: string;
  /** A recipe in the library's own names. */
  readonly settings: (recipe: Recipe) => { readonly [name: string]: unknown };
  readonly notes: readonly string[];
}

/** Libraries by name. All start A at U(-1/sqrt(in), 1/sqrt(in)) and B at 0, and have no setting for their size. */
export const libraries = {
  loralib: {
    title: "loralib with an optimizer of your own",
    multiplier: "alpha",
    rsLora: false,
    groups: "any",
    biasCorrection: true,
    coupledDecay: true,
    settings: (recipe) => ({ r: recipe.r, lora_alpha: recipe.alpha, lora_dropout: recipe.dropout ?? 0 }),
    notes: [
      "loralib: its defaults are r = 0 (no adapter) and lora_alpha = 1; give both.",
      "loralib: an embedding starts with A = 0 and B random, the other way round than a linear layer.",
    ],
  },
  peft: {
    title: "PEFT with an optimizer of your own",
    multiplier: "alpha",
    rsLora: true,
    wholeAlpha: true,
    groups: "any",
    biasCorrection: true,
    coupledDecay: true,
    settings: peftConfig,
    notes: [
      "PEFT: lora_alpha is 8 by default and does not follow r; give it.",
      "PEFT: pass an optimizer with one group for lora_A and one for lora_B; TrainingArguments has one rate, one eps and one decay for both.",
      "PEFT with Trainer: max_grad_norm is 1 by default; set it to the recipe's threshold, or to 0 where the recipe does not clip.",
    ],
  },
  "peft-loraplus": {
    title: "PEFT with create_loraplus_optimizer",
    multiplier: "alpha",
    rsLora: true,
    wholeAlpha: true,
    groups: "ratio",
    biasCorrection: true,
    coupledDecay: true,
    clips: "max_grad_norm",
    settings: (recipe) => {
      const [A, B] = [hyperOf<OptimizerName>(recipe, "A"), hyperOf<OptimizerName>(recipe, "B")];
      return { ...peftConfig(recipe), lr: A.lr, loraplus_lr_ratio: B.lr / A.lr, ...common(recipe) };
    },
    notes: [
      "PEFT: lora_alpha is 8 by default and does not follow r; give it.",
      "PEFT with Trainer: max_grad_norm is 1 by default; set it to the recipe's threshold, or to 0 where the recipe does not clip.",
    ],
  },
  "peft-trainer": {
    title: "PEFT with TrainingArguments alone",
    multiplier: "alpha",
    rsLora: true,
    wholeAlpha: true,
    groups: "none",
    biasCorrection: true,
    coupledDecay: true,
    clips: "max_grad_norm",
    settings: (recipe) => {
      const { lr, eps, weight_decay } = {
        lr: hyperOf<OptimizerName>(recipe, "A").lr,
        ...common(recipe),
      };
      return {
        ...peftConfig(recipe),
        learning_rate: lr,
        ...(eps !== undefined && { adam_epsilon: eps }),
        ...(weight_decay !== undefined && { weight_decay }),
        max_grad_norm: recipe.clip?.kind === "globalNorm" ? recipe.clip.maxNorm : 0,
      };
    },
    notes: ["PEFT: lora_alpha is 8 by default and does not follow r; give it."],
  },
  "mlx-lm": {
    title: "MLX-LM's lora command",
    multiplier: "raw",
    rsLora: false,
    groups: "none",
    biasCorrection: false,
    coupledDecay: false,
    settings: (recipe) => ({
      lora_parameters: { rank: recipe.r, scale: scaling(recipe).value, dropout: recipe.dropout ?? 0 },
      learning_rate: hyperOf<OptimizerName>(recipe, "A").lr,
      optimizer: recipe.optimizer.name,
      optimizer_config: { [recipe.optimizer.name]: mlxOptions(recipe) },
    }),
    notes: [
      "MLX-LM: scale is the multiplier itself, not alpha; its default with rank 8 is 20, alpha 160. A key alpha has no effect.",
      "MLX-LM: does not clip gradients.",
    ],
  },
} as const satisfies { readonly [name: string]: Library };

export type LibraryName = keyof typeof libraries;

function peftConfig(recipe: Recipe): { readonly [name: string]: unknown } {
  return {
    r: recipe.r,
    lora_alpha: recipe.alpha,
    lora_dropout: recipe.dropout ?? 0,
    use_rslora: recipe.rsLora ?? false,
  };
}

/** MLX's Adam has no weight decay. */
function mlxOptions(recipe: Recipe): { readonly [name: string]: unknown } {
  const { weight_decay, ...rest } = common(recipe);
  return recipe.optimizer.name === "adam"
    ? rest
    : { ...rest, ...(weight_decay !== undefined && { weight_decay }) };
}

/** What is common to A and B, in the names of PyTorch and MLX. */
function common(recipe: Recipe): { readonly eps?: number; readonly weight_decay?: number } {
  // Not all optimizers have them.
  const { eps, weightDecay } = hyperOf<OptimizerName>(recipe, "A") as Partial<HyperOf["adamw"]>;
  return {
    ...(eps !== undefined && { eps }),
    ...(weightDecay !== undefined && { weight_decay: weightDecay }),
  };
}
