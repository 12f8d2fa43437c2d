import {
  type Fields,
  field,
  flagOf,
  functionOf,
  integer,
  optional,
  readOptions,
  show,
} from "../base/arguments.ts";
import type { FloatDType } from "../base/dtype.ts";
import { ValueError } from "../base/errors.ts";
import { type Adapted, perSample } from "../lora/index.ts";
import type { Layer, Params } from "../nn/layer.ts";
import { Device } from "../runtime/device.ts";
import { type Compiled, compile } from "../tensor/compile.ts";
import { tensor } from "../tensor/creation.ts";
import { firstNotFinite } from "../tensor/finite.ts";
import { where } from "../tensor/functions.ts";
import * as random from "../tensor/random.ts";
import { Tensor } from "../tensor/tensor.ts";
import { evaluate } from "../tensor/tree.ts";
import { type Architecture, findArchitecture } from "./architecture.ts";
import { type Cache, emptyCache } from "./cache.ts";
import type { DecoderInput, DecoderOutput } from "./decoder.ts";
import { nowhere } from "./places.ts";
import { isPlain, nothing, type SampleOptions, sample, sampleFields } from "./sample.ts";
import { spelling } from "./spelling.ts";

/** A decoder, with adapters or without. */
export type AnyDecoder = Layer<Params, DecoderInput, DecoderOutput>;

export interface GenerateOptions extends SampleOptions {
  /** Most tokens that each sample gets. Default 128, or what the context has room for. */
  readonly maxTokens?: number;
  /** What is drawn. A sample's tokens depend on it, on its place and on its prompt, not on the others. Default 0. */
  readonly seed?: number;
  /** Tokens that end a sample: the configuration's `eos_token_id`. */
  readonly stopTokens?: readonly number[];
  /** Texts that end a sample, and are no part of it; they need `decode`. */
  readonly stop?: readonly string[];
  /** The text of ids, a tokenizer's. */
  readonly decode?: (ids: readonly number[]) => string;
  /** The adapter of each sample by its name, null for none. Default those that act in the model. */
  readonly adapters?: readonly (string | null)[];
  /** Keep keys and values, rather than computing the whole text for each token. Default true. */
  readonly cache?: boolean;
  readonly device?: Device;
}

const list = <T>(expected: string, is: (value: unknown) => boolean) =>
  optional(field<readonly T[]>(`a list of ${expected}`, (value) => Array.isArray(value) && value.every(is)));

const fields: Fields<GenerateOptions> = {
  ...sampleFields,
  maxTokens: optional(integer(1)),
  seed: integer(0, 2 ** 32 - 1, 0),
  stopTokens: list<number>("ids", Number.isInteger),
  stop: list<string>("texts that are not empty", (text) => typeof text === "string" && text !== ""),
  decode: optional(functionOf("a function of ids")),
  adapters: list<string | null>("names, or null", (name) => typeof name === "string" || name === null),
  cache: flagOf(true),
  device: optional(field("a device that init opened", (device) => device instanceof Device)),
};

/** One token of one sample. */
export interface Generated {
  readonly sample: number;
  readonly token: number;
  /** What it adds to the text, with `decode`; pieces of a character or of a stop text wait for the next. */
  readonly text: string;
  /** Of the last one: a stop token or text was met, or there were as many tokens as may be. */
  readonly end?: "stop" | "length";
}

/**
 * Goes on with prompts, one token for all of them at a time. Prompts may differ in length. The first program reads the
 * prompts, a second one each token after them, and both write keys and values in place.
 *
 * @param prompts Ids of each sample, at least one.
 * @throws ValueError for a prompt that is empty, does not fit the vocabulary, or leaves no room in the context.
 * @example
 * for await (const { text } of models.generate(model, params, [[1]], { maxTokens: 50, decode: tokenizer.decode }))
 *   process.stdout.write(text);
 */
export async function* generate(
  model: AnyDecoder,
  params: Params,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): AsyncGenerator<Generated> {
  const given = readOptions("models.generate", fields, options);
  const architecture = architectureOf(model);
  const most = checked(architecture, model, prompts, given);
  const { seed = 0, stop = [], stopTokens = [], decode, cache } = given;
  if (stop.length > 0 && !decode)
    throw new ValueError("models.generate: stop texts are found in texts; give decode too, a tokenizer's.");
  const plain = isPlain(given);
  const draws = plain ? [] : await uniforms(seed, prompts.length, most, given.device);
  const next = (cache ? cached : whole)({ model, params, architecture, prompts, most, plain, given });
  const spelled = prompts.map((prompt) => decode && spelling(prompt, decode, stop));
  const texts = prompts.map((prompt) => [...prompt]);
  const open = new Set(prompts.keys());
  for (let t = 0; t < most && open.size > 0; t++) {
    const found = await next(t, texts);
    for (const i of [...open]) {
      const row = found.length / prompts.length;
      const token = plain
        ? found[i]!
        : sample(found.subarray(i * row, (i + 1) * row), texts[i]!, draws[i]![t]!, given);
      if (token === nothing) throw await notNumbers(params);
      texts[i]!.push(token);
      const isStop = stopTokens.includes(token);
      const { text, stopped } = (!isStop && spelled[i]?.add(token)) || { text: "", stopped: isStop };
      const end = stopped ? "stop" : t + 1 === most ? "length" : undefined;
      if (end) open.delete(i);
      yield { sample: i, token, text: end ? text + (spelled[i]?.rest() ?? "") : text, ...(end && { end }) };
    }
  }
}

/** What is said where logits are NaN. */
async function notNumbers(params: Params): Promise<ValueError> {
  const path = await firstNotFinite(params);
  const advice =
    path === undefined
      ? "All parameters are finite, so numbers became too large on the way: load the model in another dtype"
      : `The parameter ${path} is not finite itself: read the model or the adapter again, or repair its file`;
  return new ValueError(
    `models.generate: the logits of a token are NaN, so there is no likeliest one. ${advice}.`,
  );
}

/** What a sample came to. */
export interface Completion {
  /** Behind the prompt. */
  readonly tokens: readonly number[];
  readonly text: string;
  readonly end: "stop" | "length";
}

/**
 * `generate` to the end.
 *
 * @example
 * const [completion] = await models.complete(model, params, [[1]], { maxTokens: 50 });
 */
export async function complete(
  model: AnyDecoder,
  params: Params,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): Promise<readonly Completion[]> {
  const made = prompts.map((): { tokens: number[]; text: string; end: "stop" | "length" } => ({
    tokens: [],
    text: "",
    end: "length",
  }));
  for await (const { sample, token, text, end } of generate(model, params, prompts, options)) {
    const own = made[sample]!;
    own.tokens.push(token);
    own.text += text;
    if (end) own.end = end;
  }
  return made;
}

/** The architecture of a decoder that may have adapters. @throws ValueError for another layer. */
export function architectureOf(model: AnyDecoder): Architecture {
  const found = findArchitecture(model);
  if (found) return found;
  throw new ValueError(
    "models.generate: the model is no decoder; make one with models.load or models.decoder.",
  );
}

function adaptedOf(model: AnyDecoder): Adapted<DecoderInput, DecoderOutput> | undefined {
  return "adapterNames" in model ? (model as Adapted<DecoderInput, DecoderOutput>) : undefined;
}

/** Checks prompts and options against each other. Returns the most tokens for each sample. */
function checked(
  { vocabulary, context, labels, family }: Architecture,
  model: AnyDecoder,
  prompts: readonly (readonly number[])[],
  { maxTokens, adapters }: GenerateOptions,
): number {
  if (!Array.isArray(prompts) || prompts.length === 0 || !prompts.every(Array.isArray))
    throw new ValueError(
      `models.generate: prompts are ${show(prompts)}; they are lists of ids, one for each sample.`,
    );
  if (labels !== undefined)
    throw new ValueError(
      "models.generate: the model is a classifier: it gives scores of classes, and no text. Give one that predicts tokens, or let evaluate say how often the classes are right.",
    );
  for (const [i, prompt] of prompts.entries()) {
    if (prompt.length === 0)
      throw new ValueError(
        `models.generate: prompt ${i} has no tokens. Begin with the one that begins texts.`,
      );
    const wrong = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
    if (wrong !== undefined)
      throw new ValueError(
        `models.generate: prompt ${i} has the id ${wrong}; ids are integers from 0 to ${vocabulary - 1}. Is the tokenizer another model's?`,
      );
  }
  const longest = Math.max(...prompts.map((prompt) => prompt.length));
  const room = context - longest;
  if (room < (maxTokens ?? 1))
    throw new ValueError(
      `models.generate: the longest prompt has ${longest} tokens, and ${maxTokens ?? 1} more do not fit into the ${context} positions of this ${family}.`,
    );
  if (adapters) {
    const names = adaptedOf(model)?.adapterNames ?? [];
    const unknown = adapters.find((name) => name !== null && !names.includes(name));
    if (adapters.length !== prompts.length || unknown !== undefined)
      throw new ValueError(
        `models.generate: adapters are ${show(adapters)}; they are one for each of ${prompts.length} prompts, of ${names.map((name) => show(name)).join(", ") || "a model with adapters (lora.injectNamed)"}, or null.`,
      );
  }
  return maxTokens ?? Math.min(128, room);
}

/** Numbers from 0 to 1 for each sample, one for each token. */
async function uniforms(
  seed: number,
  samples: number,
  count: number,
  device: Device | undefined,
): Promise<ArrayLike<number>[]> {
  const key = random.key(seed).fold("generate");
  const all = Array.from({ length: samples }, (_, i) => random.uniform(key.fold(i), [count]));
  await evaluate(all, device);
  return Promise.all(all.map((x) => x.data()));
}

/** What the next token of each sample is taken from: the token itself, or its logits. */
type Next = (
  t: number,
  texts: readonly (readonly number[])[],
) => Promise<Float32Array | Float64Array | Int32Array>;

interface Run {
  readonly model: AnyDecoder;
  readonly params: Params;
  readonly architecture: Architecture;
  readonly prompts: readonly (readonly number[])[];
  readonly most: number;
  readonly plain: boolean;
  readonly given: GenerateOptions;
}

/** Numbers that are rounded up, so that prompts of similar length share programs. */
const roundUp = (n: number, to: number) => Math.ceil(n / to) * to;

/** With a cache: the prompts at once, then one token of each. */
function cached({ model, params, architecture, prompts, most, plain, given }: Run): Next {
  const batch = prompts.length;
  const { step } = programs(model, plain, given);
  const length = roundUp(Math.max(...prompts.map((prompt) => prompt.length)), 8);
  const slots = roundUp(length + most, 64);
  let cache = emptyCache(architecture, { batch, slots, dtype: dtypeOf(architecture, params) });
  const choice = choiceOf(model, given);
  return async (t, texts) => {
    const rows = t === 0 ? texts.map((text) => padded(text, length)) : texts.map((text) => [text.at(-1)!]);
    const positions = rows.map((row, i) => row.map((_, j) => (t === 0 ? j : texts[i]!.length - 1)));
    const segments = rows.map((row, i) => row.map((_, j) => (t > 0 || j < texts[i]!.length ? 0 : nowhere)));
    const at = texts.map((text) => [t === 0 ? text.length - 1 : 0]);
    const input = { tokens: ids(rows), positions: ids(positions), segments: ids(segments), at: ids(at) };
    const result = await step(params, cache, input, choice);
    cache = result.cache;
    return (await result.found.data()) as Int32Array; // or floats, of logits
  };
}

/** Without: the whole text for each token. */
function whole({ model, params, architecture, prompts, most, plain, given }: Run): Next {
  const { all } = programs(model, plain, given);
  const longest = Math.max(...prompts.map((prompt) => prompt.length)) + most;
  const length = Math.min(roundUp(longest, 64), architecture.context);
  const choice = choiceOf(model, given);
  return async (_, texts) => {
    const tokens = ids(texts.map((text) => padded(text, length)));
    const found = await all(params, { tokens, at: ids(texts.map((text) => [text.length - 1])) }, choice);
    return (await found.data()) as Int32Array; // or floats, of logits
  };
}

const padded = (text: readonly number[], length: number) => Array.from({ length }, (_, i) => text[i] ?? 0);

function ids(rows: readonly (readonly number[])[]): Tensor<"int32"> {
  return tensor(Int32Array.from(rows.flat()), { shape: [rows.length, rows[0]!.length], dtype: "int32" });
}

/** The place of each sample's adapter among the model's, -1 for none. */
function choiceOf(model: AnyDecoder, { adapters }: GenerateOptions): Tensor<"int32"> | undefined {
  const names = adaptedOf(model)?.adapterNames;
  if (!adapters || !names) return undefined;
  const places = adapters.map((name) => (name === null ? -1 : names.indexOf(name)));
  return tensor(Int32Array.from(places), { dtype: "int32" });
}

type Choice = Tensor<"int32"> | undefined;

interface Programs {
  readonly step: Compiled<
    [Params, Cache, DecoderInput, Choice],
    { readonly cache: Cache; readonly found: Tensor }
  >;
  readonly all: Compiled<[Params, DecoderInput, Choice], Tensor>;
}

/** The compiled functions of a model, kept as long as it lives. */
const compiled = new WeakMap<AnyDecoder, Map<string, Programs>>();

function programs(model: AnyDecoder, plain: boolean, { device }: GenerateOptions): Programs {
  const own = compiled.get(model) ?? new Map<string, Programs>();
  compiled.set(model, own);
  const key = `${plain} ${device?.description ?? ""}`;
  const there = device ? undefined : own.get(key);
  if (there) return there;
  const adapted = adaptedOf(model);
  const chosen = (choice: Choice) => (choice && adapted ? perSample(adapted, choice) : model);
  const taken = ({ logits }: DecoderOutput) => {
    const rows = logits.reshape([logits.shape[0]!, logits.shape[2]!]);
    return plain ? where(rows.amax(-1).isNaN(), nothing, rows.argmax(-1)) : rows;
  };
  // Lengths are rounded up, and prompts have many.
  const options = { expectedTraces: Number.POSITIVE_INFINITY, ...(device && { device }) };
  const made: Programs = {
    step: compile(
      (params: Params, cache: Cache, input: DecoderInput, choice: Choice) => {
        const output = chosen(choice).apply(params, { ...input, cache });
        return { cache: output.cache!, found: taken(output) };
      },
      { ...options, donate: [1] },
    ),
    all: compile(
      (params: Params, input: DecoderInput, choice: Choice) => taken(chosen(choice).apply(params, input)),
      options,
    ),
  };
  if (!device) own.set(key, made);
  return made;
}

/** The dtype of a model's activations: that of its last norm, which is never packed. */
function dtypeOf({ names }: Architecture, params: Params): FloatDType {
  const body = params[names.body] as Params | undefined;
  const norm = body?.[names.last] as Params | undefined;
  const weight = norm?.weight;
  if (!(weight instanceof Tensor))
    throw new ValueError(
      `models.generate: the parameters have no ${names.body}.${names.last}.weight. Pass those of this model.`,
    );
  return weight.dtype as FloatDType; // of a norm
}
