import { ValueError } from "../../base/errors.ts";
import { factor, hyperOf, type Recipe, type RecipeOf } from "../../gauge/index.ts";
import { inject, roleOf } from "../../lora/index.ts";
import { adamw, type OptimizerName, schedule } from "../../optim/index.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import { asPredicted, compare } from "./compare.ts";
import { Corpus, type Text, vocabularyOf } from "./corpus.ts";
import { adapted, languageModel, sizes } from "./model.ts";
import { type PlannedRun, plan } from "./plan.ts";
import type { Comparison, GroupFacts, Results, RunResult } from "./results.ts";
import { type Trained, trainModel } from "./train.ts";

/** Two texts, ready for training. */
export interface Material {
  readonly vocabulary: Uint8Array;
  readonly base: Corpus;
  readonly target: Corpus;
}

/**
 * Turns texts into tokens of one vocabulary.
 *
 * @throws ValueError for a text that is too short, or texts with fewer different bytes than adapters have ranks.
 */
export function prepare(base: Text, target: Text): Material {
  const vocabulary = vocabularyOf([base, target]);
  const material = {
    vocabulary,
    base: new Corpus(base, vocabulary, sizes.context),
    target: new Corpus(target, vocabulary, sizes.context),
  };
  const rank = Math.max(...plan.map(({ recipe }) => recipe.r));
  if (vocabulary.length < rank) {
    throw new ValueError(
      `${base.name}, ${target.name}: only ${vocabulary.length} different bytes occur in the texts; at least ${rank} are ` +
        "needed, the rank of the adapters. Give richer texts.",
    );
  }
  return material;
}

export interface ProveOptions {
  /** Gives the initial values and the batches. */
  readonly seed: number;
  /** Steps of each fine-tuning; the base model learns five times as long, up to 1000 steps. */
  readonly steps: number;
  /** The runs, each after its reference. Default: those of `plan.ts`. */
  readonly runs?: readonly PlannedRun[];
  /** Called after each step with the work done, all work, and the name of the run; may throw to end the job. */
  readonly onStep?: (done: number, total: number, what: string) => Promise<void>;
}

/** How often a fine-tuning is validated, after its start. */
const validations = 20;

/** What `prove` finds; the caller adds where and when. */
export type Findings = Omit<Results, "format" | "lorantz" | "device" | "seconds">;

/** Training of the base model: its steps given those of a fine-tuning, and the learning rate at its start. */
const baseTraining = { steps: (fineTuning: number) => Math.min(5 * fineTuning, 1000), lr: 4e-3 };

/**
 * Trains a language model on the base text, freezes it, and fine-tunes it on the target text by every recipe of
 * the plan: the same batches in the same order and the same random numbers for A each time. Compares each run
 * with its reference.
 */
export async function prove(
  { vocabulary, base, target }: Material,
  options: ProveOptions,
): Promise<Findings> {
  const { seed, steps, runs: planned = plan, onStep } = options;
  const root = key(seed);
  const baseSteps = baseTraining.steps(steps);
  const total = baseSteps + planned.length * steps;
  let done = 0;
  const ticker = (what: string) => async () => {
    done++;
    await onStep?.(done, total, what);
  };

  const model = languageModel(vocabulary.length);
  const trained = await trainModel({
    model,
    optimizer: adamw({ lr: baseTraining.lr, schedule: schedule.cosine({ tMax: baseSteps }) }),
    params: await tree.evaluate(model.init(root.fold("base"))),
    batches: await base.batches(root.fold("base batches"), baseSteps, sizes.batch),
    validation: base.validationBatch(sizes.validation),
    every: baseSteps,
    snapshotSteps: [],
    onStep: ticker("base model"),
  });

  const batches = await target.batches(root.fold("target batches"), steps, sizes.batch);
  const validation = target.validationBatch(sizes.validation);
  const measured = new Map<string, { readonly number: number; readonly trained: Trained }>();
  const runs: RunResult[] = [];
  let trainableCount = 0;
  for (const next of planned) {
    const number = runs.length + 1;
    const injected = inject(model, { ...next.recipe, targetModules: adapted });
    // The same random numbers for every recipe, times its initial scale.
    const params = await tree.evaluate(injected.init(key(seed).fold("adapters"), trained.params));
    const result = await trainModel({
      model: injected,
      recipe: explicit(next.recipe),
      params,
      batches,
      validation,
      every: Math.ceil(steps / validations),
      snapshotSteps: [Math.ceil(steps / 2), steps],
      onStep: ticker(next.name),
    });
    trainableCount = tree.count(result.trained);
    tree.dispose(result.trained);
    runs.push(describeRun(number, next, result, measured));
    measured.set(next.name, { number, trained: result });
  }

  const comparisons = runs.flatMap(({ comparison }) => (comparison ? [comparison] : []));
  const held = comparisons.filter((comparison) => comparison.asPredicted).length;
  return {
    seed,
    steps,
    texts: { base: facts(base.text), target: facts(target.text) },
    model: {
      ...{ context: sizes.context, embedding: sizes.embedding, hidden: sizes.hidden, batch: sizes.batch },
      vocabulary: vocabulary.length,
      parameters: tree.count(trained.params),
      trainable: trainableCount,
    },
    pretraining: { steps: baseSteps, validation: trained.validation },
    runs,
    laws: { held, broken: comparisons.length - held },
  };
}

/**
 * The recipe with A and B in groups of their own, whether or not they differ, so that all recipes of an optimizer
 * run the same program.
 */
function explicit(recipe: Recipe): Recipe {
  const groups = { A: hyperOf<OptimizerName>(recipe, "A"), B: hyperOf<OptimizerName>(recipe, "B") };
  return { ...recipe, groups } as Recipe; // hyperparameters of the recipe's own optimizer
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

function facts({ name, bytes }: Text) {
  return { name, bytes: bytes.length };
}
