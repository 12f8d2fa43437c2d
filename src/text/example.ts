import { show } from "../base/arguments.ts";
import { ValueError } from "../base/errors.ts";
import { type Message, messagesOf } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A stretch of a text, and whether a model is to learn to write it. */
export interface Part {
  readonly text: string;
  readonly learn: boolean;
}

/** An entry of a file as a text. */
export interface Parts {
  readonly parts: readonly Part[];
  /** Whether the text begins and ends as a template wrote it, so that the tokenizer adds nothing. */
  readonly whole?: boolean;
}

type Fields = { readonly [name: string]: unknown };

/** A kind of entry, told by the fields that it has. */
interface Kind {
  readonly fields: readonly string[];
  readonly parts: (fields: Fields, tokenizer: Tokenizer) => readonly Parts[];
}

const pair = (prompt: string, completion: string): readonly Parts[] => [
  {
    parts: [
      { text: prompt, learn: false },
      { text: completion, learn: true },
    ],
  },
];

/** The kinds of entries, in the order in which they are looked for. */
const kinds: readonly Kind[] = [
  { fields: ["messages"], parts: ({ messages }, tokenizer) => conversation(messagesOf(messages), tokenizer) },
  {
    fields: ["prompt", "completion"],
    parts: (fields) => pair(text(fields, "prompt"), text(fields, "completion")),
  },
  {
    fields: ["instruction", "output"],
    parts: (fields) =>
      pair(alpaca(text(fields, "instruction"), text(fields, "input", "")), text(fields, "output")),
  },
  {
    fields: ["premise", "hypothesis", "label"],
    parts: (fields) => pair(premises(fields), ` ${text(fields, "label")}`),
  },
  { fields: ["text"], parts: (fields) => [{ parts: [{ text: text(fields, "text"), learn: true }] }] },
];

/** An entry that is of a class. */
export interface Classed {
  readonly text: string;
  readonly label: string;
}

const premises = (fields: Fields) =>
  `Premise: ${text(fields, "premise")}\nHypothesis: ${text(fields, "hypothesis")}\nLabel:`;

/** An entry as a text and its class. @throws ValueError for fields that have no class. */
export function classedOf(fields: Fields): Classed {
  const has = (...names: string[]) => names.every((name) => Object.hasOwn(fields, name));
  const made = has("premise", "hypothesis")
    ? premises(fields)
    : has("text")
      ? text(fields, "text")
      : undefined;
  if (made === undefined || !has("label"))
    throw new ValueError(
      `its fields are ${listed(fields)}; one that has a class has { premise, hypothesis, label } or { text, label }`,
    );
  return { text: made, label: text(fields, "label") };
}

const listed = (fields: Fields) => Object.keys(fields).slice(0, 12).join(", ") || "none";

/** The fields of the kinds of entries, for messages and help texts. */
export const knownFields: string = kinds.map(({ fields }) => `{ ${fields.join(", ")} }`).join(", ");

/** The texts of an entry, one but for some conversations. @throws ValueError for fields of no kind, and for a field that is no text. */
export function partsOf(fields: Fields, tokenizer: Tokenizer): readonly Parts[] {
  const kind = kinds.find(({ fields: own }) => own.every((name) => Object.hasOwn(fields, name)));
  if (!kind)
    throw new ValueError(`its fields are ${listed(fields)}; expected those of one of ${knownFields}`);
  return kind.parts(fields, tokenizer);
}

function text(fields: Fields, name: string, otherwise?: string): string {
  const given = Object.hasOwn(fields, name) ? fields[name] : undefined;
  const value = given ?? otherwise;
  if (typeof value === "string") return value;
  if (name === "label" && Number.isFinite(value)) return String(value);
  throw new ValueError(`${name} is ${show(given)}; it is a text`);
}

/** The prompt of Alpaca (Taori et al. 2023), word for word. */
function alpaca(instruction: string, input: string): string {
  return input === ""
    ? `Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Response:\n`
    : `Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\n${instruction}\n\n### Input:\n${input}\n\n### Response:\n`;
}

/**
 * A conversation of which the assistant's turns are learned. A template that writes turns otherwise once later ones are there,
 * as those do that leave out what a model thought before, gives an example for each turn: as it is written when it is asked for.
 */
function conversation(messages: readonly Message[], { chat }: Tokenizer): readonly Parts[] {
  if (!chat)
    throw new ValueError(
      "it is a conversation, and the tokenizer has no chat template. Take a tokenizer with one, or fields prompt and completion",
    );
  const turns = [...messages.keys()].filter((turn) => messages[turn]!.role === "assistant");
  const asked = turns.map((turn) => ({
    turn,
    prompt: chat.render(messages.slice(0, turn), { reply: true }),
    whole: chat.render(messages.slice(0, turn + 1)),
  }));
  for (const { turn, prompt, whole } of asked)
    if (!whole.startsWith(prompt))
      throw new ValueError(
        `the chat template writes what is before message ${turn} differently once that is there, so that they cannot be told apart. Give fields prompt and completion`,
      );
  const end = chat.render(messages);
  const grows = [...asked.flatMap(({ prompt, whole }) => [prompt, whole]), end].every(
    (text, i, all) => i === 0 || text.startsWith(all[i - 1]!),
  );
  if (!grows) return asked.map(({ prompt, whole }) => ({ parts: cut([prompt, whole]), whole: true }));
  const ends = asked.flatMap(({ prompt, whole }) => [prompt, whole]);
  return [{ parts: cut([...ends, end]), whole: true }];
}

/** Texts each of which goes on from the one before, as parts of the last; every second one is learned. */
function cut(texts: readonly string[]): readonly Part[] {
  return texts
    .map((text, i) => ({ text: text.slice(texts[i - 1]?.length ?? 0), learn: i % 2 === 1 }))
    .filter(({ text }) => text !== "");
}

/** An example as ids, and where they are learned. */
export interface Example {
  readonly ids: readonly number[];
  /** For each id whether it is learned. */
  readonly learn: readonly boolean[];
}

/**
 * A text as ids. The whole is encoded at once; a token that reaches over the border of two parts makes each part be
 * encoded for itself, so that a prompt has the ids that it has alone, as it will when its answer is asked for.
 */
export function encode({ parts, whole = false }: Parts, tokenizer: Tokenizer, learnAll: boolean): Example {
  const ids = tokenizer.encode(parts.map(({ text }) => text).join(""), { bare: whole });
  const own =
    apartAt(ids, parts, (text) => tokenizer.encode(text, { bare: whole })) ??
    parts.map(({ text }, i) => tokenizer.encode(text, { bare: whole || i > 0 }));
  if (!whole && tokenizer.end !== undefined) own.at(-1)!.push(tokenizer.end);
  return {
    ids: own.flat(),
    learn: own.flatMap((each, i) => each.map(() => learnAll || parts[i]!.learn)),
  };
}

/** The ids of each part, where no token reaches over the border of two. */
function apartAt(
  ids: readonly number[],
  parts: readonly Part[],
  encode: (text: string) => readonly number[],
): number[][] | undefined {
  const apart: number[][] = [];
  let before = "";
  let from = 0;
  for (const { text } of parts) {
    before += text;
    const until = apart.length === parts.length - 1 ? ids : encode(before);
    if (until.length < from || !until.every((id, at) => id === ids[at])) return undefined;
    apart.push(ids.slice(from, until.length));
    from = until.length;
  }
  return apart;
}

/** Characters of the text before that a tokenizer is given, if it has no line that is shorter. */
const context = 256;

/**
 * The ids that a text has behind another one: the last line of that is encoded with it, and its ids are taken off again. So a
 * tokenizer that puts something in front of every text puts nothing between the two. Where a token reaches over the border
 * the text is encoded for itself.
 */
export function encodeBehind(before: string, text: string, tokenizer: Tokenizer): readonly number[] {
  const line = before.slice(before.lastIndexOf("\n", before.length - 2) + 1).slice(-context);
  const [known, all] = [line, line + text].map((each) => tokenizer.encode(each, { bare: true }));
  return known!.every((id, i) => id === all![i])
    ? all!.slice(known!.length)
    : tokenizer.encode(text, { bare: true });
}
