import { factor, hyperOf, type Recipe, type RecipeOf } from "../../gauge/index.ts";
import { inject, roleOf, type Targets } from "../../lora/index.ts";
import type { DecoderInput, DecoderOutput } from "../../models/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { type Batch, batches, type Dataset } from "../../text/index.ts";
import { languageLoss } from "../../train/index.ts";
import { explicit } from "../recipes.ts";
import { asPredicted, compare } from "./compare.ts";
import { type PlannedRun, plan } from "./plan.ts";
import type { Comparison, Findings, GroupFacts, RunResult } from "./results.ts";
import { type Trained, trainModel } from "./train.ts";

/** A frozen model, and the examples that it is fine-tuned on. */
export interface Subject {
  /** For the report. */
  readonly name: string;
  readonly family: string;
  readonly model: Layer<Params, DecoderInput, DecoderOutput>;
  readonly params: Params;
  readonly data: Dataset;
  readonly targetModules: Targets;
  /** Examples of a batch. */
  readonly batch: number;
}

export interface ProveOptions {
  /** Gives the initial values and the batches. */
  readonly seed: number;
  /** Steps of each fine-tuning. */
  readonly steps: number;
  /** The runs, each after its reference. Default: those of `plan.ts`. */
  readonly runs?: readonly PlannedRun[];
  /** Called after each step with the work done, all work, and the name of the run; may throw to end the job. */
  readonly onStep?: (done: number, total: number, what: string) => Promise<void>;
}

/** The share of the examples that the validation loss is of, and how many batches of it at most. */
const heldOutShare = 0.1;
const heldOutBatches = 2;

/** How often a fine-tuning is validated, after its start. */
const validations = 20;

/** Examples to learn from, and batches of others. */
export async function parted(
  data: Dataset,
  size: number,
): Promise<{ readonly learned: Dataset; readonly heldOut: Dataset; readonly validation: readonly Batch[] }> {
  const [learned, heldOut] = data.split(heldOutShare);
  const unseen = await batches(heldOut, { size });
  const validation: Batch[] = [];
  for (let i = 0; i < Math.min(unseen.count!, heldOutBatches); i++) validation.push(await unseen.at(i));
  return { learned, heldOut, validation };
}

/**
 * Fine-tunes a frozen model on examples by every recipe of the plan: the same batches in the same order and the same random
 * numbers for A each time, times the recipe's initial scale. Compares each run with its reference.
 */
export async function prove(subject: Subject, options: ProveOptions): Promise<Findings> {
  const { name, family, model, params: base, data, targetModules, batch } = subject;
  const { seed, steps, runs: planned = plan, onStep } = options;
  const { learned, heldOut, validation } = await parted(data, batch);
  const order = await batches(learned, { size: batch, seed });
  const measured = new Map<string, { readonly number: number; readonly trained: Trained }>();
  const runs: RunResult[] = [];
  let [trainable, done] = [0, 0];
  for (const next of planned) {
    const number = runs.length + 1;
    const adapted = inject(model, { ...next.recipe, targetModules });
    const result = await trainModel({
      loss: languageLoss(adapted),
      recipe: explicit(next.recipe),
      params: await tree.evaluate(adapted.init(key(seed).fold("adapters"), base)),
      batches: order,
      steps,
      validation,
      every: Math.ceil(steps / validations),
      snapshotSteps: [Math.ceil(steps / 2), steps],
      onStep: async () => onStep?.(++done, planned.length * steps, next.name),
    });
    trainable = tree.count(result.trained);
    tree.dispose(result.trained);
    runs.push(describeRun(number, next, result, measured));
    measured.set(next.name, { number, trained: result });
  }
  const comparisons = runs.flatMap(({ comparison }) => (comparison ? [comparison] : []));
  const held = comparisons.filter((comparison) => comparison.asPredicted).length;
  return {
    seed,
    steps,
    model: {
      name,
      family,
      data: data.name,
      examples: data.length,
      heldOut: heldOut.length,
      targetModules: targetModules === "all-linear" ? targetModules : targetModules.map(String),
      batch,
      context: order.lengths.at(-1)!,
      parameters: tree.count(base),
      trainable,
    },
    runs,
    laws: { held, broken: comparisons.length - held },
  };
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
