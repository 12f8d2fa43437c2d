import { random, type Tensor, tree } from "lorantz";
import { openFolder } from "lorantz/io";
import * as lora from "lorantz/lora";
import * as models from "lorantz/models";
import type * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import * as text from "lorantz/text";
import { languageLoss, train } from "lorantz/train";
import { draws, query } from "./grammar.ts";
import type { Progress, Task } from "./tasks.ts";

// A small language model that is to write SQL: one that is made here in some seconds, or a checkpoint of the reader's own.

/** Of the base that is made here: what it learns is plain words behind questions, and SQL without any. */
const made = { context: 96, steps: 240, batch: 16, lr: 4e-3 } as const;

const config = {
  model_type: "llama",
  vocab_size: 258,
  hidden_size: 48,
  intermediate_size: 96,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 2,
  max_position_embeddings: made.context,
  tie_word_embeddings: true,
};

const questions = 512;
const shown = 3;

export async function language(seed: number, progress: Progress, files: readonly File[]): Promise<Task> {
  const { model, params, tokenizer } = files.length > 0 ? await given(files) : await own(seed, progress);
  const draw = draws(seed + 1);
  const examples = Array.from({ length: questions }, () => query(draw));
  const learned = await dataOf(
    examples.map(({ question, sql }) => ({ prompt: question, completion: ` ${sql}` })),
    tokenizer,
  );
  const batches = await text.batches(learned, { size: 8, seed });
  const asked = Array.from({ length: shown }, () => query(draw));
  const ids = asked.map(({ question }) => tokenizer.encode(question));
  return {
    params,
    learner: (numbers) => {
      const adapted = lora.inject(model, { ...numbers, targetModules: "all-linear" });
      const loss = languageLoss(adapted);
      return {
        model: adapted,
        init: (key) => adapted.init(key, params),
        loss: (params, batch) => {
          const { sum, count } = loss(params, batch as text.Batch, { training: true }) as {
            readonly sum: Tensor;
            readonly count: Tensor;
          }; // what the loss of a decoder returns
          return sum.div(count);
        },
        look: async (params) => {
          const completions = await models.complete(adapted, params, ids, {
            maxTokens: 48,
            decode: tokenizer.decode,
            stop: [";", "."],
            ...(tokenizer.end !== undefined && { stopTokens: [tokenizer.end] }),
          });
          return { texts: completions.map(({ text }) => text) };
        },
      };
    },
    batch: (update) => batches.at(update),
    target: { texts: asked.map(({ sql }) => ` ${sql}`) },
    prompts: asked.map(({ question }) => question),
    lookEvery: 20,
  };
}

interface Subject {
  readonly model: models.Decoder;
  readonly params: nn.Params;
  readonly tokenizer: text.Tokenizer;
}

async function own(seed: number, progress: Progress): Promise<Subject> {
  const model = models.decoder(models.architecture(config));
  const tokenizer = text.bytes();
  const draw = draws(seed);
  const entries = Array.from({ length: 768 }, () => {
    const { question, sql, plain } = query(draw);
    return { text: draw() < 0.6 ? `${question} ${plain}` : sql };
  });
  const batches = await text.batches(await dataOf(entries, tokenizer), { size: made.batch, seed });
  const run = train<nn.Params, text.Batch>({
    params: model.init(random.key(seed).fold("base")),
    loss: languageLoss(model),
    batches: (update) => batches.at(update),
    optimizer: optim.adam({
      lr: made.lr,
      schedule: optim.schedule.warmupCosine({ warmup: 20, total: made.steps }),
    }),
    steps: made.steps,
  });
  for await (const event of run) if (event.kind === "step") progress(event.step / made.steps);
  return { model, params: await tree.evaluate(run.params), tokenizer };
}

/** A checkpoint as the reader's files have it. */
async function given(files: readonly File[]): Promise<Subject> {
  const folder = await openFolder(files);
  const { model, params } = await models.load(folder);
  return { model, params, tokenizer: await text.load(folder) };
}

function dataOf(entries: readonly object[], tokenizer: text.Tokenizer): Promise<text.Dataset> {
  const lines = entries.map((entry) => `${JSON.stringify(entry)}\n`);
  const file = new File(lines, "school.jsonl");
  return text.dataset(file, { tokenizer, maxLength: made.context, learn: "completion" });
}
