import { statSync } from "node:fs";
import { headOf, namesOf } from "../adapters/classifier.ts";
import * as adapters from "../adapters/index.ts";
import { plural } from "../base/text.ts";
import { openFolder, readJson } from "../io/index.ts";
import * as models from "../models/index.ts";
import { classesOf } from "../models/load.ts";
import type { Layer, Params } from "../nn/layer.ts";
import type { Device } from "../runtime/device.ts";
import { backendNames, init } from "../runtime/init.ts";
import { key } from "../tensor/key.ts";
import * as text from "../text/index.ts";
import { say } from "./print.ts";
import { oneOf, UsageError, usable, type Values, wholeNumber } from "./usage.ts";

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
    help: "completion, all, or label (classes, by a new output layer): what is learned; default completion, of a classifier label",
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
  /** The names of the classes that a classifier tells apart. */
  readonly labels?: readonly string[] | undefined;
  readonly notes: readonly string[];
}

/** What a command knows before it opens a device: enough to read data with. */
export interface Reading extends Pick<Language, "architecture" | "config" | "tokenizer" | "labels"> {
  readonly folder: string;
  readonly adapter: adapters.AdapterFile | undefined;
}

/** What a command was given, if it takes such options. */
type Given = Partial<Values<typeof modelOptions & typeof dataOptions & typeof heldOutOptions>> & {
  readonly remat?: boolean | undefined;
};

const packings = { float32: undefined, bfloat16: "bfloat16", nf4: "nf4", int8: "int8" } as const;

/** Reads what the options say of a model but its weights. @throws UsageError for what cannot be used. */
export async function openReading(command: string, given: Given): Promise<Reading> {
  const { model: folder } = given;
  if (folder === undefined)
    throw new UsageError(
      `${command}: --model DIR is missing. It is a folder with config.json and model.safetensors.`,
    );
  return usable(async () => {
    const config = (await readJson(await openFolder(folderOf(folder)), "config.json")) as Record<
      string,
      unknown
    >; // `architecture` looks at it
    const architecture = models.architecture(config);
    const tokenizer =
      given.tokenizer === "bytes" ? text.bytes() : await text.load(folderOf(given.tokenizer ?? folder));
    if (tokenizer.size > architecture.vocabulary)
      throw new UsageError(
        `${given.tokenizer ?? folder}: the tokenizer has ids up to ${tokenizer.size - 1}, and the model a vocabulary of ${architecture.vocabulary}. Give the tokenizer that the model was trained with.`,
      );
    const adapter =
      given.adapter === undefined ? undefined : await adapters.open(given.adapter, { base: config });
    return { folder, architecture, config, tokenizer, adapter, labels: labelsOf(config, adapter) };
  });
}

/** The names of the classes of a checkpoint or adapter: as it has them, else its numbers from 0 on. */
function labelsOf(
  config: Readonly<Record<string, unknown>>,
  adapter: adapters.AdapterFile | undefined,
): readonly string[] | undefined {
  const count = (adapter && headOf(adapter))?.values.shape[0] ?? classesOf(config);
  if (count === undefined) return undefined;
  const own = Object.values(config.id2label ?? {}).map(String);
  return (
    (adapter && namesOf(adapter)) ??
    (own.length === count ? own : Array.from({ length: count }, (_, i) => String(i)))
  );
}

/**
 * Opens a device, and the model of the options on it.
 *
 * @param reading What was read of it, if something was.
 * @param seed Of the output layer of a classifier, where it is new.
 * @throws UsageError for what cannot be used.
 */
export async function openLanguage(
  command: string,
  given: Given,
  {
    reading: known,
    seed = 0,
    ...options
  }: { readonly threads?: number; readonly reading?: Reading; readonly seed?: number } = {},
): Promise<Language> {
  const backend = oneOf("backend", given.backend, backendNames);
  const weights =
    oneOf("weights", given.weights, Object.keys(packings) as (keyof typeof packings)[]) ?? "float32";
  const packing = packings[weights];
  const reading = known ?? (await openReading(command, given));
  const { folder, adapter, tokenizer, labels } = reading;
  const device = await init({ ...(backend && { backend }), ...options });
  return usable(async () => {
    const loaded = await models.load(folder, {
      device,
      remat: given.remat ?? false,
      ...(packing && { pack: packing }),
      ...(labels && { labels: labels.length, key: key(seed) }),
    });
    const { config, model, params } = loaded;
    const plain = { device, architecture: model.architecture, config, tokenizer, labels };
    if (!adapter) return { ...plain, model, params, notes: loaded.notes };
    // What the adapter holds whole is not new.
    const notes = loaded.notes.filter(
      (note) => ![...adapter.whole.keys()].some((path) => note.startsWith(`${path} `)),
    );
    return { ...plain, ...adapters.inject(model, params, adapter), notes: [...notes, ...adapter.notes] };
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

/** What examples are read for. */
interface Readable extends Pick<Language, "tokenizer" | "architecture" | "labels"> {
  /** Whether a model without classes gets an output layer for those of the examples. */
  readonly fresh?: boolean;
}

/** What is learned of an example. @throws UsageError for what the model does not do. */
export function learnOf(
  { learn }: Given,
  { labels, fresh = false }: Pick<Readable, "labels" | "fresh">,
): "completion" | "all" | "label" {
  const asked = oneOf("learn", learn, ["completion", "all", "label"]) ?? (labels ? "label" : "completion");
  if (labels && asked !== "label")
    throw new UsageError(
      `--learn is ${asked}, and the model tells classes apart (${labels.join(", ")}). Leave it out.`,
    );
  if (asked === "label" && !labels && !fresh)
    throw new UsageError(
      "--learn is label, and the model tells no classes apart. Give the adapter that lorantz tune --learn label wrote.",
    );
  return asked;
}

/** The examples of a file, by the options of a command; what is worth saying of them is said. */
export async function readData(
  file: string,
  given: Given,
  language: Readable,
  say: (line: string) => void,
): Promise<text.Dataset> {
  const { tokenizer, architecture, labels } = language;
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
      learn: learnOf(given, language),
      ...(labels && { labels }),
      fields: fieldsOf(given.fields),
    }),
  );
  const { tokens, learned } = data.count;
  const counted = data.labels ? `of the classes ${data.labels.join(", ")}` : `of which ${learned} count`;
  say(`${data.name}: ${plural(data.length, "example")}, ${plural(tokens, "token")}, ${counted}.`);
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
  language: Readable,
  report: (line: string) => void = (line) => say(`${line}\n`),
): Promise<{ readonly data: text.Dataset; readonly heldOut?: text.Dataset }> {
  const share = given["held-out"];
  if (share !== undefined && given.evaluate !== undefined)
    throw new UsageError(`${command}: both --evaluate and --held-out are given. Give one.`);
  const data = await readData(file, given, language, report);
  if (given.evaluate !== undefined)
    return {
      data,
      heldOut: await readData(given.evaluate, given, { ...language, labels: data.labels }, report),
    };
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

/** The layers that get an adapter, by an option. @throws UsageError for a list with a name that is empty. */
export function targetsOf(
  given: string | undefined,
  option = "target-modules",
): "all-linear" | readonly string[] {
  const names = given?.split(",") ?? [];
  if (names.includes(""))
    throw new UsageError(`--${option} is "${given}"; it is a list such as q_proj,v_proj.`);
  return names.length === 0 || given === "all-linear" ? "all-linear" : names;
}

/** How batches are made, by the options of a command. */
export function batchOptions(given: Given): { readonly size: number; readonly pack: boolean } {
  return {
    size: wholeNumber("batch", given.batch, { min: 1, max: 65_536, otherwise: 8 }),
    pack: given.pack ?? false,
  };
}
