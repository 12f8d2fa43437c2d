import { isIntegerIn, isPlainObject, show } from "../base/arguments.ts";
import { messageOf, ValueError } from "../base/errors.ts";
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
  checkIds(folder.name, json.model.vocab, json.added_tokens);
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
  // What is wrong in the file may show only where a text meets it.
  const asked = <T>(f: () => T): T => {
    try {
      return f();
    } catch (error) {
      throw new ValueError(
        `${folder.name}: tokenizer.json is not understood by @huggingface/tokenizers (${messageOf(error)}).`,
      );
    }
  };
  const inner = asked(() => new Tokenizer(json, config));
  const written = await folder.find("chat_template.jinja");
  const template = written ? await readText(folder, "chat_template.jinja") : config.chat_template;
  const special = specialTokens(config);
  const end =
    special.eos_token === undefined ? undefined : asked(() => inner.token_to_id(special.eos_token!));
  let size = 0;
  for (const [, id] of asked(() => inner.get_vocab(true))) size = Math.max(size, id + 1);
  return {
    size,
    end,
    encode: (text, { bare = false } = {}) => {
      const { ids } = asked(() => inner.encode(text, { add_special_tokens: !bare }));
      // A piece of a text that is no token, in a vocabulary without one for those that are unknown.
      if (!ids.every((id) => isIntegerIn(id, 0, size - 1)))
        throw new ValueError(
          `${folder.name}: tokenizer.json has no token for a part of ${show(text)}, and none for what is unknown.`,
        );
      return [...ids];
    },
    decode: (ids) =>
      ids.length === 0 ? "" : asked(() => inner.decode([...ids], { skip_special_tokens: true })),
    chat:
      template === undefined || template === null ? undefined : await chatOf(folder.name, template, special),
  };
}

/** @throws ValueError for a token whose id is none: the package would leave it out in silence. */
function checkIds(where: string, vocabulary: unknown, added: unknown): void {
  const own = isPlainObject(vocabulary) ? Object.entries(vocabulary) : [];
  const more = Array.isArray(added) ? added.filter(isPlainObject) : [];
  for (const [token, id] of [...own, ...more.map(({ content, id }) => [content, id] as const)])
    if (!isIntegerIn(id, 0, mostIds - 1))
      throw new ValueError(
        `${where}: tokenizer.json gives ${show(token)} the id ${show(id)}; it is an integer from 0 to ${mostIds - 1}.`,
      );
}

/** More than any vocabulary has; a table is made of them. */
const mostIds = 2 ** 24;

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
