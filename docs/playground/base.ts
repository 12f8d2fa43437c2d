import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { init, random, tree } from "lorantz";
import { safetensors } from "lorantz/io";
import * as models from "lorantz/models";
import type * as nn from "lorantz/nn";
import * as optim from "lorantz/optim";
import * as text from "lorantz/text";
import { languageLoss, train } from "lorantz/train";
import { draws, queries, words } from "./grammar.ts";

// The small language model that the page's language task starts from, as a checkpoint of the Hugging Face hub: it answers
// questions in plain words, and knows SQL, but not as an answer.

const special = ["<unk>", "<s>", "</s>"];
const vocabulary = [...special, ...new Set(words)];

const config = {
  model_type: "llama",
  vocab_size: vocabulary.length,
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  max_position_embeddings: 64,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
};

const tokenizer = {
  version: "1.0",
  added_tokens: special.map((content, id) => ({ id, content, special: true, normalized: false })),
  normalizer: null,
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [
      { type: "WhitespaceSplit" },
      { type: "Split", pattern: { Regex: "[?.]" }, behavior: "Isolated", invert: false },
    ],
  },
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "<unk>",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(vocabulary.map((word, id) => [word, id])),
  },
};

/** Makes it, into a folder; a minute or two of a processor. */
export async function makeBase(folder: string, say: (words: string) => void, steps = 1000): Promise<void> {
  using _ = await init({ backend: "cpu" });
  mkdirSync(folder, { recursive: true });
  const write = (name: string, content: object) =>
    writeFileSync(join(folder, name), `${JSON.stringify(content)}\n`);
  write("config.json", config);
  write("tokenizer.json", tokenizer);
  write("tokenizer_config.json", { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" });
  const model = models.decoder(models.architecture(config));
  const draw = draws(1);
  const lines = queries(16_384, 2, false).map(({ question, sql, plain }) =>
    draw() < 0.8 ? { prompt: question, completion: ` ${plain}` } : { text: sql },
  );
  const file = new File(
    lines.map((entry) => `${JSON.stringify(entry)}\n`),
    "school.jsonl",
  );
  const data = await text.dataset(file, { tokenizer: await text.load(folder), maxLength: 48 });
  const batches = await text.batches(data, { size: 32, seed: 3 });
  const run = train<nn.Params, text.Batch>({
    params: model.init(random.key(4)),
    loss: languageLoss(model),
    batches: (update) => batches.at(update),
    optimizer: optim.adam({
      lr: 5e-3,
      schedule: optim.schedule.warmupCosine({ warmup: 50, total: steps }),
    }),
    steps,
  });
  for await (const event of run)
    if (event.kind === "step" && event.step % 100 === 0)
      say(`${event.step} of ${steps}: loss ${event.loss.toFixed(3)}`);
  const params = await tree.evaluate(tree.map(run.params, (leaf) => leaf.astype("float16")));
  await safetensors.write(join(folder, "model.safetensors"), Object.fromEntries(tree.entries(params)));
}
