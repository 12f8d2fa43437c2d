import { isPlainObject, show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { library } from "../base/library.ts";
import { type FolderSource, openFolder, readJson, readText } from "../io/folder.ts";
import { type ChatTemplate, chatOf } from "./chat.ts";

/** Text to ids and back. */
export interface Tokenizer {
  /** Ids are below it: a model needs so large a vocabulary. */
  readonly size: number;
  /** The ids of a text, with what the tokenizer puts around it (`<s>`), or bare. */
  encode(text: string, options?: { readonly bare?: boolean }): number[];
  /** The text of ids; special ones, `<s>`, have none. */
  decode(ids: readonly number[]): string;
  /** The id that ends a text, where there is one. */
  readonly end: number | undefined;
  /** How conversations are written, where the tokenizer says so. */
  readonly chat: ChatTemplate | undefined;
}

/**
 * UTF-8 bytes as ids 0 to 255, 256 before a text and 257 at its end.
 *
 * @example
 * bytes().encode("né"); // [256, 110, 195, 169]
 */
export function bytes(): Tokenizer {
  const [start, end] = [256, 257];
  return {
    size: 258,
    end,
    chat: undefined,
    encode: (text, { bare = false } = {}) => [...(bare ? [] : [start]), ...new TextEncoder().encode(text)],
    decode: (ids) =>
      new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(ids.filter((id) => id < start))),
  };
}

/** What of `@huggingface/tokenizers` is used. */
interface Library {
  readonly Tokenizer: new (
    tokenizer: object,
    config: object,
  ) => {
    encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly number[] };
    decode(ids: number[], options: { skip_special_tokens: boolean }): string;
    token_to_id(token: string): number | undefined;
    get_vocab(withAdded: boolean): Map<string, number>;
  };
}

/**
 * The tokenizer of a folder as the Hugging Face hub has it: `tokenizer.json`, and `tokenizer_config.json` and
 * `chat_template.jinja` where they are. Needs the package `@huggingface/tokenizers`, and for conversations
 * `@huggingface/jinja`.
 *
 * Deviation: as there, a U+FEFF at the start of a text is lost when ids are decoded.
 *
 * @throws LorantzError where the file or the package is missing; ValueError for a file that is no tokenizer.
 * @example
 * const tokenizer = await load("SmolLM2-135M");
 * tokenizer.encode("Once upon a time");
 */
export async function load(from: FolderSource): Promise<Tokenizer> {
  const folder = await openFolder(from);
  const json = await readJson(folder, "tokenizer.json");
  if (!isPlainObject(json) || !isPlainObject(json.model))
    throw new ValueError(
      `${folder.name}: tokenizer.json is ${show(json)} without a model; it is a tokenizer of the Hugging Face hub.`,
    );
  const hasConfig = await folder.find("tokenizer_config.json");
  const config = hasConfig ? await readJson(folder, "tokenizer_config.json") : {};
  if (!isPlainObject(config))
    throw new ValueError(`${folder.name}: tokenizer_config.json is ${show(config)}; it is an object.`);
  const { Tokenizer } = await library<Library>(
    "text",
    "@huggingface/tokenizers",
    "tokenizer.json",
    () => import("@huggingface/tokenizers"),
  );
  let inner: InstanceType<Library["Tokenizer"]>;
  try {
    inner = new Tokenizer(json, config);
  } catch (error) {
    throw new ValueError(
      `${folder.name}: tokenizer.json is not understood by @huggingface/tokenizers (${(error as Error).message}).`,
    );
  }
  const written = await folder.find("chat_template.jinja");
  const template = written ? await readText(folder, "chat_template.jinja") : config.chat_template;
  const special = specialTokens(config);
  const end = special.eos_token === undefined ? undefined : inner.token_to_id(special.eos_token);
  const ids = [...inner.get_vocab(true).values()];
  return {
    size: ids.reduce((most, id) => Math.max(most, id + 1), 0),
    end,
    encode: (text, { bare = false } = {}) => [...inner.encode(text, { add_special_tokens: !bare }).ids],
    decode: (ids) => (ids.length === 0 ? "" : inner.decode([...ids], { skip_special_tokens: true })),
    chat:
      template === undefined || template === null ? undefined : await chatOf(folder.name, template, special),
  };
}

/** Special tokens by their names in the configuration: texts, or objects with one as `content`. */
function specialTokens(config: { readonly [name: string]: unknown }): { readonly [name: string]: string } {
  const found: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
    const value = config[name];
    const text = isPlainObject(value) ? value.content : value;
    if (typeof text === "string") found[name] = text;
  }
  return found;
}
