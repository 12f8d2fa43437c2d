import { ValueError } from "../../base/errors.ts";
import * as models from "../../models/index.ts";
import { type Dataset, dataset, type Tokenizer } from "../../text/index.ts";
import { configOf, type Schooling } from "../language/base.ts";
import { piecesOf } from "../language/pieces.ts";
import { school } from "../language/subject.ts";
import { type ProveOptions, parted, prove } from "./experiment.ts";
import { plan } from "./plan.ts";
import type { Findings } from "./results.ts";
import { curveOf } from "./train.ts";

/** A text and where it comes from. */
export interface Text {
  readonly name: string;
  readonly text: string;
}

/** Two texts, ready for training. */
export interface Material {
  readonly base: Dataset;
  readonly target: Dataset;
}

/** A Llama of one block, small enough to be trained on the spot. */
const shape = { width: 48, hidden: 96, blocks: 1, heads: 2, context: 32, vocabulary: 384, batch: 8 } as const;

/** How the base learns, given the steps of a fine-tuning: its steps, and the learning rate at the end of the warm-up. */
const schooling = { steps: (fineTuning: number) => Math.min(4 * fineTuning, 800), lr: 6e-3 };

/** Examples of a text at least, so that one is held out, and letters of a text that are read at most. */
const least = 10;
const most = 1_500_000;

/**
 * Cuts texts into examples of one length, in pieces that are frequent in both.
 *
 * @throws ValueError for a text that is too short.
 */
export async function prepare(base: Text, target: Text): Promise<Material> {
  const [one, other] = [base, target].map(({ text }) => text.slice(0, most)) as [string, string]; // two
  const tokenizer = piecesOf([one, other], shape.vocabulary);
  return {
    base: await examplesOf(base.name, one, tokenizer),
    target: await examplesOf(target.name, other, tokenizer),
  };
}

async function examplesOf(name: string, text: string, tokenizer: Tokenizer): Promise<Dataset> {
  const file = new File([text], name);
  const data = await dataset(file, { tokenizer, maxLength: shape.context + 1, format: "text" });
  if (data.length < least)
    throw new ValueError(
      `${name}: the text has ${data.count.tokens} tokens; at least ${least * shape.context} are needed, so that the tenth kept ` +
        `for validation holds one of ${shape.context}. Give a longer text.`,
    );
  return data;
}

/** Trains a small language model on the one text, freezes it, and proves the theorem on the other. */
export async function proveOnOwn({ base, target }: Material, options: ProveOptions): Promise<Findings> {
  const { seed, steps, runs = plan, onStep } = options;
  const recipe: Schooling = { ...shape, seed, lr: schooling.lr, steps: schooling.steps(steps) };
  const total = recipe.steps + runs.length * steps;
  const model = models.decoder(models.architecture(configOf(recipe)));
  const { learned, validation } = await parted(base, recipe.batch);
  const { params, evaluations } = await school(model, recipe, {
    data: learned,
    pack: false,
    evaluate: { batches: validation, every: recipe.steps },
    onStep: async ({ step }) => onStep?.(step, total, "base model"),
  });
  const found = await prove(
    {
      name: "a small one, trained here",
      family: model.architecture.family,
      model,
      params,
      data: target,
      targetModules: ["q_proj", "v_proj", "down_proj"],
      batch: shape.batch,
    },
    { ...options, onStep: async (done, _, what) => onStep?.(recipe.steps + done, total, what) },
  );
  return {
    ...found,
    pretraining: {
      data: base.name,
      examples: base.length,
      steps: recipe.steps,
      validation: curveOf(evaluations),
    },
  };
}
