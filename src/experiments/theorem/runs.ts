import { factor, hyperOf, type Recipe, type RecipeOf } from "../../gauge/index.ts";
import { inject, roleOf, type Targets } from "../../lora/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import type { GivenBatches, Loss } from "../../train/index.ts";
import { explicit } from "../recipes.ts";
import { asPredicted, compare } from "./compare.ts";
import type { PlannedRun } from "./plan.ts";
import type { Comparison, GroupFacts, Results, RunResult } from "./results.ts";
import { type Trained, trainModel } from "./train.ts";

/** A frozen model, and what it is fine-tuned on by every recipe of a plan. */
export interface Subject<X, Y, B> {
  readonly model: Layer<Params, X, Y>;
  readonly params: Params;
  readonly targetModules: Targets;
  /** The loss of the model once it has adapters. */
  readonly lossOf: (model: Layer<Params, X, Y>) => Loss<Params, B>;
  readonly batches: GivenBatches<B>;
  readonly validation: readonly B[];
  readonly seed: number;
  readonly steps: number;
  readonly runs: readonly PlannedRun[];
  /** What is called after each step of a run. */
  readonly ticker: (run: string) => () => Promise<void>;
}

/** How often a fine-tuning is validated, after its start. */
const validations = 20;

/**
 * Fine-tunes a model by every recipe of a plan: the same batches in the same order and the same random numbers for A each
 * time, times the recipe's initial scale. Compares each run with its reference.
 */
export async function fineTunings<X, Y, B>(
  subject: Subject<X, Y, B>,
): Promise<Pick<Results, "runs" | "laws"> & { readonly trainable: number }> {
  const { model, params: base, targetModules, lossOf, batches, validation, seed, steps } = subject;
  const measured = new Map<string, { readonly number: number; readonly trained: Trained }>();
  const runs: RunResult[] = [];
  let trainable = 0;
  for (const next of subject.runs) {
    const number = runs.length + 1;
    const adapted = inject(model, { ...next.recipe, targetModules });
    const result = await trainModel({
      loss: lossOf(adapted),
      recipe: explicit(next.recipe),
      params: await tree.evaluate(adapted.init(key(seed).fold("adapters"), base)),
      batches,
      steps,
      validation,
      every: Math.ceil(steps / validations),
      snapshotSteps: [Math.ceil(steps / 2), steps],
      onStep: subject.ticker(next.name),
    });
    trainable = tree.count(result.trained);
    tree.dispose(result.trained);
    runs.push(describeRun(number, next, result, measured));
    measured.set(next.name, { number, trained: result });
  }
  const comparisons = runs.flatMap(({ comparison }) => (comparison ? [comparison] : []));
  const held = comparisons.filter((comparison) => comparison.asPredicted).length;
  return { runs, laws: { held, broken: comparisons.length - held }, trainable };
}

function describeRun(
  number: number,
  { name, family, about, recipe, relation }: PlannedRun,
  trained: Trained,
  measured: ReadonlyMap<string, { readonly number: number; readonly trained: Trained }>,
): RunResult {
  const run = {
    number,
    name,
    family,
    about,
    optimizer: recipe.optimizer.name,
    r: recipe.r,
    alpha: recipe.alpha,
    a: groupFacts(recipe, "A"),
    b: groupFacts(recipe, "B"),
    losses: [...trained.losses],
    validation: trained.validation,
  };
  if (!relation) return run;
  const { gauge, expected } = relation;
  const reference = measured.get(relation.reference)!;
  const findings = compare(trained, reference.trained, (path) => factor(gauge, roleOf(path)));
  const comparison: Comparison = {
    reference: reference.number,
    gauge,
    expected,
    ...findings,
    asPredicted: asPredicted(expected, findings),
  };
  return { ...run, comparison };
}

function groupFacts(recipe: Recipe, role: "A" | "B"): GroupFacts {
  const hyper = hyperOf(recipe as RecipeOf<"sgd" | "adam" | "adamw">, role); // the optimizers of the plan
  const { lr, weightDecay } = hyper;
  return { lr, weightDecay, ...("eps" in hyper && { eps: hyper.eps }) };
}
