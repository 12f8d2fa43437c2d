import type { Field } from "../base/arguments.ts";
import { type Folder, openFolder, readJson } from "../io/index.ts";
import * as models from "../models/index.ts";
import { sampleFields } from "../models/sample.ts";
import type { Tokenizer } from "../text/index.ts";
import { interruptible } from "./interrupt.ts";
import { type Language, modelOptions, openLanguage } from "./language.ts";
import { print, say } from "./print.ts";
import { optionsHelp, parseArguments, UsageError, usable, wholeNumber } from "./usage.ts";

const options = {
  ...modelOptions,
  chat: { type: "boolean", help: "PROMPT is what a user says: it is put into the model's chat template" },
  "max-tokens": { type: "string", value: "N", help: "Most tokens of each text; default 128, if they fit" },
  temperature: {
    type: "string",
    value: "T",
    help: "0, the default, takes the likeliest token; 1 draws as trained",
  },
  "top-k": { type: "string", value: "K", help: "Draw from so many likeliest tokens" },
  "top-p": { type: "string", value: "P", help: "Draw from the likeliest tokens that add up to P" },
  "min-p": {
    type: "string",
    value: "P",
    help: "Draw from tokens at least P times as likely as the likeliest",
  },
  "repetition-penalty": {
    type: "string",
    value: "X",
    help: "Divides the logits of tokens that are there already",
  },
  stop: { type: "string", value: "TEXT", help: "Text that ends a text, and is no part of it" },
  seed: { type: "string", value: "N", help: "Gives what is drawn; default 0" },
  json: { type: "boolean", help: "Print the texts as JSON, with their tokens" },
} as const;

const help = `Usage: lorantz generate --model DIR [PROMPT ...] [OPTIONS]

Goes on with each PROMPT, all of them at the same time; without one it begins a text. One text is printed as it comes.

  lorantz generate --model model --adapter adapter --temperature 0.8 --top-p 0.95 "Once upon a time"

Options:
${optionsHelp(options)}

Exit codes: 0 done, 1 the work broke off, 2 wrong usage or unusable input, 130 interrupted.
`;

/** The options that say how a token is drawn, by their names in the library. */
const sampledBy = {
  temperature: "temperature",
  topK: "top-k",
  topP: "top-p",
  minP: "min-p",
  repetitionPenalty: "repetition-penalty",
} as const;

/** The command `generate`; see its help. */
export async function generate(args: readonly string[]): Promise<number> {
  const { values: given, positionals } = parseArguments("generate", args, options, help);
  const seed = wholeNumber("seed", given.seed, { min: 0, max: 2 ** 32 - 1, otherwise: 0 });
  const maxTokens =
    given["max-tokens"] === undefined
      ? undefined
      : wholeNumber("max-tokens", given["max-tokens"], { min: 1, max: 2 ** 31, otherwise: 1 });
  const sampling = Object.fromEntries(
    Object.entries(sampledBy).map(([name, option]) => [
      name,
      numberOf(option, given[option], sampleFields[name as keyof typeof sampledBy]),
    ]),
  );
  if (given.stop === "") throw new UsageError('--stop is ""; it is a text that is not empty.');
  const language = await openLanguage("generate", given);
  using _ = language.device;
  for (const note of language.notes) say(`${note}\n`);
  const { tokenizer } = language;
  const prompts = positionals.length > 0 ? positionals : [""];
  const texts = given.chat ? prompts.map((prompt) => asChat(tokenizer, prompt)) : prompts;
  const ids = texts.map((text) => startOf(language, text, given.chat ?? false));
  const settings: models.GenerateOptions = {
    ...Object.fromEntries(
      Object.entries({ ...sampling, maxTokens }).filter(([, value]) => value !== undefined),
    ),
    seed,
    decode: tokenizer.decode,
    stopTokens: await stopTokens(given.model!, language), // openLanguage saw to it
    ...(given.stop !== undefined && { stop: [given.stop] }),
    device: language.device,
  };
  return await interruptible(async (onStep, progress) => {
    const stream = prompts.length === 1 && !given.json;
    const made = prompts.map(() => ({ text: "", tokens: [] as number[], end: "length" }));
    let before = stream && !given.chat ? prompts[0]! : "";
    await usable(async () => {
      for await (const { sample, token, text, end } of models.generate(
        language.model,
        language.params,
        ids,
        settings,
      )) {
        const own = made[sample]!;
        own.tokens.push(token);
        own.text += text;
        if (end) own.end = end;
        if (stream) print(before + text);
        else await onStep(own.tokens.length, maxTokens ?? 128, "generating");
        before = "";
      }
    });
    progress.end();
    if (given.json)
      print(
        `${JSON.stringify(
          made.map((own, i) => ({ prompt: prompts[i], ...own })),
          undefined,
          2,
        )}\n`,
      );
    else if (stream) print("\n");
    else
      print(`${made.map(({ text }, i) => `${given.chat ? "" : prompts[i]}${text}`).join("\n\n---\n\n")}\n`);
    return 0;
  });
}

/** What a user says, in the model's own form, up to where it answers. */
function asChat({ chat }: Tokenizer, content: string): string {
  if (!chat) throw new UsageError("generate: the tokenizer has no chat template. Leave out --chat.");
  return chat.render([{ role: "user", content }], { reply: true });
}

/** The tokens of a prompt; a template has written the ones that begin a text. */
function startOf({ tokenizer, config }: Language, text: string, bare: boolean): readonly number[] {
  const ids = tokenizer.encode(text, { bare });
  if (ids.length > 0) return ids;
  const { bos_token_id: first } = config as { readonly bos_token_id?: unknown };
  if (typeof first === "number") return [first];
  throw new UsageError(
    "generate: the prompt is empty, and the model has no token that begins a text. Give a prompt.",
  );
}

/** The tokens that end a text, of generation_config.json, config.json and the tokenizer. */
async function stopTokens(from: string, { config, tokenizer }: Language): Promise<readonly number[]> {
  const folder: Folder = await openFolder(from);
  const own = (await folder.find("generation_config.json"))
    ? await readJson(folder, "generation_config.json")
    : {};
  const found = [own, config].flatMap(
    (each) => (each as { readonly eos_token_id?: unknown }).eos_token_id ?? [],
  );
  return [...found, tokenizer.end].filter((id): id is number => typeof id === "number");
}

function numberOf(option: string, given: string | undefined, field: Field<number>): number | undefined {
  if (given === undefined) return undefined;
  const value = given.trim() === "" ? Number.NaN : Number(given);
  if (!field.valid(value)) throw new UsageError(`--${option} is "${given}"; it is ${field.expected}.`);
  return value;
}
