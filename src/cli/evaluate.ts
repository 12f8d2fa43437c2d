import { LorantzError } from "../base/errors.ts";
import { table } from "../base/table.ts";
import { firstNotFinite } from "../tensor/finite.ts";
import * as text from "../text/index.ts";
import { evaluator, languageLoss } from "../train/index.ts";
import { interruptible } from "./interrupt.ts";
import { batchOptions, dataOptions, modelOptions, openLanguage, openReading, readData } from "./language.ts";
import { print, say } from "./print.ts";
import { optionsHelp, parseOptions, UsageError, usable } from "./usage.ts";
import { version } from "./version.ts";

const options = {
  ...modelOptions,
  ...dataOptions,
  json: { type: "boolean", help: "Print the results as JSON on stdout instead of the table" },
} as const;

const help = `Usage: lorantz evaluate --model DIR --data FILE [--adapter DIR] [OPTIONS]

Measures the loss of a language model on examples: the mean over all tokens that count, its exponential, and the share of
those tokens that were the most likely one; of a classifier the same over examples and their classes.

Options:
${optionsHelp(options)}

Exit codes: 0 done, 1 the work broke off, 2 wrong usage or unusable input, 130 interrupted.
`;

/** The command `evaluate`; see its help. */
export async function evaluate(args: readonly string[]): Promise<number> {
  const given = parseOptions("evaluate", args, options, help);
  const { data: file } = given;
  if (file === undefined) throw new UsageError("evaluate: --data FILE is missing. It has the examples.");
  const reading = await openReading("evaluate", given);
  const { labels } = reading;
  const data = await readData(file, given, reading, (line) => say(`${line}\n`));
  const language = await openLanguage("evaluate", given, { reading });
  using _ = language.device;
  for (const note of language.notes) say(`${note}\n`);
  const batches = await usable(() => text.batches(data, batchOptions(given)));
  return await interruptible(async (onStep, progress) => {
    const counted = {
      ...batches,
      at: async (i: number) => {
        await onStep(i, batches.count!, "evaluating"); // batches without a seed have an end
        return batches.at(i);
      },
    };
    const seen = await evaluator(languageLoss(language.model), counted)(language.params);
    progress.end();
    const { loss, perplexity, accuracy = 0, count } = seen;
    if (!Number.isFinite(loss)) {
      const path = await firstNotFinite(language.params);
      throw new LorantzError(
        `evaluate: the loss is ${loss}. ${path === undefined ? "All parameters are finite" : `The parameter ${path} is not finite itself: read the model or the adapter again, or repair its file`}.`,
      );
    }
    if (given.json) {
      const facts = { format: 1, lorantz: version(), model: given.model, adapter: given.adapter, data: file };
      print(
        `${JSON.stringify({ ...facts, examples: data.length, truncated: data.truncated, ...seen }, undefined, 2)}\n`,
      );
      return 0;
    }
    const row = (title: string, cell: string) => ({ title, cells: [cell], align: "right" as const });
    print(
      `${table([
        row("loss", loss.toFixed(4)),
        row("perplexity", perplexity.toPrecision(5)),
        row("accuracy", `${(100 * accuracy).toFixed(2)} %`),
        row(labels ? "examples" : "tokens", String(count)),
      ])}\n`,
    );
    return 0;
  });
}
