import {
  apply,
  bitwise,
  common,
  type Gauge,
  of,
  onlyB,
  type Recipe,
  type RecipeOf,
} from "../../gauge/index.ts";
import type { Expectation } from "./results.ts";

/** A run of the job: a recipe, and what it is compared with. */
export interface PlannedRun {
  readonly name: string;
  readonly family: string;
  /** One sentence: what was changed. */
  readonly about: string;
  readonly recipe: Recipe;
  /** Absent for a reference. */
  readonly relation?: {
    /** Name of an earlier run. */
    readonly reference: string;
    /** How this run's alpha, A and B lie to those of the reference. */
    readonly gauge: Gauge;
    readonly expected: Expectation;
  };
}

/** Losses of runs that are the same to rounding deviate by less than this (measured: 1e-7) ... */
const rounding = 1e-5;

/** ... and losses of runs that are not the same by more than this, somewhere (measured after 20 steps: 1.4e-3). */
const different = { kind: "different", bound: 1e-4 } as const;

/** The reference recipe. Decay and eps are large enough to matter, and the scaling is not 1. */
const adamw = {
  r: 8,
  alpha: 16,
  optimizer: { name: "adamw", lr: 2e-3, weightDecay: 1, eps: 1e-4 },
} as const satisfies Recipe;

const sgd: Recipe = {
  r: 8,
  alpha: 16,
  optimizer: { name: "sgd", lr: 0.02, momentum: 0.9, weightDecay: 1e-3 },
};

/** The two runs that are called equal because alpha times the learning rate is. */
const runX = {
  r: 8,
  alpha: 1,
  optimizer: { name: "adamw", lr: 0.00512, eps: 1e-8, weightDecay: 0.01 },
} as const satisfies Recipe;
const runY: Recipe = { ...runX, alpha: 512, optimizer: { ...runX.optimizer, lr: 1e-5 } };

const families = {
  adamw: "AdamW: one recipe and its gauges",
  sgd: "The rule of SGD, under SGD and under AdamW",
  article: "Equal products of alpha and learning rate",
};

/** How a factor is written: 4, 1/16. */
function times(k: number): string {
  return k < 1 ? `1/${1 / k}` : String(k);
}

function partner(name: string, gauge: Gauge, about: string): PlannedRun {
  return {
    name,
    family: families.adamw,
    about,
    recipe: apply<Recipe>(gauge, adamw),
    relation: {
      reference: "AdamW reference",
      gauge,
      expected: bitwise(gauge) ? { kind: "bitwise" } : { kind: "rounding", bound: rounding },
    },
  };
}

/** A partner of the AdamW reference with one number of B left as it was. */
function left(field: "eps" | "weightDecay", words: string): PlannedRun {
  const k = 32;
  const gauge = onlyB(k);
  const exact = apply<RecipeOf<"adamw">>(gauge, adamw);
  return {
    name: `B only, alpha x ${k}, ${words} not`,
    family: families.adamw,
    about: `As B only with alpha times ${k}, but ${words} of B is left as in the reference: the rule needs it.`,
    recipe: {
      ...exact,
      groups: { ...exact.groups, B: { ...exact.groups?.B, [field]: adamw.optimizer[field] } },
    },
    relation: { reference: "AdamW reference", gauge, expected: { ...different, bound: rounding } },
  };
}

const sgdFactor = 16;

/** Every run, each after its reference. */
export const plan: readonly PlannedRun[] = [
  {
    name: "AdamW reference",
    family: families.adamw,
    about: "Rank 8, alpha 16, learning rate 2e-3, weight decay 1, eps 1e-4.",
    recipe: adamw,
  },
  ...[1 / 16, 4, 256].map((k) =>
    partner(
      `common factor, alpha x ${times(k)}`,
      common(k),
      `Alpha times ${times(k)}; initial A and both learning rates divided by its square root, eps and decay multiplied by it.`,
    ),
  ),
  ...[1 / 16, 2, 32].map((k) =>
    partner(
      `B only, alpha x ${times(k)}`,
      onlyB(k),
      `Alpha times ${times(k)}; only B follows: its learning rate divided by that, its eps and decay multiplied by it.`,
    ),
  ),
  partner(
    "common factor, alpha x 3",
    common(3),
    "The common factor for a number that is no power of two: equal to rounding only.",
  ),
  partner(
    "a = 0.37, b = 1.9",
    of({ a: 0.37, b: 1.9 }),
    "A gauge with two different factors that are no powers of two.",
  ),
  left("eps", "eps"),
  left("weightDecay", "decay"),
  {
    name: "SGD reference",
    family: families.sgd,
    about: "Rank 8, alpha 16, learning rate 0.02, momentum 0.9, weight decay 1e-3.",
    recipe: sgd,
  },
  {
    name: `SGD, alpha x ${sgdFactor}, lr / ${sgdFactor}`,
    family: families.sgd,
    about: `Alpha times ${sgdFactor}, learning rate divided by ${sgdFactor}, initial A divided by ${Math.sqrt(sgdFactor)}, decay times ${sgdFactor}.`,
    recipe: apply(common(sgdFactor), sgd),
    relation: { reference: "SGD reference", gauge: common(sgdFactor), expected: { kind: "bitwise" } },
  },
  {
    name: `AdamW, alpha x ${sgdFactor}, lr / ${sgdFactor}`,
    family: families.sgd,
    about:
      "The rule of SGD put to AdamW, against the AdamW reference: the learning rate should be divided by the square root.",
    recipe: {
      ...adamw,
      alpha: sgdFactor * adamw.alpha,
      initScale: { A: 1 / Math.sqrt(sgdFactor) },
      optimizer: {
        ...adamw.optimizer,
        lr: adamw.optimizer.lr / sgdFactor,
        weightDecay: sgdFactor * adamw.optimizer.weightDecay,
      },
    },
    relation: { reference: "AdamW reference", gauge: common(sgdFactor), expected: different },
  },
  {
    name: "X: alpha 1, lr 0.00512",
    family: families.article,
    about: "Rank 8, alpha 1, learning rate 0.00512, PyTorch's eps 1e-8 and decay 0.01.",
    recipe: runX,
  },
  {
    name: "X's partner at alpha 512",
    family: families.article,
    about: "The exact partner of X: A keeps its learning rate; B has 1e-5, eps 512e-8 and decay 512 * 0.01.",
    recipe: { ...runX, alpha: 512, groups: { B: { lr: 1e-5, eps: 512 * 1e-8, weightDecay: 512 * 0.01 } } },
    relation: { reference: "X: alpha 1, lr 0.00512", gauge: onlyB(512), expected: { kind: "bitwise" } },
  },
  {
    name: "Y: alpha 512, lr 1e-5",
    family: families.article,
    about:
      "Said to be X, since alpha times the learning rate is equal: B moves as in X at first, A 512 times less.",
    recipe: runY,
    relation: { reference: "X: alpha 1, lr 0.00512", gauge: onlyB(512), expected: different },
  },
  {
    name: "Y as LoRA+ at alpha 1",
    family: families.article,
    about: "What Y is: alpha 1 and LoRA+ with ratio 512, with eps and decay of B divided by 512.",
    recipe: {
      ...runY,
      alpha: 1,
      groups: { B: { lr: 512 * 1e-5, eps: 1e-8 / 512, weightDecay: 0.01 / 512 } },
    },
    relation: { reference: "Y: alpha 512, lr 1e-5", gauge: onlyB(1 / 512), expected: { kind: "bitwise" } },
  },
];
