import { existsSync } from "node:fs";
import { join } from "node:path";
import { keepIn } from "../../base/files.ts";
import { Hash } from "../../base/hash.ts";
import { load, save } from "../../io/index.ts";
import * as models from "../../models/index.ts";
import type { Params } from "../../nn/layer.ts";
import { adamw, schedule } from "../../optim/index.ts";
import { key } from "../../tensor/random.ts";
import * as tree from "../../tensor/tree.ts";
import * as text from "../../text/index.ts";
import {
  type EvaluateOptions,
  languageLoss,
  type StepEvent,
  type Training,
  train,
} from "../../train/index.ts";
import { type BaseRecipe, baseKey, configOf, type Schooling } from "./base.ts";
import { corpusOf } from "./corpus.ts";
import { piecesOf } from "./pieces.ts";

/** A frozen language model that experiments fine-tune. */
export interface Subject {
  readonly name: string;
  /** Tells it from others. */
  readonly key: string;
  readonly model: models.Decoder;
  readonly params: Params;
  readonly tokenizer: text.Tokenizer;
  /** A real text in stretches; empty where there is none. */
  readonly real: readonly string[];
}

export interface BaseOptions {
  /** A real text in stretches. */
  readonly real: readonly string[];
  /** Folder in which bases are kept. Default: none is kept. */
  readonly cache?: string;
  readonly onStep?: (done: number, total: number, loss: number) => void | Promise<void>;
}

/** A base of a recipe: from the cache, or trained here. */
export async function openBase(recipe: BaseRecipe, options: BaseOptions): Promise<Subject> {
  const { real, cache, onStep } = options;
  const corpus = await corpusOf(recipe, real);
  const own = baseKey(recipe, corpus);
  const tokenizer = piecesOf([...corpus.texts, ...corpus.tasks], recipe.vocabulary);
  const model = models.decoder(models.architecture(configOf(recipe)));
  const subject = { name: recipe.name, key: own, model, tokenizer, real };
  const place = cache === undefined ? undefined : join(cache, `base-${own}.safetensors`);
  if (place !== undefined && existsSync(place)) return { ...subject, params: (await load(place)) as Params }; // as it was saved
  if (cache !== undefined) keepIn(cache);
  const entries = corpus.texts.map((text) => JSON.stringify({ text })).join("\n");
  const data = await text.dataset(new Blob([entries]), {
    tokenizer,
    maxLength: recipe.context + 1,
    format: "jsonl",
  });
  const { params } = await school(model, recipe, {
    data,
    pack: true,
    onStep: async (event) => onStep?.(event.step, recipe.steps, event.loss),
  });
  if (place !== undefined) await save(place, params);
  return { ...subject, params };
}

/** What a model learns from, and what is looked at on the way. */
export interface SchoolOptions {
  readonly data: text.Dataset;
  /** Put several examples into a row. */
  readonly pack: boolean;
  readonly evaluate?: EvaluateOptions<text.Batch>;
  readonly onStep: (event: StepEvent) => Promise<void>;
}

/** Trains a model from its start to the end. */
export async function school(
  model: models.Decoder,
  { seed, batch, context, lr, steps }: Schooling,
  { data, pack, evaluate, onStep }: SchoolOptions,
): Promise<Training<Params, text.Batch>> {
  const run = train({
    params: await tree.evaluate(model.init(key(seed).fold("base"))),
    loss: languageLoss(model),
    batches: await text.batches(data, { size: batch, seed, lengths: [context], pack }),
    optimizer: adamw({
      lr,
      schedule: schedule.make({ kind: "warmupCosine", warmup: Math.ceil(steps / 20), total: steps }),
    }),
    steps,
    ...(evaluate && { evaluate }),
  });
  for await (const event of run) if (event.kind === "step") await onStep(event);
  return run;
}

/** A given checkpoint as a subject. */
export async function givenSubject(
  name: string,
  { model, params, config }: models.Loaded,
  tokenizer: text.Tokenizer,
  real: readonly string[],
): Promise<Subject> {
  const hash = new Hash().add(JSON.stringify(config));
  for (const [path, leaf] of tree.entries(params)) hash.add(path).add(await leaf.data());
  for (const each of real) hash.add(each);
  return { name, key: hash.toString(), model, params, tokenizer, real };
}
