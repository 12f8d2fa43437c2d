import { ValueError } from "../../base/errors.ts";
import { crossEntropy } from "../../nn/index.ts";
import type { Layer, Params } from "../../nn/layer.ts";
import { adamw, schedule } from "../../optim/index.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import type { Loss } from "../../train/index.ts";
import { type Batch, Corpus, type Text, vocabularyOf } from "./corpus.ts";
import { adapted, languageModel, sizes } from "./model.ts";
import { type PlannedRun, plan } from "./plan.ts";
import type { Findings } from "./results.ts";
import { fineTunings } from "./runs.ts";
import { trainModel } from "./train.ts";

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
  const lossOf =
    (layer: Layer): Loss<Params, Batch> =>
    (params, { x, y }) =>
      crossEntropy(layer.apply(params, x), y);
  const trained = await trainModel({
    loss: lossOf(model),
    optimizer: adamw({ lr: baseTraining.lr, schedule: schedule.cosine({ tMax: baseSteps }) }),
    params: await tree.evaluate(model.init(root.fold("base"))),
    batches: await base.batches(root.fold("base batches"), baseSteps, sizes.batch),
    steps: baseSteps,
    validation: [base.validationBatch(sizes.validation)],
    every: baseSteps,
    snapshotSteps: [],
    onStep: ticker("base model"),
  });
  const { trainable, ...found } = await fineTunings({
    model,
    params: trained.params,
    targetModules: adapted,
    lossOf,
    batches: await target.batches(root.fold("target batches"), steps, sizes.batch),
    validation: [target.validationBatch(sizes.validation)],
    seed,
    steps,
    runs: planned,
    ticker,
  });
  return {
    seed,
    steps,
    texts: { base: facts(base.text), target: facts(target.text) },
    model: {
      ...{ context: sizes.context, embedding: sizes.embedding, hidden: sizes.hidden, batch: sizes.batch },
      vocabulary: vocabulary.length,
      parameters: tree.count(trained.params),
      trainable,
    },
    pretraining: { steps: baseSteps, validation: trained.validation },
    ...found,
  };
}

function facts({ name, bytes }: Text) {
  return { name, bytes: bytes.length };
}
