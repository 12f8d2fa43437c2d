import type { Tensor } from "lorantz";
import { type Folder, type FolderSource, openFolder } from "lorantz/io";
import * as lora from "lorantz/lora";
import * as models from "lorantz/models";
import * as text from "lorantz/text";
import { languageLoss } from "lorantz/train";
import { queries } from "./grammar.ts";
import type { Task } from "./tasks.ts";

// A small language model that answers questions in plain words is to answer them in SQL: the one beside the page, which
// base.ts made, or a checkpoint of the reader's own.

/** What lies beside the page; other files are not asked for. */
const files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
const listed = (folder: Folder): Folder =>
  folder.names
    ? folder
    : {
        name: folder.name,
        names: files,
        find: async (file) => (files.includes(file) ? folder.find(file) : undefined),
      };

const questions = 2048;
const asked = 24;
const longest = 96;

export async function language(seed: number, checkpoint: FolderSource): Promise<Task> {
  const folder = listed(await openFolder(checkpoint));
  const [{ model, params }, tokenizer] = [await models.load(folder), await text.load(folder)];
  const lines = queries(questions, seed, false).map(
    ({ question, sql }) => `${JSON.stringify({ prompt: question, completion: ` ${sql}` })}\n`,
  );
  const learned = await text.dataset(new File(lines, "school.jsonl"), { tokenizer, maxLength: longest });
  const batches = await text.batches(learned, { size: 16, seed });
  const heldOut = queries(asked, seed, true);
  const ids = heldOut.map(({ question }) => tokenizer.encode(question));
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
          return { texts: completions.map(({ text }) => text.trim()) };
        },
      };
    },
    batch: (update) => batches.at(update),
    target: { texts: heldOut.map(({ sql }) => sql) },
    prompts: heldOut.map(({ question }) => question),
    lookEvery: 20,
  };
}
