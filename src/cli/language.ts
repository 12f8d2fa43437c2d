import { statSync } from "node:fs";
import * as adapters from "../adapters/index.ts";
import { LorantzError } from "../base/errors.ts";
import * as models from "../models/index.ts";
import type { Layer, Params } from "../nn/layer.ts";
import type { Device } from "../runtime/device.ts";
import { backendNames, init } from "../runtime/init.ts";
import * as text from "../text/index.ts";
import { say } from "./print.ts";
import { oneOf, UsageError, type Values, wholeNumber } from "./usage.ts";

// What the commands that run language models have in common: a model, its tokenizer, an adapter, data.

/** Options that say which model, and where it runs. */
export const modelOptions = {
  model: { type: "string", value: "DIR", help: "Folder of the model as the Hugging Face hub has it" },
  adapter: {
    type: "string",
    value: "DIR",
    help: "Adapter to put on it, of PEFT, MLX-LM, kohya or llama.cpp",
  },
  tokenizer: {
    type: "string",
    value: "DIR",
    help: "Folder with tokenizer.json, or bytes; default the model's folder",
  },
  weights: {
    type: "string",
    value: "FORMAT",
    help: "How frozen weights are kept: float32, bfloat16, nf4 or int8; default float32",
  },
  backend: {
    type: "string",
    value: "NAME",
    help: "cpu or webgpu; default webgpu if there is a GPU, else cpu",
  },
} as const;

/** Options that say which examples, and how they become batches. */
export const dataOptions = {
  data: { type: "string", value: "FILE", help: "Examples: .jsonl, .csv or .txt" },
  fields: {
    type: "string",
    value: "NAMES",
    help: "The file's own names of fields, as prompt=question,completion=answer",
  },
  learn: {
    type: "string",
    value: "WHAT",
    help: "completion or all: what counts of an example; default completion",
  },
  "max-length": {
    type: "string",
    value: "N",
    help: "Tokens of an example; longer ones are cut. Default: the model's context, at most 1024",
  },
  batch: { type: "string", value: "N", help: "Examples of a batch; default 8" },
  pack: { type: "boolean", help: "Put several examples into a row, each of which sees itself only" },
} as const;

/** Options that say which layers get an adapter: `targetsOf` reads them. */
export const targetOptions = {
  "target-modules": {
    type: "string",
    value: "NAMES",
    help: "Layers that get an adapter, as q_proj,v_proj; default all-linear",
  },
} as const;

/** Options that say what is evaluated on. */
export const heldOutOptions = {
  evaluate: {
    type: "string",
    value: "FILE",
    help: "Examples to evaluate on, in the form of those of --data",
  },
  "held-out": { type: "string", value: "SHARE", help: "Or: the share of --data to evaluate on, as 0.1" },
} as const;

/** A model that is ready to run. */
export interface Language {
  readonly device: Device;
  readonly model: Layer<Params, models.DecoderInput, models.DecoderOutput>;
  readonly params: Params;
  readonly architecture: models.Architecture;
  /** Its config.json. */
  readonly config: object;
  readonly tokenizer: text.Tokenizer;
  readonly notes: readonly string[];
}

/** What a command was given, if it takes such options. */
type Given = Partial<Values<typeof modelOptions & typeof dataOptions & typeof heldOutOptions>> & {
  readonly remat?: boolean | undefined;
};

const packings = { float32: undefined, bfloat16: "bfloat16", nf4: "nf4", int8: "int8" } as const;

/** Opens a device, and the model of the options on it. @throws UsageError for what cannot be used. */
export async function openLanguage(
  command: string,
  given: Given,
  options: { readonly threads?: number } = {},
): Promise<Language> {
  const { model: folder } = given;
  if (folder === undefined)
    throw new UsageError(
      `${command}: --model DIR is missing. It is a folder with config.json and model.safetensors.`,
    );
  const backend = oneOf("backend", given.backend, backendNames);
  const weights =
    oneOf("weights", given.weights, Object.keys(packings) as (keyof typeof packings)[]) ?? "float32";
  const packing = packings[weights];
  const device = await init({ ...(backend && { backend }), ...options });
  return usable(async () => {
    const tokenizer =
      given.tokenizer === "bytes" ? text.bytes() : await text.load(folderOf(given.tokenizer ?? folder));
    const loaded = await models.load(folderOf(folder), {
      device,
      remat: given.remat ?? false,
      ...(packing && { pack: packing }),
    });
    const { architecture } = loaded.model;
    if (tokenizer.size > architecture.vocabulary)
      throw new UsageError(
        `${given.tokenizer ?? folder}: the tokenizer has ids up to ${tokenizer.size - 1}, and the model a vocabulary of ${architecture.vocabulary}. Give the tokenizer that the model was trained with.`,
      );
    const plain = { device, architecture, config: loaded.config, tokenizer, notes: loaded.notes };
    if (given.adapter === undefined) return { ...plain, model: loaded.model, params: loaded.params };
    const adapter = await adapters.open(given.adapter, { base: loaded.config as Record<string, unknown> });
    return { ...plain, ...adapters.inject(loaded.model, loaded.params, adapter) };
  });
}

/** @throws UsageError for what is no folder. */
function folderOf(path: string): string {
  if (/^https?:/.test(path)) return path;
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory())
    throw new UsageError(
      `${path}: there is no such folder. Give one with config.json, tokenizer.json and model.safetensors.`,
    );
  return path;
}

/** Errors of files and values are the caller's matter. */
export async function usable<T>(f: () => Promise<T>): Promise<T> {
  try {
    return await f();
  } catch (error) {
    if (error instanceof LorantzError && !error.message.startsWith("internal:"))
      throw new UsageError(error.message);
    throw error;
  }
}

/** The examples of a file, by the options of a command; what is worth saying of them is said. */
export async function readData(
  file: string,
  given: Given,
  { tokenizer, architecture }: Pick<Language, "tokenizer" | "architecture">,
  say: (line: string) => void,
): Promise<text.Dataset> {
  const most = Math.min(architecture.context, 1024);
  const maxLength = wholeNumber("max-length", given["max-length"], {
    min: 2,
    max: architecture.context,
    otherwise: most,
  });
  const data = await usable(() =>
    text.dataset(file, {
      tokenizer,
      maxLength,
      learn: oneOf("learn", given.learn, ["completion", "all"]) ?? "completion",
      fields: fieldsOf(given.fields),
    }),
  );
  const { tokens, learned } = data.count;
  say(`${data.name}: ${data.length} examples, ${tokens} tokens, of which ${learned} count.`);
  if (data.truncated > 0)
    say(
      `${data.truncated} were longer than ${maxLength} tokens and are cut at their end${data.dropped > 0 ? `; ${data.dropped} of them are left out, since nothing that counts was left` : ""}.`,
    );
  return data;
}

/** The examples to learn from, and those to evaluate on. */
export async function readExamples(
  command: string,
  given: Given,
  file: string,
  language: Pick<Language, "tokenizer" | "architecture">,
  report: (line: string) => void = (line) => say(`${line}\n`),
): Promise<{ readonly data: text.Dataset; readonly heldOut?: text.Dataset }> {
  const share = given["held-out"];
  if (share !== undefined && given.evaluate !== undefined)
    throw new UsageError(`${command}: both --evaluate and --held-out are given. Give one.`);
  const data = await readData(file, given, language, report);
  if (given.evaluate !== undefined)
    return { data, heldOut: await readData(given.evaluate, given, language, report) };
  if (share === undefined) return { data };
  const value = Number(share);
  if (!(value > 0 && value < 1)) throw new UsageError(`--held-out is "${share}"; it is a share, as 0.1.`);
  return usable(async () => {
    const [learned, heldOut] = data.split(value);
    return { data: learned, heldOut };
  });
}

function fieldsOf(given: string | undefined): { readonly [name: string]: string } {
  if (given === undefined) return {};
  return Object.fromEntries(
    given.split(",").map((pair) => {
      const [name, own, ...more] = pair.split("=");
      if (!name || !own || more.length > 0)
        throw new UsageError(
          `--fields is "${given}"; it is a list such as prompt=question,completion=answer.`,
        );
      return [name, own];
    }),
  );
}

/** The layers that get an adapter, by an option. */
export function targetsOf(given: string | undefined): "all-linear" | readonly string[] {
  return given?.split(",") ?? "all-linear";
}

/** How batches are made, by the options of a command. */
export function batchOptions(given: Given): { readonly size: number; readonly pack: boolean } {
  return {
    size: wholeNumber("batch", given.batch, { min: 1, max: 65_536, otherwise: 8 }),
    pack: given.pack ?? false,
  };
}
